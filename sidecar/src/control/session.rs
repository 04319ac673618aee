use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_wire::control::proof::Proof;
use outrigger_wire::control::{
    Ack, Certificate, Delta, Hello, Nack, SigningRequest, Up, down, roots_hash, rpc, up,
};
use outrigger_wire::{Held, ProxyConfig};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::dial::DialError;
use super::{CLOCK_CHECK, Control};

/// Messages on their way to the controller; one that lets more pile up does not read.
const QUEUE: usize = 32;
/// Reports are at least so far apart once the stream is under way.
const REPORT_PAUSE: Duration = Duration::from_millis(200);
/// The first ones tell that the sidecar serves and where the application listens: traffic waits for them.
const PROMPT_REPORTS: u32 = 10;
/// So far apart are those.
const PROMPT_PAUSE: Duration = Duration::from_millis(10);
/// A report is sent after this, changed or not: edges count all the time.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Why a change was not applied.
struct Refusal {
    reasons: Vec<String>,
    /// The two ends do not agree on what is held: a new hello settles it.
    astray: bool,
}

/// When to report.
struct Reports {
    due: Instant,
    last: Instant,
    prompt: u32,
}

impl Reports {
    fn now() -> Self {
        let now = Instant::now();
        Self { due: now, last: now, prompt: PROMPT_REPORTS }
    }

    /// Something changed.
    fn hurry(&mut self) {
        let pause = if self.prompt > 0 { PROMPT_PAUSE } else { REPORT_PAUSE };
        self.due = self.due.min(self.last + pause);
    }

    fn sent(&mut self) {
        self.last = Instant::now();
        self.due = self.last + REPORT_EVERY;
        self.prompt = self.prompt.saturating_sub(1);
    }
}

/// The way up.
struct Line(mpsc::Sender<Up>);

impl Line {
    fn send(&self, kind: up::Kind) -> Result<(), DialError> {
        let sent = self.0.try_send(Up { kind: Some(kind) });
        sent.map_err(|_| DialError::Ended("the controller does not read".into()))
    }
}

impl Control {
    /// One stream, until it ends.
    pub(super) async fn session(&mut self, channel: Channel, proof: Option<&Proof>) -> DialError {
        match self.converse(channel, proof).await {
            Ok(()) => DialError::Ended("the controller closed it".into()),
            Err(error) => error,
        }
    }

