use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outrigger_wire::control::Certificate;

use super::{Identity, IdentityError, Request};

/// How far the moment of renewal is spread around half-life, as a share of the lifetime either way, so
/// that sidecars started together do not ask together.
const SPREAD: f64 = 0.05;
/// An answer is awaited for an eighth of the lifetime, between these.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// The same while there is no certificate at all.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);

/// When to ask for a certificate, and with which key. Holds no clock: the time is an argument.
pub struct Renewal {
    pending: Option<Request>,
    due: SystemTime,
    patience: Duration,
}

impl Renewal {
    /// Due at once without an identity, else at half of its life. `spread` is a random number in 0..1.
    pub fn of(identity: Option<&Identity>, spread: f64) -> Self {
        let Some(identity) = identity else {
            return Self { pending: None, due: UNIX_EPOCH, patience: FIRST_PATIENCE };
        };
        let lifetime = Duration::from_secs(identity.not_after.saturating_sub(identity.not_before));
        let half = lifetime.mul_f64(0.5 - SPREAD + 2.0 * SPREAD * spread.clamp(0.0, 1.0));
        let due = UNIX_EPOCH + Duration::from_secs(identity.not_before) + half;
        Self { pending: None, due, patience: (lifetime / 8).clamp(PATIENCE.0, PATIENCE.1) }
    }

    /// How long until [`Renewal::ask`] should be called; zero when it is time.
    pub fn wait(&self, now: SystemTime) -> Duration {
        self.due.duration_since(now).unwrap_or_default()
    }

    /// The request to send now (PKCS #10, DER). The same key is used until it is answered.
    ///
    /// # Errors
    /// No key can be made.
    pub fn ask(&mut self, now: SystemTime) -> Result<Vec<u8>, IdentityError> {
        self.due = now + self.patience;
        let request = match self.pending.take() {
            Some(request) => request,
            None => Request::new()?,
        };
        Ok(self.pending.insert(request).csr().to_vec())
    }

    /// Ask at once: what is held is not what it should be, or a question went down with its connection.
    pub fn hurry(&mut self, now: SystemTime) {
        self.due = self.due.min(now);
    }

    /// True while a question is open.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes the answer. `None`: nobody asked. The next renewal is that of the new identity.
    ///
    /// # Errors
    /// The certificate cannot be used; a new key is made when it is time to ask again.
    pub fn answered(
        &mut self,
        certificate: Certificate,
        now: SystemTime,
        spread: f64,
    ) -> Result<Option<Identity>, IdentityError> {
        let Some(request) = self.pending.take() else { return Ok(None) };
        let identity = request.signed(certificate.chain, certificate.roots, now)?;
        *self = Self::of(Some(&identity), spread);
        Ok(Some(identity))
    }
}
