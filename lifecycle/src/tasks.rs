use std::any::Any;
use std::future::Future;

use tokio::task::JoinSet;

/// A group of named tasks. Dropping it aborts them; nothing outlives its owner.
#[derive(Default)]
pub struct Tasks {
    set: JoinSet<&'static str>,
}

/// How a task came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The task returned; for a task that should run for ever this is a fault.
    Returned(&'static str),
    /// The task panicked, with the message.
    Panicked(String),
    /// The group was aborted.
    Aborted,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task under a name.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// How many still run.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// True when none is left.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Waits for the next task to end; `None` when the group is empty.
    pub async fn next_ended(&mut self) -> Option<Ended> {
        Some(match self.set.join_next().await? {
            Ok(name) => Ended::Returned(name),
            Err(error) if error.is_panic() => Ended::Panicked(message(&*error.into_panic())),
            Err(_) => Ended::Aborted,
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_ended_task_and_a_panic_are_events() {
        let mut tasks = Tasks::new();
        tasks.spawn("short", async {});
        assert_eq!(tasks.next_ended().await, Some(Ended::Returned("short")));
        tasks.spawn("bad", async { panic!("boom") });
        assert_eq!(tasks.next_ended().await, Some(Ended::Panicked("boom".into())));
        assert_eq!(tasks.next_ended().await, None);
    }
}
