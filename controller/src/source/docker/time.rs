//! The engine's times: RFC 3339 in UTC with nanoseconds (`2026-11-23T09:42:30.123456789Z`).

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970; none for what is not a time in UTC, and for the engine's "never" (year 1).
pub fn unix_nanos(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let seconds = ((days(year, month, day)? * 24 + hour) * 60 + minute) * 60 + second;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos(fraction)?)
}

/// The machine's clock in the same unit.
pub fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Vec<u64> = text.split(separator).map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Days from 1970-01-01 in the Gregorian calendar; none before.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let since_march = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let whole = 365 * year + year / 4 - year / 100 + year / 400 + since_march;
    whole.checked_sub(719_468)
}

fn nanos(fraction: &str) -> Option<u64> {
    if fraction.is_empty() {
        return Some(0);
    }
    format!("{fraction:0<9}").get(..9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_engine_are_read() {
        assert_eq!(unix_nanos("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_nanos("2000-03-01T00:00:01.5Z"), Some(951_868_801_500_000_000));
        assert_eq!(unix_nanos("2026-11-23T09:42:30.123456789Z"), Some(1_795_426_950_123_456_789));
        assert_eq!(unix_nanos("0001-01-01T00:00:00Z"), None);
        for bad in [
            "",
            "2026-11-23",
            "2026-11-23T09:42Z",
            "2026-11-23T09:42:30+01:00",
            "x-1-1T0:0:0Z",
            "2026-00-00T0:0:0Z",
        ] {
            assert_eq!(unix_nanos(bad), None, "{bad}");
        }
    }
}
