//! What the agent of ECS tells the containers of a task: the metadata of the task, the credentials of its role; and the
//! proof of that role that is made of them. The agent answers plain HTTP at a link-local address; every answer is bounded
//! in size and time, and what it does not say is left open.

pub(crate) mod ask;
pub mod credentials;
pub mod metadata;
pub mod proof;

use std::env;

pub use ask::AskError;
pub use credentials::{Credentials, CredentialsError, CredentialsPlace};
pub use metadata::{Container, Endpoint, MetadataError, Task, TaskArn};

/// Where the agent answers, as the environment says; what of it is wrong is told when it is asked for.
#[derive(Clone, Default)]
pub struct Agent {
    /// `ECS_CONTAINER_METADATA_URI_V4`.
    pub metadata: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    pub relative: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub full: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub authorization: Option<String>,
}

impl Agent {
    /// What the agent wrote into the environment of this container.
    pub fn of_environment() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            metadata: variable(metadata::VARIABLE),
            relative: variable(credentials::RELATIVE),
            full: variable(credentials::FULL),
            authorization: variable(credentials::AUTHORIZATION),
        }
    }

    /// Where the task's metadata are.
    ///
    /// # Errors
    /// Nowhere, or at no URL.
    pub fn metadata(&self) -> Result<Endpoint, MetadataError> {
        Endpoint::new(self.metadata.as_deref().ok_or(MetadataError::NotEcs)?)
    }

    /// Where the credentials of the task's role are.
    ///
    /// # Errors
    /// Nowhere, or where none may be asked.
    pub fn credentials(&self) -> Result<CredentialsPlace, CredentialsError> {
        CredentialsPlace::new(self.relative.as_deref(), self.full.as_deref(), self.authorization.as_deref())
    }
}
