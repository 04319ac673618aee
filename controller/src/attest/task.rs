//! Which task of ECS is at the other end of a TLS connection: AWS says whose the proof is, the view of ECS says which task
//! that is, and the two must agree in account, role and address.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_model::WorkloadId;
use outrigger_wire::control::proof::{BadProof, Proof, Region};
use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::Pace;
use super::sts::{Role, Sts, StsError};
use super::{AHEAD, Caller};
use crate::source::ecs::record::{Definition, NetworkMode, Seen, Task, last_part};

/// How far the clocks of two hosts may be apart.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Proofs that do not hold which an address may have in a row, and at once; on a host in bridge mode, all tasks call from
/// one.
const BURST: f64 = 64.0;
/// So many more in a second.
const PER_SECOND: f64 = 1.0;

/// Knows the tasks of the watched clusters by their proofs.
pub struct TaskAttestor {
    seen: watch::Receiver<Seen>,
    sts: Sts,
    pace: Pace,
}

/// Why a task is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskRefused {
    /// There is no proof.
    #[error(transparent)]
    Proof(#[from] BadProof),
    /// The address was refused too often.
    #[error("{0} was refused too often: it is heard again in some seconds")]
    Pause(IpAddr),
    /// The date of the proof.
    #[error("the proof was signed at another time than now: set the clock of the task's host, or this one's")]
    Date,
    /// The controller has not seen the clusters yet.
    #[error("the controller does not know the tasks of its clusters yet")]
    NoView,
    /// Nobody there can be a task's sidecar.
    #[error(
        "{address} is not the address of a meshed task of {region} that this controller watches (OUTRIGGER_CLUSTERS), or \
         something between here and there changes addresses"
    )]
    Nobody {
        /// Whence.
        address: IpAddr,
        /// Of the proof.
        region: String,
    },
    /// STS says no, or nothing.
    #[error(transparent)]
    Sts(#[from] StsError),
    /// No such task.
    #[error(
        "the session {session} of the role {role} is no task of the watched ECS clusters (OUTRIGGER_CLUSTERS): a role whose \
         trust policy admits others than ecs-tasks.amazonaws.com lets them try"
    )]
    Unknown {
        /// Of the proof.
        session: String,
        /// Of the proof.
        role: String,
    },
    /// It is to stop, or has stopped.
    #[error("task {0} is stopping")]
    Stopping(String),
    /// Its definition has no sidecar.
    #[error("task {0} is not meshed: its definition has no container of ours (outrigger inject ecs)")]
    NotMeshed(String),
    /// Another account's role.
    #[error("task {task} is of account {wanted}, and the proof is of account {found}")]
    Account {
        /// The task.
        task: String,
        /// Its own.
        wanted: String,
        /// Of the proof.
        found: String,
    },
    /// Another role.
    #[error(
        "task {task} has the role {wanted} by its definition, and the proof is of {found}: set taskRoleArn, and no other at RunTask"
    )]
    Role {
        /// The task.
        task: String,
        /// Its definition's.
        wanted: String,
        /// Of the proof.
        found: String,
    },
    /// Another region's proof.
    #[error("task {task} is of another region or partition than its proof ({found})")]
    Region {
        /// The task.
        task: String,
        /// Of the proof.
        found: String,
    },
    /// Another address.
    #[error(
        "task {task} has the address {wanted}, and the call comes from {found}: nothing between here and there may change \
         addresses"
    )]
    Address {
        /// The task.
        task: String,
        /// Its own.
        wanted: String,
        /// Whence.
        found: IpAddr,
    },
}

impl TaskRefused {
    /// It is no fault of the caller: it may be right the next time.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::NoView | Self::Sts(StsError::Away { .. }))
    }

    /// Worth telling people.
    pub fn is_news(&self) -> bool {
        !matches!(self, Self::Pause(_) | Self::NoView)
    }

    /// The task it is about, where AWS or the view has said so.
    pub fn task(&self) -> Option<&str> {
        match self {
            Self::Stopping(task) | Self::NotMeshed(task) => Some(task),
            Self::Account { task, .. }
            | Self::Role { task, .. }
            | Self::Region { task, .. }
            | Self::Address { task, .. } => Some(task),
            Self::Unknown { session, .. } => Some(session),
            _ => None,
        }
    }
}

impl TaskAttestor {
    /// Looks into what the ECS source sees.
    pub fn new(seen: watch::Receiver<Seen>, sts: Sts) -> Self {
        Self { seen, sts, pace: Pace::new(BURST, PER_SECOND) }
    }

    /// Resolves once the task is over.
    pub async fn over(&self, workload: &WorkloadId) {
        super::over(&self.seen, workload).await;
    }

    /// The task whose proof this is, called from `address` over the connection that `bound_to` names. What costs little is
    /// looked at first; a task that the view does not show yet is waited for, 5 s.
    ///
    /// # Errors
    /// See [`TaskRefused`].
    pub async fn caller(
        &self,
        proof: Result<Proof, BadProof>,
        bound_to: &str,
        address: IpAddr,
    ) -> Result<Caller, TaskRefused> {
        let address = address.to_canonical();
        // Taken before it is known whether the proof holds: many at once are not heard oftener than one after another.
        if !self.pace.take(address, Instant::now()) {
            return Err(TaskRefused::Pause(address));
        }
        let found = self.known(proof, bound_to, address).await;
        if found.as_ref().map_or_else(TaskRefused::is_ours, |_| true) {
            self.pace.give_back(address, Instant::now());
        }
        found
    }

