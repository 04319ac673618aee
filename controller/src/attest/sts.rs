//! Asks STS whose a proof is. URL, body and headers are ours; of the caller's words only date, key id, token and signature
//! go along, each checked for its form. The answer counts because TLS proves that STS gave it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use outrigger_wire::control::proof::{BODY, Proof};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::aws;
use crate::settings::StsEndpoint;

/// For one question, connecting included.
const ANSWER: Duration = Duration::from_secs(10);
/// To be asked at all: others are asked first.
const TURN: Duration = Duration::from_secs(10);
/// Questions at once. STS takes some hundreds in a second from an account; an answer takes some tens of milliseconds.
const AT_ONCE: usize = 16;
/// Bytes of an answer; a real one has about 500.
const LIMIT: usize = 16 * 1024;

/// STS. Clones share the number of questions.
#[derive(Clone)]
pub struct Sts {
    endpoint: Option<StsEndpoint>,
    tls: TlsConnector,
    turns: Arc<Semaphore>,
}

/// What STS says of a signer: the session of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// Twelve digits.
    pub account: String,
    /// The role's name, without its path.
    pub name: String,
    /// Who took the role said this; for the role of a task, ECS says the task's id.
    pub session: String,
}

/// Why STS does not say whose a proof is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StsError {
    /// It refuses the signature.
    #[error("AWS STS does not accept the proof ({0}){hint}", hint = hint(.0))]
    Refused(String),
    /// It knows the signer, who is not in a role: a user, say.
    #[error("the proof is not that of a role")]
    NoRole,
    /// No answer, or none that can be read.
    #[error("AWS STS of {region} cannot be asked ({why})")]
    Away {
        /// Where.
        region: String,
        /// What went wrong.
        why: String,
    },
}

/// What the owner of a task can do about it.
fn hint(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            ": it was made for another controller or another connection, or the clock of the task's host is wrong"
        }
        "ExpiredToken" | "ExpiredTokenException" => ": the credentials of the task's role have expired",
        "InvalidClientTokenId" => ": the credentials are not of this partition, or no more valid",
        _ => "",
    }
}

