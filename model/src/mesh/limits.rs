//! `timeout`, `idle-timeout` and `connect-timeout`, which a service has and `defaults` as well.

use std::time::Duration;

use super::fault::Said;
use super::reader::{Fields, Reader};
use super::table::{Choice, Key, Kind};
use super::value;
use crate::Timeouts;

const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) const TIMEOUT: Key = Key {
    name: "timeout",
    kind: Kind::Duration { least: Duration::from_millis(1), most: DAY, off: true },
    label: Some("timeout"),
    about: "How long a request may take: from its head sent to the response's head received. A response that has \
            begun may take longer, and an upgraded connection is exempt.",
    default: "15s",
    example: "2s",
};

pub(crate) const IDLE: Key = Key {
    name: "idle-timeout",
    kind: Kind::Duration { least: Duration::from_secs(1), most: WEEK, off: true },
    label: Some("idle-timeout"),
    about: "How long a byte stream (TCP, WebSocket) may pass no byte in either direction before it is closed.",
    default: "1h",
    example: "10m",
};

pub(crate) const CONNECT: Key = Key {
    name: "connect-timeout",
    kind: Kind::Duration { least: Duration::from_millis(1), most: Duration::from_secs(300), off: false },
    label: Some("connect-timeout"),
    about: "How long it may take to connect to a replica, TLS included.",
    default: "2s",
    example: "500ms",
};

pub(crate) const STREAM: Key = Key {
    name: "stream-timeout",
    kind: Kind::Duration { least: Duration::from_millis(1), most: WEEK, off: true },
    label: None,
    about: "How long a request may last as a whole: from its head sent to the last byte of the response, streams of events and \
            of gRPC and upgraded connections included. What is over it is cut; gRPC is told DEADLINE_EXCEEDED.",
    default: "0: no limit",
    example: "1h",
};

pub(crate) const STREAM_IDLE: Key = Key {
    name: "stream-idle-timeout",
    kind: Kind::Duration { least: Duration::from_millis(1), most: WEEK, off: true },
    label: None,
    about: "How long a request whose response has begun may pass no byte in either direction before it is cut. Upgraded \
            connections have `idle-timeout`.",
    default: "0: no limit",
    example: "5m",
};

pub(crate) const DEADLINE: Key = Key {
    name: "deadline",
    kind: Kind::Choice(&[
        Choice { word: "own", about: "each hop has its own `timeout`" },
        Choice {
            word: "passed-on",
            about: "requests carry the moment by which they must be answered (header `outrigger-deadline`, and `grpc-timeout` \
                    for gRPC), the nearest counts, and one that has passed is answered with 504 and not sent",
        },
    ]),
    label: None,
    about: "Whether the time that is left for a request travels with it, as far as applications pass the header on.",
    default: "own",
    example: "passed-on",
};

/// What is said about limits in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `timeout`; zero: none.
    pub request: Option<Said<Duration>>,
    /// `idle-timeout`; zero: none.
    pub idle: Option<Said<Duration>>,
    /// `stream-timeout`; zero: none.
    pub stream: Option<Said<Duration>>,
    /// `stream-idle-timeout`; zero: none.
    pub stream_idle: Option<Said<Duration>>,
    /// `connect-timeout`.
    pub connect: Option<Said<Duration>>,
    /// `deadline`: passed on.
    pub pass_on: Option<Said<bool>>,
}

impl Limits {
    pub(crate) fn read(reader: &mut Reader, fields: &Fields<'_>) -> Self {
        Self {
            request: fields.read(reader, "timeout", value::time),
            idle: fields.read(reader, "idle-timeout", value::time),
            stream: fields.read(reader, "stream-timeout", value::time),
            stream_idle: fields.read(reader, "stream-idle-timeout", value::time),
            connect: fields.read(reader, "connect-timeout", value::time),
            pass_on: fields.read(reader, "deadline", |reader, node, key| {
                value::choice(reader, node, key).map(|word| word == "passed-on")
            }),
        }
    }

    /// Key by key: what `self` does not say, `other` does.
    pub(crate) fn or(&self, other: &Self) -> Self {
        let or = |a: &Option<Said<Duration>>, b: &Option<Said<Duration>>| a.clone().or_else(|| b.clone());
        Self {
            request: or(&self.request, &other.request),
            idle: or(&self.idle, &other.idle),
            stream: or(&self.stream, &other.stream),
            stream_idle: or(&self.stream_idle, &other.stream_idle),
            connect: or(&self.connect, &other.connect),
            pass_on: self.pass_on.clone().or_else(|| other.pass_on.clone()),
        }
    }

    /// The file's words, and the labels' where it is silent. `one` chooses for one key.
    pub(super) fn merged(
        &self,
        labels: &Self,
        mut one: impl FnMut(&str, &Option<Said<Duration>>, &Option<Said<Duration>>) -> Option<Said<Duration>>,
    ) -> Self {
        Self {
            request: one("timeout", &self.request, &labels.request),
            idle: one("idle-timeout", &self.idle, &labels.idle),
            connect: one("connect-timeout", &self.connect, &labels.connect),
            ..self.clone()
        }
    }

    /// The values alone.
    pub fn timeouts(&self) -> Timeouts {
        let value = |said: &Option<Said<Duration>>| said.as_ref().map(|said| said.value);
        let pass_on = self.pass_on.as_ref().map(|said| said.value);
        Timeouts {
            request: value(&self.request),
            idle: value(&self.idle),
            stream: value(&self.stream),
            stream_idle: value(&self.stream_idle),
            connect: value(&self.connect),
            pass_on,
        }
    }
}
