use super::*;
use crate::source::ecs::samples::{CLUSTER, task};

/// The stages of a life, each with its version: what ECS says of a task, one after the other.
fn life(n: u32, rng: &mut fastrand::Rng) -> Vec<Task> {
    let stages = [
        (Stage::Provisioning, Stage::Running),
        (Stage::Pending, Stage::Running),
        (Stage::Activating, Stage::Running),
        (Stage::Running, Stage::Running),
        (Stage::Running, Stage::Stopped),
        (Stage::Deactivating, Stage::Stopped),
        (Stage::Stopping, Stage::Stopped),
        (Stage::Deprovisioning, Stage::Stopped),
        (Stage::Stopped, Stage::Stopped),
    ];
    let reached = rng.usize(1..=stages.len());
    let record = |(version, (last, desired)): (i64, &(Stage, Stage))| Task {
        version,
        last_status: *last,
        desired_status: *desired,
        addresses: if version > 1 { task(n).addresses } else { Vec::new() },
        ..task(n)
    };
    (1..).zip(stages.iter().take(reached)).map(record).collect()
}

/// What the API says at a moment: tasks that it lists, and whatever became of those asked for.
fn answer(truth: &[Vec<Task>], known: &BTreeSet<String>, lag: usize) -> (Vec<Task>, BTreeSet<String>) {
    let now = truth.iter().map(|life| &life[life.len().saturating_sub(1 + lag)]);
    let told: Vec<Task> = now
        .filter(|task| task.desired_status == Stage::Running || known.contains(&task.arn))
        .cloned()
        .collect();
    let arns: BTreeSet<&String> = told.iter().map(|task| &task.arn).collect();
    let absent = known.iter().filter(|arn| !arns.contains(arn)).cloned().collect();
    (told, absent)
}

/// Events in any order, lost or repeated, between answers that may be behind: in the end the view is the API's truth, and
/// nothing that was told to stop ever takes traffic again.
#[test]
fn whatever_is_lost_or_late_a_whole_answer_sets_right_and_a_stop_wins() {
    for seed in 0..400 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let truth: Vec<Vec<Task>> = (0..8).map(|n| life(n, &mut rng)).collect();
        let mut events: Vec<Task> = truth.iter().flatten().cloned().collect();
        rng.shuffle(&mut events);
        events.retain(|_| rng.u8(..4) > 0);
        events.extend(events.clone().into_iter().filter(|_| rng.u8(..4) == 0).collect::<Vec<_>>());
        let (mut tracker, now) = (Tracker::default(), Instant::now());
        let mut stopping: BTreeSet<String> = BTreeSet::new();
        for event in events {
            if event.is_stopping() {
                stopping.insert(event.arn.clone());
            }
            tracker.event(event, now);
            if rng.u8(..5) == 0 {
                let (told, absent) = answer(&truth, &tracker.known(CLUSTER), rng.usize(..3));
                stopping.extend(told.iter().filter(|task| task.is_stopping()).map(|task| task.arn.clone()));
                tracker.listed(told, &absent, now);
            }
            for task in tracker.tasks().values() {
                assert!(task.is_stopping() || !stopping.contains(&task.arn), "seed {seed}: {task:?}");
            }
        }
        for _ in 0..ABSENT {
            let (told, absent) = answer(&truth, &tracker.known(CLUSTER), 0);
            tracker.listed(told, &absent, now);
        }
        let known: Vec<&Task> = tracker.tasks().values().map(AsRef::as_ref).collect();
        let want: Vec<&Task> = truth
            .iter()
            .filter_map(|life| life.last())
            // What already stops and was never told of is nobody's business.
            .filter(|task| task.last_status != Stage::Stopped)
            .filter(|task| !task.is_stopping() || known.iter().any(|known| known.arn == task.arn))
            .collect();
        assert_eq!(known, want, "seed {seed}");
    }
}

#[test]
fn an_answer_behind_an_event_takes_nothing_back_to_life() {
    let (mut tracker, now) = (Tracker::default(), Instant::now());
    let stopped = Task { version: 9, last_status: Stage::Stopped, desired_status: Stage::Stopped, ..task(1) };
    assert!(tracker.event(task(1), now));
    assert!(tracker.event(stopped, now) && tracker.tasks().is_empty());
    assert!(!tracker.listed(vec![task(1)], &BTreeSet::new(), now));
    assert!(!tracker.event(task(1), now) && tracker.tasks().is_empty());
}

#[test]
fn a_task_that_one_answer_does_not_know_stays_until_the_next() {
    let (mut tracker, now) = (Tracker::default(), Instant::now());
    tracker.event(task(1), now);
    let absent = BTreeSet::from([task(1).arn]);
    assert!(!tracker.listed(Vec::new(), &absent, now));
    tracker.listed(vec![task(1)], &BTreeSet::new(), now);
    assert!(!tracker.listed(Vec::new(), &absent, now), "it was told of in between");
    assert!(tracker.listed(Vec::new(), &absent, now) && tracker.tasks().is_empty());
    assert!(tracker.event(task(1), now), "should there be a word of it after all");
}

#[test]
fn of_one_version_the_answer_counts_and_a_repeated_event_does_not() {
    let (mut tracker, now) = (Tracker::default(), Instant::now());
    tracker.event(task(1), now);
    let healthy = Task { health: outrigger_model::Health::Healthy, ..task(1) };
    assert!(!tracker.event(healthy.clone(), now));
    assert!(tracker.listed(vec![healthy.clone()], &BTreeSet::new(), now));
    assert!(!tracker.listed(vec![healthy], &BTreeSet::new(), now), "nothing new");
}

#[test]
fn what_is_over_is_remembered_for_a_while_and_not_without_bound() {
    let (mut tracker, now) = (Tracker::default(), Instant::now());
    let over =
        |n| Task { last_status: Stage::Stopped, desired_status: Stage::Stopped, version: 9, ..task(n) };
    for n in 0..3 {
        tracker.event(task(n), now);
        tracker.event(over(n), now);
    }
    assert_eq!(tracker.over.len(), 3);
    tracker.listed(Vec::new(), &BTreeSet::new(), now + REMEMBERED);
    assert!(tracker.over.is_empty() && tracker.turns.is_empty());
}
