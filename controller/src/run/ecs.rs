//! A controller of ECS clusters.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::pin::pin;
use std::sync::Arc;

use aws_config::SdkConfig;
use outrigger_model::Capture;
use outrigger_wire::control::PORT;
use tokio::sync::watch;

use super::{Common, RunError, first_view};
use crate::attest::sts::Sts;
use crate::attest::task::TaskAttestor;
use crate::attest::{ContainerAttestor, Own, Processes, own_task};
use crate::aws;
use crate::control::tls::TlsControl;
use crate::control::{Control, Hall};
use crate::indices::Indices;
use crate::inject::ecs::mover;
use crate::names::{HostedZone, Pace, Readers};
use crate::scope::Scope;
use crate::settings::{NamesFor, Settings};
use crate::source::Source;
use crate::source::cloud_map::{self, Outside};
use crate::source::docker::connect::socket_path;
use crate::source::docker::watch::{Seen as Engine, watch as watch_engine};
use crate::source::ecs::client::Api;
use crate::source::ecs::queue::Queue;
use crate::source::ecs::record::{Seen, last_part};
use crate::source::ecs::watch::watch;

/// Every address: who calls must prove a task's role.
const CONTROL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);

/// Runs until `shutdown` resolves.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    let mut shutdown = pin!(shutdown);
    let clusters = settings.clusters();
    let config = tokio::select! {
        config = aws::load(clusters.iter().find_map(|cluster| region_of(cluster))) => config?,
        () = &mut shutdown => return Ok(()),
    };
    let api = Api::new(&config);
    let queue = settings.queue.as_ref().map(|url| Queue::new(&config, url, api.calls.clone()));
    let (tell_seen, seen) = watch::channel(Seen::default());
    let (tell_outside, outside) = watch::channel(cloud_map::record::Seen::default());
    let namespaces: BTreeSet<String> = clusters.iter().map(|cluster| last_part(cluster).to_owned()).collect();
    let source = Source::Ecs {
        seen: seen.clone(),
        calls: api.calls.clone(),
        mesh: mesh_name(&settings, &clusters),
        outside: Outside { seen: outside, namespaces: namespaces.clone() },
    };
    let mut common = Common::begin(settings.clone(), source).await?;
    let board = common.board.clone();
    // Sidecars that wait for a controller may dial from here on; they are let in once their tasks are seen.
    let control = TlsControl::bind(settings.control_listen.unwrap_or(CONTROL)).await?;
    let tasks = TaskAttestor::new(seen.clone(), Sts::new(settings.sts_endpoint.clone()));
    tracing::info!(mesh = board.source.mesh(), clusters = clusters.join(","), "watches ECS");

    let whole = board.readiness.pending("a whole view of ECS");
    common.parts.spawn("ecs", watch(api.clone(), clusters, queue, tell_seen));
    let registry = cloud_map::client::Api::new(&config, api.calls.clone());
    let kept = cloud_map::kept::Kept::load(&settings.state);
    let lookups = cloud_map::watch::watch(registry, board.file.clone(), namespaces, kept, tell_outside);
    common.parts.spawn("cloud map", lookups);
    common.parts.spawn("first view", first_view(board.source.clone(), whole));
    let hall = common.hall();
    common.parts.spawn("control", control.run(hall.clone(), tasks));
    if has_engine(&settings.docker_host) {
        on_this_instance(&mut common, hall, seen.clone()).await;
    }
    keep_names(&mut common, &config);
    common.merge(Indices::load(&settings.state));
    // None: the root cannot be used, which is a problem of its own; nothing can be injected then.
    let pin = board.pin.get().map(ToString::to_string).unwrap_or_default();
    if let Some(mover) = mover(&settings, &board, api, seen, pin)? {
        common.parts.spawn("injection", mover.run());
    }
    common.until(shutdown).await
}

