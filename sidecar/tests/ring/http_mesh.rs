//! HTTP through two sidecars and mutual TLS: raw bytes in, raw bytes out.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;

use outrigger_lifecycle::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mesh::{self, Ca, Node, within};

/// A client's sidecar, and one callee's sidecar per application.
pub struct Chain {
    pub caller: Node,
    pub callees: Vec<Node>,
}

impl Chain {
    /// One sidecar in front of each application, called as one service.
    pub async fn start(applications: &[SocketAddr]) -> Self {
        Self::start_with(applications, "").await
    }

    /// The called port is declared to speak HTTP.
    pub async fn start_http(applications: &[SocketAddr]) -> Self {
        Self::start_speaking(&Ca::new(), applications, "http", "", "{}").await
    }

    /// With an authority that others may have certificates of.
    pub async fn start_of(ca: &Ca, applications: &[SocketAddr]) -> Self {
        Self::start_speaking(ca, applications, "detect", "", "{}").await
    }

    /// With more words about the called port (`, timeouts: { … }`).
    pub async fn start_with(applications: &[SocketAddr], port: &str) -> Self {
        Self::start_speaking(&Ca::new(), applications, "detect", port, "{}").await
    }

    /// With a policy of the called cluster, too.
    pub async fn start_policed(applications: &[SocketAddr], port: &str, policy: &str) -> Self {
        Self::start_speaking(&Ca::new(), applications, "detect", port, policy).await
    }

    async fn start_speaking(
        ca: &Ca,
        applications: &[SocketAddr],
        protocol: &str,
        port: &str,
        policy: &str,
    ) -> Self {
        let mut callees = Vec::new();
        let mut endpoints = BTreeMap::new();
        let names: Vec<String> = (1..=applications.len()).map(|n| format!("shop-echo-{n}")).collect();
        for (application, name) in applications.iter().zip(&names) {
            let callee = Node::start(ca, &speaking(&mesh::callee(*application), protocol)).await;
            endpoints.insert(name.as_str(), callee.at("mesh"));
            callees.push(callee);
        }
        let config =
            mesh::caller(&endpoints).replace("protocol: tcp }", &format!("protocol: {protocol}{port} }}"));
        let config = config.replace("    port: 7000\n", &format!("    port: 7000\n    policy: {policy}\n"));
        let caller = Node::start(ca, &config).await;
        Self { caller, callees }
    }

    /// A connection as the calling application opens it.
    pub async fn connect(&self) -> Raw {
        Raw::connect(self.caller.at("out")).await
    }

    /// A connection from outside the mesh to the first callee.
    pub async fn connect_plain(&self) -> Raw {
        Raw::connect(self.callees.first().unwrap().at("plain")).await
    }
}

fn speaking(config: &str, protocol: &str) -> String {
    config.replace("protocol: tcp", &format!("protocol: {protocol}"))
}

/// An end of a connection that speaks bytes.
pub struct Raw {
    pub tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub fn new(tcp: TcpStream) -> Self {
        Self { tcp, buffer: Vec::new() }
    }

    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.tcp.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Ends the own half.
    pub async fn finish(&mut self) {
        self.tcp.shutdown().await.unwrap();
    }

    /// Up to and with `end`; what was read is lost in the panic if the other side ends before.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end.as_bytes()) {
                let rest = self.buffer.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap();
            }
            let more = self.more().await;
            assert!(more, "no {end:?} in {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// A head.
    pub async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    /// A head; `None` when the other side ends before its first byte.
    pub async fn maybe_head(&mut self) -> Option<String> {
        if self.buffer.is_empty() && !self.more().await {
            return None;
        }
        Some(self.head().await)
    }

    pub async fn exactly(&mut self, size: usize) -> Vec<u8> {
        while self.buffer.len() < size {
            assert!(self.more().await, "ended after {} bytes of {size}", self.buffer.len());
        }
        let rest = self.buffer.split_off(size);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Up to and with `end`, a character for each byte; `None` when the other side ends before.
    pub async fn part(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|w| w == end.as_bytes()) {
                return self.piece(at + end.len()).await;
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// So many bytes, a character for each; `None` when the other side ends before.
    pub async fn piece(&mut self, size: usize) -> Option<String> {
        while self.buffer.len() < size {
            if !self.more().await {
                return None;
            }
        }
        Some(self.buffer.drain(..size).map(char::from).collect())
    }

    /// All until the other side ends.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Sends a request and returns head and body of its response.
    pub async fn ask(&mut self, request: &str) -> (String, String) {
        self.send(request).await;
        self.answer().await
    }

    /// A response with `content-length`, or none.
    pub async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length).await;
        (head, String::from_utf8(body).unwrap())
    }

    async fn more(&mut self) -> bool {
        let mut piece = [0; 16 * 1024];
        let size = within(self.tcp.read(&mut piece)).await.unwrap_or(0);
        self.buffer.extend_from_slice(&piece[..size]);
        size > 0
    }
}

/// The value of a field of a head, names in lower case.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An application: a script for each connection.
pub struct App {
    pub address: SocketAddr,
    _tasks: Tasks,
}

impl App {
    pub async fn start<F>(script: impl Fn(Raw) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Tasks::new();
        tasks.spawn("application", async move {
            let mut connections = Tasks::new();
            while let Ok((tcp, _)) = listener.accept().await {
                connections.spawn("connection", script(Raw::new(tcp)));
            }
        });
        Self { address, _tasks: tasks }
    }

    /// One that sends every request head back as a body.
    pub async fn mirror() -> Self {
        Self::start(|mut raw| async move {
            while let Some(head) = raw.maybe_head().await {
                let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
                raw.exactly(length).await;
                raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len())).await;
            }
        })
        .await
    }
}