    async fn converse(&mut self, channel: Channel, proof: Option<&Proof>) -> Result<(), DialError> {
        let (line, messages) = mpsc::channel(QUEUE);
        let line = Line(line);
        line.send(up::Kind::Hello(self.hello()))?;
        if self.renewal.is_pending() {
            // The question went down with the connection before.
            self.renewal.hurry(SystemTime::now());
        }
        self.renew(&line)?;
        let mut down = rpc::open(channel, ReceiverStream::new(messages), proof).await?;
        tracing::info!("connected to the controller");
        let mut reports = Reports::now();
        loop {
            let renewal = self.renewal.wait(SystemTime::now()).min(CLOCK_CHECK);
            tokio::select! {
                message = down.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    let certificate = matches!(message.kind, Some(down::Kind::Certificate(_)));
                    self.hear(message.kind, &line)?;
                    if certificate {
                        reports.hurry();
                    }
                }
                () = self.parts.reporter.changed() => reports.hurry(),
                () = sleep_until(reports.due) => {
                    line.send(up::Kind::Report(self.parts.reporter.report()))?;
                    reports.sent();
                }
                () = sleep(renewal) => self.renew(&line)?,
            }
        }
    }

    fn hello(&self) -> Hello {
        let identity = self.parts.identity.borrow();
        let roots = identity.iter().flat_map(|identity| identity.roots.iter().map(AsRef::as_ref));
        Hello {
            sidecar_version: env!("CARGO_PKG_VERSION").to_owned(),
            held: self.held.hashes(),
            roots: roots_hash(roots),
        }
    }

    fn hear(&mut self, kind: Option<down::Kind>, line: &Line) -> Result<(), DialError> {
        match kind {
            Some(down::Kind::Delta(delta)) => self.change(delta, line),
            Some(down::Kind::Certificate(certificate)) => {
                self.certified(certificate);
                Ok(())
            }
            Some(down::Kind::Renew(renew)) => {
                tracing::info!(reason = renew.reason, "asked to renew the certificate");
                self.renewal.hurry(SystemTime::now());
                Ok(())
            }
            Some(down::Kind::Drain(drain)) => {
                // A second one says nothing new.
                let _told_already = self.parts.drain.try_send(Duration::from_millis(drain.deadline_ms));
                Ok(())
            }
            // A newer controller may say what is not known here.
            None => Ok(()),
        }
    }

    /// Applies a change and answers it.
    fn change(&mut self, delta: Delta, line: &Line) -> Result<(), DialError> {
        let nonce = delta.nonce;
        let refusal = match self.apply(delta) {
            Ok(version) => return line.send(up::Kind::Ack(Ack { nonce, version })),
            Err(refusal) => refusal,
        };
        tracing::warn!(
            reasons = refusal.reasons.join("; "),
            "configuration refused; what ran before still runs"
        );
        let runs = self.held.resources().next().is_some();
        let version = if runs { self.held.version() } else { String::new() };
        line.send(up::Kind::Nack(Nack { nonce, version, reasons: refusal.reasons }))?;
        if refusal.astray { Err(DialError::Ended("both ends must agree anew".into())) } else { Ok(()) }
    }

    /// All of it or nothing: `held` changes only once it runs. Returns the version that runs.
    fn apply(&mut self, delta: Delta) -> Result<String, Refusal> {
        let (next, version, config) = self.after(delta)?;
        let (identity, stored) = (config.proxy.identity.clone(), Arc::new(config.clone()));
        (self.parts.apply)(config, version.clone()).map_err(|reasons| Refusal { reasons, astray: false })?;
        self.held = next;
        self.good.send_replace(Some(stored));
        let own = self.parts.identity.borrow().clone();
        if own.is_some_and(|own| own.spiffe != identity) {
            self.renewal.hurry(SystemTime::now());
        }
        Ok(version)
    }

    /// What is held after a change and its version, checked.
    fn after(&self, delta: Delta) -> Result<(Held, String, ProxyConfig), Refusal> {
        let refuse =
            |error: outrigger_wire::ApplyError| Refusal { reasons: vec![error.to_string()], astray: false };
        let next = self.held.apply(delta.upserts, &delta.removals).map_err(refuse)?;
        let version = next.version();
        if version != delta.version {
            let reason =
                format!("the change leads to version {version} here, and {} was meant", delta.version);
            return Err(Refusal { reasons: vec![reason], astray: true });
        }
        let config = next.config().map_err(refuse)?;
        Ok((next, version, config))
    }

    fn renew(&mut self, line: &Line) -> Result<(), DialError> {
        let now = SystemTime::now();
        if !self.renewal.wait(now).is_zero() {
            return Ok(());
        }
        match self.renewal.ask(now) {
            Ok(csr) => line.send(up::Kind::Sign(SigningRequest { csr })),
            Err(error) => {
                tracing::error!(%error, "no request for a certificate");
                Ok(())
            }
        }
    }

    fn certified(&mut self, certificate: Certificate) {
        if !certificate.refused.is_empty() {
            self.complaint
                .say(&format!("the controller does not sign a certificate: {}", certificate.refused));
            return;
        }
        match self.renewal.answered(certificate, SystemTime::now(), fastrand::f64()) {
            Ok(Some(identity)) => {
                tracing::debug!(identity = %identity.spiffe, not_after = identity.not_after, "certificate");
                self.parts.identity.send_replace(Some(Arc::new(identity)));
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the controller's certificate is not used"),
        }
    }
}
