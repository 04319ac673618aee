//! Containers of ours that are being made: a controller that ends in between would leave them half made.

use tokio::sync::watch;

/// What is under way, and whether more may begin. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Launches(watch::Sender<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    closed: bool,
    under_way: usize,
}

/// One that is under way, until dropped.
#[derive(Debug)]
pub struct Launch(Launches);

impl Launches {
    /// One more; none once closed.
    pub fn begin(&self) -> Option<Launch> {
        let more = |state: &mut State| {
            state.under_way += usize::from(!state.closed);
            !state.closed
        };
        self.0.send_if_modified(more).then(|| Launch(self.clone()))
    }

    /// Nothing begins any more.
    pub fn close(&self) {
        self.0.send_modify(|state| state.closed = true);
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.0.borrow().under_way == 0
    }

    /// Resolves when nothing is under way.
    pub async fn idle(&self) {
        let mut state = self.0.subscribe();
        let _owner_gone = state.wait_for(|state| state.under_way == 0).await;
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.under_way -= 1);
    }
}
