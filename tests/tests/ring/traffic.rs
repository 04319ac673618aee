//! docs/traffic.md and docs/resilience.md: every example is compiled and run at a sidecar, and every request below it gets
//! the answer that stands beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_lifecycle::Tasks;
use outrigger_model::mesh::Fault;
use outrigger_model::{
    Attachment, Declared, Health, Lifecycle, Mesh, Observed, ServiceKey, Snapshot, VirtualIndex, Workload,
    WorkloadId, label,
};
use outrigger_sidecar::identity::Identity;
use outrigger_sidecar::netns::Listening;
use outrigger_sidecar::patience::Patience;
use outrigger_sidecar::runtime::Runtime;
use outrigger_sidecar::settings::AccessLog;
use outrigger_sidecar::{Options, Sidecar};
use outrigger_wire::{InboundPort, Listener, ListenerKind, Protocol, ProxyConfig, Target, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::control::within;

const PORT: u16 = 8080;
/// Workloads: name, service, version.
const WORKLOADS: [(&str, &str, &str); 4] =
    [("web-1", "web", ""), ("cart-1", "cart", "v1"), ("cart-2", "cart", "v2"), ("stock-1", "stock", "")];

/// An example of the page, and what stands below it.
struct Example {
    mesh: String,
    rows: Vec<Row>,
}

struct Row {
    line: String,
    /// Not a call of `web`, but a request from outside the mesh to `cart-1`.
    outside: bool,
    times: usize,
    /// Two are sent together.
    at_once: bool,
    /// Each of them gets the whole answer.
    each: bool,
    /// Request line and fields.
    request: Vec<String>,
    /// All are in the answer; of several requests, each in one at least.
    answer: Vec<String>,
    /// Who hears of it besides, and what is in what it hears.
    heard: Vec<String>,
}

fn examples(page: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut block = String::new();
    for line in page.lines() {
        if let Some(line) = line.strip_prefix("    ") {
            block += &format!("{line}\n");
            continue;
        }
        if block.starts_with("services:") || block.starts_with("defaults:") {
            examples.push(Example { mesh: std::mem::take(&mut block), rows: Vec::new() });
        }
        if let (Some(example), Some(row)) = (examples.last_mut(), row(line)) {
            example.rows.push(row);
        }
    }
    examples
}

fn row(line: &str) -> Option<Row> {
    let (request, answer) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
    let (answer, heard) = answer.split_once(" | ").unwrap_or((answer, ""));
    let each = answer.contains("each time");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let (request_parts, answer, heard) = (quoted(request), quoted(answer), quoted(heard));
    let first = request_parts.first()?;
    let is_request =
        ["GET ", "POST ", "PUT ", "DELETE ", "HEAD ", "PROXY "].iter().any(|begin| first.starts_with(begin));
    let outside = request.starts_with("outside: ");
    let request = request.strip_prefix("outside: ").unwrap_or(request);
    let at_once = request.starts_with("2 at once ");
    let times = request.split_once(" times ").map(|(n, _)| n.parse().unwrap());
    let times = times.unwrap_or(if each { 5 } else { 1 });
    let line = line.to_owned();
    is_request.then_some(Row { line, outside, times, at_once, each, request: request_parts, answer, heard })
}

fn workload(mesh: &Mesh, (name, service, version): (&str, &str, &str)) -> Workload {
    let key = ServiceKey { namespace: "shop".into(), service: service.into() };
    let (declared, faults) = mesh.declare(&key, &label::read(&BTreeMap::new()), &Default::default());
    assert_eq!(faults, [], "{name}");
    let version = (!version.is_empty()).then(|| version.to_owned());
    let address = "127.0.0.1".parse().unwrap();
    let attachment = Attachment { network: "front".into(), addresses: vec![address] };
    Workload {
        id: WorkloadId(name.into()),
        name: name.into(),
        namespace: "shop".into(),
        declared: Declared { version, ..declared },
        aliases: Default::default(),
        zone: None,
        networks: [("front".to_owned(), attachment)].into(),
        exposed: Default::default(),
        published: Default::default(),
        lifecycle: Lifecycle::Running,
        instance: None,
        health: Health::Unchecked,
        one_off: false,
        mesh_port: None,
        outside: None,
        observed: Some(Observed { ready: true, listening: [PORT].into(), ..Observed::default() }),
    }
}

/// What the sidecar of `web-1` gets, its calls to `cart` coming in at the listener `out`.
fn of_web(mesh: &Mesh, apps: &BTreeMap<&str, App>) -> ProxyConfig {
    let mut config = config(mesh, apps, "web-1");
    let target = Target::Service { name: "cart.shop".into(), port: PORT };
    config.proxy.listeners = listener(ListenerKind::Outbound { target });
    config
}

/// What the sidecar of `cart-1` gets, its callers from outside coming in at the same listener.
fn of_cart(mesh: &Mesh, apps: &BTreeMap<&str, App>) -> ProxyConfig {
    let mut config = config(mesh, apps, "cart-1");
    let bare =
        InboundPort { protocol: Protocol::Http, app_address: None, proxy_protocol: Default::default() };
    let port = config.proxy.ports.entry(PORT).or_insert(bare);
    port.app_address = apps.get("cart-1").map(|app| app.address);
    config.proxy.listeners = listener(ListenerKind::Inbound { target: Target::Port(PORT) });
    config
}

fn listener(kind: ListenerKind) -> BTreeMap<String, Listener> {
    [("it".to_owned(), Listener { address: "127.0.0.1:0".parse().unwrap(), kind })].into()
}

/// What the sidecar of a workload gets; applications are called as they are, without their sidecars.
fn config(mesh: &Mesh, apps: &BTreeMap<&str, App>, workload_name: &str) -> ProxyConfig {
    let workloads: BTreeMap<_, _> =
        WORKLOADS.map(|one| (WorkloadId(one.0.into()), workload(mesh, one).into())).into();
    let services = ["cart", "stock", "web"].into_iter().zip(1..);
    let index = |(service, n): (&str, u32)| {
        let key = ServiceKey { namespace: "shop".into(), service: service.into() };
        (key, VirtualIndex::new(n).unwrap())
    };
    let indices = services.map(index).collect();
    let snapshot = Snapshot { trust_domain: "shop.internal".into(), workloads, indices };
    let mut config = outrigger_compile::compile(&snapshot, &WorkloadId(workload_name.into())).unwrap();
    for endpoint in config.clusters.values_mut().flat_map(|cluster| &mut cluster.endpoints) {
        endpoint.transport = Transport::Plaintext;
        if let Some(app) = apps.get(endpoint.workload.as_str()) {
            endpoint.address = app.address;
        }
    }
    config
}

/// An application that says its name, and what it was asked; what it was asked is kept, too.
struct App {
    address: SocketAddr,
    name: String,
    heard: Arc<watch::Sender<Vec<String>>>,
    _tasks: Tasks,
}

impl App {
    async fn start(name: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(watch::Sender::new(Vec::new()));
        let (mut tasks, told, called) = (Tasks::new(), heard.clone(), name.clone());
        tasks.spawn("application", async move {
            let mut connections = Tasks::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (name, told) = (name.clone(), told.clone());
                connections.spawn("connection", async move { _ = answer(tcp, &name, &told).await });
            }
        });
        Self { address, name: called, heard, _tasks: tasks }
    }
}

