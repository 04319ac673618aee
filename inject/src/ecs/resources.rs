//! CPU and memory: what the sidecar reserves must come from somewhere.

use serde_yaml::{Mapping, Value};

use super::Resources;
use super::notes::Notes;
use crate::Remark;

/// CPU units of one vCPU, MiB of one GB.
const UNIT: u64 = 1024;

/// Sizes of a Fargate task: CPU units, and memory in MiB from, to, in steps of.
/// Source: Amazon ECS developer guide, "Task CPU and memory".
const FARGATE: [(u64, u64, u64, u64); 8] = [
    (256, 512, UNIT, 512),
    (256, 2 * UNIT, 2 * UNIT, UNIT),
    (512, UNIT, 4 * UNIT, UNIT),
    (UNIT, 2 * UNIT, 8 * UNIT, UNIT),
    (2 * UNIT, 4 * UNIT, 16 * UNIT, UNIT),
    (4 * UNIT, 8 * UNIT, 30 * UNIT, UNIT),
    (8 * UNIT, 16 * UNIT, 60 * UNIT, 4 * UNIT),
    (16 * UNIT, 32 * UNIT, 120 * UNIT, 8 * UNIT),
];

/// What is reserved by added containers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// CPU units.
    pub cpu: u64,
    /// MiB.
    pub memory: u64,
}

/// Makes room.
///
/// # Errors
/// There is none, with the way out.
pub fn fit(
    body: &mut Mapping,
    fargate: bool,
    wanted: Wanted,
    how: Resources,
    notes: &mut Notes,
) -> Result<(), Remark> {
    match how {
        Resources::Share => {}
        Resources::Subtract => subtract(body, wanted, notes)?,
        Resources::Add => add(body, fargate, wanted, notes)?,
    }
    for (key, of, added) in
        [("cpu", reserved(body, cpu_of), wanted.cpu), ("memory", reserved(body, memory_of), wanted.memory)]
    {
        let Some(task) = task_size(body, key)? else { continue };
        let needed = of + added;
        if needed > task {
            return Err(Remark::project(format!(
                "{key}: {task} for the task, and its containers with the sidecar reserve {needed}: give --resources add, or \
                 --resources subtract, or a larger task"
            )));
        }
    }
    Ok(())
}

/// The largest container gives.
fn subtract(body: &mut Mapping, wanted: Wanted, notes: &mut Notes) -> Result<(), Remark> {
    take(body, &["cpu"], wanted.cpu, notes)?;
    take(body, &["memory", "memoryReservation"], wanted.memory, notes)
}

fn take(body: &mut Mapping, keys: &[&str], amount: u64, notes: &mut Notes) -> Result<(), Remark> {
    let containers =
        body.get_mut("containerDefinitions").and_then(Value::as_sequence_mut).into_iter().flatten();
    let containers = containers.filter_map(Value::as_mapping_mut);
    let most =
        |container: &Mapping| keys.iter().filter_map(|key| container.get(*key)?.as_u64()).max().unwrap_or(0);
    let Some(largest) = containers.max_by_key(|container| most(container)) else { return Ok(()) };
    for key in keys {
        let Some(has) = largest.get(*key).and_then(Value::as_u64).filter(|has| *has > 0) else { continue };
        let name = largest.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        // The API's least: 6 MiB for memory, and 2 CPU units are what the kernel takes.
        let left = has.checked_sub(amount).filter(|left| *left >= 6).ok_or_else(|| {
            Remark::container(
                &name,
                format!("{key}: {has}: the sidecar's {amount} cannot be taken from it: give --resources add"),
            )
        })?;
        notes.container(&name, key, Value::from(has));
        largest.insert((*key).into(), left.into());
    }
    Ok(())
}

