//! Counters of what protects the application; nothing where nothing does.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Telemetry;
use super::collect::{count, family};
use crate::runtime::Generation;

impl Telemetry {
    /// The counter of a rate limit's refusals; it outlives the limit. Look it up once per limit, not per request.
    pub(crate) fn rate_limit(&self, name: &str) -> Arc<AtomicU64> {
        self.0
            .rate_limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    pub(super) fn protected(&self, generation: &Generation) {
        for limit in &generation.config.proxy.rate_limits {
            self.rate_limit(&limit.name);
        }
        let bounded = !generation.config.proxy.capacity.is_default();
        *self.0.capacity.lock().unwrap_or_else(PoisonError::into_inner) =
            bounded.then(|| generation.capacity.clone());
    }

    pub(super) fn inbound(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let limits = self.0.rate_limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !limits.is_empty() {
            let help = "Requests to the application that were over a rate limit";
            let mut metric = family(encoder, "rate_limited", help, MetricType::Counter)?;
            for (name, refused) in &limits {
                let labels = [("limit", name.as_str())];
                count(&mut metric.encode_family(&labels)?, refused.load(Ordering::Relaxed))?;
            }
        }
        let capacity = self.0.capacity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(capacity) = capacity else { return Ok(()) };
        let help = "Requests, connections and byte streams that were refused because as many as the replica may have were under way";
        let mut metric = family(encoder, "replica_overloads", help, MetricType::Counter)?;
        for (bound, times) in capacity.refusals() {
            count(&mut metric.encode_family(&[("bound", bound.as_str())])?, times)?;
        }
        let help =
            "Requests, connections and byte streams under way to the replica, where one of them is bounded";
        let mut metric = family(encoder, "replica_under_way", help, MetricType::Gauge)?;
        for (bound, now) in capacity.counts() {
            metric.encode_family(&[("bound", bound.as_str())])?.encode_gauge(&u64::from(now))?;
        }
        Ok(())
    }
}
