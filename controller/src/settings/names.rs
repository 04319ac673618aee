//! Settings of a hosted zone with the names of services.

use serde::{Deserialize, Serialize};

/// Which tasks a hosted zone's names are for: they find services at different addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamesFor {
    /// Those that the platform redirects: addresses in 240.64.0.0/10.
    Platform,
    /// Those whose sidecar listens at the addresses: 127.64.0.0/10.
    Names,
}

/// `Z0123456789ABCDEFGHIJ`: at most 32 letters and digits.
pub(super) fn is_zone(said: &str) -> bool {
    (1..=32).contains(&said.len()) && said.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// None, or a zone that is not the one of tasks: a name has one kind of address.
pub(super) fn is_edge_zone(said: Option<&str>, names_zone: Option<&str>) -> bool {
    said.is_none_or(|zone| is_zone(zone) && said != names_zone)
}
