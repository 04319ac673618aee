//! Who has which address on this engine: containers that are not meshed, and the gateways by which the host and
//! published ports reach a network. For people only; nothing is decided by it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerSummary, EndpointSettings};
use bollard::query_parameters::ListContainersOptions;
use tokio::time::sleep;

use super::connect::connect;
use crate::proxies::Proxies;
use crate::scope::{COMPOSE_PROJECT, COMPOSE_SERVICE};

/// Least time between two listings; sidecars report as often.
const PAUSE: Duration = Duration::from_secs(5);

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// A container.
    Container {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// Compose project and service.
        compose: Option<(String, String)>,
    },
    /// The host's own address on a network: the host calls from it, and so does what comes by a published port of
    /// 127.0.0.1.
    Gateway {
        /// The network's name.
        network: String,
    },
}

/// Addresses that called in plaintext, and whose they are. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(Arc<Mutex<BTreeMap<IpAddr, Known>>>);

#[derive(Debug)]
struct Known {
    /// The call that was looked after, Unix seconds.
    last_seen: u64,
    neighbour: Option<Neighbour>,
}

impl Neighbours {
    /// Whose an address is; none if nobody's on this engine.
    pub fn of(&self, address: IpAddr) -> Option<Neighbour> {
        self.lock().get(&address).and_then(|known| known.neighbour.clone())
    }

    /// True if somebody has called since it was last looked whose the addresses are. Forgets those not named.
    fn is_due(&self, calls: &BTreeMap<IpAddr, u64>) -> bool {
        let mut known = self.lock();
        known.retain(|address, _| calls.contains_key(address));
        calls.iter().any(|(address, last)| known.get(address).is_none_or(|known| known.last_seen < *last))
    }

