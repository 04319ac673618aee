use outrigger_model::check::{Ask, Check};
use outrigger_model::{Attachment, Checked, Declared, Health, Lifecycle, Mode, Observed, WorkloadId};

use super::*;

/// A task of `cart.shop` that takes traffic on its edge port 8080.
fn ready(number: u8) -> Workload {
    let addresses = vec![IpAddr::from([10, 0, 0, number])];
    let attachment = Attachment { network: "vpc".into(), addresses };
    Workload {
        id: WorkloadId(format!("task/{number:02}")),
        name: format!("cart-{number}"),
        namespace: "shop".into(),
        declared: Declared {
            service: "cart".into(),
            edge: Some([8080].into()),
            mode: Mode::Strict,
            ..Default::default()
        },
        aliases: BTreeSet::new(),
        zone: None,
        networks: [("vpc".to_owned(), attachment)].into(),
        mesh_port: None,
        outside: None,
        exposed: [8080].into(),
        published: BTreeSet::new(),
        lifecycle: Lifecycle::Running,
        instance: None,
        health: Health::Unchecked,
        one_off: false,
        observed: Some(Observed {
            ready: true,
            listening: [8080].into(),
            settled: true,
            ..Observed::default()
        }),
    }
}

fn observed(mut task: Workload, change: impl FnOnce(&mut Observed)) -> Workload {
    change(task.observed.as_mut().unwrap());
    task
}

fn of(tasks: impl IntoIterator<Item = Workload>) -> (Names, BTreeSet<Problem>) {
    let workloads = tasks.into_iter().map(|task| (task.id.clone(), task.into())).collect();
    outside(&Snapshot { workloads, ..Snapshot::default() })
}

/// The last numbers of the addresses of `cart.shop`.
fn numbers(tasks: impl IntoIterator<Item = Workload>) -> Vec<u8> {
    let (names, _) = of(tasks);
    let addresses = names.get("cart.shop").cloned().unwrap_or_default();
    addresses
        .iter()
        .map(|address| match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => panic!("{address}"),
        })
        .collect()
}

#[test]
fn the_first_eight_by_id_that_take_traffic_stand_behind_a_name() {
    assert_eq!(numbers((1..=12).map(ready)), [1, 2, 3, 4, 5, 6, 7, 8]);
    let stopping = Workload { lifecycle: Lifecycle::Stopping, ..ready(2) };
    let told = observed(ready(3), |seen| seen.stopping = true);
    let failing = observed(ready(4), |seen| seen.ready = false);
    let tasks = || [stopping.clone(), told.clone(), failing.clone()];
    assert_eq!(numbers([ready(1), ready(5)].into_iter().chain(tasks())), [1, 5]);
    let (names, problems) = of([ready(1)]);
    assert_eq!(names["cart"], names["cart.shop"]);
    assert!(problems.is_empty());
}

#[test]
fn where_none_takes_traffic_those_that_run_stand_in_and_those_that_leave_never_do() {
    let silent = Workload { observed: None, ..ready(1) };
    let mut failing = observed(ready(2), |seen| seen.checked = Some(Checked::Failing("503".into())));
    failing.declared.policy.check = Some(Check { ask: Some(Ask::Tcp), ..Check::default() });
    let deaf = observed(ready(3), |seen| seen.listening = BTreeSet::new());
    let leaving = Workload { lifecycle: Lifecycle::Stopping, ..ready(4) };
    let gone = Workload { lifecycle: Lifecycle::Stopped, ..ready(5) };
    let mut apart = ready(6);
    apart.declared.weight = Some(0);
    let tasks = [silent, failing, deaf, leaving.clone(), gone, apart];
    assert_eq!(numbers(tasks.clone()), [1, 2, 3]);
    assert_eq!(numbers(tasks.into_iter().chain([ready(7)])), [7]);
    assert_eq!(numbers([leaving]), [0; 0]);
}

#[test]
fn only_edge_ports_make_a_name_whatever_the_mode() {
    for mode in Mode::ALL {
        let with = |edge: Option<BTreeSet<u16>>, published: BTreeSet<u16>| {
            let mut task = Workload { published, ..ready(1) };
            (task.declared.mode, task.declared.edge) = (mode, edge);
            numbers([task])
        };
        assert_eq!(with(None, BTreeSet::new()), [0; 0]);
        assert_eq!(with(None, [8080].into()), [1], "a target group's port is one");
        assert_eq!(with(Some(BTreeSet::new()), [8080].into()), [0; 0], "unless the label says none");
        assert_eq!(with(Some([8080, 9090].into()), BTreeSet::new()), [1], "one port of two listens");
    }
    let once = Workload { one_off: true, ..ready(1) };
    assert_eq!(numbers([once]), [0; 0]);
}

#[test]
fn services_of_which_nobody_said_whether_outsiders_may_call_are_told_together() {
    let named = |number: u8, edge: Option<BTreeSet<u16>>| {
        let mut task = ready(number);
        (task.declared.service, task.declared.edge) = (format!("s{number:02}"), edge);
        task
    };
    let said = [named(1, Some([8080].into())), named(2, Some(BTreeSet::new()))];
    assert!(of(said.clone()).1.is_empty());
    let (_, problems) = of(said.into_iter().chain((3..=12).map(|number| named(number, None))));
    assert_eq!(problems.len(), 1);
    let what = &problems.first().unwrap().what;
    assert!(what.contains("of s03.shop, s04.shop") && what.contains("s10.shop and 2 more:"), "{what}");
}

#[test]
fn a_second_cluster_with_such_a_service_takes_the_short_name_away_edge_or_not() {
    let mut other = ready(2);
    (other.namespace, other.declared.edge) = ("blog".into(), None);
    let (names, _) = of([ready(1), other]);
    assert_eq!(names.keys().collect::<Vec<_>>(), ["cart.shop"]);
}

#[test]
fn each_task_gives_one_address_of_each_family() {
    let mut both = ready(1);
    let attachment = both.networks.get_mut("vpc").unwrap();
    for more in ["10.0.0.99", "fd00::1", "fd00::2"] {
        attachment.addresses.push(more.parse().unwrap());
    }
    let mut six = ready(2);
    six.networks.get_mut("vpc").unwrap().addresses = vec!["fd00::3".parse().unwrap()];
    let mut none = ready(3);
    none.networks.get_mut("vpc").unwrap().addresses.clear();
    let found: Vec<_> = of([both, six, none]).0["cart"].iter().map(IpAddr::to_string).collect();
    assert_eq!(found, ["10.0.0.1", "fd00::1", "fd00::3"]);
}

#[test]
fn tasks_at_other_ports_of_their_hosts_have_no_name_and_that_is_told() {
    let bridged = |number| Workload { mesh_port: Some(32_768), ..ready(number) };
    let (names, problems) = of([bridged(1), bridged(2)]);
    assert!(names.is_empty());
    let problem = problems.first().unwrap();
    assert_eq!((problem.kind, problem.subject.as_str()), ("edge", "service cart.shop"));
    assert!(problem.what.contains("awsvpc"), "{}", problem.what);
    assert_eq!((numbers([bridged(1), ready(2)]), of([bridged(1), ready(2)]).1.len()), (vec![2], 0));
}
