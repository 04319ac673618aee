//! Whole answers of the ECS API: every page, every batch, or an error. A part is no answer.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ecs::types::{Failure, ServiceField};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::client::{Api, CallError};
use super::pace::Category;
use super::record::{Definition, Service, Task};

/// Tasks that one `DescribeTasks` tells of.
const TASKS: usize = 100;
/// Services that one `DescribeServices` tells of.
const SERVICES: usize = 10;
/// Items on a page; more than ECS takes is refused.
const PAGE: i32 = 100;
/// Pages after which a listing does not end: ten times what a cluster may hold.
const PAGES: usize = 1_000;
/// Calls at once.
const PARALLEL: usize = 4;
/// How often tasks that ECS names and then does not know are asked for.
const ASKED: usize = 3;
/// Pause before they are asked for again: answers of ECS agree with each other after a moment.
const AGREE: Duration = Duration::from_secs(1);

/// Why there is no whole answer.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ListError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// ECS named tasks, and does not know them.
    #[error(
        "ecs:DescribeTasks: {missing} of {listed} tasks of {cluster} that ecs:ListTasks named are missing ({reason})"
    )]
    Partial {
        /// The cluster.
        cluster: String,
        /// How many.
        missing: usize,
        /// Of how many.
        listed: usize,
        /// The first reason that ECS gave.
        reason: String,
    },
    /// A listing without an end.
    #[error("{0}: more than {PAGES} pages, or the same page for ever")]
    Endless(&'static str),
    /// No such cluster.
    #[error("there is no cluster {0} here: correct OUTRIGGER_CLUSTERS or AWS_REGION")]
    Cluster(String),
}

/// What ECS says of the tasks of one cluster.
#[derive(Debug, Default)]
pub struct Tasks {
    /// All that it tells of.
    pub told: Vec<Task>,
    /// Those that were asked for and that it neither lists nor knows.
    pub absent: BTreeSet<String>,
}

/// The ARN of each cluster, in the order of `names`, which are names or ARNs.
///
/// # Errors
/// One of them is not there, or cannot be looked at.
pub async fn clusters(api: &Api, names: &[String]) -> Result<Vec<String>, ListError> {
    let request = || api.ecs.describe_clusters().set_clusters(Some(names.to_vec())).send();
    let answer = api.call(Category::Cluster, "ecs:DescribeClusters", request).await?;
    let found = |name: &String| {
        let is = |cluster: &&aws_sdk_ecs::types::Cluster| {
            cluster.cluster_arn() == Some(name) || cluster.cluster_name() == Some(name)
        };
        let cluster =
            answer.clusters().iter().filter(|cluster| cluster.status() != Some("INACTIVE")).find(is);
        cluster
            .and_then(|cluster| cluster.cluster_arn.clone())
            .ok_or_else(|| ListError::Cluster(name.clone()))
    };
    names.iter().map(found).collect()
}

/// The tasks of a cluster that ECS wants to run, and whatever became of those of `known`, which ECS does not list once it
/// wants them to stop.
///
/// # Errors
/// A call fails, or ECS names tasks that it does not tell of.
pub async fn tasks(api: &Api, cluster: &str, known: BTreeSet<String>) -> Result<Tasks, ListError> {
    let listed = task_arns(api, cluster).await?;
    let mut asked: Vec<String> = listed.union(&known).cloned().collect();
    let mut tasks = Tasks::default();
    for round in 1.. {
        let (told, failures) = describe(api, cluster, &asked).await?;
        let arns: BTreeSet<&str> = told.iter().map(|task| task.arn.as_str()).collect();
        let missing: BTreeSet<String> =
            asked.into_iter().filter(|arn| !arns.contains(arn.as_str())).collect();
        drop(arns);
        tasks.told.extend(told);
        tasks.absent.extend(missing.difference(&listed).cloned());
        asked = missing.intersection(&listed).cloned().collect();
        if asked.is_empty() {
            break;
        }
        if round == ASKED {
            let reason = failures.into_iter().find_map(|failure| failure.reason);
            return Err(ListError::Partial {
                cluster: cluster.to_owned(),
                missing: asked.len(),
                listed: listed.len(),
                reason: reason.unwrap_or_else(|| "no reason given".to_owned()),
            });
        }
        tokio::time::sleep(AGREE).await;
    }
    Ok(tasks)
}

