//! Names a root certificate: how a sidecar that is not on the controller's host knows the controller.

use std::fmt;

use sha2::{Digest, Sha256};

/// `sha256:` and 64 hex digits: the SHA-256 of a certificate's DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin([u8; 32]);

/// One or more pins: while a root is replaced, both are written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pins(Vec<Pin>);

/// Why a text is no pin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no pin: write sha256: and the 64 hex digits that the controller logs at its start")]
pub struct InvalidPin(String);

const PREFIX: &str = "sha256:";

impl Pin {
    /// The pin of a certificate, DER.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// Reads a pin; hex digits of either case.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn parse(text: &str) -> Result<Self, InvalidPin> {
        let invalid = || InvalidPin(text.chars().take(80).collect());
        let digits = text.trim().strip_prefix(PREFIX).ok_or_else(invalid)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(invalid());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            let value = pair.iter().try_fold(0, |value, next| Some(value * 16 + digit(next)?));
            *byte = value.and_then(|value| u8::try_from(value).ok()).ok_or_else(invalid)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex(&self.0))
    }
}

impl Pins {
    /// Whether a certificate, DER, is one of them.
    pub fn hold(&self, certificate: &[u8]) -> bool {
        self.0.contains(&Pin::of(certificate))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.0.iter()
    }
}

impl From<Pin> for Pins {
    fn from(pin: Pin) -> Self {
        Self(vec![pin])
    }
}

impl TryFrom<String> for Pins {
    type Error = InvalidPin;

    fn try_from(text: String) -> Result<Self, InvalidPin> {
        text.split(',').map(Pin::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Pins> for String {
    fn from(pins: Pins) -> Self {
        pins.to_string()
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pins: Vec<String> = self.0.iter().map(Pin::to_string).collect();
        f.write_str(&pins.join(","))
    }
}

/// Two lower-case digits for each byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_they_are_written() {
        // sha256sum of nothing.
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Pin::of(b"").to_string(), empty);
        let other = Pin::of(b"x");
        let pins =
            Pins::try_from(format!("{}, {other}", empty.to_uppercase().replace("SHA", "sha"))).unwrap();
        assert!(pins.hold(b"") && pins.hold(b"x") && !pins.hold(b"y"));
        assert_eq!(String::from(pins), format!("{empty},{other}"));
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        let good = Pin::of(b"").to_string();
        let cut = &good[..good.len() - 1];
        for bad in ["", ",", "sha256:", "e3b0", cut, &good[7..], &format!("{good},"), &format!("{cut}g")] {
            assert!(Pins::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
