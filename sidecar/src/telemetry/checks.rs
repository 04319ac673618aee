//! Counters of health checks; nothing where there never was one.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use outrigger_wire::control::Verdict;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Telemetry;
use super::collect::{count, family};

/// Tries, by how they ended, and what follows.
#[derive(Debug, Default)]
pub(super) struct Checks {
    passed: AtomicU64,
    failed: AtomicU64,
    /// 1 while the check passes.
    passing: AtomicU64,
}

impl Telemetry {
    /// The application was asked.
    pub(crate) fn checked(&self, passed: bool) {
        let checks = &self.0.checks;
        let counter = if passed { &checks.passed } else { &checks.failed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What follows from the answers; none: nothing is known.
    pub(crate) fn check_says(&self, verdict: Option<Verdict>) {
        self.0.checks.passing.store((verdict == Some(Verdict::Passing)).into(), Ordering::Relaxed);
    }

    pub(super) fn checks(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let checks = &self.0.checks;
        let (passed, failed) = (read(&checks.passed), read(&checks.failed));
        if passed == 0 && failed == 0 {
            return Ok(());
        }
        let help = "Times that the application was asked whether it can serve, by result";
        let mut metric = family(encoder, "health_checks", help, MetricType::Counter)?;
        for (result, times) in [("passed", passed), ("failed", failed)] {
            count(&mut metric.encode_family(&[("result", result)])?, times)?;
        }
        family(encoder, "health_check_passing", "1 while the health check passes", MetricType::Gauge)?
            .encode_gauge(&read(&checks.passing))
    }
}
