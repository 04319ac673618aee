//! How long others may take. Values, so that tests need not wait as long as a client may.

use std::time::Duration;

/// How long a client, or the application, may keep this sidecar waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the first byte of an HTTP/1 head to its end; default 10 s.
    pub head: Duration,
    /// Between two requests of an HTTP/1 connection; default 120 s.
    pub idle: Duration,
    /// Pause of a client in the middle of its request's body; default 60 s.
    pub body: Duration,
    /// Pause of a client in the middle of reading a response, with more waiting for it; default 5 minutes.
    pub stalled: Duration,
    /// Idle connection to the application, where that does not say how long it keeps it: servers close after 5 s as a
    /// rule; default 4 s.
    pub pooled: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            body: Duration::from_secs(60),
            stalled: Duration::from_secs(300),
            pooled: Duration::from_secs(4),
        }
    }
}
