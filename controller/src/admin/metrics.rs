//! `/metrics`, in the Prometheus text format 0.0.4.

use std::fmt::Write;

use super::assemble::status;
use crate::board::Board;

/// All metrics.
pub(super) fn text(board: &Board) -> String {
    let status = status(board);
    let endpoints =
        || status.services.iter().flat_map(|service| &service.ports).flat_map(|port| &port.endpoints);
    let sidecars =
        |held: fn(&crate::status::Sidecar) -> bool| status.sidecars.iter().filter(|s| held(s)).count();
    let current = status.sources.iter().filter(|source| source.current).count();
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, value: usize| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    gauge("outrigger_services", "Services of the mesh.", status.services.len());
    gauge("outrigger_endpoints", "Endpoints, one for each port of each replica.", endpoints().count());
    gauge("outrigger_endpoints_ready", "Of these, taking traffic.", endpoints().filter(|e| e.ready).count());
    gauge("outrigger_sidecars", "Workloads that have, or should have, a sidecar.", status.sidecars.len());
    gauge(
        "outrigger_sidecars_connected",
        "Of these, with an open control stream.",
        sidecars(|s| s.connected),
    );
    gauge("outrigger_sidecars_ready", "Of these, serving.", sidecars(|s| s.ready));
    gauge("outrigger_sources_current", "Sources whose view is whole and current.", current);
    let file = board.file.borrow();
    gauge(
        "outrigger_mesh_file_current",
        "1: the mesh file holds, or there is none; 0: an older one does, or nothing.",
        usize::from(file.current),
    );
    gauge("outrigger_mesh_file_faults", "What is wrong with the mesh file.", file.problems.len());
    gauge("outrigger_problems", "What is wrong now; /status says what.", status.problems.len());
    gap(board, &mut out);
    #[cfg(feature = "ecs")]
    if let crate::source::Source::Ecs { calls, .. } = &board.source {
        aws(calls, &mut out);
    }
    out
}

#[cfg(feature = "ecs")]
fn aws(calls: &crate::source::ecs::calls::Calls, out: &mut String) {
    let operations = calls.operations();
    let by_operation = |read: fn(&crate::source::ecs::calls::Operation) -> u64| {
        let lines =
            operations.iter().map(|(name, operation)| (format!("operation=\"{name}\""), read(operation)));
        lines.collect::<Vec<_>>()
    };
    let mut counter = |name: &str, help: &str, lines: Vec<(String, u64)>| {
        let lines: String = lines.iter().map(|(labels, n)| format!("{name}{{{labels}}} {n}\n")).collect();
        let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{lines}");
    };
    counter(
        "outrigger_aws_calls_total",
        "Calls of the AWS API, each attempt by itself.",
        by_operation(|o| o.calls),
    );
    let help = "Of these, refused because too many were made in the account.";
    counter("outrigger_aws_calls_throttled_total", help, by_operation(|o| o.throttled));
    counter(
        "outrigger_aws_calls_failed_total",
        "Of these, failed for another reason.",
        by_operation(|o| o.failed),
    );
    let events = calls.events().into_iter().map(|(kind, n)| (format!("kind=\"{kind}\""), n)).collect();
    let help = "Messages of the queue: taken, old (known already), service, other, unreadable.";
    counter("outrigger_ecs_events_total", help, events);
}

fn gap(board: &Board, out: &mut String) {
    let name = "outrigger_injection_gap_seconds";
    let (buckets, count, sum_ms) = board.gaps.histogram();
    let seconds = |ms: u64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
    let mut lines = vec![
        format!("# HELP {name} From an application's start to its serving sidecar."),
        format!("# TYPE {name} histogram"),
    ];
    lines.extend(buckets.iter().map(|(ms, n)| format!("{name}_bucket{{le=\"{}\"}} {n}", seconds(*ms))));
    lines.push(format!("{name}_bucket{{le=\"+Inf\"}} {count}"));
    lines.push(format!("{name}_sum {}", seconds(sum_ms)));
    lines.push(format!("{name}_count {count}"));
    out.push_str(&lines.join("\n"));
    out.push('\n');
}
