//! Route 53: reads a private hosted zone and keeps our records in it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_route53::Client;
use aws_sdk_route53::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_route53::types::{self, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType};
use outrigger_model::{Capture, Snapshot};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::batch::batches;
use super::outside::outside;
use super::pace::Pace;
use super::records::{Change, Record, Zone, apply, changes, ours};
use super::wanted::{Lately, Names, inside};
use crate::problems::Problems;
use crate::source::ecs::client::{fault, words};
use crate::status::Problem;

/// Services come in groups: so long is waited for the rest.
const GATHER: Duration = Duration::from_secs(1);
/// The zone is read anew so often: others may change it.
const RELIST: Duration = Duration::from_secs(600);
/// Pause after a failure; doubles up to [`RARELY`].
const AGAIN: Duration = Duration::from_secs(5);
const RARELY: Duration = Duration::from_secs(120);

/// Who asks a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Tasks of the mesh with this capture, `names` or `platform`: they find services at different virtual addresses.
    Tasks(Capture),
    /// Callers outside the mesh: they find the tasks of services with edge ports.
    Outsiders,
}

impl Readers {
    fn names(self, snapshot: &Snapshot) -> (Names, BTreeSet<Problem>) {
        match self {
            Self::Tasks(capture) => (inside(snapshot, capture), BTreeSet::new()),
            Self::Outsiders => outside(snapshot),
        }
    }

    /// Seconds that resolvers keep an answer: a virtual address does not change, a task's is soon another's.
    fn ttl(self) -> i64 {
        match self {
            Self::Tasks(_) => 60,
            Self::Outsiders => 10,
        }
    }

    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Tasks(_) => &["A"],
            Self::Outsiders => &["A", "AAAA"],
        }
    }

    /// Whose problems they are.
    fn finder(self) -> &'static str {
        match self {
            Self::Tasks(_) => "names",
            Self::Outsiders => "names for outsiders",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Tasks(_) => "OUTRIGGER_NAMES_ZONE",
            Self::Outsiders => "OUTRIGGER_EDGE_ZONE",
        }
    }
}

/// A private hosted zone that names of services are kept in.
pub struct HostedZone {
    client: Client,
    id: String,
    readers: Readers,
    mesh: String,
    pace: Pace,
}

