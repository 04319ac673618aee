//! Route 53: reads a private hosted zone and keeps our records in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_route53::Client;
use aws_sdk_route53::error::{BuildError, DisplayErrorContext};
use aws_sdk_route53::types::{self, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use outrigger_model::{Capture, Snapshot};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::records::{Change, Lately, Record, apply, changes, wanted};
use crate::problems::Problems;
use crate::status::Problem;

/// Between two calls: an account has five a second for all who call.
const PACE: Duration = Duration::from_millis(400);
/// Services come in groups: so long is waited for the rest.
const GATHER: Duration = Duration::from_secs(1);
/// The zone is read anew so often: others may change it.
const RELIST: Duration = Duration::from_secs(600);
/// Pause after a failure; doubles up to [`RARELY`].
const AGAIN: Duration = Duration::from_secs(5);
const RARELY: Duration = Duration::from_secs(120);
/// Names in one batch: at most 1,000 records may be in it, and one that is replaced counts twice.
const BATCH: usize = 250;

/// A private hosted zone that names of services are kept in.
pub struct HostedZone {
    client: Client,
    id: String,
    capture: Capture,
    mesh: String,
}

/// Why the zone is not as it should be.
#[derive(Debug, thiserror::Error)]
enum ZoneError {
    #[error("{0}")]
    Call(String),
    #[error(
        "it is a public zone: virtual addresses mean something in tasks of the mesh alone. Make a private hosted zone for the \
         VPC, and name that one in OUTRIGGER_NAMES_ZONE"
    )]
    Public,
    #[error("a record cannot be written: {0}")]
    Build(#[from] BuildError),
}

/// What a zone held when it was last read, and what was changed since.
struct Held {
    name: String,
    records: Vec<Record>,
}

impl HostedZone {
    /// The zone `id`. `capture`: how tasks that ask it are captured, `names` or `platform`; they find services at different
    /// addresses.
    pub fn new(config: &SdkConfig, id: &str, capture: Capture, mesh: &str) -> Self {
        let id = id.trim_start_matches("/hostedzone/").to_owned();
        Self { client: Client::new(config), id, capture, mesh: mesh.to_owned() }
    }

    /// Keeps the records; never ends.
    pub async fn keep(self, mut snapshot: watch::Receiver<Arc<Snapshot>>, problems: Problems) {
        // The first one is nobody's view.
        drop(snapshot.wait_for(|snapshot| !snapshot.trust_domain.is_empty()).await);
        let (mut held, mut pause, mut lately) = (None, AGAIN, Lately::default());
        loop {
            let names = wanted(&snapshot.borrow_and_update(), self.capture);
            let names = lately.and(names, Instant::now());
            match self.reconcile(&mut held, &names).await {
                Ok(found) => {
                    problems.set("names", found);
                    pause = AGAIN;
                    match timeout(RELIST, snapshot.changed()).await {
                        Ok(Ok(())) => sleep(GATHER).await,
                        Ok(Err(_)) => std::future::pending().await,
                        Err(_) => held = None,
                    }
                }
                Err(error) => {
                    let (kind, subject) = ("names", format!("hosted zone {}", self.id));
                    let what = format!("{error}; what is there stays, and it is tried again");
                    problems.set("names", [Problem { kind, subject, what }].into());
                    held = None;
                    sleep(pause).await;
                    pause = RARELY.min(pause * 2);
                }
            }
        }
    }

    async fn reconcile(
        &self,
        held: &mut Option<Held>,
        names: &BTreeMap<String, Ipv4Addr>,
    ) -> Result<BTreeSet<Problem>, ZoneError> {
        let held = match held {
            Some(held) => held,
            None => held.insert(self.read().await?),
        };
        let (changes, problems) = changes(&held.records, names, (&held.name, &self.mesh));
        for batch in changes.chunks(BATCH) {
            self.change(batch.iter().flatten()).await?;
            batch.iter().flatten().cloned().for_each(|change| apply(&mut held.records, change));
            tracing::info!(zone = self.id, names = batch.len(), "hosted zone changed");
            sleep(PACE).await;
        }
        Ok(problems)
    }

    async fn read(&self) -> Result<Held, ZoneError> {
        let zone =
            self.client.get_hosted_zone().id(&self.id).send().await.map_err(failed("GetHostedZone"))?;
        let zone =
            zone.hosted_zone.ok_or_else(|| ZoneError::Call("GetHostedZone: it says nothing".into()))?;
        if !zone.config.is_some_and(|config| config.private_zone) {
            return Err(ZoneError::Public);
        }
        let (mut records, mut from) = (Vec::new(), None::<(Option<String>, Option<RrType>)>);
        loop {
            sleep(PACE).await;
            let (name, kind) = from.take().unwrap_or_default();
            let call = self.client.list_resource_record_sets().hosted_zone_id(&self.id);
            let page = call.set_start_record_name(name).set_start_record_type(kind);
            let page = page.send().await.map_err(failed("ListResourceRecordSets"))?;
            records.extend(page.resource_record_sets.into_iter().map(record));
            if !page.is_truncated {
                return Ok(Held { name: zone.name, records });
            }
            from = Some((page.next_record_name, page.next_record_type));
        }
    }

    async fn change(&self, changes: impl Iterator<Item = &Change>) -> Result<(), ZoneError> {
        let changes: Vec<types::Change> = changes.map(change).collect::<Result<_, _>>()?;
        let batch = ChangeBatch::builder().comment("outrigger").set_changes(Some(changes)).build()?;
        let call = self.client.change_resource_record_sets().hosted_zone_id(&self.id).change_batch(batch);
        call.send().await.map(drop).map_err(failed("ChangeResourceRecordSets"))
    }
}

fn failed<E: std::error::Error>(call: &'static str) -> impl FnOnce(E) -> ZoneError {
    move |error| ZoneError::Call(format!("{call}: {}", DisplayErrorContext(&error)))
}

fn record(set: ResourceRecordSet) -> Record {
    let values = set.resource_records.unwrap_or_default().into_iter().map(|record| record.value);
    Record {
        name: set.name.to_ascii_lowercase(),
        kind: set.r#type.as_str().to_owned(),
        ttl: set.ttl.unwrap_or_default(),
        values: values.collect(),
    }
}

fn change(change: &Change) -> Result<types::Change, BuildError> {
    let (action, record) = match change {
        Change::Create(record) => (ChangeAction::Create, record),
        Change::Replace(record) => (ChangeAction::Upsert, record),
        Change::Delete(record) => (ChangeAction::Delete, record),
    };
    let values = record.values.iter().map(|value| ResourceRecord::builder().value(value).build());
    let set = ResourceRecordSet::builder()
        .name(&record.name)
        .r#type(RrType::from(record.kind.as_str()))
        .ttl(record.ttl)
        .set_resource_records(Some(values.collect::<Result<_, _>>()?))
        .build()?;
    types::Change::builder().action(action).resource_record_set(set).build()
}
