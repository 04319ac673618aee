//! Counters of what policies did, by cluster; nothing where no cluster has one.

use std::fmt;
use std::sync::PoisonError;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::Telemetry;
use super::collect::{count, family};

impl Telemetry {
    pub(super) fn policies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.clusters.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut clusters: Vec<_> = all.values().filter(|cluster| !cluster.policy.is_default()).collect();
        clusters.sort_by(|a, b| a.key.cmp(&b.key));
        if clusters.is_empty() {
            return Ok(());
        }
        let help = "Requests that were worth sending again, by what became of that";
        let mut metric = family(encoder, "retries", help, MetricType::Counter)?;
        for cluster in &clusters {
            for (outcome, times) in cluster.state.retries().filter(|(_, times)| *times > 0) {
                let labels = [("cluster", cluster.key.as_str()), ("outcome", outcome.as_str())];
                count(&mut metric.encode_family(&labels)?, times)?;
            }
        }
        let help = "Requests and byte streams refused because as many as may be were under way";
        let mut metric = family(encoder, "overloads", help, MetricType::Counter)?;
        for cluster in &clusters {
            for (bound, times) in cluster.state.refusals().filter(|(_, times)| *times > 0) {
                let labels = [("cluster", cluster.key.as_str()), ("bound", bound.as_str())];
                count(&mut metric.encode_family(&labels)?, times)?;
            }
        }
        let clusters = || clusters.iter().filter(|cluster| cluster.policy.outlier.is_some());
        let help = "Times that an endpoint was ejected";
        let mut metric = family(encoder, "ejections", help, MetricType::Counter)?;
        for cluster in clusters() {
            let labels = [("cluster", cluster.key.as_str())];
            count(&mut metric.encode_family(&labels)?, cluster.state.ejections())?;
        }
        let mut metric = family(encoder, "endpoint_ejected", "1 while it is ejected", MetricType::Gauge)?;
        for cluster in clusters() {
            for member in cluster.members.iter().filter(|member| member.ready) {
                let labels =
                    [("cluster", cluster.key.as_str()), ("endpoint", member.endpoint.workload.as_str())];
                metric.encode_family(&labels)?.encode_gauge(&u64::from(member.endpoint.is_out()))?;
            }
        }
        Ok(())
    }
}
