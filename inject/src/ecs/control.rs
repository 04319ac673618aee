//! Where the sidecar finds its controller, and how it knows it.

use super::Options;
use crate::Remark;

/// The way to the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// A folder of the host that has the controller's socket in it.
    Folder(String),
    /// `https://HOST:PORT`, and SHA-256 of the roots that its certificate may chain to.
    Address { url: String, pins: String },
}

impl Control {
    /// # Errors
    /// All that is wrong with what was said.
    pub fn read(options: &Options, fargate: bool) -> Result<Self, Vec<Remark>> {
        let said = options.control.trim();
        if said.starts_with('/') {
            if fargate {
                return Err(vec![Remark::project(
                    "a Fargate task sees no folder of the host: give the controller's address, as in \
                     --control https://controller.outrigger.internal:15010",
                )]);
            }
            return Ok(Self::Folder(said.to_owned()));
        }
        let mut faults = Vec::new();
        let url = said.strip_suffix('/').unwrap_or(said);
        if !is_address(url) {
            faults.push(Remark::project(format!(
                "--control {said}: write https://HOST:PORT, or the host's folder with the controller's socket, as in \
                 --control /run/outrigger"
            )));
        }
        let pins = match pins(&options.pin) {
            Ok(pins) => pins,
            Err(fault) => {
                faults.push(Remark::project(fault));
                String::new()
            }
        };
        if faults.is_empty() { Ok(Self::Address { url: url.to_owned(), pins }) } else { Err(faults) }
    }
}

/// Whether it can be said as [`Options::control`].
pub fn is_control(said: &str) -> bool {
    said.starts_with('/') || is_address(said.strip_suffix('/').unwrap_or(said))
}

fn is_address(url: &str) -> bool {
    let Some((host, port)) = url.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')) else {
        return false;
    };
    let named = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let host_is = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(named),
    };
    host_is && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// One or more, as the sidecar reads them.
fn pins(said: &str) -> Result<String, String> {
    const WHERE: &str =
        "the controller prints it at its start, and `outrigger status --json` has it as control_pin";
    if said.trim().is_empty() {
        return Err(format!(
            "a sidecar takes orders only from a controller that it can tell from another: give --pin sha256:… ({WHERE})"
        ));
    }
    let mut pins = Vec::new();
    for pin in said.split(',').map(str::trim) {
        let digest = pin.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
        let Some(digest) = digest.filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) else {
            return Err(format!("--pin {pin}: write sha256: and 64 hexadecimal digits ({WHERE})"));
        };
        pins.push(format!("sha256:{}", digest.to_ascii_lowercase()));
    }
    Ok(pins.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn read(control: &str, pin: &str, fargate: bool) -> Result<Control, Vec<Remark>> {
        Control::read(&Options { control: control.into(), pin: pin.into(), ..Options::default() }, fargate)
    }

    #[test]
    fn an_address_comes_with_a_pin() {
        let address = |url: &str, pins: &str| Control::Address { url: url.into(), pins: pins.into() };
        assert_eq!(read("https://a:1/", PIN, true), Ok(address("https://a:1", PIN)));
        assert_eq!(read("https://[fd00::1]:15010", PIN, true), Ok(address("https://[fd00::1]:15010", PIN)));
        let two = format!("{PIN}, {}", PIN.replace("aabb", "AABB"));
        assert_eq!(read("https://a:1", &two, false), Ok(address("https://a:1", &format!("{PIN},{PIN}"))));
        assert_eq!(read("/run/outrigger", "", false), Ok(Control::Folder("/run/outrigger".into())));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        for bad in [
            "http://a:1",
            "https://a",
            "https://:1",
            "https://a:0",
            "https://a:1/x",
            "a:1",
            "https://[a]:1",
            "",
        ] {
            let faults = read(bad, "sha1:00", true).unwrap_err();
            assert_eq!(faults.len(), 2, "{bad}: {faults:?}");
        }
        for pin in ["", "sha256:", "00", &PIN[..70], &format!("{PIN},"), &PIN.replace("00", "zz")] {
            assert_eq!(read("https://a:1", pin, true).unwrap_err().len(), 1, "{pin}");
        }
        assert!(read("/run/outrigger", PIN, true).is_err(), "Fargate has no folder of the host");
    }
}
