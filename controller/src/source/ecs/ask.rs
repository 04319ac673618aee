//! A whole answer, in the steps in which it is asked for: clusters, tasks, and what is not yet known of them.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Name;
use super::client::Api;
use super::list::{self, ListError};
use super::record::{Definition, Service, last_part};

/// What to ask for next.
#[derive(Debug)]
pub enum Question {
    /// The ARNs of clusters, by name or ARN.
    Clusters(Vec<String>),
    /// The tasks and services of each cluster, with the tasks that are known there.
    Tasks(Vec<(String, BTreeSet<String>)>),
    /// Definitions and services that are not known, or not any more.
    Rest {
        /// ARNs.
        definitions: BTreeSet<String>,
        /// Clusters and names.
        services: BTreeSet<Name>,
    },
}

/// What ECS says to it.
#[derive(Debug)]
pub enum Answer {
    /// ARNs.
    Clusters(Vec<String>),
    /// All of it.
    Tasks {
        /// Of each cluster.
        clusters: Vec<list::Tasks>,
        /// Of all clusters.
        services: BTreeSet<Name>,
    },
    /// What was not known.
    Rest(Found),
}

/// Definitions and services.
#[derive(Debug, Default)]
pub struct Found {
    /// By ARN; none: ECS does not tell of it any more.
    pub definitions: Vec<(String, Option<Definition>)>,
    /// Services that were asked for.
    pub asked: BTreeSet<Name>,
    /// Those that ECS told of.
    pub services: Vec<Service>,
}

impl Question {
    /// Asks.
    ///
    /// # Errors
    /// There is no whole answer.
    pub async fn ask(self, api: Api) -> Result<Answer, ListError> {
        match self {
            Self::Clusters(names) => Ok(Answer::Clusters(list::clusters(&api, &names).await?)),
            Self::Tasks(known) => {
                let (mut clusters, mut services) = (Vec::new(), BTreeSet::new());
                for (cluster, known) in known {
                    clusters.push(list::tasks(&api, &cluster, known).await?);
                    let arns = list::service_arns(&api, &cluster).await?;
                    services.extend(arns.iter().map(|arn| (cluster.clone(), last_part(arn).to_owned())));
                }
                Ok(Answer::Tasks { clusters, services })
            }
            Self::Rest { definitions, services } => {
                Ok(Answer::Rest(rest(&api, definitions, services).await?))
            }
        }
    }
}

/// Definitions by ARN, and services by cluster and name.
///
/// # Errors
/// A call fails.
pub async fn rest(
    api: &Api,
    definitions: BTreeSet<String>,
    asked: BTreeSet<Name>,
) -> Result<Found, ListError> {
    let mut by_cluster: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (cluster, name) in &asked {
        by_cluster.entry(cluster).or_default().push(name.clone());
    }
    let mut services = Vec::new();
    for (cluster, names) in by_cluster {
        services.extend(list::services(api, cluster, &names).await?);
    }
    Ok(Found { definitions: list::definitions(api, definitions).await?, asked, services })
}
