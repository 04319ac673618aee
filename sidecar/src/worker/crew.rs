//! The threads that workers run on.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, watch};

use super::Worker;
use crate::listener;
use crate::runtime::Shared;

/// A listening socket for one worker.
pub(crate) struct Listen {
    /// Name of the listener in the configuration.
    pub name: Arc<str>,
    /// Non-blocking, listening.
    pub socket: std::net::TcpListener,
    /// The listener ends when its sender is gone.
    pub stop: watch::Receiver<()>,
}

/// All workers. Dropping it ends them when they next wait.
pub(crate) struct Crew(Vec<Thread>);

struct Thread {
    listen: mpsc::UnboundedSender<Listen>,
    thread: JoinHandle<()>,
}

impl Crew {
    /// Starts `workers` threads.
    ///
    /// # Errors
    /// The kernel gives no thread, or no epoll descriptor.
    pub fn start(shared: &Arc<Shared>, workers: usize) -> io::Result<Self> {
        (0..workers).map(|index| start(shared.clone(), index)).collect::<io::Result<_>>().map(Self)
    }

    /// Hands one socket to each worker.
    pub fn listen(&self, sockets: impl Iterator<Item = Listen>) {
        for (thread, listen) in self.0.iter().zip(sockets) {
            if thread.listen.send(listen).is_err() {
                tracing::error!("a worker has ended");
            }
        }
    }

    /// Ends the workers and waits for them.
    pub fn stop(self) {
        let threads: Vec<_> = self.0.into_iter().map(|thread| thread.thread).collect();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

fn start(shared: Arc<Shared>, index: usize) -> io::Result<Thread> {
    let (listen, mut orders) = mpsc::unbounded_channel();
    let (started, begun) = sync_channel(1);
    let run = move || {
        let runtime: LocalRuntime =
            match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
        drop(started.send(Ok(())));
        runtime.block_on(async move {
            let worker = Worker::new(shared);
            while let Some(order) = orders.recv().await {
                worker.spawn(listener::run(worker.clone(), order));
            }
        });
    };
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?;
    begun.recv().map_err(|_| io::Error::other("the thread ended"))??;
    Ok(Thread { listen, thread })
}
