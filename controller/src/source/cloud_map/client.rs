//! Asks Cloud Map: paced, counted, never tried twice at once. Who asks again, and when, is for [`super::schedule`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_servicediscovery::Client;
use aws_sdk_servicediscovery::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_servicediscovery::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_servicediscovery::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_servicediscovery::types::{HealthStatus, HealthStatusFilter};
use outrigger_model::Health;
use tokio::time::{Instant, sleep_until};

use super::record::{Instance, Lookup, Unusable};
use crate::source::ecs::calls::Calls;
use crate::source::ecs::client::{CallError, Fault, fault, words};

/// Most instances that one answer has: Cloud Map gives no more, and no second page (API reference of DiscoverInstances).
pub const MOST: i32 = 1_000;
/// Between the starts of two calls: 10 in a second, where an account has 1,000 DiscoverInstances and 2,000 at once (AWS Cloud
/// Map, "Handle DiscoverInstances API request throttling").
const PACE: Duration = Duration::from_millis(100);
/// Before the next call of all, where Cloud Map has said that there were too many.
const HELD_BACK: Duration = Duration::from_secs(1);
/// For one call.
const LIMIT: Duration = Duration::from_secs(10);
/// What the SDK puts before the host's name for these operations.
const PREFIX: &str = "data-";

/// The API. Clones share pace and counts.
#[derive(Clone, Debug)]
pub struct Api {
    servicediscovery: Client,
    calls: Calls,
    next: Arc<Mutex<Option<Instant>>>,
}

/// What Cloud Map says.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Nobody came or went.
    Same,
    /// All that there are.
    Whole {
        /// One by one, as they came.
        instances: Vec<Result<Instance, Unusable>>,
        /// Another one after somebody came or went; not after a change of health.
        revision: Option<i64>,
    },
}

impl Api {
    /// Calls what `config` says; counted with the others.
    pub fn new(config: &SdkConfig, calls: Calls) -> Self {
        let config = aws_sdk_servicediscovery::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .interceptor(PlainHost)
            .build();
        Self { servicediscovery: Client::from_conf(config), calls, next: Arc::default() }
    }

    /// Who is there. `known`: the revision of the last whole answer, where another whole one is not wanted yet.
    ///
    /// # Errors
    /// Cloud Map refuses, or does not answer.
    pub async fn look(&self, lookup: &Lookup, known: Option<i64>) -> Result<Said, CallError> {
        if let Some(known) = known {
            let request = self.servicediscovery.discover_instances_revision();
            let request = request.namespace_name(&lookup.namespace).service_name(&lookup.service);
            let said = self.call("servicediscovery:DiscoverInstancesRevision", request.send()).await?;
            if said.instances_revision() == Some(known) {
                return Ok(Said::Same);
            }
        }
        let attributes: HashMap<String, String> =
            lookup.attributes.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let request = self
            .servicediscovery
            .discover_instances()
            .namespace_name(&lookup.namespace)
            .service_name(&lookup.service)
            .set_query_parameters((!attributes.is_empty()).then_some(attributes))
            .health_status(HealthStatusFilter::HealthyOrElseAll)
            .max_results(MOST);
        let said = self.call("servicediscovery:DiscoverInstances", request.send()).await?;
        let none = HashMap::new();
        let instances = said.instances().iter().map(|instance| {
            let health = match instance.health_status() {
                Some(HealthStatus::Healthy) => Health::Healthy,
                Some(HealthStatus::Unhealthy) => Health::Unhealthy,
                _ => Health::Unchecked,
            };
            Instance::read(
                instance.instance_id().unwrap_or_default(),
                health,
                instance.attributes().unwrap_or(&none),
            )
        });
        Ok(Said::Whole { instances: instances.collect(), revision: said.instances_revision() })
    }

    async fn call<O, E>(
        &self,
        operation: &'static str,
        send: impl Future<Output = Result<O, SdkError<E>>>,
    ) -> Result<O, CallError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        sleep_until(self.turn()).await;
        self.calls.begun(operation);
        let Ok(answer) = tokio::time::timeout(LIMIT, send).await else {
            self.calls.failed(operation);
            let what = format!("no answer within {} s", LIMIT.as_secs());
            return Err(CallError::of(operation, what, Fault::Away));
        };
        answer.map_err(|error| {
            let fault = fault(&error);
            if fault == Fault::Throttled {
                self.calls.throttled(operation);
                *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + HELD_BACK);
            } else {
                self.calls.failed(operation);
            }
            let error = CallError::of(operation, words(operation, fault, &error), fault);
            // Without credentials nothing was asked: they may be there a moment later.
            CallError { refused: error.refused || error.denied, ..error }
        })
    }

    /// When the next call may begin.
    fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.unwrap_or_else(Instant::now).max(Instant::now());
        *next = Some(turn + PACE);
        turn
    }
}

/// Where an endpoint is an address or this host (tests, tunnels), no name stands before it.
#[derive(Debug)]
struct PlainHost;

impl Intercept for PlainHost {
    fn name(&self) -> &'static str {
        "PlainHost"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if let Some(plain) = plain(request.uri()) {
            request.set_uri(plain)?;
        }
        Ok(())
    }
}

/// `http://data-127.0.0.1:5000/` without the prefix.
fn plain(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    let rest = rest.strip_prefix(PREFIX)?;
    let host = rest.split(['/', ':']).next()?;
    (host == "localhost" || host.parse::<IpAddr>().is_ok() || host.starts_with('['))
        .then(|| format!("{scheme}://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_have_a_prefix() {
        assert_eq!(plain("http://data-127.0.0.1:5000/").as_deref(), Some("http://127.0.0.1:5000/"));
        assert_eq!(plain("http://data-localhost:5000").as_deref(), Some("http://localhost:5000"));
        assert_eq!(plain("https://data-servicediscovery.eu-west-1.amazonaws.com/"), None);
        assert_eq!(plain("http://127.0.0.1/"), None);
    }
}
