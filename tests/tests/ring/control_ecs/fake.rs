//! What a task has around it, faked: its agent, and an STS that computes signatures again from what was asked, by its own
//! few lines after AWS's words, with nothing of ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use outrigger_lifecycle::Tasks;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request; names of headers in lower case.
pub struct Asked {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Answers one request after another.
pub struct Server {
    pub address: SocketAddr,
    _tasks: Tasks,
}

/// Keys that were given out.
#[derive(Clone)]
pub struct Key {
    pub id: &'static str,
    pub secret: &'static str,
    pub token: &'static str,
    pub arn: String,
}

pub struct Sts {
    pub server: Server,
    pub asked: Arc<AtomicUsize>,
    /// What STS says to everybody, instead of looking.
    pub says: Arc<Mutex<Option<(u16, String)>>>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(found, _)| found == name);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "{name} comes twice");
        first.map(|(_, value)| value.as_str())
    }
}

impl Server {
    pub async fn start(answer: impl Fn(Asked) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Tasks::new();
        tasks.spawn("server", async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(asked) = read(&mut stream).await else { continue };
                let (status, body) = answer(asked);
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _gone = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let mut lines = head.split("\r\n").map(str::to_owned);
            let line = lines.next().unwrap();
            let headers: Vec<(String, String)> = lines
                .map(|line| {
                    line.split_once(':').map(|(k, v)| (k.to_lowercase(), v.trim().to_owned())).unwrap()
                })
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.map_or(0, |(_, value)| value.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(Asked { line, headers, body: bytes[end + 4..end + 4 + length].to_vec() });
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&more[..read]),
        }
    }
}

impl Sts {
    pub async fn start(keys: Vec<Key>) -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let says = Arc::<Mutex<Option<(u16, String)>>>::default();
        let keys: BTreeMap<&str, Key> = keys.into_iter().map(|key| (key.id, key)).collect();
        let (count, words) = (asked.clone(), says.clone());
        let server = Server::start(move |asked| {
            count.fetch_add(1, Ordering::Relaxed);
            let said = words.lock().unwrap().clone();
            said.unwrap_or_else(|| identity(&keys, &asked).unwrap_or_else(|code| (403, error(code))))
        });
        Self { server: server.await, asked, says }
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

pub fn error(code: &str) -> String {
    format!("<ErrorResponse><Error><Code>{code}</Code><Message>x</Message></Error></ErrorResponse>")
}

pub fn answer(arn: &str) -> String {
    let account = arn.split(':').nth(4).unwrap();
    format!(
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}</Arn><UserId>x</UserId><Account>{account}</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
}

/// Signature Version 4, as AWS's guide has it: "Create a signed AWS API request".
fn identity(keys: &BTreeMap<&str, Key>, asked: &Asked) -> Result<(u16, String), &'static str> {
    assert_eq!(asked.line, "POST / HTTP/1.1");
    assert_eq!(asked.body, b"Action=GetCallerIdentity&Version=2011-06-15");
    let authorization = asked.header("authorization").ok_or("MissingAuthenticationToken")?;
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(&format!("{name}="))?;
        rest.split(',').next()
    };
    let scope: Vec<&str> = part("Credential").unwrap().split('/').collect();
    let key = keys.get(scope[0]).ok_or("InvalidClientTokenId")?;
    if asked.header("x-amz-security-token") != Some(key.token) {
        return Err("InvalidClientTokenId");
    }
    let signed = part("SignedHeaders").unwrap();
    assert_eq!(asked.header("host").unwrap(), format!("sts.{}.amazonaws.com", scope[2]));
    let headers: Vec<(&str, &str)> =
        signed.split(';').map(|name| (name, asked.header(name).unwrap())).collect();
    let wanted = signature(key.secret, scope[2], &headers, &asked.body);
    if part("Signature") == Some(&wanted) {
        Ok((200, answer(&key.arn)))
    } else {
        Err("SignatureDoesNotMatch")
    }
}

/// Of a POST to `/` for STS with these headers, in order.
pub fn signature(secret: &str, region: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let date = headers.iter().find(|(name, _)| *name == "x-amz-date").unwrap().1;
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let canonical = format!("POST\n/\n\n{lines}\n{}\n{}", names.join(";"), hex(&Sha256::digest(body)));
    let scope = format!("{}/{region}/sts/aws4_request", &date[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part.as_bytes());
    }
    hex(&hmac(&key, text.as_bytes()))
}

/// RFC 2104; keys here are shorter than a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.map(|b| b ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