async fn answer(mut tcp: TcpStream, name: &str, told: &watch::Sender<Vec<String>>) -> std::io::Result<()> {
    let mut came = Vec::new();
    loop {
        let end = came.windows(4).position(|end| end == b"\r\n\r\n");
        if let Some(end) = end {
            let head: Vec<u8> = came.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).into_owned();
            told.send_modify(|heard| heard.push(head.clone()));
            let body = format!("{name}\n{head}");
            let (status, length) = (status(name, &head).await, body.len());
            let answer =
                format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nserver: app\r\n\r\n{body}");
            tcp.write_all(answer.as_bytes()).await?;
        } else if tcp.read_buf(&mut came).await? == 0 {
            return Ok(());
        }
    }
}

/// How an application answers: as docs/resilience.md says of the paths in its tables.
async fn status(name: &str, head: &str) -> u16 {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path == "/late" {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let fails_first = path.starts_with("/first-fails/") && SEEN.lock().unwrap().insert(path.to_owned());
    match path {
        "/sick" if name == "cart v2" => 500,
        _ if fails_first => 503,
        _ => 200,
    }
}

/// A request on a connection of its own; the whole answer.
async fn ask(address: SocketAddr, request: &[String]) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let (introduction, request) =
        request.split_at(request.iter().take_while(|part| part.starts_with("PROXY ")).count());
    for line in introduction {
        tcp.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }
    let Some((line, fields)) = request.split_first() else { panic!("nothing is asked for") };
    let host = if fields.iter().any(|field| field.starts_with("host:")) { "" } else { "host: cart:8080\r\n" };
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let text = format!("{line} HTTP/1.1\r\n{host}{fields}content-length: 0\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let asked = async {
        tcp.write_all(text.as_bytes()).await?;
        tcp.read_to_string(&mut answer).await
    };
    match within(asked).await {
        Ok(_) => answer,
        Err(_) => "closed".to_owned(),
    }
}

