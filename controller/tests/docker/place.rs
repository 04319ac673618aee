//! A place of one's own on the engine: a compose project's name, its containers and networks, and a controller's parts
//! that look at nothing else.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outrigger_controller::indices::Indices;
use outrigger_controller::inject::Injector;
use outrigger_controller::inject::gaps::Gaps;
use outrigger_controller::inject::launches::Launches;
use outrigger_controller::inject::template::Templates;
use outrigger_controller::mesh::Mesh;
use outrigger_controller::problems::Problems;
use outrigger_controller::proxies::Proxies;
use outrigger_controller::scope::Scope;
use outrigger_controller::source::Source;
use outrigger_controller::source::docker::connect::DEFAULT_HOST;
use outrigger_controller::source::docker::record::Container;
use outrigger_controller::source::docker::watch::{Seen, watch};
use outrigger_controller::source::file::watch::MeshFile;
use outrigger_lifecycle::Tasks;
use outrigger_model::Snapshot;
use tokio::sync::watch::{Receiver, Sender, channel};
use tokio::time::timeout;

/// Long enough for an engine on a busy machine; a pass never takes it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The image of applications, sidecars and capture steps.
pub fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let folder = folder("image");
        let program = folder.join("outrigger-sidecar");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker/sleeper.rs");
        let flags =
            ["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"];
        let built = Command::new("rustc").args(flags).arg(&program).arg(source).status();
        assert!(built.expect("rustc runs").success());
        let file =
            "FROM scratch\nCOPY outrigger-sidecar /outrigger-sidecar\nENTRYPOINT [\"/outrigger-sidecar\"]\n";
        std::fs::write(folder.join("Dockerfile"), file).unwrap();
        docker(&["build", "-q", "-t", "docker-test:sleeper", folder.to_str().unwrap()]);
        std::fs::remove_dir_all(&folder).unwrap();
        "docker-test:sleeper".to_owned()
    })
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("docker-test-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs the docker command; its output without the last line break.
pub fn docker(arguments: &[&str]) -> String {
    let output =
        Command::new("docker").args(arguments).stdin(Stdio::null()).output().expect("docker is there");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Gone with everything in it when dropped.
pub struct Place {
    /// Name of mesh and compose project; all names begin with it.
    pub name: String,
    /// For state and sockets.
    pub folder: PathBuf,
}

impl Place {
    /// A new one.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        image();
        let name = format!("docker-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = folder(&name);
        let place = Self { name, folder };
        docker(&["network", "create", &place.full("net")]);
        place
    }

    /// `docker-test-1-0-cart`.
    pub fn full(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Runs an application: further words for `docker run`, then those after the image.
    pub async fn start(&self, name: &str, options: &[&str], command: &[&str]) -> String {
        let (full, net) = (self.full(name), self.full("net"));
        let labels = [
            format!("com.docker.compose.project={}", self.name),
            format!("com.docker.compose.service={name}"),
            "outrigger.enable=true".to_owned(),
        ];
        let mut words = vec!["run", "-d", "--name", &full, "--network", &net];
        words.extend(labels.iter().flat_map(|label| ["--label", label]));
        words.extend(options);
        words.push(image());
        words.extend(command);
        self.docker(&words).await
    }

    /// Runs the docker command without standing in the way of the controller.
    pub async fn docker(&self, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let run = move || docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Looks only at this place.
    pub fn scope(&self) -> Scope {
        Scope { mesh: self.name.clone(), project: Some(self.name.clone()), own: None }
    }

    /// The source and the mesh alone.
    pub fn watching(&self, host: &str) -> Controller {
        let (tell, seen) = channel(Seen::default());
        let (publish, snapshot) = channel(Arc::new(Snapshot::default()));
        let none = MeshFile { mesh: Some(Arc::default()), current: true, ..MeshFile::default() };
        let (mesh_file, file) = channel(none);
        let mut parts = Tasks::new();
        let (problems, proxies) = (Problems::default(), Proxies::default());
        parts.spawn("docker", watch(host.to_owned(), self.scope(), tell));
        let mesh = Mesh {
            trust_domain: "test.internal".into(),
            indices: Indices::load(&self.folder),
            problems: problems.clone(),
            proxies: proxies.clone(),
        };
        let source = Source::Docker { seen: seen.clone(), scope: Arc::new(self.scope().into()) };
        parts.spawn("mesh", mesh.run(source, file, publish));
        Controller {
            seen,
            mesh_file,
            snapshot,
            problems,
            proxies,
            gaps: Gaps::default(),
            mesh: self.name.clone(),
            parts,
        }
    }

    /// Injection as well.
    pub fn injecting(&self, image: &str, templates: Templates) -> Controller {
        let mut controller = self.watching(DEFAULT_HOST);
        let injector = Injector {
            host: DEFAULT_HOST.into(),
            scope: self.scope(),
            mesh_file: controller.mesh_file.subscribe(),
            templates,
            image: image.to_owned(),
            control: (self.folder.display().to_string(), "/run/outrigger".into()),
            env: Vec::new(),
            gaps: controller.gaps.clone(),
            problems: controller.problems.clone(),
            proxies: controller.proxies.clone(),
            launches: Launches::default(),
        };
        controller.parts.spawn("injection", injector.run(controller.seen.clone()));
        controller
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for label in
            [format!("com.docker.compose.project={}", self.name), format!("outrigger.mesh={}", self.name)]
        {
            let ids = docker(&["ps", "-aq", "--filter", &format!("label={label}")]);
            let ids: Vec<&str> = ids.lines().collect();
            if !ids.is_empty() {
                // One may be on its way out by itself.
                let _gone = Command::new("docker").args(["rm", "-fv"]).args(ids).output();
            }
        }
        let networks = docker(&["network", "ls", "-q", "--filter", &format!("name={}-", self.name)]);
        for network in networks.lines() {
            let _gone = Command::new("docker").args(["network", "rm", network]).output();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// Parts of a controller; dropping it is its sudden death.
pub struct Controller {
    /// There is no mesh file.
    mesh_file: Sender<MeshFile>,
    /// What the source shows.
    pub seen: Receiver<Seen>,
    /// What the mesh publishes.
    pub snapshot: Receiver<Arc<Snapshot>>,
    /// What is wrong.
    pub problems: Problems,
    /// What sidecars say.
    pub proxies: Proxies,
    /// How long injections took.
    pub gaps: Gaps,
    mesh: String,
    parts: Tasks,
}

impl Controller {
    /// Containers of ours in this mesh, by workload; other tests make theirs on the same engine.
    pub fn ours<'a>(&self, seen: &'a Seen) -> impl Iterator<Item = (&'a str, &'a Container)> {
        let mesh = self.mesh.clone();
        let all = seen.containers.values().filter(move |c| c.label("outrigger.mesh") == Some(&mesh));
        all.filter_map(|c| Some((c.label("outrigger.workload")?, c)))
    }

    /// Applications of this place, by name.
    pub fn applications(&self, seen: &Seen) -> std::collections::BTreeMap<String, Container> {
        let all =
            seen.containers.values().filter(|c| c.label("com.docker.compose.project") == Some(&self.mesh));
        all.map(|c| (c.name.clone(), c.clone())).collect()
    }

    /// Waits until the snapshot is like that.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = timeout(PATIENCE, self.snapshot.wait_for(|snapshot| holds(snapshot))).await;
        found.unwrap_or_else(|_| panic!("not in time: {what}")).unwrap().clone()
    }

    /// Waits until the containers are like that.
    pub async fn until_seen(&mut self, what: &str, holds: impl Fn(&Seen) -> bool) -> Seen {
        let found = timeout(PATIENCE, self.seen.wait_for(|seen| holds(seen))).await;
        found.unwrap_or_else(|_| panic!("not in time: {what}")).unwrap().clone()
    }

    /// Waits for a running sidecar of a container, other than `not`.
    pub async fn sidecar(&mut self, app: &str, not: &str) -> Container {
        let of = |seen: &Seen| {
            let mut all = seen.containers.values();
            let sidecar = all
                .find(|c| c.label("outrigger.workload") == Some(app) && c.id != not && is_running_sidecar(c));
            sidecar.cloned()
        };
        let seen = self.until_seen("a sidecar", |seen| of(seen).is_some()).await;
        of(&seen).unwrap()
    }
}

fn is_running_sidecar(container: &Container) -> bool {
    container.label("outrigger.managed") == Some("sidecar") && container.instance().is_some()
}
