//! When streams and connections end that somebody would like to keep.

use hyper_util::rt::TokioIo;
use outrigger_model::Lifecycle;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use x509_parser::parse_x509_certificate;

use super::*;
use crate::control::peer::handed_on;

fn authority(name: &str) -> Authority {
    let directory = std::env::temp_dir().join(format!("outrigger-over-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    Authority::open(&directory, "outrigger.internal", Duration::from_secs(86_400)).unwrap()
}

fn sign() -> Up {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    Up { kind: Some(up::Kind::Sign(SigningRequest { csr })) }
}

async fn life(down: &mut Streaming<Down>) -> i64 {
    let certificate = certificate(down).await;
    let (_, leaf) = parse_x509_certificate(&certificate.chain[0]).unwrap();
    leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp()
}

/// It would stay a sidecar for ever, whatever became of the sidecar.
#[tokio::test]
async fn a_stream_that_was_handed_to_another_process_ends_with_its_own() {
    let world = world(1, "now", "now").await;
    let (socket, mut child) = handed_on(&world.socket);
    world._kept.1.send_modify(|seen| {
        let sidecar = Arc::make_mut(&mut seen.containers).get_mut("sidecar").unwrap();
        sidecar.run = Run::Running(Instance { started: "x".into(), pid: child.id() });
    });
    socket.set_nonblocking(true).unwrap();
    let mut stream = Some(TokioIo::new(UnixStream::from_std(socket).unwrap()));
    let connector = tower::service_fn(move |_| {
        std::future::ready(
            stream.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)),
        )
    });
    let endpoint = Endpoint::from_static("http://controller");
    let (up, messages) = mpsc::unbounded_channel();
    up.send(Up { kind: Some(hello()) }).unwrap();
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    let mut down = rpc::open(channel, UnboundedReceiverStream::new(messages), None).await.unwrap();
    world.sees(|proxy| proxy.connected).await;
    child.kill().unwrap();
    let cut = next(&mut down).await.unwrap_err();
    assert_eq!(
        (cut.code(), cut.message()),
        (Code::PermissionDenied, "the process that was let in has ended")
    );
    world.sees(|proxy| !proxy.connected).await;
    child.wait().unwrap();
}

#[tokio::test]
async fn what_is_about_to_stop_gets_a_certificate_for_minutes_and_what_is_gone_none() {
    let world = world_of(Ok(authority("stop")), std::process::id(), "now", "now").await;
    let (up, mut down) = world.hello().await;
    world.shows(Lifecycle::Running);
    up.send(sign()).unwrap();
    assert_eq!(life(&mut down).await, 86_400 + 60);
    world.shows(Lifecycle::Stopping);
    up.send(sign()).unwrap();
    assert_eq!(life(&mut down).await, 600 + 60);
    world._kept.2.send_replace(Arc::default());
    up.send(sign()).unwrap();
    let none = tokio::time::timeout(Duration::from_millis(1500), certificate(&mut down)).await;
    assert!(none.is_err(), "{none:?}");
}

#[tokio::test]
async fn who_asks_for_signatures_without_end_gets_one_in_a_second() {
    let world = world_of(Ok(authority("busy")), std::process::id(), "now", "now").await;
    let (up, mut down) = world.hello().await;
    world.shows(Lifecycle::Running);
    let begun = Instant::now();
    let request = sign();
    (0..50).for_each(|_| up.send(request.clone()).unwrap());
    certificate(&mut down).await;
    certificate(&mut down).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let third = tokio::time::timeout(Duration::from_millis(1500), certificate(&mut down)).await;
    assert!(third.is_err(), "the newest stands for all that waited");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_ends() {
    let world = world(1, "now", "now").await;
    let mut idle = UnixStream::connect(&world.socket).await.unwrap();
    let (begun, mut said) = (Instant::now(), Vec::new());
    // The preface of HTTP/2 is all that there is.
    let _reset = idle.read_to_end(&mut said).await;
    assert!(begun.elapsed() <= PROOF + Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// The last report of each sidecar is kept.
#[tokio::test]
async fn a_report_of_any_size_is_not_taken() {
    let world = world(std::process::id(), "now", "now").await;
    let (up, mut down) = world.hello().await;
    let long = Nack { reasons: vec!["x".repeat(rpc::MAX_UP)], ..Nack::default() };
    up.send(Up { kind: Some(up::Kind::Nack(long)) }).unwrap();
    assert!(next(&mut down).await.is_err());
    world.sees(|proxy| !proxy.connected).await;
}
