//! A controller of one Docker engine.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::{Common, RunError, first_view};
use crate::attest::{Attestor, Processes};
use crate::board::Board;
use crate::control::Control;
use crate::heal::Healer;
use crate::indices::Indices;
use crate::inject::Injector;
use crate::inject::farewell::farewell;
use crate::inject::launches::Launches;
use crate::inject::template::Templates;
use crate::scope::Scope;
use crate::settings::Settings;
use crate::source::Source;
use crate::source::docker::neighbours;
use crate::source::docker::watch::{Seen, watch};
use crate::surroundings::{Surroundings, surroundings};
use crate::upgrade::{Upgrader, upgrades};

/// Runs until `shutdown` resolves, then waits for sidecars that leave together with it.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let templates = Templates::load(settings.templates.as_deref())?;
    let (tell_seen, seen) = watch::channel(Seen::default());
    let known = Arc::new(OnceLock::new());
    let source = Source::Docker { seen: seen.clone(), scope: known.clone() };
    let mut common = Common::begin(settings.clone(), source).await?;
    let board = common.board.clone();
    let whole = board.readiness.pending("a whole view of Docker");

    // Sidecars that wait for a controller may dial from here on; they are answered once it knows its place.
    let control = Control::bind(&settings.control).await?;
    let found = tokio::select! {
        found = surroundings(&settings, &tell_seen) => found?,
        () = &mut shutdown => return Ok(()),
    };
    let scope = known.get_or_init(|| found.scope.clone()).clone();
    tracing::info!(mesh = scope.mesh, scope = scope.describe(), "found my place");

    common.parts.spawn("docker", watch(settings.docker_host.clone(), scope.clone(), tell_seen));
    common.parts.spawn("first view", first_view(board.source.clone(), whole));
    common.merge(Indices::load(&settings.state));
    let names =
        neighbours::follow(settings.docker_host.clone(), board.proxies.clone(), board.neighbours.clone());
    common.parts.spawn("neighbours", names);
    let attestor = Processes::Docker(Attestor::new(seen.clone(), scope.clone()));
    common.parts.spawn("control", control.run(common.hall(), attestor));
    let injector = injector(&settings, &board, found, templates);
    let launches = injector.launches.clone();
    let (upgrades, orders) = upgrades();
    common.parts.spawn("upgrade", upgrader(&injector, &seen).run(orders));
    common.orders(upgrades).await;
    common.parts.spawn("injection", injector.run(seen.clone()));
    common.parts.spawn("healing", healer(&settings, &board, &scope).run(seen.clone()));

    common.until(shutdown).await?;
    farewell(seen, &scope, &launches).await;
    Ok(())
}

fn healer(settings: &Settings, board: &Board, scope: &Scope) -> Healer {
    Healer {
        host: settings.docker_host.clone(),
        scope: scope.clone(),
        problems: board.problems.clone(),
        proxies: board.proxies.clone(),
    }
}

fn injector(settings: &Settings, board: &Board, found: Surroundings, templates: Templates) -> Injector {
    let directory = settings.control.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut env = vec![format!("OUTRIGGER_CONTROL={}", settings.control.display())];
    if settings.log != Settings::default().log {
        env.push(format!("OUTRIGGER_LOG={}", settings.log));
    }
    Injector {
        host: settings.docker_host.clone(),
        scope: found.scope,
        mesh_file: board.file.clone(),
        templates,
        image: settings.sidecar_image.clone(),
        control: (found.control_source, directory),
        env,
        gaps: board.gaps.clone(),
        problems: board.problems.clone(),
        proxies: board.proxies.clone(),
        launches: Launches::default(),
    }
}

fn upgrader(injector: &Injector, seen: &watch::Receiver<Seen>) -> Upgrader {
    Upgrader {
        host: injector.host.clone(),
        scope: injector.scope.clone(),
        templates: injector.templates.clone(),
        image: injector.image.clone(),
        control: injector.control.clone(),
        env: injector.env.clone(),
        proxies: injector.proxies.clone(),
        launches: injector.launches.clone(),
        seen: seen.clone(),
        mesh_file: injector.mesh_file.clone(),
    }
}
