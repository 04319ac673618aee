//! A small mesh: a certificate authority, sidecars, an echoing application.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_lifecycle::Tasks;
use outrigger_sidecar::handover::HandOver;
use outrigger_sidecar::hosts::Hosts;
use outrigger_sidecar::identity::Identity;
use outrigger_sidecar::netns::Listening;
use outrigger_sidecar::patience::Patience;
use outrigger_sidecar::report::Reporter;
use outrigger_sidecar::runtime::Runtime;
use outrigger_sidecar::settings::AccessLog;
use outrigger_sidecar::{Options, Sidecar, Stopped};
use outrigger_wire::{ProxyConfig, SpiffeId};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// Nothing here takes long; what does has hung.
const LIMIT: Duration = Duration::from_secs(20);

/// Longest drain.
const DRAIN: Duration = Duration::from_secs(10);

/// Fails a test that hangs.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("done in time")
}

/// A certificate authority.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A good certificate of `spiffe://test.internal/shop/<service>`.
    pub fn issue(&self, service: &str) -> Arc<Identity> {
        self.issue_uris(&[&format!("spiffe://test.internal/shop/{service}")])
    }

    /// The same, good for so many seconds; and the moment when it has expired.
    pub fn issue_for(&self, service: &str, seconds: u64) -> (Arc<Identity>, SystemTime) {
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds;
        let identity = self.issue_with(&[&format!("spiffe://test.internal/shop/{service}")], Some(until));
        (identity, UNIX_EPOCH + Duration::from_secs(until + 1))
    }

    /// A certificate with these URIs; the first must be an id.
    pub fn issue_uris(&self, uris: &[&str]) -> Arc<Identity> {
        self.issue_with(uris, None)
    }

    fn issue_with(&self, uris: &[&str], until: Option<u64>) -> Arc<Identity> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        if let Some(until) = until {
            let later = params.not_after.unix_timestamp().cast_unsigned() - until;
            params.not_after -= Duration::from_secs(later);
        }
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let spiffe = SpiffeId::try_from(uris[0].to_owned()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Arc::new(Identity {
            key: key.into(),
            chain: vec![leaf.der().clone()],
            roots: vec![self.0.der().clone()],
            spiffe,
            not_before: now,
            not_after: now + 3600,
        })
    }
}

impl Ca {
    /// Connects to a mesh port as a peer with these URIs in its certificate, and reads what comes first.
    pub async fn ask(
        &self,
        mesh: SocketAddr,
        server_name: &str,
        uris: &[&str],
        alpn: &[u8],
    ) -> std::io::Result<[u8; 1]> {
        within(async {
            let mut first = [0];
            self.connect(mesh, server_name, uris, alpn).await?.read_exact(&mut first).await?;
            Ok(first)
        })
        .await
    }

