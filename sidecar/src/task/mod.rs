//! What the agent of ECS tells the containers of a task: the metadata of the task, the credentials of its role; and the
//! proof of that role that is made of them. The agent answers plain HTTP at a link-local address; every answer is bounded
//! in size and time, and what it does not say is left open.

mod ask;
pub mod credentials;
pub mod metadata;
pub mod proof;

pub use ask::AskError;
pub use credentials::{Credentials, CredentialsError, CredentialsPlace};
pub use metadata::{Container, Endpoint, MetadataError, Task, TaskArn};