    /// Takes what the engine shows now. A container that has called and is gone keeps its name.
    pub(crate) fn learn(&self, calls: &BTreeMap<IpAddr, u64>, engine: &BTreeMap<IpAddr, Neighbour>) {
        let mut known = self.lock();
        for (address, last_seen) in calls {
            let before = known.remove(address);
            let called = before.as_ref().is_none_or(|before| before.last_seen < *last_seen);
            let now = engine.get(address).cloned().filter(|_| called);
            let neighbour = now.or_else(|| before.and_then(|before| before.neighbour));
            known.insert(*address, Known { last_seen: *last_seen, neighbour });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks whose the addresses are that sidecars report, for as long as the controller runs. An engine that is away
/// costs names, nothing else.
pub async fn follow(host: String, proxies: Proxies, neighbours: Neighbours) {
    let mut reports = proxies.subscribe();
    let mut docker = None;
    loop {
        let calls = calls(&proxies);
        if neighbours.is_due(&calls) {
            docker = match listed(&host, docker.take()).await {
                Ok((docker, summaries)) => {
                    neighbours.learn(&calls, &of(summaries));
                    Some(docker)
                }
                Err(error) => {
                    tracing::debug!(error, "not known whose the addresses are");
                    None
                }
            };
        }
        sleep(PAUSE).await;
        if reports.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Addresses that called in plaintext, each with its last call.
fn calls(proxies: &Proxies) -> BTreeMap<IpAddr, u64> {
    let mut calls = BTreeMap::new();
    for (report, _) in proxies.all().into_values().filter_map(|proxy| proxy.report) {
        for outsider in report.outsiders {
            let Ok(address) = outsider.address.parse::<IpAddr>() else { continue };
            let last = calls.entry(address).or_insert(0);
            *last = outsider.last_seen.max(*last);
        }
    }
    calls
}

async fn listed(host: &str, docker: Option<Docker>) -> Result<(Docker, Vec<ContainerSummary>), String> {
    let docker = match docker {
        Some(docker) => docker,
        None => connect(host).await.map_err(|error| error.to_string())?.docker,
    };
    let running = docker.list_containers(None::<ListContainersOptions>).await;
    running.map(|summaries| (docker, summaries)).map_err(|error| error.to_string())
}

fn of(summaries: Vec<ContainerSummary>) -> BTreeMap<IpAddr, Neighbour> {
    let mut found = BTreeMap::new();
    for summary in summaries {
        let mut labels = summary.labels.unwrap_or_default();
        let compose = labels.remove(COMPOSE_PROJECT).zip(labels.remove(COMPOSE_SERVICE));
        let name = summary.names.unwrap_or_default().into_iter().next().unwrap_or_default();
        let (id, name) = (summary.id.unwrap_or_default(), name.trim_start_matches('/').to_owned());
        let container = Neighbour::Container { id, name, compose };
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        for (network, endpoint) in networks {
            let EndpointSettings { ip_address, global_ipv6_address, gateway, ipv6_gateway, .. } = endpoint;
            let own = [ip_address, global_ipv6_address].into_iter().filter_map(address);
            found.extend(own.map(|address| (address, container.clone())));
            for address in [gateway, ipv6_gateway].into_iter().filter_map(address) {
                found.entry(address).or_insert_with(|| Neighbour::Gateway { network: network.clone() });
            }
        }
    }
    found
}

/// Empty where there is none; some engines write a prefix length behind it.
fn address(text: Option<String>) -> Option<IpAddr> {
    let text = text?;
    text.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::ContainerSummaryNetworkSettings;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn summary(name: &str, address: &str, labels: &[(&str, &str)]) -> ContainerSummary {
        let endpoint = EndpointSettings {
            ip_address: Some(address.to_owned()),
            global_ipv6_address: Some(String::new()),
            gateway: Some("172.18.0.1".to_owned()),
            ipv6_gateway: Some("fd00::1/64".to_owned()),
            ..EndpointSettings::default()
        };
        let networks = Some(HashMap::from([("shop_default".to_owned(), endpoint)]));
        ContainerSummary {
            id: Some(format!("id-{name}")),
            names: Some(vec![format!("/{name}")]),
            labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
            network_settings: Some(ContainerSummaryNetworkSettings { networks }),
            ..ContainerSummary::default()
        }
    }

    fn container(name: &str) -> Neighbour {
        Neighbour::Container { id: format!("id-{name}"), name: name.to_owned(), compose: None }
    }

    #[test]
    fn containers_and_gateways_have_addresses() {
        let labels = [(COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "old")];
        let found = of(vec![summary("shop-old-1", "172.18.0.9", &labels), summary("x", "172.18.0.8", &[])]);
        let old = found.get(&ip("172.18.0.9")).unwrap();
        assert!(matches!(old, Neighbour::Container { compose: Some((project, service)), .. }
            if project == "shop" && service == "old"));
        let gateway = Neighbour::Gateway { network: "shop_default".into() };
        assert_eq!(
            (found.get(&ip("172.18.0.1")), found.get(&ip("fd00::1"))),
            (Some(&gateway), Some(&gateway))
        );
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn a_caller_keeps_its_name_when_it_is_gone_and_loses_it_to_the_next_one_that_calls() {
        let neighbours = Neighbours::default();
        let calls = |last| BTreeMap::from([(ip("172.18.0.9"), last)]);
        assert!(neighbours.is_due(&calls(1)));
        neighbours.learn(&calls(1), &of(vec![summary("first", "172.18.0.9", &[])]));
        assert!(!neighbours.is_due(&calls(1)));
        let second = of(vec![summary("second", "172.18.0.9", &[])]);
        neighbours.learn(&calls(1), &second);
        assert_eq!(neighbours.of(ip("172.18.0.9")), Some(container("first")), "the second has not called");
        neighbours.learn(&calls(2), &BTreeMap::new());
        assert_eq!(neighbours.of(ip("172.18.0.9")), Some(container("first")), "called, and was gone");
        neighbours.learn(&calls(3), &second);
        assert_eq!(neighbours.of(ip("172.18.0.9")), Some(container("second")));
        assert!(!neighbours.is_due(&BTreeMap::new()));
        assert_eq!(neighbours.of(ip("172.18.0.9")), None);
    }
}
