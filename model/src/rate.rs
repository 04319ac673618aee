//! How many requests the application of a replica gets in a time.

use std::fmt;
use std::time::Duration;

use crate::route::RouteMatch;

/// One limit; a request passes all that take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// As answers and metrics name it; none: its number in the list, from 1.
    pub name: Option<String>,
    /// It takes a request that one of these takes; empty: every request.
    pub matches: Vec<RouteMatch>,
    /// What has a limit of its own; none: all requests together.
    pub per: Option<Per>,
    /// How many in the long run.
    pub rate: Rate,
    /// How many at once, 1 to 1,000,000; none: as many as one second brings, at least 1.
    pub burst: Option<u32>,
}

/// What has a limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Per {
    /// Each calling service, by its proven identity.
    Caller,
    /// Each address that calls.
    Source,
    /// Each value of this header; its name in lower case.
    Header(String),
}

/// So many in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1,000,000.
    pub requests: u32,
    /// In which time.
    pub unit: Unit,
}

/// A time that rates are said for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
}

impl Rate {
    /// The most that can be said.
    pub const MOST: u32 = 1_000_000;

    /// Reads `100/s`, `600/min` or `5000/h`.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, unit) = text.split_once('/')?;
        let unit = Unit::ALL.into_iter().find(|known| known.as_str() == unit)?;
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        let requests = number.parse().ok().filter(|n| digits && (1..=Self::MOST).contains(n))?;
        Some(Self { requests, unit })
    }

    /// As many as one second brings, at least 1.
    pub fn burst(self) -> u32 {
        (u64::from(self.requests) / self.unit.time().as_secs()).try_into().unwrap_or(u32::MAX).max(1)
    }
}

impl Unit {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Second, Self::Minute, Self::Hour];

    /// As written after the slash.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }

    /// How long it is.
    pub fn time(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
            Self::Hour => Duration::from_secs(3600),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.unit.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_and_its_burst() {
        for (text, burst) in
            [("100/s", 100), ("600/min", 10), ("5/min", 1), ("7200/h", 2), ("1000000/h", 277)]
        {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.to_string(), rate.burst()), (text.to_owned(), burst));
        }
        for bad in ["", "100", "0/s", "1000001/s", "+1/s", "1/m", "1/ s", "-1/s", "1.5/s", "/s"] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
    }
}
