use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::line::{Handed, Role};

/// Sockets of a predecessor, until the successor is ready: what it does not use by then is closed. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Inherited(Arc<Mutex<Vec<(Handed, OwnedFd)>>>);

impl Inherited {
    pub(super) fn new(sockets: Vec<(Handed, OwnedFd)>) -> Self {
        Self(Arc::new(Mutex::new(sockets)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when nothing was inherited, or is any more.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Duplicates of the sockets that serve `address` in this role, in their order. A listener may have had another
    /// name in another version; where the kernel chose the port only the name tells.
    pub(crate) fn sockets(&self, role: Role, name: &str, address: SocketAddr) -> Vec<OwnedFd> {
        let fits = |handed: &Handed| {
            handed.role == role && handed.address == address && (address.port() != 0 || handed.name == name)
        };
        let all = self.lock();
        let duplicates = all.iter().filter(|(handed, _)| fits(handed)).map(|(_, socket)| socket.try_clone());
        duplicates.collect::<Result<_, _>>().unwrap_or_default()
    }

    /// Closes what was not used.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Handed, OwnedFd)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
