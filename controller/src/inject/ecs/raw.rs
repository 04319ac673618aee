//! Task definitions as the API's own JSON, there and back. The SDK's types would lose a field that is newer than they are, and
//! a revision of ours would then silently be without it.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_ecs::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::BoxError;
use aws_sdk_ecs::types::TaskDefinitionField;
use outrigger_inject::ecs::{read, registrable};
use serde_yaml::Value;

use crate::source::ecs::client::{Api, CallError, Fault};
use crate::source::ecs::pace::Category;

const DESCRIBE: &str = "ecs:DescribeTaskDefinition";
const REGISTER: &str = "ecs:RegisterTaskDefinition";

/// Keeps an answer's bytes. Clones share.
#[derive(Clone, Debug, Default)]
struct Tap(Arc<Mutex<Vec<u8>>>);

impl Intercept for Tap {
    fn name(&self) -> &'static str {
        "the answer as it came"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let bytes = context.response().body().bytes().unwrap_or_default().to_vec();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
        Ok(())
    }
}

/// A revision.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Its ARN.
    pub arn: String,
    /// What `RegisterTaskDefinition` takes, tags included.
    pub definition: Value,
}

impl Raw {
    /// The value of one of its tags.
    pub fn tag(&self, key: &str) -> Option<&str> {
        let tags = self.definition.get("tags")?.as_sequence()?;
        tags.iter().find(|tag| tag.get("key").and_then(Value::as_str) == Some(key))?.get("value")?.as_str()
    }
}

/// A revision by its ARN, or the newest of a family.
///
/// # Errors
/// The call fails, or the answer is no task definition.
pub async fn describe(api: &Api, name: &str) -> Result<Raw, CallError> {
    let tap = Tap::default();
    let request = || {
        let request = api.ecs.describe_task_definition().task_definition(name);
        request.include(TaskDefinitionField::Tags).customize().interceptor(tap.clone()).send()
    };
    let answer = api.call(Category::Definition, DESCRIBE, request).await?;
    let strange = |what: String| CallError::of(DESCRIBE, format!("{name}: {what}"), Fault::Refused);
    let arn = answer.task_definition().and_then(|definition| definition.task_definition_arn());
    let arn = arn.ok_or_else(|| strange("an answer without an ARN".into()))?.to_owned();
    let bytes = std::mem::take(&mut *tap.0.lock().unwrap_or_else(PoisonError::into_inner));
    let definition = read(&String::from_utf8_lossy(&bytes)).map_err(strange)?;
    let definition = registrable(&definition).map_err(|remark| strange(remark.to_string()))?;
    Ok(Raw { arn, definition })
}

/// Registers a revision; its ARN.
///
/// # Errors
/// The call fails.
pub async fn register(api: &Api, definition: &Value) -> Result<String, CallError> {
    let body = serde_json::to_vec(definition).expect("what was read as JSON can be written as JSON");
    let request = || {
        let body = body.clone();
        let request = api.ecs.register_task_definition().customize().mutate_request(move |request| {
            request.headers_mut().insert("content-length", body.len().to_string());
            *request.body_mut() = body.clone().into();
        });
        request.send()
    };
    let answer = api.call(Category::Definition, REGISTER, request).await?;
    let arn = answer.task_definition().and_then(|definition| definition.task_definition_arn());
    arn.map(str::to_owned)
        .ok_or_else(|| CallError::of(REGISTER, "an answer without an ARN".into(), Fault::Away))
}
