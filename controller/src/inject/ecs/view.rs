//! Services and revisions as the planner sees them.

use std::collections::BTreeMap;

use aws_sdk_ecs::types;

/// The tag that asks for a service to be meshed: `true`, or `dry-run`.
pub const TAG: &str = "outrigger:inject";
/// The tag of a revision that was made by injection: ARN of the revision that it was made of.
pub const FROM: &str = "outrigger:injected-from";

/// What there is, as far as it is asked for or in motion.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// By ARN.
    pub services: BTreeMap<String, Service>,
    /// By ARN: those that services here have.
    pub revisions: BTreeMap<String, Revision>,
    /// By ARN: services that the controller's role may not move, as AWS said a moment ago, and its words.
    pub denied: BTreeMap<String, String>,
}

/// One ECS service, as `DescribeServices` answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// ARN of its cluster.
    pub cluster: String,
    /// It runs, or is to run: neither draining nor gone.
    pub active: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Tasks that it is to have.
    pub desired: i32,
    /// One task for each instance.
    pub daemon: bool,
    /// `ECS`, `CODE_DEPLOY` or `EXTERNAL`.
    pub controller: String,
    /// `ROLLING`, `BLUE_GREEN`, …
    pub strategy: String,
    /// A classic load balancer is in front of it.
    pub classic: bool,
    /// ECS's own proxy is on.
    pub connect: bool,
    /// What happens to a deployment that does not become healthy.
    pub breaker: Breaker,
    /// The newest, which ECS moves tasks to.
    pub primary: Option<Deployment>,
    /// Others, which still have tasks.
    pub others: Vec<Deployment>,
    /// What `UpdateService` is to leave as it is.
    pub configuration: Option<types::DeploymentConfiguration>,
}

/// The deployment circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Breaker {
    /// A deployment whose tasks fail is stopped.
    pub enable: bool,
    /// And the one before it comes back.
    pub rollback: bool,
}

impl Breaker {
    /// As it is while a service is moved.
    pub const ON: Self = Self { enable: true, rollback: true };
}

/// One deployment of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its id (`ecs-svc/…`).
    pub id: String,
    /// ARN of its revision.
    pub definition: String,
    /// How far it is.
    pub rollout: Rollout,
    /// ECS's words about that.
    pub reason: String,
    /// Tasks that run.
    pub running: i32,
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// Tasks start and stop.
    InProgress,
    /// All tasks are of it, and healthy.
    Completed,
    /// The circuit breaker has stopped it.
    Failed,
}

/// One revision of a task definition, and what injection makes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// It has a sidecar.
    pub meshed: bool,
    /// The revision that it was made of, where injection made it.
    pub from: Option<String>,
    /// Why it cannot be meshed, or not anew; empty: it can.
    pub refused: Vec<String>,
    /// How its traffic would be captured, or is.
    pub capture: String,
    /// In what an injection of now would differ; of a meshed one only, and empty where it would not.
    pub news: Vec<String>,
    /// Names what an injection of now would make of it: the same for a revision and for the one that is made of it.
    pub wanted: String,
}

impl Service {
    /// Reads an answer of the API; none without the ARNs that make a service.
    pub fn of(service: &types::Service) -> Option<Self> {
        let configuration = service.deployment_configuration();
        let breaker = configuration.and_then(|configuration| configuration.deployment_circuit_breaker());
        let mut deployments: Vec<(bool, Deployment)> =
            service.deployments().iter().filter_map(|found| Deployment::of(found, service)).collect();
        let primary = deployments.iter().position(|(primary, _)| *primary);
        let primary = primary.map(|at| deployments.remove(at).1);
        let tags = service.tags().iter();
        let balancers = service.load_balancers();
        let connects = service.deployments().iter().any(|deployment| {
            deployment.status() == Some("PRIMARY")
                && deployment.service_connect_configuration().is_some_and(|connect| connect.enabled())
        });
        Some(Self {
            arn: service.service_arn().filter(|arn| !arn.is_empty())?.to_owned(),
            name: service.service_name()?.to_owned(),
            cluster: service.cluster_arn()?.to_owned(),
            active: service.status() == Some("ACTIVE"),
            tags: tags
                .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned())))
                .collect(),
            desired: service.desired_count(),
            daemon: service.scheduling_strategy().is_some_and(|strategy| strategy.as_str() == "DAEMON"),
            controller: service
                .deployment_controller()
                .map_or("ECS", |controller| controller.r#type().as_str())
                .to_owned(),
            strategy: configuration
                .and_then(|configuration| configuration.strategy())
                .map_or("ROLLING", types::DeploymentStrategy::as_str)
                .to_owned(),
            classic: balancers.iter().any(|balancer| balancer.load_balancer_name().is_some()),
            connect: connects,
            breaker: breaker.map_or_else(Breaker::default, |breaker| Breaker {
                enable: breaker.enable(),
                rollback: breaker.rollback(),
            }),
            primary,
            others: deployments.into_iter().map(|(_, deployment)| deployment).collect(),
            configuration: configuration.cloned(),
        })
    }

    /// `cart.shop`: name and cluster, for people.
    pub fn label(&self) -> String {
        format!("{}.{}", self.name, last_part(&self.cluster))
    }

    /// All that was begun is done.
    pub fn is_steady(&self) -> bool {
        self.others.is_empty()
            && self.primary.as_ref().is_some_and(|primary| primary.rollout == Rollout::Completed)
    }

    /// What the tag asks for.
    pub fn wish(&self) -> Wish<'_> {
        match self.tags.get(TAG).map(String::as_str) {
            None => Wish::Nothing,
            Some("true") => Wish::Mesh,
            Some("dry-run") => Wish::Plan,
            Some(other) => Wish::Unclear(other),
        }
    }
}

/// What a service's tag asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// No tag.
    Nothing,
    /// Mesh it.
    Mesh,
    /// Only say what would be done.
    Plan,
    /// Neither.
    Unclear(&'a str),
}

impl Deployment {
    fn of(deployment: &types::Deployment, service: &types::Service) -> Option<(bool, Self)> {
        let status = deployment.status()?;
        if status == "INACTIVE" {
            return None;
        }
        // Without a rollout state (a classic load balancer): what counts of tasks say.
        let settled = service.deployments().len() == 1
            && deployment.running_count() == deployment.desired_count()
            && deployment.pending_count() == 0;
        let rollout = match deployment.rollout_state().map(types::DeploymentRolloutState::as_str) {
            Some("COMPLETED") => Rollout::Completed,
            Some("FAILED") => Rollout::Failed,
            None if settled => Rollout::Completed,
            _ => Rollout::InProgress,
        };
        let read = Self {
            id: deployment.id()?.to_owned(),
            definition: deployment.task_definition()?.to_owned(),
            rollout,
            reason: deployment.rollout_state_reason().unwrap_or_default().to_owned(),
            running: deployment.running_count(),
        };
        Some((status == "PRIMARY", read))
    }
}

/// ARN of the cluster of a service, by the service's own; none for one of the short form, which names no cluster.
pub fn cluster_of(service: &str) -> Option<String> {
    let (before, rest) = service.split_once(":service/")?;
    let (cluster, _) = rest.split_once('/')?;
    Some(format!("{before}:cluster/{cluster}"))
}

/// `cart:7` of an ARN, or the name of a cluster.
pub fn last_part(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}
