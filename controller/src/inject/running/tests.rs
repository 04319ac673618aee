use super::*;
use crate::inject::template::Templates;
use crate::problems::Problems;
use crate::source::docker::record::Run;
use crate::source::docker::samples::{composed, containers, instance, sidecar_of};

fn injector() -> Injector {
    Injector {
        host: String::new(),
        scope: crate::scope::Scope { mesh: "shop".into(), ..Default::default() },
        mesh_file: tokio::sync::watch::channel(Default::default()).1,
        templates: Templates::load(None).unwrap(),
        image: "sidecar".into(),
        control: ("run".into(), "/run/outrigger".into()),
        env: Vec::new(),
        gaps: Default::default(),
        problems: Problems::default(),
        proxies: Default::default(),
        launches: Default::default(),
    }
}

/// Never called: nothing is begun here.
fn docker() -> Docker {
    Docker::connect_with_unix("/dev/null", 1, bollard::API_DEFAULT_VERSION).unwrap()
}

fn ended(app: &Container, code: i64, runs: bool) -> Done {
    let sidecar = sidecar_of(app);
    Done::Ended {
        app: WorkloadId(app.id.clone()),
        instance: app.instance().unwrap().clone(),
        id: sidecar.id,
        name: sidecar.name,
        sidecar: true,
        ended: Ended { code: Some(code), lines: Vec::new() },
        runs,
    }
}

/// The engine told of the sidecar's end before it told of the application's, and people were told of a problem.
#[tokio::test]
async fn a_sidecar_that_ended_with_its_applications_run_is_no_problem() {
    let app = composed("shop", "cart", &[]);
    let stopping = Container { stopping: true, ..app.clone() };
    for (known, code, runs, told) in [
        (&app, 0, false, 0),
        (&app, 137, false, 0),
        (&stopping, 0, true, 0),
        (&app, 0, true, 1),
        (&app, 101, true, 1),
    ] {
        let injector = injector();
        let mut running = Running::new(&injector, docker());
        running.done(ended(&app, code, runs), &containers([known.clone()]));
        assert_eq!(running.retries.problems().len(), told, "code {code}, runs {runs}");
    }
}

#[tokio::test]
async fn the_next_run_does_not_wait_because_the_one_before_was_gone() {
    let app = composed("shop", "cart", &[]);
    let next = Container { run: Run::Running(instance("2026-11-23T11:00:00Z", 9)), ..app.clone() };
    let gone = || Done::Injected {
        app: WorkloadId(app.id.clone()),
        instance: app.instance().unwrap().clone(),
        result: Err(LaunchError::Gone),
    };
    let injector = injector();
    let mut running = Running::new(&injector, docker());
    running.done(gone(), &containers([next]));
    assert!(running.injecting().is_empty());
    running.done(gone(), &containers([app.clone()]));
    assert_eq!(running.injecting().len(), 1, "as far as is known it still runs: soon again");
}
