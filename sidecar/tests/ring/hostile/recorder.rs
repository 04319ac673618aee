//! An application that takes nothing but canonical HTTP/1.1, and tells what it took.

use outrigger_lifecycle::Tasks;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::http_mesh::{Chain, Raw, field};
use crate::mesh::within;

/// Two ways into the mesh, and an application at its end that records each whole message.
pub struct Recorded {
    pub chain: Chain,
    messages: mpsc::UnboundedReceiver<String>,
    _tasks: Tasks,
}

/// Fields that say who called, where the two ways in differ, and the trace, which is never the same.
const ADDED: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-client-cert", "traceparent"];

impl Recorded {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, messages) = mpsc::unbounded_channel();
        let mut tasks = Tasks::new();
        tasks.spawn("application", async move {
            let mut connections = Tasks::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let tell = tell.clone();
                connections.spawn("connection", async move {
                    let mut raw = Raw::new(tcp);
                    while let Some(message) = message(&mut raw).await {
                        let body = format!("{} bytes", message.len());
                        tell.send(message).unwrap();
                        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                        raw.send(head + &body).await;
                    }
                });
            }
        });
        Self { chain: Chain::start_http(&[address]).await, messages, _tasks: tasks }
    }

    /// Messages that have come, without what sidecars add of the caller.
    pub fn taken(&mut self) -> Vec<String> {
        let mut taken = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            let lines = message.split_inclusive("\r\n");
            taken.push(lines.filter(|line| !ADDED.iter().any(|name| line.starts_with(name))).collect());
        }
        taken
    }
}

/// The next message; none when the sender ends, or breaks off within one. A body in chunks is joined, between `[` and
/// `]`, with the trailers behind it.
async fn message(raw: &mut Raw) -> Option<String> {
    let mut message = raw.part("\r\n\r\n").await?;
    canonical(&message);
    match (field(&message, "content-length").map(str::to_owned), field(&message, "transfer-encoding")) {
        (Some(length), None) => {
            let length = length.parse().unwrap();
            message.push_str(&raw.piece(length).await?);
        }
        (None, Some("chunked")) => {
            message.push('[');
            loop {
                let size = raw.part("\r\n").await?;
                let size = usize::from_str_radix(size.trim_end(), 16).expect("no extension");
                if size == 0 {
                    break;
                }
                message.push_str(&raw.piece(size).await?);
                assert_eq!(raw.piece(2).await?, "\r\n");
            }
            message.push(']');
            loop {
                let line = raw.part("\r\n").await?;
                message.push_str(&line);
                if line == "\r\n" {
                    break;
                }
            }
        }
        (None, None) => {}
        both => panic!("framing said twice, or strangely: {both:?} in {message:?}"),
    }
    Some(message)
}

/// One request line, then one field on each line, names in lower case, one space, no control characters; no
/// framing said twice.
fn canonical(head: &str) {
    let lines: Vec<_> = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n").collect();
    assert!(!lines.iter().any(|line| line.contains(|c: char| c.is_control() && c != '\t')), "{head:?}");
    assert_eq!(lines[0].split(' ').count(), 3, "{head:?}");
    assert!(lines[0].ends_with(" HTTP/1.1"), "{head:?}");
    for line in &lines[1..] {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} in {head:?}"));
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        assert!(name.bytes().all(token) && name == name.to_ascii_lowercase(), "{head:?}");
        assert_eq!(value.trim(), value, "{head:?}");
    }
    for name in ["host", "content-length", "transfer-encoding"] {
        let times = lines.iter().filter(|line| line.starts_with(&format!("{name}: "))).count();
        assert!(times <= 1 && (name != "host" || times == 1), "{name} in {head:?}");
    }
}

/// Sends `bytes` and ends nothing; what came back, response by response, and whether the connection was ended.
pub async fn answers(raw: &mut Raw, bytes: &[u8], last: &str) -> (Vec<u16>, bool) {
    // A connection refused in the middle of what is sent may be reset.
    let _refused = within(tokio::io::AsyncWriteExt::write_all(&mut raw.tcp, bytes)).await;
    let mut statuses = Vec::new();
    loop {
        let Some(head) = raw.part("\r\n\r\n").await else { return (statuses, true) };
        statuses.push(head.split(' ').nth(1).unwrap().parse().unwrap());
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let Some(body) = raw.piece(length).await else { return (statuses, true) };
        if body == last {
            return (statuses, false);
        }
    }
}
