use std::time::Duration;

use tokio::time::Instant;

/// The same thing is said again after this.
const REPEAT: Duration = Duration::from_secs(60);
/// Another thing is said at once, but no more often than this.
const PAUSE: Duration = Duration::from_secs(1);

/// Says what is wrong at once, and then once a minute.
#[derive(Default)]
pub struct Complaint {
    last: Option<(String, Instant)>,
}

impl Complaint {
    /// Logs it, unless it was just said.
    pub fn say(&mut self, what: &str) {
        if self.is_due(what) {
            tracing::warn!("{what}");
            self.last = Some((what.to_owned(), Instant::now()));
        }
    }

    /// All is well again: the next complaint is new.
    pub fn clear(&mut self) {
        self.last = None;
    }

    fn is_due(&self, what: &str) -> bool {
        let Some((said, when)) = &self.last else { return true };
        when.elapsed() >= if said == what { REPEAT } else { PAUSE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn once_a_minute_unless_it_is_something_else() {
        let mut complaint = Complaint::default();
        complaint.say("a");
        assert!(!complaint.is_due("a") && !complaint.is_due("b"));
        tokio::time::advance(PAUSE).await;
        assert!(complaint.is_due("b") && !complaint.is_due("a"));
        tokio::time::advance(REPEAT).await;
        assert!(complaint.is_due("a"));
        complaint.clear();
        assert!(complaint.is_due("a"));
    }
}