/// Why the zone is not as it should be.
#[derive(Debug, thiserror::Error)]
enum ZoneError {
    #[error("{0}")]
    Call(String),
    #[error(
        "it is a public zone, and the addresses mean something in the VPC alone. Make a private hosted zone for the VPC, and \
         name that one in {0}"
    )]
    Public(&'static str),
    #[error("a record cannot be written: {0}")]
    Build(#[from] BuildError),
}

/// What a zone held when it was last read, and what was changed since.
struct Held {
    name: String,
    records: Vec<Record>,
    read: Instant,
}

impl Held {
    /// How long it may be relied on yet.
    fn fresh(&self) -> Duration {
        RELIST.saturating_sub(self.read.elapsed())
    }
}

impl HostedZone {
    /// The zone `id`; `pace` is one for all zones.
    pub fn new(config: &SdkConfig, id: &str, readers: Readers, mesh: &str, pace: Pace) -> Self {
        let id = id.trim_start_matches("/hostedzone/").to_owned();
        Self { client: Client::new(config), id, readers, mesh: mesh.to_owned(), pace }
    }

    /// Keeps the records; never ends.
    pub async fn keep(self, mut snapshot: watch::Receiver<Arc<Snapshot>>, problems: Problems) {
        // The first one is nobody's view.
        drop(snapshot.wait_for(|snapshot| !snapshot.trust_domain.is_empty()).await);
        let (mut held, mut pause, mut lately) = (None, AGAIN, None);
        loop {
            match self.turn(&mut held, &mut lately, &mut snapshot).await {
                Ok(found) => {
                    problems.set(self.readers.finder(), found);
                    pause = AGAIN;
                    let fresh = held.as_ref().map(Held::fresh).unwrap_or_default();
                    match timeout(fresh, snapshot.changed()).await {
                        Ok(Ok(())) => sleep(GATHER).await,
                        Ok(Err(_)) => std::future::pending().await,
                        Err(_) => {}
                    }
                    // Also where there is always something to do.
                    held = held.filter(|held| !held.fresh().is_zero());
                }
                Err(error) => {
                    let (kind, subject) = ("names", format!("hosted zone {}", self.id));
                    let what = format!("{error}; what is there stays, and it is tried again");
                    problems.set(self.readers.finder(), [Problem { kind, subject, what }].into());
                    held = None;
                    sleep(pause).await;
                    pause = RARELY.min(pause * 2);
                }
            }
        }
    }

    fn zone<'a>(&'a self, name: &'a str) -> Zone<'a> {
        Zone { name, mesh: &self.mesh, ttl: self.readers.ttl(), kinds: self.readers.kinds() }
    }

    /// Has the zone hold what the newest snapshot wants.
    async fn turn(
        &self,
        held: &mut Option<Held>,
        lately: &mut Option<Lately>,
        snapshot: &mut watch::Receiver<Arc<Snapshot>>,
    ) -> Result<BTreeSet<Problem>, ZoneError> {
        let held = match held {
            Some(held) => held,
            None => held.insert(self.read().await?),
        };
        let lately = lately.get_or_insert_with(|| match self.readers {
            Readers::Tasks(_) => Lately::default(),
            // Tasks may be in the midst of being replaced when this controller starts.
            Readers::Outsiders => Lately::left(ours(&held.records, self.zone(&held.name)), Instant::now()),
        });
        let (names, mut problems) = self.readers.names(&snapshot.borrow_and_update());
        let names = lately.and(names, Instant::now());
        let (changes, taken) = changes(&held.records, &names, self.zone(&held.name));
        problems.extend(taken);
        for batch in batches(&changes) {
            self.change(batch.iter().flatten()).await?;
            batch.iter().flatten().cloned().for_each(|change| apply(&mut held.records, change));
            tracing::info!(zone = self.id, names = batch.len(), "hosted zone changed");
        }
        Ok(problems)
    }

    async fn read(&self) -> Result<Held, ZoneError> {
        self.pace.turn().await;
        let zone = self
            .client
            .get_hosted_zone()
            .id(&self.id)
            .send()
            .await
            .map_err(failed("route53:GetHostedZone"))?;
        let zone =
            zone.hosted_zone.ok_or_else(|| ZoneError::Call("GetHostedZone: it says nothing".into()))?;
        if !zone.config.is_some_and(|config| config.private_zone) {
            return Err(ZoneError::Public(self.readers.variable()));
        }
        let (mut records, mut from) = (Vec::new(), None::<(Option<String>, Option<RrType>)>);
        loop {
            self.pace.turn().await;
            let (name, kind) = from.take().unwrap_or_default();
            let call = self.client.list_resource_record_sets().hosted_zone_id(&self.id);
            let page = call.set_start_record_name(name).set_start_record_type(kind);
            let page = page.send().await.map_err(failed("route53:ListResourceRecordSets"))?;
            records.extend(page.resource_record_sets.into_iter().map(record));
            if !page.is_truncated {
                return Ok(Held { name: zone.name, records, read: Instant::now() });
            }
            from = Some((page.next_record_name, page.next_record_type));
        }
    }

    async fn change(&self, changes: impl Iterator<Item = &Change>) -> Result<(), ZoneError> {
        let changes: Vec<types::Change> = changes.map(change).collect::<Result<_, _>>()?;
        let batch = ChangeBatch::builder().comment("outrigger").set_changes(Some(changes)).build()?;
        self.pace.turn().await;
        let call = self.client.change_resource_record_sets().hosted_zone_id(&self.id).change_batch(batch);
        call.send().await.map(drop).map_err(failed("route53:ChangeResourceRecordSets"))
    }
}

fn failed<E>(operation: &'static str) -> impl FnOnce(SdkError<E>) -> ZoneError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    move |error| ZoneError::Call(format!("{operation}: {}", words(operation, fault(&error), &error)))
}

/// One with an alias or a routing policy is none that we make, and has a type that is none of ours: what would be written over it,
/// or taken away, is not what was read here.
fn record(set: ResourceRecordSet) -> Record {
    let plain = set.alias_target.is_none()
        && set.set_identifier.is_none()
        && set.health_check_id.is_none()
        && set.traffic_policy_instance_id.is_none();
    let values = set.resource_records.unwrap_or_default().into_iter();
    let mut values: Vec<_> = values.map(|record| record.value).collect();
    values.sort();
    Record {
        name: set.name.to_ascii_lowercase(),
        kind: if plain { set.r#type.as_str().to_owned() } else { format!("{} by a policy", set.r#type) },
        ttl: set.ttl.unwrap_or_default(),
        values,
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

#[cfg(test)]
mod tests {
    use super::super::records::changes;
    use super::*;
    use aws_sdk_route53::types::AliasTarget;

    /// Somebody puts an alias, or a weighted record, in the place of our address: it was written over, or stood in the way of every
    /// other change, since a record without values is none.
    #[test]
    fn an_alias_or_a_weighted_record_at_a_name_of_ours_is_left_alone() {
        let zone = Zone { name: "mesh.internal.", mesh: "shop", ttl: 60, kinds: &["A"] };
        let wanted: Names = [("cart".to_owned(), [[240, 64, 0, 1].into()].into())].into();
        let mut owned = Vec::new();
        changes(&[], &wanted, zone).0.into_iter().flatten().for_each(|change| apply(&mut owned, change));
        owned.retain(|record| record.kind == "TXT");
        let set = || ResourceRecordSet::builder().name("Cart.mesh.internal.").r#type(RrType::A);
        let target = AliasTarget::builder().hosted_zone_id("Z1").dns_name("lb.example.");
        let alias = set().alias_target(target.evaluate_target_health(false).build().unwrap());
        let value = ResourceRecord::builder().value("10.0.0.1").build().unwrap();
        let weighted = set().set_identifier("blue").weight(1).ttl(60).resource_records(value);
        for theirs in [alias, weighted] {
            let mut there = owned.clone();
            there.push(record(theirs.build().unwrap()));
            let (steps, problems) = changes(&there, &wanted, zone);
            assert!(steps.is_empty() && problems.len() == 1, "{steps:?}");
            let (gone, _) = changes(&there, &Names::new(), zone);
            assert!(
                matches!(&gone[..], [only] if matches!(&only[..], [Change::Delete(note)] if note.kind == "TXT"))
            );
        }
    }

    /// In a mesh where something changes all the time the zone was never read again.
    #[test]
    fn a_zone_that_was_read_ten_minutes_ago_is_read_anew_however_much_happens() {
        let held = |ago| Held {
            name: String::new(),
            records: Vec::new(),
            read: Instant::now().checked_sub(ago).unwrap(),
        };
        assert!(!held(RELIST / 2).fresh().is_zero());
        assert!(held(RELIST).fresh().is_zero() && held(RELIST * 2).fresh().is_zero());
    }
}
