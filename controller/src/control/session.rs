use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outrigger_compile::{CompileError, service_key};
use outrigger_model::{Lifecycle, Snapshot};
use outrigger_wire::control::{Ack, Certificate, Down, Hello, Nack, Renew, Up, down, up};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Status, Streaming};

use super::Hall;
use super::guest::Guest;
use super::seats::Seat;
use super::worlds::Wish;
use crate::attest::Caller;
use crate::publish::{Offer, Outbox};

/// A sidecar says hello with its first bytes; one that does not is not one.
const HELLO: Duration = Duration::from_secs(10);
/// Applying takes milliseconds. A sidecar that does not answer for so long is told to start over.
const ANSWER: Duration = Duration::from_secs(30);

/// A sidecar needs one in hours; who asks without end does not keep the controller busy.
const BETWEEN_SIGNATURES: Duration = Duration::from_secs(1);
/// The longest life of a certificate that is signed for a workload that is about to stop: it drains, and is renewed meanwhile,
/// and what is left of it afterwards is of no use for long.
const FAREWELL_LIFETIME: Duration = Duration::from_secs(600);

/// One sidecar's stream.
pub struct Session {
    hall: Arc<Hall>,
    guest: Arc<Guest>,
    caller: Caller,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    up: Streaming<Up>,
    down: mpsc::Sender<Result<Down, Status>>,
    outbox: Outbox,
    /// A change of the snapshot was not compiled yet.
    stale: bool,
    /// When the sidecar must have answered what was sent.
    answer_by: Instant,
    /// A request that waits for its workload to be seen.
    request: Option<Vec<u8>>,
    /// Earlier than this nothing is signed.
    next_signature: Instant,
    failure: Option<CompileError>,
    /// What it was offered last.
    wish: Option<Wish>,
}

/// Marks a sidecar as gone, however its stream ends.
struct Present {
    hall: Arc<Hall>,
    caller: Caller,
    seat: Seat,
}

impl Session {
    /// A stream of an attested caller.
    pub fn new(
        hall: Arc<Hall>,
        guest: Arc<Guest>,
        caller: Caller,
        up: Streaming<Up>,
        down: mpsc::Sender<Result<Down, Status>>,
    ) -> Self {
        Self {
            snapshot: hall.desk.snapshot.clone(),
            hall,
            guest,
            caller,
            up,
            down,
            outbox: Outbox::new(Default::default()),
            stale: true,
            answer_by: Instant::now(),
            request: None,
            next_signature: Instant::now(),
            failure: None,
            wish: None,
        }
    }

    /// Runs until the stream ends, from whichever side.
    pub async fn run(mut self) {
        let ended = self.serve().await;
        tracing::debug!(workload = %self.caller.workload.0, ?ended, "stream ended");
        if let Err(status) = ended {
            // A sidecar that is gone, or does not read, will not see it.
            let _unread = self.down.try_send(Err(status));
        }
    }

    async fn serve(&mut self) -> Result<(), Status> {
        let hello = match timeout(HELLO, self.up.message()).await {
            Ok(Ok(Some(Up { kind: Some(up::Kind::Hello(hello)) }))) => hello,
            Ok(Err(status)) => return Err(status),
            Ok(Ok(_)) => return Err(Status::invalid_argument("the first message must be a hello")),
            Err(_) => return Err(Status::deadline_exceeded("no hello")),
        };
        let seat = self.hall.seats.take(&self.caller.sidecar);
        let mut present = Present { hall: self.hall.clone(), caller: self.caller.clone(), seat };
        let (guest, workload) = (self.guest.clone(), self.caller.workload.clone());
        let mut over = pin!(guest.over(&workload));
        self.greet(hello)?;
        loop {
            self.publish()?;
            self.sign()?;
            tokio::select! {
                message = self.up.message() => match message? {
                    Some(message) => self.hear(message)?,
                    None => return Ok(()),
                },
                changed = self.snapshot.changed() => match changed {
                    Ok(()) => self.stale = true,
                    Err(_) => return Err(Status::unavailable("the controller stops")),
                },
                over = &mut over => {
                    tracing::info!(workload = %workload.0, %over, "the stream is cut");
                    return Err(Status::permission_denied(over.to_string()));
                }
                () = sleep_until(self.next_signature), if self.must_wait() => {}
                () = present.seat.lost() => return Err(Status::aborted("a newer stream of this sidecar is open")),
                () = sleep_until(self.answer_by), if self.outbox.is_awaiting() => {
                    return Err(Status::deadline_exceeded("no answer to a change of configuration"));
                }
            }
        }
    }

    fn greet(&mut self, hello: Hello) -> Result<(), Status> {
        let Caller { workload, sidecar, next, address } = &self.caller;
        tracing::info!(workload = %workload.0, version = hello.sidecar_version, held = hello.held.len(), "hello");
        let proxies = &self.hall.desk.proxies;
        if *next {
            proxies.hello_next(workload, sidecar, &hello.sidecar_version);
        } else {
            proxies.hello(workload, sidecar, &hello.sidecar_version);
        }
        self.note(|proxy| proxy.address = *address);
        self.outbox = Outbox::new(hello.held);
        match &self.hall.desk.authority {
            Ok(authority) if !hello.roots.is_empty() && hello.roots != authority.roots_hash() => {
                let reason = "the certificate held comes from a root that is no more".to_owned();
                self.send(down::Kind::Renew(Renew { reason }))
            }
            _ => Ok(()),
        }
    }

