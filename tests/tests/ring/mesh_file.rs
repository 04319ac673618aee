//! From a saved mesh file to what a running sidecar was given, with everything between them.

use std::fs;
use std::sync::Arc;

use outrigger_controller::indices::Indices;
use outrigger_controller::mesh::Mesh;
use outrigger_controller::problems::Problems;
use outrigger_controller::scope::{COMPOSE_PROJECT, COMPOSE_SERVICE, Scope};
use outrigger_controller::source::Source;
use outrigger_controller::source::file::watch::{MeshFile, Place, watch as follow};
use outrigger_lifecycle::Tasks;
use outrigger_model::Attachment;
use outrigger_model::label::ENABLE;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::control::{APP, DOMAIN, Linked, MESH_NAME, World, within};

/// The sources' end of a controller: the snapshot of `world` comes from here.
struct Sources {
    problems: Problems,
    file: watch::Receiver<MeshFile>,
    _tasks: Tasks,
}

impl Sources {
    fn start(world: &World, proxies: outrigger_controller::proxies::Proxies) -> Self {
        world.seen.send_modify(|seen| {
            let app = Arc::make_mut(&mut seen.containers).get_mut(APP).unwrap();
            let labels = [(ENABLE, "true"), (COMPOSE_PROJECT, "shop"), (COMPOSE_SERVICE, "cart")];
            app.labels.extend(labels.map(|(key, value)| (key.to_owned(), value.to_owned())));
            app.exposed = [8080].into();
            let attachment =
                Attachment { network: "shop_default".into(), addresses: vec![[10, 0, 0, 10].into()] };
            app.networks = [("network".to_owned(), attachment)].into();
            seen.listed = Some(Instant::now());
        });
        let state = world.directory.join("controller");
        let problems = Problems::default();
        let mesh = Mesh {
            trust_domain: DOMAIN.into(),
            indices: Indices::load(&state),
            problems: problems.clone(),
            proxies,
        };
        let (tell, file) = watch::channel(MeshFile::default());
        let mut tasks = Tasks::new();
        let place = Place { path: world.directory.join("mesh/mesh.yaml"), asked: false, state };
        tasks.spawn("mesh file", follow(place, tell));
        let scope = Scope { mesh: MESH_NAME.into(), ..Scope::default() };
        let source = Source::Docker { seen: world.seen.subscribe(), scope: Arc::new(scope.into()) };
        tasks.spawn("mesh", mesh.run(source, file.clone(), world.snapshot.clone()));
        Self { problems, file, _tasks: tasks }
    }
}

/// As editors save.
fn save(world: &World, text: &str) {
    let folder = world.directory.join("mesh");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join("mesh.yaml")).unwrap();
}

/// Waits until the sidecar was given this limit for calls to `cart`; how many configurations it was given by then.
async fn given(sidecar: &mut Linked, request_ms: u64) -> usize {
    let limit = |config: &outrigger_wire::ProxyConfig| {
        Some(config.services.get("cart.shop")?.ports.get(&8080)?.timeouts.request_ms)
    };
    let applied = sidecar.applied.wait_for(|all| all.last().and_then(limit) == Some(request_ms));
    within(applied).await.unwrap().len()
}

#[tokio::test]
async fn a_save_reaches_a_running_sidecar_and_a_bad_file_changes_nothing() {
    let world = World::new();
    save(&world, "services: { cart: { timeout: 7s } }\n");
    let controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    let mut sources = Sources::start(&world, controller.proxies.clone());
    given(&mut sidecar, 7_000).await;

    save(&world, "services: { cart: { timeout: 300ms } }\n");
    let configurations = given(&mut sidecar, 300).await;

    save(&world, "services:\n  cart:\n    timout: 9s\n");
    within(sources.file.wait_for(|file| !file.current)).await.unwrap();
    within(async {
        while !sources.problems.all().iter().any(|problem| problem.subject.ends_with("mesh.yaml:3:5")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(sidecar.applied.borrow().len(), configurations);

    save(&world, "services: { cart: { timeout: 9s } }\n");
    assert_eq!(given(&mut sidecar, 9_000).await, configurations + 1, "nothing came between");
    let told = sources.problems.all();
    assert!(told.iter().all(|problem| problem.kind != "mesh-file"), "{told:?}");
}

/// A policy comes and goes with a save, and takes no connection along.
#[tokio::test]
async fn a_saved_policy_reaches_a_running_sidecar() {
    let world = World::new();
    save(&world, "services: { cart: { timeout: 7s } }\n");
    let controller = world.controller(100).await;
    let mut sidecar = world.sidecar();
    let _sources = Sources::start(&world, controller.proxies.clone());
    given(&mut sidecar, 7_000).await;

    let words = "retries: { attempts: 3 }, balance: random, limits: { requests: 9 }, deadline: passed-on";
    save(&world, &format!("defaults: {{ {words} }}\nservices: {{ cart: {{ timeout: 8s }} }}\n"));
    given(&mut sidecar, 8_000).await;
    let last = sidecar.applied.borrow().last().cloned().unwrap();
    let cluster = &last.clusters["cart.shop:8080"];
    assert_eq!(cluster.policy.retries.as_ref().map(|retries| retries.attempts), Some(3));
    assert_eq!(cluster.policy.limits.map(|limits| limits.requests), Some(9));
    assert_eq!(cluster.balance, outrigger_wire::Balance::Random);
    assert!(last.services["cart.shop"].ports[&8080].timeouts.pass_on);

    save(&world, "services: { cart: { timeout: 9s } }\n");
    given(&mut sidecar, 9_000).await;
    let last = sidecar.applied.borrow().last().cloned().unwrap();
    assert!(last.clusters["cart.shop:8080"].policy.is_default());
}
