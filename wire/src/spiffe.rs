use std::fmt;

use serde::{Deserialize, Serialize};

/// `spiffe://<trust-domain>/<namespace>/<service>` (SPIFFE-ID 1.0; at most 2048 bytes).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId(String);

/// Why a text is not an id of this mesh.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an identity: write spiffe://<trust-domain>/<namespace>/<service>")]
pub struct InvalidSpiffeId(String);

impl SpiffeId {
    /// Builds an id; every part must be non-empty and of `[A-Za-z0-9._-]` (the trust domain in lower case).
    ///
    /// # Errors
    /// A part with another character, an empty part, `.` or `..`, or more than 2048 bytes.
    pub fn new(trust_domain: &str, namespace: &str, service: &str) -> Result<Self, InvalidSpiffeId> {
        let text = format!("spiffe://{trust_domain}/{namespace}/{service}");
        let segment = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let domain = segment(trust_domain) && !trust_domain.bytes().any(|b| b.is_ascii_uppercase());
        if domain && segment(namespace) && segment(service) && text.len() <= 2048 {
            Ok(Self(text))
        } else {
            Err(InvalidSpiffeId(text))
        }
    }

    /// The id as a URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.strip_prefix("spiffe://").unwrap_or_default().split('/')
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        self.parts().next().unwrap_or_default()
    }

    /// The namespace: compose project or ECS cluster.
    pub fn namespace(&self) -> &str {
        self.parts().nth(1).unwrap_or_default()
    }

    /// The service.
    pub fn service(&self) -> &str {
        self.parts().nth(2).unwrap_or_default()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = InvalidSpiffeId;

    fn try_from(text: String) -> Result<Self, InvalidSpiffeId> {
        let parts: Vec<&str> = text.strip_prefix("spiffe://").unwrap_or_default().split('/').collect();
        match parts.as_slice() {
            [domain, namespace, service] => Self::new(domain, namespace, service),
            _ => Err(InvalidSpiffeId(text)),
        }
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_a_round_trip() {
        let id = SpiffeId::new("shop.internal", "shop", "cart").unwrap();
        assert_eq!(id.as_str(), "spiffe://shop.internal/shop/cart");
        let again = SpiffeId::try_from(id.as_str().to_owned()).unwrap();
        assert_eq!(
            (again.trust_domain(), again.namespace(), again.service()),
            ("shop.internal", "shop", "cart")
        );
    }

    #[test]
    fn foreign_shapes_are_refused() {
        for bad in [
            "",
            "spiffe://a/b",
            "spiffe://a/b/c/d",
            "spiffe://A/b/c",
            "https://a/b/c",
            "spiffe://a//c",
            "spiffe://a/../c",
        ] {
            assert!(SpiffeId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