    fn hear(&mut self, message: Up) -> Result<(), Status> {
        match message.kind {
            Some(up::Kind::Ack(ack)) => self.acked(&ack),
            Some(up::Kind::Nack(nack)) => self.nacked(nack),
            Some(up::Kind::Sign(request)) => self.request = Some(request.csr),
            Some(up::Kind::Report(report)) => {
                self.note(|proxy| proxy.report = Some((report, Instant::now())))
            }
            Some(up::Kind::Hello(_)) => return Err(Status::invalid_argument("a second hello")),
            // A newer sidecar may say what is not known here.
            None => {}
        }
        Ok(())
    }

    fn acked(&mut self, ack: &Ack) {
        if let Some(version) = self.outbox.acked(ack.nonce) {
            self.note(|proxy| (proxy.acked, proxy.nack) = (version, None));
        }
    }

    fn nacked(&mut self, nack: Nack) {
        if self.outbox.nacked(nack.nonce) {
            let reasons = nack.reasons.join("; ");
            tracing::warn!(workload = %self.caller.workload.0, reasons, "configuration refused");
            self.note(|proxy| proxy.nack = Some(reasons));
        }
    }

    /// Sends what changed, unless an answer is awaited: then the newest follows after it.
    fn publish(&mut self) -> Result<(), Status> {
        if !self.stale || self.outbox.is_awaiting() {
            return Ok(());
        }
        self.stale = false;
        let snapshot = self.snapshot.borrow_and_update().clone();
        let wish = match self.hall.worlds.wish(&snapshot, &self.caller.workload, self.wish.as_ref()) {
            Ok(Some(wish)) => wish,
            Ok(None) => return Ok(()),
            Err(error) => {
                // A workload not seen yet comes with a later snapshot; until then the sidecar keeps what it has.
                if self.failure.as_ref() != Some(&error) && !matches!(error, CompileError::UnknownWorkload(_))
                {
                    tracing::warn!(%error, "no configuration");
                }
                (self.failure, self.wish) = (Some(error), None);
                return Ok(());
            }
        };
        self.failure = None;
        let offer = self.outbox.offer(&wish.wanted);
        let wanted = &self.wish.insert(wish).wanted;
        match offer {
            Offer::Send(delta) => {
                self.answer_by = Instant::now() + ANSWER;
                let version = delta.version.clone();
                self.note(|proxy| proxy.sent = version);
                self.send(down::Kind::Delta(delta))?;
            }
            Offer::Held => {
                let version = wanted.version();
                self.note(|proxy| {
                    (proxy.sent, proxy.acked, proxy.nack) = (version.clone(), version, None);
                });
            }
            Offer::Long(bytes) => {
                let reason = format!("the configuration has {bytes} bytes, too many for one message");
                tracing::error!(workload = %self.caller.workload.0, reason);
                self.note(|proxy| proxy.nack = Some(reason));
            }
            Offer::Refused | Offer::Later => {}
        }
        Ok(())
    }

    /// A request came too soon after the one before.
    fn must_wait(&self) -> bool {
        self.request.is_some() && Instant::now() < self.next_signature
    }

    /// Answers a signing request as soon as the workload is known.
    fn sign(&mut self) -> Result<(), Status> {
        if self.must_wait() {
            return Ok(());
        }
        let Some(request) = self.request.take() else { return Ok(()) };
        let snapshot = self.snapshot.borrow().clone();
        let Some(workload) = snapshot.workloads.get(&self.caller.workload) else {
            self.request = Some(request);
            return Ok(());
        };
        let name = workload.name.clone();
        let at_most =
            if workload.lifecycle == Lifecycle::Stopping { FAREWELL_LIFETIME } else { Duration::MAX };
        self.next_signature = Instant::now() + BETWEEN_SIGNATURES;
        let identity = outrigger_compile::identity(&snapshot.trust_domain, &service_key(workload));
        let certificate = match (&self.hall.desk.authority, identity) {
            (Ok(authority), Ok(identity)) => authority
                .sign(&request, &identity, SystemTime::now(), at_most)
                .inspect(|_| tracing::debug!(workload = name, %identity, "signed"))
                .map_err(|error| error.to_string()),
            (Err(why), _) => Err(why.clone()),
            (_, Err(error)) => Err(error.to_string()),
        };
        let certificate = certificate.unwrap_or_else(|refused| {
            tracing::debug!(workload = name, refused, "not signed");
            Certificate { refused, ..Certificate::default() }
        });
        self.send(down::Kind::Certificate(certificate))
    }

    fn note(&self, change: impl FnOnce(&mut crate::proxies::Proxy)) {
        self.hall.desk.proxies.note(&self.caller.workload, &self.caller.sidecar, change);
    }

    fn send(&self, kind: down::Kind) -> Result<(), Status> {
        let message = Ok(Down { kind: Some(kind) });
        self.down.try_send(message).map_err(|_| Status::resource_exhausted("the sidecar does not read"))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if self.seat.leave() {
            self.hall.desk.proxies.gone(&self.caller.workload, &self.caller.sidecar);
        }
    }
}
