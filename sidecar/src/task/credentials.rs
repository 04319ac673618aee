//! The credentials of the task's role: <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::header::HeaderValue;
use serde::Deserialize;

use super::ask::{self, AskError};

/// A path at the agent's address.
pub const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
/// A whole URL; counts where there is no path.
pub const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
/// What is sent along as `Authorization`.
pub const AUTHORIZATION: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";

const AGENT: &str = "http://169.254.170.2";
/// Bytes of an answer; a real one has some 2,000.
const LIMIT: usize = 64 * 1024;

/// Where the credentials are answered.
#[derive(Clone)]
pub struct CredentialsPlace {
    url: Uri,
    authorization: Option<HeaderValue>,
}

/// Keys of a role, for some hours.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Credentials {
    /// Names the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Goes with the key.
    pub token: String,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The task has no role.
    #[error(
        "the task has no role ({RELATIVE} is not set): give its definition a taskRoleArn, by which the sidecar \
         proves itself to the controller"
    )]
    NoRole,
    /// A URL that no credentials may be asked of.
    #[error(
        "{FULL}={0}: credentials are asked over http of this host, 169.254.170.2, 169.254.170.23 and \
         fd00:ec2::23 alone"
    )]
    Host(String),
    /// It cannot stand in a header.
    #[error("{AUTHORIZATION} cannot stand in a header")]
    Authorization,
    /// No answer.
    #[error("the credentials of the task's role: {0}")]
    Ask(#[from] AskError),
    /// An answer that is none.
    #[error("the credentials of the task's role cannot be read (line {line}, column {column})")]
    Json {
        /// Of the answer.
        line: usize,
        /// Of the answer.
        column: usize,
    },
}

impl CredentialsPlace {
    /// A path at the agent, or else a whole URL, as with every SDK; and what to send along.
    ///
    /// # Errors
    /// Neither, or a URL where none may be asked.
    pub fn new(
        relative: Option<&str>,
        full: Option<&str>,
        authorization: Option<&str>,
    ) -> Result<Self, CredentialsError> {
        let authorization = authorization.map(|value| {
            let mut value = HeaderValue::try_from(value).map_err(|_| CredentialsError::Authorization)?;
            value.set_sensitive(true);
            Ok::<_, CredentialsError>(value)
        });
        let authorization = authorization.transpose()?;
        let url: Uri = match (relative, full) {
            (Some(path), _) => {
                let url = format!("{AGENT}/{}", path.trim_start_matches('/'));
                url.parse().map_err(|_| AskError::Url(url))?
            }
            (None, Some(full)) => {
                full.parse().ok().filter(may_be_asked).ok_or(CredentialsError::Host(full.to_owned()))?
            }
            (None, None) => return Err(CredentialsError::NoRole),
        };
        Ok(Self { url, authorization })
    }

    /// The credentials now; the agent renews them. At most 5 s.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub async fn credentials(&self) -> Result<Credentials, CredentialsError> {
        Credentials::read(&ask::get(&self.url, self.authorization.as_ref(), LIMIT).await?)
    }
}

impl Credentials {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is not a JSON object with a key, its name and its token. The fault quotes nothing of it.
    pub fn read(answer: &[u8]) -> Result<Self, CredentialsError> {
        serde_json::from_slice(answer).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            CredentialsError::Json { line, column }
        })
    }
}

/// As the SDKs have it: what cannot leave the host, over plain HTTP.
fn may_be_asked(url: &Uri) -> bool {
    let address = url.host().map(|host| host.trim_matches(['[', ']']));
    let address: Option<IpAddr> = match address {
        Some("localhost") => return url.scheme_str() == Some("http"),
        Some(host) => host.parse().ok(),
        None => None,
    };
    let agents = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
    url.scheme_str() == Some("http")
        && address.is_some_and(|address| {
            address.is_loopback() || agents.iter().any(|agent| agent.parse() == Ok(address))
        })
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} ***)", self.access_key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(relative: Option<&str>, full: Option<&str>) -> Result<String, CredentialsError> {
        CredentialsPlace::new(relative, full, None).map(|place| place.url.to_string())
    }

    #[test]
    fn the_agent_is_asked_or_who_cannot_be_off_the_host() {
        let path = "/v2/credentials/0f2a";
        assert_eq!(
            url(Some(path), Some("http://evil/")).unwrap(),
            "http://169.254.170.2/v2/credentials/0f2a"
        );
        for full in [
            "http://127.0.0.1:9/x",
            "http://localhost/x",
            "http://[::1]/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/x",
        ] {
            assert_eq!(url(None, Some(full)).unwrap(), full);
        }
        for full in [
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "https://sts.amazonaws.com/",
            "ftp://127.0.0.1/",
            "127.0.0.1",
            "http://127.0.0.1.evil.com/",
            "http://evil@10.0.0.1/",
        ] {
            assert!(matches!(url(None, Some(full)), Err(CredentialsError::Host(_))), "{full}");
        }
        assert!(matches!(url(None, None), Err(CredentialsError::NoRole)));
    }

    #[test]
    fn keys_are_read_and_not_shown() {
        let answer = br#"{"RoleArn":"arn:aws:iam::1:role/x","AccessKeyId":"ASIA","SecretAccessKey":"hush","Token":"psst",
            "Expiration":"2026-01-31T00:00:00Z","More":{}}"#;
        let found = Credentials::read(answer).unwrap();
        assert_eq!((found.access_key_id.as_str(), found.token.as_str()), ("ASIA", "psst"));
        assert!(!format!("{found:?}").contains("hush") && !format!("{found:?}").contains("psst"));
        let error = Credentials::read(br#"{"SecretAccessKey":"hush","Token":7}"#).unwrap_err().to_string();
        assert!(!error.contains("hush") && error.contains("line 1"), "{error}");
    }
}