async fn task_arns(api: &Api, cluster: &str) -> Result<BTreeSet<String>, ListError> {
    let operation = "ecs:ListTasks";
    let page = |token: Option<String>| async move {
        let request = || {
            let request = api.ecs.list_tasks().cluster(cluster).max_results(PAGE);
            request.set_next_token(token.clone()).send()
        };
        let page = api.call(Category::Resource, operation, request).await?;
        Ok((page.task_arns, page.next_token))
    };
    pages(operation, page).await
}

async fn describe(api: &Api, cluster: &str, arns: &[String]) -> Result<(Vec<Task>, Vec<Failure>), ListError> {
    let batch = |arns: Vec<String>| async move {
        let request = || api.ecs.describe_tasks().cluster(cluster).set_tasks(Some(arns.clone())).send();
        api.call(Category::Resource, "ecs:DescribeTasks", request).await
    };
    let batches: Vec<Vec<String>> = arns.chunks(TASKS).map(<[String]>::to_vec).collect();
    let answers: Vec<_> = stream::iter(batches).map(batch).buffer_unordered(PARALLEL).try_collect().await?;
    let (mut told, mut failures) = (Vec::new(), Vec::new());
    for answer in answers {
        told.extend(answer.tasks.unwrap_or_default().into_iter().filter_map(Task::of));
        failures.extend(answer.failures.unwrap_or_default());
    }
    Ok((told, failures))
}

/// The ARNs of all services of a cluster.
///
/// # Errors
/// A call fails.
pub async fn service_arns(api: &Api, cluster: &str) -> Result<BTreeSet<String>, ListError> {
    let operation = "ecs:ListServices";
    let page = |token: Option<String>| async move {
        let request = || {
            let request = api.ecs.list_services().cluster(cluster).max_results(PAGE);
            request.set_next_token(token.clone()).send()
        };
        let page = api.call(Category::Service, operation, request).await?;
        Ok((page.service_arns, page.next_token))
    };
    pages(operation, page).await
}

/// All that a listing names: `page` gives what is behind a token, and the token of the page after it.
async fn pages<F>(
    operation: &'static str,
    page: impl Fn(Option<String>) -> F,
) -> Result<BTreeSet<String>, ListError>
where
    F: Future<Output = Result<(Option<Vec<String>>, Option<String>), CallError>>,
{
    let (mut arns, mut token) = (BTreeSet::new(), None);
    for _ in 0..PAGES {
        let (named, next) = page(token.clone()).await?;
        arns.extend(named.unwrap_or_default());
        let next = next.filter(|next| !next.is_empty());
        if next.is_none() {
            return Ok(arns);
        }
        if next == token {
            break;
        }
        token = next;
    }
    Err(ListError::Endless(operation))
}

/// Services by ARN or name, with their tags. One that is missing is left out.
///
/// # Errors
/// A call fails.
pub async fn services(api: &Api, cluster: &str, names: &[String]) -> Result<Vec<Service>, ListError> {
    let batch = |names: Vec<String>| async move {
        let request = || {
            let request = api.ecs.describe_services().cluster(cluster).include(ServiceField::Tags);
            request.set_services(Some(names.clone())).send()
        };
        api.call(Category::Service, "ecs:DescribeServices", request).await
    };
    let batches: Vec<Vec<String>> = names.chunks(SERVICES).map(<[String]>::to_vec).collect();
    let answers: Vec<_> = stream::iter(batches).map(batch).buffer_unordered(PARALLEL).try_collect().await?;
    let all = answers.into_iter().flat_map(|answer| answer.services.unwrap_or_default());
    Ok(all.filter_map(Service::of).collect())
}

/// Definitions by ARN; none for one that ECS does not know any more.
///
/// # Errors
/// A call fails for another reason.
pub async fn definitions(
    api: &Api,
    arns: BTreeSet<String>,
) -> Result<Vec<(String, Option<Definition>)>, ListError> {
    stream::iter(arns).map(|arn| definition(api, arn)).buffer_unordered(PARALLEL).try_collect().await
}

async fn definition(api: &Api, arn: String) -> Result<(String, Option<Definition>), ListError> {
    let request = || api.ecs.describe_task_definition().task_definition(&arn).send();
    match api.call(Category::Definition, "ecs:DescribeTaskDefinition", request).await {
        Ok(answer) => {
            let found = answer.task_definition.and_then(Definition::of);
            Ok((arn, found))
        }
        Err(error) if error.refused => Ok((arn, None)),
        Err(error) => Err(error.into()),
    }
}
