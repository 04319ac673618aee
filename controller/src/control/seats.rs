use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// One seat for each sidecar: a newer stream takes it from the older one.
#[derive(Clone, Default)]
pub struct Seats(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    next: u64,
    by: BTreeMap<String, (u64, oneshot::Sender<()>)>,
}

/// Held by the stream that has it.
pub struct Seat {
    seats: Seats,
    sidecar: String,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl Seats {
    /// Takes the seat, from whoever has it.
    pub fn take(&self, sidecar: &str) -> Seat {
        let (hold, lost) = oneshot::channel();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.next += 1;
        let number = taken.next;
        // Dropping the older one's sender tells it.
        taken.by.insert(sidecar.to_owned(), (number, hold));
        Seat { seats: self.clone(), sidecar: sidecar.to_owned(), number, lost }
    }
}

impl Seat {
    /// Resolves when a newer stream has taken the seat.
    pub async fn lost(&mut self) {
        let _dropped = (&mut self.lost).await;
    }

    /// Gives it back; false if a newer stream has it.
    pub fn leave(&mut self) -> bool {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(&self.sidecar).is_some_and(|(number, _)| *number == self.number);
        if own {
            taken.by.remove(&self.sidecar);
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newer_stream_has_the_seat() {
        let seats = Seats::default();
        let (cart, web) = ("cart", "web");
        let mut first = seats.take(cart);
        let mut other = seats.take(web);
        let mut second = seats.take(cart);
        first.lost().await;
        assert!(!first.leave(), "it is not the first one's any more");
        assert!(second.leave());
        assert!(other.leave());
    }
}