/// Keeps the hosted zones that the settings name.
fn keep_names(common: &mut Common, config: &SdkConfig) {
    let (board, settings) = (common.board.clone(), common.settings.clone());
    let (mesh, pace) = (board.source.mesh(), Pace::default());
    let capture = match settings.names_for {
        NamesFor::Platform => Capture::Platform,
        NamesFor::Names => Capture::Names,
    };
    let zones = [
        ("names", &settings.names_zone, Readers::Tasks(capture)),
        ("names for outsiders", &settings.edge_zone, Readers::Outsiders),
    ];
    for (part, id, readers) in zones {
        if let Some(id) = id {
            let zone = HostedZone::new(config, id, readers, &mesh, pace.clone());
            common.parts.spawn(part, zone.keep(board.snapshot.clone(), board.problems.clone()));
        }
    }
}

/// Serves the tasks of this EC2 instance over the Unix socket as well. Where the socket cannot be made they can still call
/// over TLS: that is told, and ends nothing.
async fn on_this_instance(common: &mut Common, hall: Arc<Hall>, tasks: watch::Receiver<Seen>) {
    let Settings { control: path, docker_host, .. } = common.settings.clone();
    let control = match Control::bind(&path).await {
        Ok(control) => control,
        Err(error) => {
            common.problem("control socket", "control", path.display().to_string(), &error);
            return;
        }
    };
    tracing::info!(socket = %path.display(), "serves the tasks of this instance over a socket");
    let scope = Scope { mesh: common.board.source.mesh(), ..Scope::default() };
    let (tell_engine, engine) = watch::channel(Engine::default());
    let (tell_own, own) = watch::channel(Own::default());
    common.parts.spawn("own task", own_task(docker_host.clone(), tell_own));
    common.parts.spawn("docker", watch_engine(docker_host, scope, tell_engine));
    let known = Processes::Ecs(ContainerAttestor::new(engine, tasks, own));
    common.parts.spawn("control socket", control.run(hall, known));
}

/// Whether the socket of an engine is there: on an EC2 instance, where it is mounted into the controller's task.
fn has_engine(host: &str) -> bool {
    let found = socket_path(host).ok().and_then(|path| std::fs::metadata(path).ok());
    found.is_some_and(|file| file.file_type().is_socket())
}

/// As said, else the first cluster's name.
fn mesh_name(settings: &Settings, clusters: &[String]) -> String {
    let first = || clusters.first().map(|cluster| last_part(cluster).to_owned());
    settings.mesh.clone().or_else(first).unwrap_or_default()
}

/// `arn:aws:ecs:eu-west-1:…`.
fn region_of(cluster: &str) -> Option<String> {
    let region = cluster.strip_prefix("arn:")?.split(':').nth(2)?;
    (!region.is_empty()).then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_is_an_engine() {
        let folder = std::env::temp_dir().join(format!("outrigger-engine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let host = |name: &str| format!("unix://{}", folder.join(name).display());
        // What Docker makes of a path that is to be mounted and is not there.
        assert!(!has_engine(&host("")) && !has_engine(&host("absent")) && !has_engine("tcp://127.0.0.1:1"));
        let _listener = std::os::unix::net::UnixListener::bind(folder.join("docker.sock")).unwrap();
        assert!(has_engine(&host("docker.sock")));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_arn_tells_the_region_and_a_name_does_not() {
        let region = region_of("arn:aws:ecs:eu-west-1:111122223333:cluster/shop");
        assert_eq!(region.as_deref(), Some("eu-west-1"));
        assert_eq!(region_of("shop"), None);
    }

    #[test]
    fn the_mesh_is_called_after_its_first_cluster_unless_somebody_says_otherwise() {
        let clusters = ["arn:aws:ecs:eu-west-1:111122223333:cluster/shop".to_owned(), "batch".to_owned()];
        assert_eq!(mesh_name(&Settings::default(), &clusters), "shop");
        let said = Settings { mesh: Some("own".into()), ..Settings::default() };
        assert_eq!(mesh_name(&said, &clusters), "own");
    }
}
