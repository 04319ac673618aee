//! Calls of the AWS API: paced, counted, tried again while that can help.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

use super::calls::Calls;
use super::pace::{Bucket, Category, backoff};

/// Attempts of one call before it counts as failed: about half a minute, most of it pauses.
const ATTEMPTS: u32 = 6;

/// Codes by which AWS says that too many calls were made.
const THROTTLED: [&str; 8] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
];

/// Codes by which it says that the caller may not.
const DENIED: [&str; 3] = ["AccessDeniedException", "AccessDenied", "AWS.SimpleQueueService.AccessDenied"];

/// Codes by which it says that it does not know the caller.
const STRANGER: [&str; 5] = [
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "MissingAuthenticationTokenException",
];

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{operation}: {what}")]
pub struct CallError {
    /// `ecs:ListTasks`.
    pub operation: &'static str,
    /// What AWS or the network said, and the way out.
    pub what: String,
    /// AWS understood the call and answered no: asked again, it will say the same.
    pub refused: bool,
    /// The role may not: it is as it was, and others may be let.
    pub denied: bool,
}

impl CallError {
    /// Of this kind.
    pub fn of(operation: &'static str, what: String, fault: Fault) -> Self {
        Self { operation, what, refused: fault == Fault::Refused, denied: fault == Fault::Denied }
    }
}

/// The ECS API. Clones share pace and counts.
#[derive(Clone, Debug)]
pub struct Api {
    /// Makes requests; to be sent by [`Api::call`] only.
    pub ecs: aws_sdk_ecs::Client,
    /// How often what was called.
    pub calls: Calls,
    buckets: Arc<Mutex<[(Category, Bucket); 4]>>,
}

impl Api {
    /// Calls what `config` says.
    pub fn new(config: &SdkConfig) -> Self {
        // The back-off is here, where it can be counted, and holds back the other calls too.
        let config = config.to_builder().retry_config(RetryConfig::disabled()).build();
        let now = Instant::now();
        Self {
            ecs: aws_sdk_ecs::Client::new(&config),
            calls: Calls::default(),
            buckets: Arc::new(Mutex::new(
                Category::ALL.map(|category| (category, Bucket::new(category, now))),
            )),
        }
    }

    /// Sends a request when it is its turn; again, with growing pauses, while AWS has no time or no answer comes.
    ///
    /// # Errors
    /// AWS refuses, or did not answer after several attempts.
    pub async fn call<O, E, F>(
        &self,
        category: Category,
        operation: &'static str,
        send: impl Fn() -> F,
    ) -> Result<O, CallError>
    where
        F: Future<Output = Result<O, SdkError<E>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut failures = 0;
        loop {
            tokio::time::sleep(self.with(category, Bucket::take)).await;
            self.calls.begun(operation);
            let error = match send().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let fault = fault(&error);
            if fault == Fault::Throttled {
                self.calls.throttled(operation);
                self.with(category, Bucket::throttled);
            } else {
                self.calls.failed(operation);
            }
            failures += 1;
            if fault.is_final() || failures == ATTEMPTS {
                return Err(CallError::of(operation, words(operation, fault, &error), fault));
            }
            tokio::time::sleep(backoff(failures, fastrand::f64())).await;
        }
    }

    fn with<T: Default>(&self, category: Category, act: fn(&mut Bucket, Instant) -> T) -> T {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.iter_mut().find(|(of, _)| *of == category);
        bucket.map(|(_, bucket)| act(bucket, Instant::now())).unwrap_or_default()
    }
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Too many calls.
    Throttled,
    /// No answer, or AWS's own fault.
    Away,
    /// The role may not.
    Denied,
    /// Credentials that do not hold, or none.
    Stranger,
    /// Anything else that AWS says no to.
    Refused,
}

impl Fault {
    /// Another attempt would end the same way.
    fn is_final(self) -> bool {
        !matches!(self, Self::Throttled | Self::Away)
    }
}

/// Tells failures apart.
pub fn fault<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Fault {
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default();
            let status = service.raw().status().as_u16();
            let is = |codes: &[&str]| codes.contains(&code);
            match () {
                () if is(&THROTTLED) || status == 429 => Fault::Throttled,
                () if is(&DENIED) => Fault::Denied,
                () if is(&STRANGER) => Fault::Stranger,
                () if status >= 500 => Fault::Away,
                () => Fault::Refused,
            }
        }
        // Where no credentials are found no request is sent.
        SdkError::DispatchFailure(failure) if failure.is_user() || failure.is_other() => Fault::Stranger,
        SdkError::ConstructionFailure(_) => Fault::Stranger,
        _ => Fault::Away,
    }
}

/// What people read: AWS's own words, and what to do.
pub fn words<E>(operation: &str, fault: Fault, error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let said = match error {
        SdkError::ServiceError(service) => {
            let (code, message) = (service.err().code(), service.err().message());
            let status = service.raw().status().as_u16();
            match (code, message) {
                (Some(code), Some(message)) => format!("{code}: {message}"),
                (Some(code), None) => code.to_owned(),
                (None, _) => format!("an answer with status {status} and no reason"),
            }
        }
        // What is above the source says only that there is one.
        other => other.source().map_or_else(|| other.to_string(), chain),
    };
    match fault {
        Fault::Throttled => {
            format!("too many calls in this account and region ({said})")
        }
        Fault::Denied => format!("{said}: allow {operation} to the controller's role"),
        Fault::Stranger => {
            format!("{said}: give the controller a task role, or credentials in its environment")
        }
        Fault::Away | Fault::Refused => said,
    }
}

/// An error and all that caused it, each said once.
fn chain(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = error.to_string();
        if !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
        next = error.source();
    }
    said.join(": ")
}