    /// Connects to a mesh port as a peer with these URIs in its certificate.
    pub async fn connect(
        &self,
        mesh: SocketAddr,
        server_name: &str,
        uris: &[&str],
        alpn: &[u8],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let identity = self.issue_uris(uris);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Arc::new(Anybody(provider.signature_verification_algorithms));
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = server_name.to_owned().try_into().unwrap();
        let tcp = TcpStream::connect(mesh).await?;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

/// Believes every callee: these tests are about what a callee believes.
#[derive(Debug)]
struct Anybody(rustls::crypto::WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// A running sidecar.
pub struct Node {
    pub runtime: Runtime,
    pub identity: watch::Sender<Option<Arc<Identity>>>,
    pub listening: watch::Sender<Listening>,
    pub admin: SocketAddr,
    /// What it would tell a controller.
    pub reporter: Reporter,
    /// Told when its workload is to stop.
    pub leaving: watch::Sender<bool>,
    readiness: outrigger_lifecycle::Readiness,
    stop: oneshot::Sender<Duration>,
    ended: oneshot::Receiver<Stopped>,
    _tasks: Tasks,
}

impl Node {
    /// Starts a sidecar of `service` and waits until it is ready.
    pub async fn start(ca: &Ca, config: &str) -> Self {
        let config = parse(config);
        let node = Self::start_without_identity(config.clone()).await;
        node.identity.send_replace(Some(ca.issue(config.proxy.identity.service())));
        within(node.readiness.ready()).await;
        node
    }

    pub async fn start_without_identity(config: ProxyConfig) -> Self {
        Self::start_at(config, None).await
    }

    /// Takes the place of whoever is found at `hand_over`.
    pub async fn start_at(config: ProxyConfig, hand_over: Option<HandOver>) -> Self {
        let node = Self::start_bare(hand_over, None);
        node.runtime.apply(config).unwrap();
        node
    }

    /// With less patience than it has by default.
    pub async fn start_patient(ca: &Ca, config: &str, patience: Patience) -> Self {
        let config = parse(config);
        let node = Self::start_so(None, None, patience);
        node.runtime.apply(config.clone()).unwrap();
        node.identity.send_replace(Some(ca.issue(config.proxy.identity.service())));
        within(node.readiness.ready()).await;
        node
    }

    /// Without a configuration.
    pub fn start_bare(hand_over: Option<HandOver>, hosts: Option<Hosts>) -> Self {
        Self::start_so(hand_over, hosts, Patience::default())
    }

    fn start_so(hand_over: Option<HandOver>, hosts: Option<Hosts>, patience: Patience) -> Self {
        let (identity, identities) = watch::channel(None);
        let (listening, seen) = watch::channel(Listening::new());
        let admin = "127.0.0.1:0".parse().unwrap();
        let options = Options {
            workers: 2,
            connections: 256,
            admin,
            access_log: AccessLog::Off,
            identity: identities,
            listening: seen,
            hand_over,
            hosts,
            patience,
        };
        let sidecar = Sidecar::bind(options).unwrap();
        let (runtime, readiness) = (sidecar.runtime(), sidecar.readiness());
        let (admin, reporter) = (sidecar.admin().unwrap(), sidecar.reporter());
        let leaving = sidecar.leaving();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let mut tasks = Tasks::new();
        tasks.spawn("sidecar", async move {
            let done = sidecar.run(async { stopped.await.unwrap_or_default() }).await;
            let _test_over = end.send(done);
        });
        Self { runtime, identity, listening, admin, reporter, leaving, readiness, stop, ended, _tasks: tasks }
    }

    /// Gives it an identity and waits until it is used.
    pub async fn identify(&self, identity: Arc<Identity>) {
        let mut uses = self.runtime.identities();
        let before = *uses.borrow_and_update();
        self.identity.send_replace(Some(identity));
        within(uses.wait_for(|uses| *uses > before)).await.unwrap();
        within(self.readiness.ready()).await;
    }

    /// Where a listener is bound.
    pub fn at(&self, listener: &str) -> SocketAddr {
        self.runtime.addresses()[listener]
    }

    /// Stops it; true if all connections ended by themselves.
    pub async fn stop(self) -> bool {
        self.stop_within(DRAIN).await
    }

    pub async fn stop_within(self, limit: Duration) -> bool {
        self.stop.send(limit).unwrap();
        within(self.ended).await.unwrap() == Stopped::Drained
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Stopped {
        within(self.ended).await.unwrap()
    }

    /// The text of a path of the admin port.
    pub async fn get(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(tcp.read_to_string(&mut answer)).await.unwrap();
        answer
    }
}

pub fn parse(yaml: &str) -> ProxyConfig {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// A sidecar in front of `application`, called as port 7000 of `echo.shop`.
pub fn callee(application: SocketAddr) -> String {
    format!(
        "
proxy:
  identity: spiffe://test.internal/shop/echo
  workload: shop-echo-1
  listeners:
    mesh: {{ address: '127.0.0.1:0', kind: mesh }}
    plain: {{ address: '127.0.0.1:0', kind: inbound, target: {{ port: 7000 }} }}
  ports:
    7000: {{ protocol: tcp, app_address: '{application}' }}
"
    )
}

/// A sidecar whose application calls `echo` at its listener `out`; endpoints as given.
pub fn caller(endpoints: &BTreeMap<&str, SocketAddr>) -> String {
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|(workload, address)| format!("{{ workload: {workload}, address: '{address}' }}"))
        .collect();
    format!(
        "
proxy:
  identity: spiffe://test.internal/shop/web
  workload: shop-web-1
  listeners:
    out: {{ address: '127.0.0.1:0', kind: outbound, target: {{ service: {{ name: echo.shop, port: 7000 }} }} }}
services:
  echo.shop:
    names: [ echo ]
    ports: {{ 7000: {{ cluster: 'echo.shop:7000', protocol: tcp }} }}
clusters:
  echo.shop:7000:
    service: echo.shop
    port: 7000
    identity: spiffe://test.internal/shop/echo
    endpoints: [ {} ]
",
        endpoints.join(", ")
    )
}

/// An application that echoes until the client ends, then says `bye` and ends.
pub struct Echo {
    pub address: SocketAddr,
    _tasks: Tasks,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Tasks::new();
        tasks.spawn("echo", async move {
            let mut connections = Tasks::new();
            while let Ok((tcp, _)) = listener.accept().await {
                connections.spawn("connection", echo(tcp));
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn echo(mut tcp: TcpStream) {
    let (mut read, mut write) = tcp.split();
    if tokio::io::copy(&mut read, &mut write).await.is_ok() {
        let _client_gone = write.write_all(b"bye").await;
    }
}

/// Sends `text`, ends its own half, and returns what came back.
pub async fn exchange(address: SocketAddr, text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tcp = TcpStream::connect(address).await?;
    let (mut read, mut write) = tcp.split();
    let mut answer = Vec::new();
    let send = async {
        write.write_all(text).await?;
        write.shutdown().await
    };
    let (sent, read) = within(async { tokio::join!(send, read.read_to_end(&mut answer)) }).await;
    sent.and(read)?;
    Ok(answer)
}

/// An address where nobody listens: not one of 127.0.0.1, where the next test may get the port.
pub fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap()
}
