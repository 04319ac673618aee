//! The counters in the OpenMetrics text format.

use std::fmt;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Edge, RouteKey, Telemetry};
use crate::downstream::Direction;

pub(super) fn render(telemetry: &Telemetry) -> String {
    let mut registry = Registry::with_prefix("outrigger");
    registry.register_collector(Box::new(telemetry.clone()));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _infallible = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

impl Collector for Telemetry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let edges = self.sorted();
        let own = self.own();
        requests(encoder, &edges, &own.service)?;
        streams(encoder, &edges, &own.service)?;
        self.routes(encoder, &own.service)?;
        self.connections(encoder)?;
        self.policies(encoder)?;
        self.inbound(encoder)?;
        self.checks(encoder)?;
        let build = [("version", env!("CARGO_PKG_VERSION"))];
        family(encoder, "build_info", "The sidecar's version", MetricType::Gauge)?
            .encode_family(&build)?
            .encode_gauge(&1u64)?;
        let config = [("version", own.version.as_str())];
        family(encoder, "config_info", "The configuration that runs", MetricType::Gauge)?
            .encode_family(&config)?
            .encode_gauge(&1u64)?;
        let (_, expires) = self.certificate();
        let help = "When the certificate ends, Unix seconds; 0 if there is none";
        family(encoder, "certificate_expiry_timestamp_seconds", help, MetricType::Gauge)?
            .encode_gauge(&expires)
    }
}

impl Telemetry {
    fn routes(&self, encoder: &mut DescriptorEncoder<'_>, own: &str) -> fmt::Result {
        let routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "Requests that a route took, by class of their status";
        let mut metric = family(encoder, "route_requests", help, MetricType::Counter)?;
        for (key, counters) in &routes {
            let port = key.port.to_string();
            for (class, times) in counters.requests() {
                let labels = route_labels(own, key, &port).into_iter().chain([("status_class", class)]);
                count(&mut metric.encode_family(&labels.collect::<Vec<_>>())?, times)?;
            }
        }
        let help = "Copies of requests that a route was to send elsewhere";
        let mut metric = family(encoder, "route_copies", help, MetricType::Counter)?;
        for (key, counters) in &routes {
            let port = key.port.to_string();
            for (outcome, times) in counters.copies() {
                let labels = route_labels(own, key, &port).into_iter().chain([("outcome", outcome)]);
                count(&mut metric.encode_family(&labels.collect::<Vec<_>>())?, times)?;
            }
        }
        Ok(())
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let open = self.0.open.load(Ordering::Relaxed);
        family(encoder, "connections_open", "Connections accepted and not ended", MetricType::Gauge)?
            .encode_gauge(&open)?;
        let dns = &self.0.resolver;
        let counters = [
            ("dns_mesh_queries", "Queries answered from the mesh's names", &dns.mesh),
            ("dns_forwarded_queries", "Queries that another server answered", &dns.forwarded),
            ("dns_failed_queries", "Queries that nobody answered", &dns.failed),
            (
                "plaintext_inbound",
                "Connections from outside the mesh that were served",
                &self.0.plaintext_inbound,
            ),
            (
                "passthrough_connections",
                "Connections to addresses that are not the mesh's",
                &self.0.passthrough,
            ),
            ("config_applied", "Configurations applied", &self.0.applied),
        ];
        if let Some(log) = &self.0.access {
            let help = "Lines lost to a slow reader";
            count(
                &mut family(encoder, "access_log_lost_lines", help, MetricType::Counter)?,
                log.lost.load(Ordering::Relaxed),
            )?;
        }
        for (name, help, counter) in counters {
            count(&mut family(encoder, name, help, MetricType::Counter)?, counter.load(Ordering::Relaxed))?;
        }
        let mut metric = family(
            encoder,
            "plaintext_refused",
            "Connections from outside the mesh refused by strict",
            MetricType::Counter,
        )?;
        for (port, times) in self.known_outsiders().refusals() {
            let port = port.map_or_else(|| "other".to_owned(), |port| port.to_string());
            count(&mut metric.encode_family(&[("destination_port", port.as_str())])?, times)?;
        }
        let refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut metric =
            family(encoder, "connections_refused", "Connections not served", MetricType::Counter)?;
        for (reason, times) in refused {
            count(&mut metric.encode_family(&[("reason", reason)])?, times)?;
        }
        Ok(())
    }
}

fn route_labels<'a>(own: &'a str, key: &'a RouteKey, port: &'a str) -> [(&'static str, &'a str); 4] {
    [("source", own), ("destination", &key.destination), ("destination_port", port), ("route", &key.route)]
}

fn requests(encoder: &mut DescriptorEncoder<'_>, edges: &[Arc<Edge>], own: &str) -> fmt::Result {
    let mut metric = family(encoder, "http_requests", "Requests answered", MetricType::Counter)?;
    for edge in edges {
        let (labels, port) = (labels(edge, own), edge.key().port.to_string());
        for (status, times) in edge.requests().into_iter().flat_map(|http| http.statuses()) {
            let status = status.to_string();
            let mut all = labels.map(|label| label.unwrap_or(("destination_port", &port))).to_vec();
            all.push(("status", &status));
            count(&mut metric.encode_family(&all)?, times)?;
        }
    }
    let help = "Seconds from the request's head to the end of the answer";
    let mut metric = family(encoder, "http_request_duration_seconds", help, MetricType::Histogram)?;
    for edge in edges {
        let Some(http) = edge.requests() else { continue };
        let (labels, port) = (labels(edge, own), edge.key().port.to_string());
        let (sum, times, buckets) = http.latency();
        let all = labels.map(|label| label.unwrap_or(("destination_port", &port)));
        metric.encode_family(&all)?.encode_histogram::<NoLabelSet>(sum, times, &buckets, None)?;
    }
    Ok(())
}

fn streams(encoder: &mut DescriptorEncoder<'_>, edges: &[Arc<Edge>], own: &str) -> fmt::Result {
    let metrics = [
        ("tcp_connections", "Byte streams opened"),
        ("tcp_connections_failed", "Byte streams that did not reach their destination"),
        ("tcp_received_bytes", "Bytes received from downstream"),
        ("tcp_sent_bytes", "Bytes sent to downstream"),
    ];
    for (index, (name, help)) in metrics.into_iter().enumerate() {
        let mut metric = family(encoder, name, help, MetricType::Counter)?;
        for edge in edges {
            let streams = edge.streams();
            let Some(times) = streams.get(index).filter(|_| streams.iter().any(|n| *n > 0)) else { continue };
            let (labels, port) = (labels(edge, own), edge.key().port.to_string());
            let all = labels.map(|label| label.unwrap_or(("destination_port", &port)));
            count(&mut metric.encode_family(&all)?, *times)?;
        }
    }
    Ok(())
}

/// Labels of an edge; the hole is for the port, whose text the caller owns.
fn labels<'a>(edge: &'a Edge, own: &'a str) -> [Option<(&'static str, &'a str)>; 6] {
    let key = edge.key();
    let (direction, source, destination) = match key.direction {
        Direction::Inbound => ("inbound", key.peer.as_str(), own),
        Direction::Outbound => ("outbound", own, key.peer.as_str()),
    };
    [
        Some(("direction", direction)),
        Some(("source", source)),
        Some(("destination", destination)),
        None,
        Some(("protocol", key.carried.as_str())),
        Some(("mtls", if key.mtls { "true" } else { "false" })),
    ]
}

pub(super) fn family<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

pub(super) fn count(encoder: &mut MetricEncoder<'_>, times: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&times, None)
}
