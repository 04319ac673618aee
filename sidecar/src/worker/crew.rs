//! The threads that workers run on.

use std::io;
use std::net::SocketAddr;
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

/// What a worker is told to do.
enum Order {
    Listen(Listen),
    Adopt(Arc<str>, std::net::TcpStream, Option<SocketAddr>),
}

/// All workers. Dropping it ends them when they next wait.
pub(crate) struct Crew(Vec<Thread>);

struct Thread {
    orders: mpsc::UnboundedSender<Order>,
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

    /// Hands each socket to a worker, in turn.
    pub fn listen(&self, sockets: impl Iterator<Item = Listen>) {
        for (thread, listen) in self.0.iter().cycle().zip(sockets) {
            thread.tell(Order::Listen(listen));
        }
    }

    /// Hands a predecessor's connection to any worker; `named` is whom its PROXY header named.
    pub fn adopt(&self, listener: &str, tcp: std::net::TcpStream, named: Option<SocketAddr>) {
        if let Some(thread) = self.0.get(fastrand::usize(..self.0.len().max(1))) {
            thread.tell(Order::Adopt(listener.into(), tcp, named));
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

impl Thread {
    fn tell(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("a worker has ended");
        }
    }
}

fn start(shared: Arc<Shared>, index: usize) -> io::Result<Thread> {
    let (tell, mut orders) = mpsc::unbounded_channel();
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
                match order {
                    Order::Listen(listen) => worker.spawn(listener::run(worker.clone(), listen)),
                    Order::Adopt(name, tcp, named) => {
                        worker.spawn(listener::adopt(worker.clone(), name, tcp, named));
                    }
                }
            }
        });
    };
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?;
    begun.recv().map_err(|_| io::Error::other("the thread ended"))??;
    Ok(Thread { orders: tell, thread })
}