/// The task grows.
fn add(body: &mut Mapping, fargate: bool, wanted: Wanted, notes: &mut Notes) -> Result<(), Remark> {
    let (cpu, memory) = (task_size(body, "cpu")?, task_size(body, "memory")?);
    let (more_cpu, more_memory) = match (cpu, memory) {
        (Some(cpu), Some(memory)) if fargate => {
            let size = next(cpu + wanted.cpu, memory + wanted.memory).ok_or_else(|| {
                Remark::project(format!(
                    "cpu: {cpu}, memory: {memory}: there is no larger Fargate task: give --resources subtract"
                ))
            })?;
            (Some(size.0), Some(size.1))
        }
        _ => (cpu.map(|cpu| cpu + wanted.cpu), memory.map(|memory| memory + wanted.memory)),
    };
    for (key, size) in [("cpu", more_cpu), ("memory", more_memory)] {
        if let (Some(size), Some(before)) = (size, body.get(key).cloned()) {
            notes.task(key, before);
            body.insert(key.into(), size.to_string().into());
        }
    }
    Ok(())
}

/// The smallest Fargate size that has both: the least memory above, then the least CPU.
fn next(cpu: u64, memory: u64) -> Option<(u64, u64)> {
    FARGATE.iter().filter(|(units, ..)| *units >= cpu).find_map(|(units, least, most, step)| {
        let steps = memory.saturating_sub(*least).div_ceil(*step);
        let size = least + steps * step;
        (size <= *most).then_some((*units, size))
    })
}

/// `cpu` or `memory` of the task: a number, or with a unit (`1 vCPU`, `0.5GB`).
fn task_size(body: &Mapping, key: &str) -> Result<Option<u64>, Remark> {
    let Some(value) = body.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let written = crate::compose::tree::text(value).unwrap_or_default();
    let lower = written.to_ascii_lowercase();
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| (0.0..1e9).contains(number));
    let unit = ["vcpu", "gb"].into_iter().find_map(|unit| lower.strip_suffix(unit)).and_then(number);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "0 to 1e12"
    )]
    let size = match unit {
        Some(units) => Some((units * UNIT as f64).round() as u64),
        None => lower.trim().parse().ok(),
    };
    match size {
        Some(size) => Ok(Some(size)),
        None if written.is_empty() => Ok(None),
        None => Err(Remark::project(format!("{key}: {written}: write a number, such as \"512\""))),
    }
}

fn reserved(body: &Mapping, of: fn(&Mapping) -> u64) -> u64 {
    let containers = body.get("containerDefinitions").and_then(Value::as_sequence).into_iter().flatten();
    containers.filter_map(Value::as_mapping).map(of).sum()
}

fn cpu_of(container: &Mapping) -> u64 {
    container.get("cpu").and_then(Value::as_u64).unwrap_or(0)
}

/// What counts for placement: the reservation where there is one, else the limit.
fn memory_of(container: &Mapping) -> u64 {
    let of = |key| container.get(key).and_then(Value::as_u64);
    of("memoryReservation").or(of("memory")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fargate_task_grows_to_the_next_size_there_is() {
        assert_eq!(next(256 + 64, 512 + 64), Some((512, 1024)));
        assert_eq!(next(256, 1024 + 64), Some((256, 2048)), "there is no 1.5 GB with a quarter of a vCPU");
        assert_eq!(next(1024, 2048 + 64), Some((1024, 3 * 1024)));
        assert_eq!(next(256, 4096), Some((512, 4096)), "more memory than the smaller CPU can have");
        assert_eq!(next(16 * 1024 + 64, 1024), None);
    }

    #[test]
    fn sizes_are_read_as_the_api_writes_them() {
        let size = |text: &str| task_size(&Mapping::from_iter([("cpu".into(), text.into())]), "cpu").unwrap();
        assert_eq!(
            [size("256"), size(".25 vCPU"), size("1 vcpu"), size("0.5GB")],
            [Some(256), Some(256), Some(1024), Some(512)]
        );
        assert!(task_size(&Mapping::from_iter([("cpu".into(), "much".into())]), "cpu").is_err());
    }
}
