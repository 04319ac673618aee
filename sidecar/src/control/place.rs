use std::fmt;
use std::path::PathBuf;

use http::Uri;
use outrigger_wire::control::PORT;
use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

/// Where the controller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// On this host: a Unix socket.
    Socket(PathBuf),
    /// Anywhere: TLS.
    Remote {
        /// A name or an address, without brackets.
        host: String,
        /// Default 15010.
        port: u16,
    },
}

/// Why a text is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a path nor https://HOST:PORT")]
pub struct InvalidPlace(String);

impl TryFrom<String> for Place {
    type Error = InvalidPlace;

    fn try_from(text: String) -> Result<Self, InvalidPlace> {
        if !text.contains("://") {
            return if text.is_empty() { Err(InvalidPlace(text)) } else { Ok(Self::Socket(text.into())) };
        }
        let uri: Option<Uri> = text.parse().ok();
        let uri = uri.filter(|uri| {
            let path = uri.path_and_query().map(|path| path.as_str());
            uri.scheme_str() == Some("https") && matches!(path, None | Some("" | "/"))
        });
        // A host with a name before it (user@host) is none of ours, nor is a port out of range.
        let authority = uri.as_ref().and_then(Uri::authority).filter(|found| {
            let port = found.as_str().strip_prefix(found.host());
            port == Some("") || found.port_u16().is_some_and(|port| port != 0)
        });
        match authority {
            Some(found) if ServerName::try_from(found.host().trim_matches(['[', ']'])).is_ok() => {
                let host = found.host().trim_matches(['[', ']']).to_owned();
                Ok(Self::Remote { host, port: found.port_u16().unwrap_or(PORT) })
            }
            _ => Err(InvalidPlace(text)),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Remote { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Self::Remote { host, port } => write!(f, "https://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_paths_or_https() {
        let read = |text: &str| Place::try_from(text.to_owned()).map(|place| place.to_string());
        for (text, want) in [
            ("/run/x.sock", "/run/x.sock"),
            ("https://controller", "https://controller:15010"),
            ("https://controller:443/", "https://controller:443"),
            ("https://[fd00::1]:7", "https://[fd00::1]:7"),
            ("https://10.0.0.9", "https://10.0.0.9:15010"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(want));
        }
        for bad in [
            "",
            "http://c",
            "https://",
            "https://c/path",
            "https://c?x",
            "https://c:0",
            "https://c:99999",
            "https://u@c",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
