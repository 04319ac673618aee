//! Carries out what was planned: each is one change in ECS, and may be given again.

use aws_sdk_ecs::types::{DeploymentCircuitBreaker, DeploymentConfiguration};
use outrigger_inject::Remark;
use outrigger_inject::ecs::{Options, alike, inject};
use serde_yaml::{Mapping, Value};

use super::raw::{self, Raw};
use super::view::{Breaker, FROM, Service};
use crate::source::ecs::client::{Api, CallError};
use crate::source::ecs::pace::Category;

/// Why there is no meshed revision.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It cannot be meshed.
    #[error("it cannot be meshed: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Remark>),
}

/// The meshed revision of another; its ARN. The newest of the family is taken where it is that very one, so that nothing is
/// registered twice, also after a restart in between.
///
/// # Errors
/// A call fails, or it cannot be meshed.
pub async fn prepare(api: &Api, from: &Raw, options: &Options) -> Result<String, PrepareError> {
    let meshed = meshed(from, options).map_err(PrepareError::Refused)?;
    let family = meshed.get("family").and_then(Value::as_str).unwrap_or_default();
    match raw::describe(api, family).await {
        Ok(newest) if newest.tag(FROM) == Some(from.arn.as_str()) && alike(&newest.definition, &meshed) => {
            return Ok(newest.arn);
        }
        Ok(_another) => {}
        // All of the family are deregistered, also the one that the service runs on.
        Err(none) if none.refused => {}
        Err(error) => return Err(error.into()),
    }
    let arn = raw::register(api, &meshed).await?;
    tracing::info!(from = from.arn, to = arn, "registered a meshed revision");
    Ok(arn)
}

/// What is registered: the meshed definition, with its tags and one of ours.
fn meshed(from: &Raw, options: &Options) -> Result<Value, Vec<Remark>> {
    let mut meshed = inject(&from.definition, options)?.definition;
    let tag = [("key", FROM), ("value", from.arn.as_str())];
    let tag =
        Value::Mapping(tag.into_iter().map(|(key, value)| (key.into(), value.into())).collect::<Mapping>());
    if let Value::Mapping(body) = &mut meshed {
        match body.get_mut("tags") {
            Some(Value::Sequence(tags)) => {
                tags.retain(|tag| tag.get("key").and_then(Value::as_str) != Some(FROM));
                tags.push(tag);
            }
            _ => drop(body.insert("tags".into(), Value::Sequence(vec![tag]))),
        }
    }
    Ok(meshed)
}

/// `UpdateService`: to another revision, or with another setting of the circuit breaker, or both.
///
/// # Errors
/// The call fails.
pub async fn update(
    api: &Api,
    service: &Service,
    to: Option<&str>,
    breaker: Option<Breaker>,
) -> Result<(), CallError> {
    let configuration = breaker.map(|breaker| configuration(service, breaker));
    let request = || {
        let request = api.ecs.update_service().cluster(&service.cluster).service(&service.arn);
        let request = request.set_task_definition(to.map(str::to_owned));
        request.set_deployment_configuration(configuration.clone()).send()
    };
    api.call(Category::Service, "ecs:UpdateService", request).await.map(|_| ())
}

/// All that the service says of deployments stays, but for the circuit breaker.
fn configuration(service: &Service, breaker: Breaker) -> DeploymentConfiguration {
    let mut configuration =
        service.configuration.clone().unwrap_or_else(|| DeploymentConfiguration::builder().build());
    configuration.deployment_circuit_breaker =
        Some(DeploymentCircuitBreaker::builder().enable(breaker.enable).rollback(breaker.rollback).build());
    // Written out by ECS, and of no meaning where tasks are replaced one by one.
    configuration.bake_time_in_minutes = None;
    configuration
}