impl Sts {
    /// The STS of each region, or all of them behind one endpoint.
    pub fn new(endpoint: Option<StsEndpoint>) -> Self {
        if let Some(StsEndpoint { tls: false, host, port }) = &endpoint {
            tracing::warn!(
                "OUTRIGGER_STS_ENDPOINT is http: whoever is between here and {host}:{port} can let anybody in"
            );
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(aws::roots())
            .with_no_client_auth();
        Self { endpoint, tls: Arc::new(config).into(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Whose a proof is. `bound_to` is what its signature must cover.
    ///
    /// # Errors
    /// See [`StsError`]. Without an answer nobody is let in.
    pub async fn role(&self, proof: &Proof, bound_to: &str) -> Result<Role, StsError> {
        let away = |why: String| StsError::Away { region: proof.region().as_str().to_owned(), why };
        let turn = tokio::time::timeout(TURN, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(away("too many are asking".into())) };
        let answered = tokio::time::timeout(ANSWER, self.ask(proof, bound_to)).await;
        let (status, body) = match answered {
            Ok(answered) => answered.map_err(|error| away(error.to_string()))?,
            Err(_) => return Err(away(format!("no answer within {} s", ANSWER.as_secs()))),
        };
        read(status, &body).map_err(|error| match error {
            Unread::Refused(code) => StsError::Refused(code),
            Unread::NoRole => StsError::NoRole,
            Unread::Away(why) => away(why),
        })
    }

    async fn ask(&self, proof: &Proof, bound_to: &str) -> Result<(StatusCode, String), BoxError> {
        let host = proof.region().sts();
        let (place, tls) = match &self.endpoint {
            Some(StsEndpoint { tls, host, port }) => ((host.clone(), *port), *tls),
            None => ((host.clone(), 443), true),
        };
        let tcp = TcpStream::connect(place).await?;
        let mut request = Request::post("/");
        for (name, value) in proof.question(bound_to) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from_static(BODY.as_bytes())))?;
        if tls {
            // The endpoint of a VPC has the name of the region's own in its certificate.
            exchange(self.tls.connect(ServerName::try_from(host)?, tcp).await?, request).await
        } else {
            exchange(tcp, request).await
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String), BoxError> {
    let (mut sender, connection) =
        http1::Builder::new().max_buf_size(LIMIT).handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LIMIT).collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.into())?))
    };
    let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    tokio::select! {
        biased;
        answered = &mut answer => answered,
        // It may end before what it read was taken.
        _ended = &mut connection => answer.await,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Unread {
    Refused(String),
    NoRole,
    Away(String),
}

/// Reads an answer of GetCallerIdentity, or the error instead of it.
fn read(status: StatusCode, body: &str) -> Result<Role, Unread> {
    if status == StatusCode::OK {
        let odd = || Unread::Away("its answer is not one".into());
        let arn = element(body, "Arn").ok_or_else(odd)?;
        let role = role(arn).ok_or(Unread::NoRole)?;
        return if element(body, "Account") == Some(&role.account) { Ok(role) } else { Err(odd()) };
    }
    let code = element(body, "Code")
        .filter(|code| (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    match code {
        Some(code)
            if status.is_client_error() && !code.starts_with("Thrott") && code != "RequestLimitExceeded" =>
        {
            Err(Unread::Refused(code.to_owned()))
        }
        _ => Err(Unread::Away(format!("it answers {status}"))),
    }
}

/// The text of an element that is there once.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (before, rest) = xml.split_once(&open)?;
    let (text, after) = rest.split_once(&close)?;
    let once = ![before, text, after].iter().any(|part| part.contains(&open) || part.contains(&close));
    once.then_some(text)
}

/// `arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION`.
fn role(arn: &str) -> Option<Role> {
    let parts: Vec<&str> = arn.split(':').collect();
    let ["arn", partition, "sts", "", account, session] = parts.as_slice() else { return None };
    let path: Vec<&str> = session.split('/').collect();
    let ["assumed-role", name, session] = path.as_slice() else { return None };
    // IAM's letters of names of roles and sessions.
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
    };
    let good = account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && [*partition, *name, *session].into_iter().all(word);
    let [partition, account, name, session] = [*partition, *account, *name, *session].map(str::to_owned);
    good.then_some(Role { partition, account, name, session })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:sts::111122223333:assumed-role/cart/0f2a";

    fn answer(arn: &str, account: &str) -> String {
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>{arn}</Arn><UserId>AROA:x</UserId><Account>{account}</Account></GetCallerIdentityResult>\
             </GetCallerIdentityResponse>"
        )
    }

    #[test]
    fn a_session_of_a_role_is_read() {
        let role = read(StatusCode::OK, &answer(ARN, "111122223333")).unwrap();
        assert_eq!(
            [role.partition, role.account, role.name, role.session],
            ["aws", "111122223333", "cart", "0f2a"]
        );
    }

    #[test]
    fn whoever_is_not_in_a_role_and_what_is_no_answer() {
        for arn in [
            "arn:aws:iam::111122223333:user/eve",
            "arn:aws:sts::111122223333:federated-user/0f2a",
            "arn:aws:sts::111122223333:assumed-role/a/b/0f2a",
            "arn:aws:sts::111122223333:assumed-role/a/",
            "arn:aws:sts:eu-west-1:111122223333:assumed-role/cart/0f2a",
            "arn:aws:sts::1:assumed-role/cart/0f2a",
            "arn:aws:iam::111122223333:role/cart/0f2a",
            "arn:aws:sts::111122223333:assumed-role/ca rt/0f2a",
            "",
        ] {
            assert_eq!(read(StatusCode::OK, &answer(arn, "111122223333")), Err(Unread::NoRole), "{arn}");
        }
        let twice = answer(ARN, "111122223333").replace("<UserId>", &format!("<Arn>{ARN}</Arn><UserId>"));
        let cases = [answer(ARN, "444455556666"), twice, "<Arn>".into(), String::new(), "{}".into()];
        for body in cases {
            assert!(matches!(read(StatusCode::OK, &body), Err(Unread::Away(_))), "{body}");
        }
    }

    #[test]
    fn a_refusal_is_the_callers_and_trouble_is_not() {
        let error = |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>");
        let refused = read(StatusCode::FORBIDDEN, &error("SignatureDoesNotMatch"));
        assert_eq!(refused, Err(Unread::Refused("SignatureDoesNotMatch".into())));
        for (status, body) in [
            (StatusCode::SERVICE_UNAVAILABLE, error("ServiceUnavailable")),
            (StatusCode::BAD_REQUEST, error("Throttling")),
            (StatusCode::BAD_REQUEST, error("Throttl\ning: <b>")),
            (StatusCode::FORBIDDEN, "<html>".into()),
            (StatusCode::FOUND, answer(ARN, "111122223333")),
        ] {
            assert!(matches!(read(status, &body), Err(Unread::Away(_))), "{body}");
        }
    }

    #[test]
    fn mutated_answers_never_make_another_role() {
        let whole = answer(ARN, "111122223333");
        let wanted = read(StatusCode::OK, &whole).unwrap();
        // By a linear congruence (Knuth), so that it is the same each time.
        let mut random = 7_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % below
        };
        for _ in 0..20_000 {
            let mut bytes = whole.clone().into_bytes();
            for _ in 0..=next(3) {
                let (at, to) = (next(bytes.len()), next(bytes.len()));
                match next(3) {
                    0 => drop(bytes.remove(at)),
                    1 => bytes[at] = bytes[to],
                    _ => bytes.insert(at, b"<>/Arn:x-"[next(9)]),
                }
            }
            if let Ok(found) = read(StatusCode::OK, &String::from_utf8_lossy(&bytes)) {
                assert_eq!(found.account.len(), 12);
                assert!(!format!("{found:?}").contains(['<', '>']), "{found:?} {wanted:?}");
            }
        }
    }
}