    async fn known(
        &self,
        proof: Result<Proof, BadProof>,
        bound_to: &str,
        address: IpAddr,
    ) -> Result<Caller, TaskRefused> {
        let proof = proof?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if proof.signed_at().abs_diff(now) > SKEW.as_secs() {
            return Err(TaskRefused::Date);
        }
        let region = proof.region();
        self.until(|seen| anybody(seen, region, address)).await?;
        let role = self.sts.role(&proof, bound_to).await?;
        self.until(|seen| judge(seen, &role, region, address)).await
    }

    /// What `look` finds, once it finds something; else, after a while, why it does not.
    async fn until<T>(&self, look: impl Fn(&Seen) -> Result<T, TaskRefused>) -> Result<T, TaskRefused> {
        let mut seen = self.seen.clone();
        let mut found = Err(TaskRefused::NoView);
        let looking = seen.wait_for(|seen| {
            found = if seen.listed.is_some() { look(seen) } else { Err(TaskRefused::NoView) };
            found.as_ref().map_or_else(|refused| !is_early(refused), |_| true)
        });
        let _looked = tokio::time::timeout(AHEAD, looking).await;
        found
    }
}

/// Events that are on their way may show the task, or its address.
fn is_early(refused: &TaskRefused) -> bool {
    match refused {
        TaskRefused::NoView | TaskRefused::Nobody { .. } | TaskRefused::Unknown { .. } => true,
        TaskRefused::Address { wanted, .. } => wanted.is_empty(),
        _ => false,
    }
}

/// Whether the sidecar of some task may be at this address: before AWS is asked.
fn anybody(seen: &Seen, region: &Region, address: IpAddr) -> Result<(), TaskRefused> {
    let here = |task: &Task| {
        let definition = seen.definitions.get(&task.definition);
        Arn::of(&task.arn).is_some_and(|arn| arn.region == region.as_str())
            && definition.is_some_and(|definition| definition.sidecar && is_at(task, definition, address))
    };
    let nobody = || TaskRefused::Nobody { address, region: region.as_str().to_owned() };
    seen.tasks.values().any(|task| here(task)).then_some(()).ok_or_else(nobody)
}

/// In bridge and host mode the address is the host's, which nothing here tells.
fn is_at(task: &Task, definition: &Definition, address: IpAddr) -> bool {
    match definition.network_mode {
        NetworkMode::Awsvpc => task.addresses.contains(&address),
        NetworkMode::Bridge | NetworkMode::Host => true,
        NetworkMode::None => false,
    }
}

/// The parts of a task's ARN, `arn:PARTITION:ecs:REGION:ACCOUNT:task/…`.
struct Arn<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
}

impl<'a> Arn<'a> {
    fn of(arn: &'a str) -> Option<Self> {
        let mut parts = arn.splitn(6, ':').skip(1);
        let partition = parts.next()?;
        let region = parts.nth(1)?;
        Some(Self { partition, region, account: parts.next()? })
    }
}

/// Account and name of `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`: STS leaves the path out, and a name is there once in
/// an account.
fn role_of(arn: &str) -> Option<(&str, &str)> {
    let (front, path) = arn.split_once(":role/")?;
    Some((front.rsplit(':').next()?, last_part(path)))
}

/// The task of a role's session, if everything agrees.
fn judge(seen: &Seen, role: &Role, region: &Region, address: IpAddr) -> Result<Caller, TaskRefused> {
    let mut named = seen.tasks.iter().filter(|(_, task)| task.id == role.session);
    let (Some((workload, task)), None) = (named.next(), named.next()) else {
        let (session, role) = (role.session.clone(), role.name.clone());
        return Err(TaskRefused::Unknown { session, role });
    };
    let id = || task.id.clone();
    let definition = seen.definitions.get(&task.definition).ok_or_else(|| TaskRefused::NotMeshed(id()))?;
    let arn = Arn::of(&task.arn).filter(|arn| {
        arn.region == region.as_str()
            && arn.partition == role.partition
            && arn.partition == region.partition()
    });
    let Some(arn) = arn else {
        let found = format!("{}, {}", region.as_str(), role.partition);
        return Err(TaskRefused::Region { task: id(), found });
    };
    if arn.account != role.account {
        let (wanted, found) = (arn.account.to_owned(), role.account.clone());
        return Err(TaskRefused::Account { task: id(), wanted, found });
    }
    let own = definition.role.as_deref().and_then(role_of);
    let stands = task.role.as_deref().is_none_or(|other| role_of(other) == own);
    if own != Some((&role.account, &role.name)) || !stands {
        let wanted = own.map_or("none", |(_, name)| name).to_owned();
        return Err(TaskRefused::Role { task: id(), wanted, found: role.name.clone() });
    }
    if !definition.sidecar {
        return Err(TaskRefused::NotMeshed(id()));
    }
    if task.is_stopping() {
        return Err(TaskRefused::Stopping(id()));
    }
    if !is_at(task, definition, address) {
        let wanted: Vec<String> = task.addresses.iter().map(ToString::to_string).collect();
        return Err(TaskRefused::Address { task: id(), wanted: wanted.join(", "), found: address });
    }
    // The task's own id: its sidecar does not outlive it, and the container's is told later than it calls.
    let (workload, sidecar) = (workload.clone(), task.arn.clone());
    Ok(Caller { workload, sidecar, next: false, address: Some(address) })
}

#[cfg(test)]
mod tests;
