//! Who is at the other end of a finished handshake. A resumed session shows no certificate again: that the one it began
//! with is still good is seen here, so that nobody outlives a certificate by resuming.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use outrigger_wire::SpiffeId;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::verify::{WrongIdentity, spiffe_id};
use crate::identity::validity;

/// Certificates that are kept as read; beyond, all are read again.
const MOST: usize = 256;

/// What was read from peers' certificates, by all of their bytes: each connection brings its peer's again.
#[derive(Default)]
pub(super) struct Peers(Mutex<HashMap<Vec<u8>, Peer>>);

#[derive(Clone)]
struct Peer {
    id: SpiffeId,
    /// Unix seconds.
    good: RangeInclusive<u64>,
}

impl Peers {
    /// Whom a certificate names, which a handshake has verified.
    ///
    /// # Errors
    /// It is not good at `now`, or names nobody.
    pub fn identify(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<SpiffeId, WrongIdentity> {
        let Peer { id, good } = self.read(leaf)?;
        if good.contains(&now.as_secs()) { Ok(id) } else { Err(WrongIdentity::NotGood(id)) }
    }

    /// How many are kept.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn read(&self, leaf: &CertificateDer<'_>) -> Result<Peer, WrongIdentity> {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = read.get(leaf.as_ref()) {
            return Ok(peer.clone());
        }
        let (from, until) = validity(leaf).ok_or(WrongIdentity::Unreadable)?;
        let peer = Peer { id: spiffe_id(leaf)?, good: from..=until };
        if read.len() >= MOST {
            read.clear();
        }
        read.insert(leaf.to_vec(), peer.clone());
        Ok(peer)
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}