/// A sidecar until it is dropped.
struct Running(Runtime, #[allow(dead_code, reason = "held")] (Tasks, Senders));

type Senders = (watch::Sender<Option<Arc<Identity>>>, watch::Sender<Listening>);

impl Running {
    fn start() -> Self {
        let (identity, identities) = watch::channel(None);
        let (seen, listening) = watch::channel(Listening::new());
        let admin = "127.0.0.1:0".parse().unwrap();
        let options = Options {
            workers: 1,
            connections: 64,
            admin,
            access_log: AccessLog::Off,
            identity: identities,
            listening,
            hand_over: None,
            hosts: None,
            patience: Patience::default(),
        };
        let sidecar = Sidecar::bind(options).unwrap();
        let runtime = sidecar.runtime();
        let mut tasks = Tasks::new();
        tasks.spawn("sidecar", async move {
            sidecar.run(std::future::pending::<Duration>()).await;
        });
        Self(runtime, (tasks, (identity, seen)))
    }
}

#[tokio::test]
async fn every_example_of_the_page_does_what_it_says() {
    let examples = examples(include_str!("../../../docs/traffic.md"));
    assert!(examples.len() >= 3 && examples.iter().all(|example| !example.rows.is_empty()));
    run("docs/traffic.md", examples).await;
}

/// Those without rows take longer, or more than two sidecars: other tests run what they say.
#[tokio::test]
async fn examples_of_resilience_do_what_they_say() {
    let mut examples = examples(include_str!("../../../docs/resilience.md"));
    examples.retain(|example| !example.rows.is_empty());
    assert!(examples.len() >= 6, "{}", examples.len());
    run("docs/resilience.md", examples).await;
}

async fn run(page: &str, examples: Vec<Example>) {
    let mut apps = BTreeMap::new();
    for (name, service, version) in WORKLOADS {
        apps.insert(name, App::start(format!("{service} {version}").trim().to_owned()).await);
    }
    let (web, cart) = (Running::start(), Running::start());
    for example in examples {
        let listed = |faults: Vec<Fault>| faults.iter().map(|fault| format!("{fault}\n")).collect::<String>();
        let mesh = Mesh::read(&example.mesh, page);
        let mesh = mesh.unwrap_or_else(|faults| panic!("{}\n{}", listed(faults), example.mesh));
        assert_eq!(mesh.warnings(), [], "{}", example.mesh);
        web.0.apply(of_web(&mesh, &apps)).unwrap();
        cart.0.apply(of_cart(&mesh, &apps)).unwrap();
        for row in &example.rows {
            let at = if row.outside { &cart } else { &web }.0.addresses()["it"];
            answered(at, row, &example.mesh).await;
            if let Some((name, wanted)) = row.heard.split_first() {
                let app = apps.values().find(|app| app.name == *name).unwrap();
                let mut heard = app.heard.subscribe();
                let hears = |heads: &Vec<String>| {
                    heads.iter().any(|head| wanted.iter().all(|want| head.contains(want)))
                };
                drop(within(heard.wait_for(hears)).await.unwrap());
            }
        }
    }
}

/// Asks as the row says, and finds what it says.
async fn answered(at: SocketAddr, row: &Row, mesh: &str) {
    let one = || ask(at, &row.request);
    let mut answers = Vec::new();
    if row.at_once {
        answers.extend(<[String; 2]>::from(tokio::join!(one(), one())));
    } else {
        for _ in 0..row.times {
            answers.push(one().await);
        }
    }
    if !row.each {
        answers = vec![answers.concat()];
    }
    for (answer, want) in answers.iter().flat_map(|answer| row.answer.iter().map(move |want| (answer, want)))
    {
        let is_status = want.len() == 3 && want.bytes().all(|b| b.is_ascii_digit());
        let want = &if is_status { format!("HTTP/1.1 {want} ") } else { want.clone() };
        assert!(answer.contains(want), "{}\n{want:?} is not in\n{answer}\n{mesh}", row.line);
    }
}
