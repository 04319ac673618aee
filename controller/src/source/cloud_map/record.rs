//! What Cloud Map says of one service, as plain values.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use outrigger_model::mesh::CloudMap;
use outrigger_model::{Health, ServiceKey};
use tokio::time::Instant;

use super::address::{Refused, check};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lookup {
    /// Name of the namespace.
    pub namespace: String,
    /// Name of the service there.
    pub service: String,
    /// What its instances must have.
    pub attributes: BTreeMap<String, String>,
}

impl Lookup {
    /// What the mesh file says of a service.
    pub fn of(key: &ServiceKey, said: &CloudMap) -> Self {
        Self {
            namespace: said.namespace.clone(),
            service: said.service.clone().unwrap_or_else(|| key.service.clone()),
            attributes: said.attributes.clone(),
        }
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cloud Map {}/{}", self.namespace, self.service)?;
        self.attributes.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id; ECS takes the task's.
    pub id: String,
    /// Where it is, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Where it serves, if that is said.
    pub port: Option<u16>,
    /// Its availability zone.
    pub zone: Option<String>,
    /// Name of the ECS cluster whose task it is; ECS says so of those that it registers.
    pub cluster: Option<String>,
    /// What its health check says; unchecked where there is none.
    pub health: Health,
}

/// Why an instance is left alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No id.
    #[error("an instance without an id")]
    Nameless,
    /// Only a name, which callers would have to resolve.
    #[error(
        "instance {0} has a name ({1}) in the place of an address: register it with AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6"
    )]
    Name(String, &'static str),
    /// Nothing to reach it by.
    #[error("instance {0} has no AWS_INSTANCE_IPV4 and no AWS_INSTANCE_IPV6")]
    Nowhere(String),
    /// Not to be read.
    #[error("instance {0}: {1} is {2:?}, which is no {3}")]
    Unreadable(String, &'static str, String, &'static str),
    /// Where nobody of the mesh is to be led.
    #[error("instance {0}: {1}")]
    Refused(String, Refused),
}

impl Instance {
    /// From the attributes that it was registered with.
    ///
    /// # Errors
    /// It cannot be called, or must not be.
    pub fn read(id: &str, health: Health, attributes: &HashMap<String, String>) -> Result<Self, Unusable> {
        if id.is_empty() {
            return Err(Unusable::Nameless);
        }
        let said = |name: &str| attributes.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let unreadable =
            |name, value: &str, what| Unusable::Unreadable(id.to_owned(), name, value.to_owned(), what);
        let mut addresses: Vec<IpAddr> = Vec::new();
        if let Some(text) = said(IPV4) {
            let address = text.parse::<Ipv4Addr>().map_err(|_| unreadable(IPV4, text, "IPv4 address"))?;
            addresses.push(address.into());
        }
        if let Some(text) = said(IPV6) {
            let address = text.parse::<Ipv6Addr>().map_err(|_| unreadable(IPV6, text, "IPv6 address"))?;
            addresses.push(address.into());
        }
        for address in &addresses {
            check(*address).map_err(|refused| Unusable::Refused(id.to_owned(), refused))?;
        }
        if addresses.is_empty() {
            let name = NAMES.into_iter().find(|name| said(name).is_some());
            return Err(match name {
                Some(name) => Unusable::Name(id.to_owned(), name),
                None => Unusable::Nowhere(id.to_owned()),
            });
        }
        let port =
            said(PORT).map(|text| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(text)).transpose();
        let port = port.map_err(|text| unreadable(PORT, text, "port"))?;
        let zone = ZONES.into_iter().find_map(said).map(str::to_owned);
        let cluster = said(CLUSTER).map(str::to_owned);
        Ok(Self { id: id.to_owned(), addresses, port, zone, cluster, health })
    }
}

const IPV4: &str = "AWS_INSTANCE_IPV4";
const IPV6: &str = "AWS_INSTANCE_IPV6";
const PORT: &str = "AWS_INSTANCE_PORT";
const NAMES: [&str; 2] = ["AWS_INSTANCE_CNAME", "AWS_ALIAS_DNS_NAME"];
/// As ECS writes it for service discovery, and for Service Connect.
const ZONES: [&str; 2] = ["AVAILABILITY_ZONE", "AvailabilityZone"];
const CLUSTER: &str = "ECS_CLUSTER_NAME";

/// What is known of one lookup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The last good answer, to this question or to the one in whose place it was written; none before the first.
    pub instances: Option<Arc<[Instance]>>,
    /// What of it cannot be used, for people.
    pub left_out: Arc<[String]>,
    /// When Cloud Map last answered.
    pub asked: Option<Instant>,
    /// Why it does not; none: it does.
    pub error: Option<String>,
    /// It was asked a short while ago for the first time. That nobody is known says nothing yet.
    pub awaited: bool,
}

/// All lookups that the mesh file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// By what was asked.
    pub answers: Arc<BTreeMap<Lookup, Answer>>,
    /// All were answered once, or waited for long enough.
    pub begun: bool,
}

impl Seen {
    /// Says the same, of whichever age.
    pub fn shows_what(&self, other: &Self) -> bool {
        let same = |((a, one), (b, other)): ((&Lookup, &Answer), (&Lookup, &Answer))| {
            (a, &one.instances, &one.left_out, &one.error, one.awaited)
                == (b, &other.instances, &other.left_out, &other.error, other.awaited)
        };
        self.begun == other.begun
            && self.answers.len() == other.answers.len()
            && self.answers.iter().zip(&*other.answers).all(same)
    }
}

#[cfg(test)]
mod tests;
