//! How a sidecar off the controller's host proves which task it belongs to: a signed question to STS, "who am I?", which
//! the controller asks in its place. The sidecar sends four values; URL, body and headers are built from what is written
//! here, by both ends. The signature covers a header that binds it to one controller and one TLS connection, so that it is
//! of no use elsewhere and not twice.

use std::fmt;

use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};

use super::pin::{Pin, hex};

/// The question: a POST to `/` with this body.
pub const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
/// Of the body.
pub const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// The header that binds the signature: [`binding`].
pub const BOUND_TO: &str = "x-outrigger-controller";
/// The headers that are signed: these, and no others.
pub const SIGNED_HEADERS: &str = "content-type;host;x-amz-date;x-amz-security-token;x-outrigger-controller";
/// Label of the exporter (RFC 5705, RFC 8446 section 7.5); no context, 32 bytes.
pub const EXPORTER: &[u8] = b"EXPORTER-outrigger-control-1";

/// What one TLS connection is known by to its two ends, and to nobody else.
pub type Exported = [u8; 32];

const REGION: HeaderName = HeaderName::from_static("outrigger-proof-region");
const DATE: HeaderName = HeaderName::from_static("outrigger-proof-date");
const AUTHORIZATION: HeaderName = HeaderName::from_static("outrigger-proof-authorization");
const TOKEN: HeaderName = HeaderName::from_static("outrigger-proof-token");

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Longest name of a region; the longest so far has 14 letters.
const MAX_REGION: usize = 32;
/// Longest access key id.
const MAX_KEY_ID: usize = 128;
/// Longest session token; AWS gives no bound, those of task roles have about 1,000 letters.
const MAX_TOKEN: usize = 8192;

/// A region of a partition that we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(String);

/// A signed question, without what the controller knows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    region: Region,
    date: String,
    key_id: String,
    signature: String,
    token: String,
}

