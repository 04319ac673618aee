use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_model::{Health, WorkloadId};

use super::*;
use crate::source::ecs::record::{DefinitionContainer, Stage};

const TASK: &str = "0123456789abcdef0123456789abcdef";
const AT: &str = "10.0.1.7";

fn task() -> Task {
    Task {
        arn: format!("arn:aws:ecs:eu-west-1:111122223333:task/shop/{TASK}"),
        id: TASK.into(),
        cluster: "arn:aws:ecs:eu-west-1:111122223333:cluster/shop".into(),
        group: "service:cart".into(),
        service: Some("cart".into()),
        definition: "cart:1".into(),
        role: None,
        last_status: Stage::Running,
        desired_status: Stage::Running,
        health: Health::Unchecked,
        addresses: vec![AT.parse().unwrap()],
        zone: None,
        container_instance: None,
        started_by: None,
        containers: Vec::new(),
        version: 1,
        stopped: None,
    }
}

fn definition() -> Definition {
    let sidecar = DefinitionContainer {
        name: "outrigger-sidecar".into(),
        image: String::new(),
        labels: BTreeMap::new(),
        essential: true,
        checked: true,
        ports: BTreeSet::new(),
        user: String::new(),
    };
    Definition {
        arn: "cart:1".into(),
        family: "cart".into(),
        revision: 1,
        role: Some("arn:aws:iam::111122223333:role/outrigger/shop/cart-task".into()),
        network_mode: NetworkMode::Awsvpc,
        labels: BTreeMap::new(),
        sidecar: true,
        containers: vec![sidecar],
        windows: false,
    }
}

fn seen(tasks: Vec<Task>, definition: Definition) -> Seen {
    let tasks: BTreeMap<_, _> =
        tasks.into_iter().map(|task| (WorkloadId(task.arn.clone()), Arc::new(task))).collect();
    let definitions = [(definition.arn.clone(), Arc::new(definition))].into();
    let listed = Some(Instant::now());
    Seen { tasks: tasks.into(), definitions: Arc::new(definitions), current: true, listed, ..Seen::default() }
}

fn role() -> Role {
    let [partition, account, name, session] = ["aws", "111122223333", "cart-task", TASK].map(str::to_owned);
    Role { partition, account, name, session }
}

fn judged(seen: &Seen, role: &Role, from: &str) -> Result<Caller, TaskRefused> {
    judge(seen, role, &Region::parse("eu-west-1").unwrap(), from.parse().unwrap())
}

#[test]
fn a_task_at_its_address_with_its_role_is_itself_whatever_the_path_of_the_role() {
    let caller = judged(&seen(vec![task()], definition()), &role(), AT).unwrap();
    assert_eq!(caller.workload.0, task().arn);
    assert_eq!((caller.sidecar, caller.address), (task().arn, Some(AT.parse().unwrap())));
}

#[test]
fn whatever_does_not_agree_is_refused_and_named() {
    let all = |task| seen(vec![task], definition());
    let with = |change: fn(&mut Definition)| {
        let mut changed = definition();
        change(&mut changed);
        seen(vec![task()], changed)
    };
    let other = |change: fn(&mut Role)| {
        let mut changed = role();
        change(&mut changed);
        changed
    };
    let stopping = |last, desired| all(Task { last_status: last, desired_status: desired, ..task() });
    let cases: [(Seen, Role, &str, &str); 17] = [
        (all(task()), other(|role| role.name = "web-task".into()), AT, "has the role cart-task"),
        (all(task()), other(|role| role.account = "444455556666".into()), AT, "of account 111122223333"),
        (all(task()), other(|role| role.partition = "aws-cn".into()), AT, "another region or partition"),
        (all(task()), other(|role| role.session = "eve".into()), AT, "the session eve"),
        (all(task()), other(|role| role.session = TASK.to_uppercase()), AT, "is no task"),
        (all(task()), role(), "10.0.1.8", "has the address 10.0.1.7, and the call comes from 10.0.1.8"),
        (all(Task { addresses: Vec::new(), ..task() }), role(), AT, "the call comes from"),
        (seen(vec![], definition()), role(), AT, "is no task"),
        (stopping(Stage::Running, Stage::Stopped), role(), AT, "is stopping"),
        (stopping(Stage::Deactivating, Stage::Running), role(), AT, "is stopping"),
        (stopping(Stage::Stopped, Stage::Stopped), role(), AT, "is stopping"),
        (with(|definition| definition.sidecar = false), role(), AT, "is not meshed"),
        (with(|definition| definition.role = None), role(), AT, "has the role none"),
        (
            with(|definition| definition.role = Some("arn:aws:iam::444455556666:role/cart-task".into())),
            role(),
            AT,
            "has the role",
        ),
        (with(|definition| definition.arn = "cart:2".into()), role(), AT, "is not meshed"),
        (with(|definition| definition.network_mode = NetworkMode::None), role(), AT, "the call comes from"),
        (
            all(Task { role: Some("arn:aws:iam::111122223333:role/web-task".into()), ..task() }),
            role(),
            AT,
            "no other at RunTask",
        ),
    ];
    for (seen, role, from, want) in cases {
        let refused = judged(&seen, &role, from).unwrap_err().to_string();
        assert!(refused.contains(want), "{want}: {refused}");
    }
    let twin = Task { arn: task().arn.replace("shop", "other"), ..task() };
    let two = seen(vec![task(), twin], definition());
    assert!(matches!(judged(&two, &role(), AT), Err(TaskRefused::Unknown { .. })), "one of two is nobody");
}

#[test]
fn behind_a_host_the_address_is_not_the_tasks() {
    for network_mode in [NetworkMode::Bridge, NetworkMode::Host] {
        let on_host = Definition { network_mode, ..definition() };
        let seen = seen(vec![Task { addresses: Vec::new(), ..task() }], on_host);
        assert_eq!(judged(&seen, &role(), "10.0.9.9").unwrap().address, Some("10.0.9.9".parse().unwrap()));
    }
}

#[test]
fn nobody_is_told_before_aws_is_asked() {
    let eu = Region::parse("eu-west-1").unwrap();
    let all = seen(vec![task()], definition());
    assert_eq!(anybody(&all, &eu, AT.parse().unwrap()), Ok(()));
    assert!(anybody(&all, &eu, "10.0.9.9".parse().unwrap()).is_err());
    assert!(anybody(&all, &Region::parse("us-east-1").unwrap(), AT.parse().unwrap()).is_err());
}
