//! A compose project that does not run, as the mesh would see it if it did.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use outrigger_compile::service_key;
use outrigger_inject::compose::Outline;
use outrigger_model::mesh::Fault;
use outrigger_model::{
    Attachment, Health, Lifecycle, Mesh, Observed, ServiceKey, Snapshot, VirtualIndex, Workload, WorkloadId,
    label,
};

/// Addresses for replicas that have none yet: 198.18.0.0/15 is for benchmarks and on no network (RFC 2544).
const ADDRESSES: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// How many that net has.
const ADDRESS_COUNT: u32 = 1 << 17;

/// What the project would be, and what of labels and mesh file does not hold.
pub struct Imagined {
    /// Every replica runs, is healthy, and listens on all its ports.
    pub snapshot: Snapshot,
    /// By service.
    pub faults: Vec<(String, Fault)>,
    /// Names of workloads by compose service, in order.
    pub workloads: BTreeMap<String, Vec<String>>,
}

impl Imagined {
    /// True if no port of this compose service is known.
    pub fn is_silent(&self, service: &str) -> bool {
        let first = self.workloads.get(service).and_then(|names| names.first());
        let workload = first.and_then(|name| self.snapshot.workloads.get(&WorkloadId(name.clone())));
        workload.is_some_and(|workload| outrigger_compile::ports_of(&[workload]).is_empty())
    }
}

/// Imagines the project as running.
pub fn imagine(namespace: &str, trust_domain: &str, mesh: &Mesh, services: &[Outline]) -> Imagined {
    let mut imagined = Imagined {
        snapshot: Snapshot { trust_domain: trust_domain.to_owned(), ..Snapshot::default() },
        faults: Vec::new(),
        workloads: BTreeMap::new(),
    };
    let mut addresses = (1..ADDRESS_COUNT).map(|n| IpAddr::V4(Ipv4Addr::from(u32::from(ADDRESSES) + n)));
    for service in services.iter().filter(|service| service.meshed) {
        let labels = label::read(&service.labels);
        let name = labels.service.clone().unwrap_or_else(|| service.name.to_ascii_lowercase());
        let key = ServiceKey { namespace: namespace.to_owned(), service: name };
        let (declared, faults) = mesh.declare(&key, &labels, &service.published);
        imagined.faults.extend(faults.into_iter().map(|fault| (service.name.clone(), fault)));
        let said: BTreeSet<u16> = declared.ports.keys().chain(&service.ports).copied().collect();
        for _ in 0..service.replicas {
            let known = imagined.workloads.entry(service.name.clone()).or_default();
            let name = format!("{namespace}-{}-{}", service.name, known.len() + 1);
            known.push(name.clone());
            let mut attach = |network: &String| {
                let network = format!("{namespace}_{network}");
                let addresses = addresses.next().into_iter().collect();
                (network.clone(), Attachment { network, addresses })
            };
            let workload = Workload {
                id: WorkloadId(name.clone()),
                name,
                namespace: namespace.to_owned(),
                declared: declared.clone(),
                aliases: service.networks.values().flatten().cloned().collect(),
                zone: None,
                networks: service.networks.keys().map(&mut attach).collect(),
                exposed: service.ports.clone(),
                published: service.published.clone(),
                instance: None,
                lifecycle: Lifecycle::Running,
                health: Health::Unchecked,
                one_off: false,
                mesh_port: None,
                outside: None,
                observed: Some(Observed { ready: true, listening: said.clone(), ..Observed::default() }),
            };
            imagined.snapshot.workloads.insert(workload.id.clone(), workload.into());
        }
    }
    let keys: BTreeSet<ServiceKey> =
        imagined.snapshot.workloads.values().map(|workload| service_key(workload)).collect();
    let indices = keys.into_iter().zip((1..).map_while(VirtualIndex::new));
    imagined.snapshot.indices = indices.collect();
    imagined
}