/// Why headers are no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// No such header, or more than one.
    #[error("there is no proof, or more than one: {0}")]
    Count(&'static str),
    /// Not of the form.
    #[error("the proof cannot be read: {0}")]
    Form(&'static str),
}

/// What the header [`BOUND_TO`] holds: the root's pin and what the connection is known by.
pub fn binding(root: Pin, exported: &Exported) -> String {
    format!("{root}/{}", hex(exported))
}

impl Region {
    /// A region such as `eu-west-1`, `us-gov-west-1` or `cn-north-1`.
    pub fn parse(text: &str) -> Option<Self> {
        let (place, number) = text.rsplit_once('-')?;
        let mut words = place.split('-');
        let letters = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        let first = words.next().filter(|first| first.len() == 2 && letters(first));
        let rest: Vec<&str> = words.collect();
        let known = first.is_some()
            && matches!(rest.len(), 1 | 2)
            && rest.iter().all(|word| letters(word))
            // Partitions of their own, with other names: nobody could be asked there.
            && !rest.iter().any(|word| word.starts_with("iso"))
            && matches!(number.len(), 1 | 2)
            && number.bytes().all(|b| b.is_ascii_digit());
        (known && text.len() <= MAX_REGION).then(|| Self(text.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `aws`, `aws-us-gov` or `aws-cn`.
    pub fn partition(&self) -> &'static str {
        match self.0.split('-').take(2).collect::<Vec<_>>().as_slice() {
            ["cn", ..] => "aws-cn",
            ["us", "gov"] => "aws-us-gov",
            _ => "aws",
        }
    }

    /// The host of its STS.
    pub fn sts(&self) -> String {
        let end = if self.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("sts.{}.{end}", self.0)
    }
}

impl Proof {
    /// Puts a proof together from what a signer made: the time (`20260131T235959Z`), the `Authorization` header, and the
    /// session token.
    ///
    /// # Errors
    /// [`BadProof::Form`]: what a task's credentials do not give.
    pub fn new(region: Region, date: &str, authorization: &str, token: &str) -> Result<Self, BadProof> {
        let bad = BadProof::Form;
        let day = date_of(date).and_then(|_| date.get(..8)).ok_or(bad("date"))?;
        let rest = authorization.strip_prefix(ALGORITHM).ok_or(bad("authorization: algorithm"))?;
        let rest = rest.strip_prefix(" Credential=").ok_or(bad("authorization: credential"))?;
        let (credential, rest) = rest.split_once(", SignedHeaders=").ok_or(bad("authorization: headers"))?;
        let (headers, signature) = rest.split_once(", Signature=").ok_or(bad("authorization: signature"))?;
        let (key_id, scope) = credential.split_once('/').ok_or(bad("authorization: credential"))?;
        if scope != format!("{day}/{}/sts/aws4_request", region.as_str()) {
            return Err(bad("authorization: it is for another day, region or service"));
        }
        if headers != SIGNED_HEADERS {
            return Err(bad("authorization: other headers are signed than those that must be"));
        }
        let key_letter = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if !(16..=MAX_KEY_ID).contains(&key_id.len()) || !key_id.bytes().all(key_letter) {
            return Err(bad("authorization: access key id"));
        }
        if signature.len() != 64 || !signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad("authorization: signature"));
        }
        if !(1..=MAX_TOKEN).contains(&token.len()) || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("session token"));
        }
        let [date, key_id, signature, token] = [date, key_id, signature, token].map(str::to_owned);
        Ok(Self { region, date, key_id, signature, token })
    }

    /// Reads the headers of a request.
    ///
    /// # Errors
    /// See [`BadProof`].
    pub fn read(headers: &HeaderMap) -> Result<Self, BadProof> {
        let one = |name: &HeaderName, word: &'static str| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().map_err(|_| BadProof::Form(word)),
                _ => Err(BadProof::Count(word)),
            }
        };
        let region = Region::parse(one(&REGION, "region")?).ok_or(BadProof::Form("region"))?;
        let authorization = one(&AUTHORIZATION, "authorization")?;
        Self::new(region, one(&DATE, "date")?, authorization, one(&TOKEN, "session token")?)
    }

    /// Writes it into the headers of a request; none of them goes into a table of headers or a log.
    pub fn write(&self, headers: &mut HeaderMap) {
        let values = [
            (REGION, self.region.0.clone()),
            (DATE, self.date.clone()),
            (AUTHORIZATION, self.authorization()),
            (TOKEN, self.token.clone()),
        ];
        for (name, value) in values {
            let mut value = HeaderValue::try_from(value).expect("every part was checked to be visible ASCII");
            value.set_sensitive(true);
            headers.insert(name, value);
        }
    }

    /// The region whose STS knows.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Unix seconds at which it was signed.
    pub fn signed_at(&self) -> u64 {
        date_of(&self.date).unwrap_or_default()
    }

    /// The headers of the question, as they were signed, and the signature. `bound_to` is what the asker knows of the
    /// connection that the proof came over: with another value than the signer's, STS refuses.
    pub fn question(&self, bound_to: &str) -> [(&'static str, String); 6] {
        [
            ("host", self.region.sts()),
            ("content-type", CONTENT_TYPE.to_owned()),
            ("x-amz-date", self.date.clone()),
            ("x-amz-security-token", self.token.clone()),
            (BOUND_TO, bound_to.to_owned()),
            ("authorization", self.authorization()),
        ]
    }

    fn authorization(&self) -> String {
        let Self { key_id, signature, .. } = self;
        let (day, region) = (self.date.get(..8).unwrap_or_default(), self.region.as_str());
        format!(
            "{ALGORITHM} Credential={key_id}/{day}/{region}/sts/aws4_request, SignedHeaders={SIGNED_HEADERS}, \
             Signature={signature}"
        )
    }
}

/// Neither token nor signature.
impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, date, key_id, .. } = self;
        write!(f, "Proof({} {date} {key_id} ***)", region.0)
    }
}

/// Unix seconds of `YYYYMMDDTHHMMSSZ`, 1970 and later.
fn date_of(text: &str) -> Option<u64> {
    let digits = |from: usize, to: usize| {
        let part = text.get(from..to).filter(|part| part.bytes().all(|b| b.is_ascii_digit()))?;
        part.parse::<u64>().ok()
    };
    let form = text.len() == 16 && text.get(8..9) == Some("T") && text.get(15..) == Some("Z");
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let (hour, minute, second) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
    let possible = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !form || !possible {
        return None;
    }
    // Days from the civil calendar, with years that begin in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1;
    /// Of 1 January 1970, counted so.
    const EPOCH: u64 = 719_468;
    Some((days - EPOCH) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests;
