//! A caller that signs for itself, and may send what it likes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Request};
use outrigger_lifecycle::Tasks;
use outrigger_sidecar::tls::controller::Controller;
use outrigger_wire::control::pin::{Pin, Pins};
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::cloud::{REGION, key};
use super::fake::{Key, hex, signature};
use crate::control::within;

pub type Line = TlsStream<TcpStream>;

const BODY: &[u8] = b"Action=GetCallerIdentity&Version=2011-06-15";

/// A TLS connection to the controller, from a certain address.
pub async fn shake(address: SocketAddr, pin: Pin, from: Option<IpAddr>) -> io::Result<Line> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = from {
        socket.bind((from, 0).into())?;
    }
    let config = Arc::new(Controller::new(Pins::from(pin))).client().unwrap();
    let tcp = socket.connect(address).await?;
    let name = ServerName::try_from("controller").unwrap();
    within(TlsConnector::from(Arc::new(config)).connect(name, tcp)).await
}

/// What a proof for this connection is bound to.
pub fn bound(line: &Line, pin: Pin) -> String {
    let exported =
        line.get_ref().1.export_keying_material([0; 32], b"EXPORTER-outrigger-control-1", None).unwrap();
    format!("{pin}/{}", hex(&exported))
}

/// A proof by these keys, signed so many seconds from now.
pub fn headers(name: &str, bound_to: &str, seconds: i64) -> HeaderMap {
    headers_of(&key(name), bound_to, seconds)
}

pub fn headers_of(key: &Key, bound_to: &str, seconds: i64) -> HeaderMap {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let date = date(now.checked_add_signed(seconds).unwrap());
    let host = format!("sts.{REGION}.amazonaws.com");
    let signed = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", host.as_str()),
        ("x-amz-date", date.as_str()),
        ("x-amz-security-token", key.token),
        ("x-outrigger-controller", bound_to),
    ];
    let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}/{REGION}/sts/aws4_request, SignedHeaders={}, Signature={}",
        key.id,
        &date[..8],
        names.join(";"),
        signature(key.secret, REGION, &signed, BODY)
    );
    let mut headers = HeaderMap::new();
    let words =
        [("region", REGION), ("date", &date), ("authorization", &authorization), ("token", key.token)];
    for (name, value) in words {
        let name: http::HeaderName = format!("outrigger-proof-{name}").parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Opens the stream: good, or the status and its words; who is refused is not left connected.
pub async fn open(line: Line, headers: HeaderMap) -> Result<(), String> {
    let (mut sender, connection) =
        within(h2::client::handshake(line)).await.map_err(|error| error.to_string())?;
    let mut tasks = Tasks::new();
    tasks.spawn("connection", async {
        let _ended = connection.await;
    });
    let mut request =
        Request::post("http://controller/outrigger.control.v1.Control/Stream").body(()).unwrap();
    request.headers_mut().extend(headers);
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let asked = sender.send_request(request, false).map_err(|error| error.to_string())?;
    let answer = within(asked.0).await.map_err(|error| error.to_string())?;
    let word =
        |name| answer.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap().to_owned());
    let refused = match word("grpc-status") {
        None if answer.status() == 200 => return Ok(()),
        status => {
            format!("{} {}", status.unwrap_or_default(), plain(&word("grpc-message").unwrap_or_default()))
        }
    };
    drop((answer, asked.1, sender));
    within(tasks.next_ended()).await;
    Err(refused)
}

/// Without percent-encoding.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let coded = text.is_ascii().then(|| more.get(..2)).flatten().filter(|_| *first == b'%');
        match coded.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `YYYYMMDDTHHMMSSZ`, by counting days.
fn date(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{:02}{:02}T{hour:02}{minute:02}{:02}Z", month + 1, days + 1, second % 60)
}
