//! `cargo xtask demo`: the shop with the mesh, from nothing to nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::Engine;
use crate::run::{Fault, until};
use crate::shop::{CONTROLLER, Shop, request};
use crate::sources::Sources;
use crate::{images, say};

/// How many shopping rounds the demo drives itself, beside the load generator.
const ROUNDS: u32 = 40;
/// How long sidecars may take to appear in the mesh's status.
const MESHED: Duration = Duration::from_secs(60);

/// How long the sidecars may take to report the demo's traffic; they do so every 5 s.
const REPORTED: Duration = Duration::from_secs(15);
/// Edges between services of the shop: load to web, web to cart, catalog and checkout, checkout to cart and
/// pricing, cart to redis, catalog to postgres.
const MESHED_EDGES: usize = 8;

/// What the user asked for.
#[derive(Clone, Copy, Default)]
pub struct Options {
    keep: bool,
    unmeshed: bool,
    down: bool,
}

impl Options {
    /// Reads the words after `demo`; `None` for one that is not known.
    pub fn read(words: &[&str]) -> Option<Self> {
        words.iter().try_fold(Self::default(), |options, word| match *word {
            "--keep" => Some(Self { keep: true, ..options }),
            "--unmeshed" => Some(Self { unmeshed: true, ..options }),
            "--down" => Some(Self { down: true, ..options }),
            _ => None,
        })
    }
}

impl Options {
    fn title(self) -> &'static str {
        match (self.down, self.unmeshed) {
            (true, _) => "The shop, taken down",
            (false, true) => "The shop, without a mesh",
            (false, false) => "The shop, meshed",
        }
    }
}

/// Runs it.
pub fn run(options: Options) -> Result<(), Fault> {
    let started = Instant::now();
    println!("{}", say::bold(options.title()));
    let engine = Engine::ensure()?;
    if options.down {
        Shop::new(&engine, &Sources::public(), true)?.down()?;
        return engine.stop_kept();
    }
    if !options.unmeshed {
        images::ensure(&engine, false)?;
    }
    let base = Sources::ensure(&engine)?;
    let shop = Shop::new(&engine, &base, !options.unmeshed)?;
    shop.build()?;
    let outcome = shop.up().and_then(|()| show(&engine, &shop, options));
    match (outcome, options.keep) {
        (Ok(web), true) => {
            farewell(&shop, web, options);
            Ok(())
        }
        (Err(fault), true) => Err(fault),
        (outcome, false) => {
            let down = shop.down();
            engine.stop()?;
            outcome?;
            down?;
            println!(
                "\nDone in {} s. Once more, and left up to look around: cargo xtask demo --keep",
                started.elapsed().as_secs()
            );
            Ok(())
        }
    }
}

fn show(engine: &Engine, shop: &Shop<'_>, options: Options) -> Result<SocketAddr, Fault> {
    let web = shop.ready()?;
    if !options.unmeshed {
        meshed(engine, shop)?;
    }
    traffic(web)?;
    page(web)?;
    if !options.unmeshed {
        reported(engine, shop);
        println!("\n{}", say::bold("What the mesh saw"));
        print!("{}", status(engine, shop, &[])?);
    }
    Ok(web)
}

/// Waits until every service has a sidecar that serves: the status, asked as a user asks it.
fn meshed(engine: &Engine, shop: &Shop<'_>) -> Result<(), Fault> {
    let step = say::step("mesh", "waiting for the sidecars");
    let wanted = shop.services()?;
    let ready = || sidecars(&serde_json::from_str(&status(engine, shop, &["--json"]).ok()?).ok()?);
    let all = until(MESHED, || {
        let (ready, gap) = ready()?;
        step.tick(&format!("{ready} of {wanted} sidecars serve"));
        (ready >= wanted).then_some((ready, gap))
    });
    if let Some((count, gap)) = all {
        step.done(format!("{count} sidecars serve; slowest {gap} ms after its application started"));
        return Ok(());
    }
    step.failed();
    let count = ready().map_or(0, |(count, _)| count);
    let what = format!("{count} of {wanted} sidecars serve after {} s", MESHED.as_secs());
    let seen = status(engine, shop, &[]).or_else(|_| {
        let controller = shop.container("outrigger")?;
        engine.docker(["logs", "--tail=20", &controller]).both()
    });
    let advice = "what the controller says is above; docs/troubleshooting.md explains each message";
    Err(Fault { what, seen: seen.unwrap_or_default(), advice: advice.into() })
}

/// Waits until the sidecars have told of the traffic: they report every few seconds. What is missing then is
/// missing in the picture, which follows.
fn reported(engine: &Engine, shop: &Shop<'_>) {
    let step = say::step("reports", "waiting for what the sidecars counted");
    let seen = || serde_json::from_str::<Value>(&status(engine, shop, &["--json"]).ok()?).ok();
    let all = until(REPORTED, || edges(&seen()?).filter(|told| *told >= MESHED_EDGES));
    if let Some(told) = all {
        step.done(format!("{told} edges between services, all of them mutual TLS"));
        return;
    }
    let status = seen().unwrap_or_default();
    let told = edges(&status).unwrap_or_default();
    match unmeshed(&status) {
        0 => step.failed(),
        old => step.done(format!(
            "{told} of {MESHED_EDGES} edges by mutual TLS: {old} connections are older than their sidecars, and plain until they \
             close; with `outrigger inject compose` there are none"
        )),
    }
}

/// How many edges are mutual TLS.
fn edges(status: &Value) -> Option<usize> {
    let meshed = |edge: &&Value| edge.get("mtls").and_then(Value::as_bool) == Some(true);
    Some(status.get("edges")?.as_array()?.iter().filter(meshed).count())
}

/// How many connections of applications are older than the capture.
fn unmeshed(status: &Value) -> u64 {
    let sidecars = status.get("sidecars").and_then(Value::as_array).into_iter().flatten();
    sidecars.filter_map(|sidecar| sidecar.get("unmeshed_connections")?.as_u64()).sum()
}

/// How many sidecars serve, and the longest gap in milliseconds.
fn sidecars(status: &Value) -> Option<(usize, u64)> {
    let sidecars = status.get("sidecars")?.as_array()?;
    let ready = sidecars.iter().filter(|sidecar| sidecar.get("ready").and_then(Value::as_bool) == Some(true));
    let gaps = sidecars.iter().filter_map(|sidecar| sidecar.get("injection_gap_ms").and_then(Value::as_u64));
    Some((ready.count(), gaps.max().unwrap_or(0)))
}

/// Drives shoppers through the published port.
fn traffic(web: SocketAddr) -> Result<(), Fault> {
    let step = say::step("traffic", "shopping");
    let (mut answered, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    for round in 0..ROUNDS {
        let user = format!("demo-{round}");
        let (cart, checkout) =
            (format!("/api/cart/{user}/{}", 1 + round % 5), format!("/api/checkout/{user}"));
        for (method, path) in [("GET", "/"), ("POST", cart.as_str()), ("POST", checkout.as_str())] {
            let begun = Instant::now();
            match request(web, method, path) {
                Ok(answer) if answer.status == 200 => answered += 1,
                Ok(_) | Err(_) => refused += 1,
            }
            slowest = slowest.max(begun.elapsed());
        }
        step.tick(&format!("{answered} answered, {refused} failed"));
    }
    let text = format!("{answered} requests answered, {refused} failed, slowest {} ms", slowest.as_millis());
    if refused == 0 {
        step.done(text);
        return Ok(());
    }
    step.failed();
    Err(Fault::new(
        text,
        "run with --keep and look: docker logs shop_web_1, docker logs shop_web_1-outrigger",
    ))
}

/// Proves that the page holds what came from the catalog and from pricing.
fn page(web: SocketAddr) -> Result<(), Fault> {
    let step = say::step("page", "reading it as a browser does");
    let answer = request(web, "GET", "/")
        .map_err(|e| Fault::new(format!("GET /: {e}"), "run with --keep and look"))?;
    let title = answer.body.split("<h1>").nth(1).and_then(|rest| rest.split("</h1>").next());
    match (answer.status, title) {
        (200, Some(title)) => {
            let items = answer.body.matches("<li>").count();
            step.done(format!("\"{title}\", {items} items out of PostgreSQL"));
            Ok(())
        }
        (status, _) => {
            step.failed();
            Err(Fault::new(format!("GET / answered {status}: {}", answer.body), "run with --keep and look"))
        }
    }
}

/// What `outrigger status` prints. Its exit code says whether something is wrong, which is shown, not judged, here.
fn status(engine: &Engine, shop: &Shop<'_>, words: &[&str]) -> Result<String, Fault> {
    let controller = shop.container("outrigger")?;
    let words = ["exec", &controller, "/outrigger", "status"].into_iter().chain(words.iter().copied());
    let said = engine.docker(words).any_exit().read()?;
    if said.is_empty() {
        let what = "`outrigger status` in the controller's container says nothing";
        return Err(Fault::new(what, format!("see the controller's log; {CONTROLLER} starts it")));
    }
    Ok(said)
}

fn farewell(shop: &Shop<'_>, web: SocketAddr, options: Options) {
    println!("\n{}", say::bold("It is up"));
    println!("  the shop      http://{web}");
    if !options.unmeshed {
        println!(
            "  status        docker exec {} /outrigger status --watch",
            shop.container("outrigger").unwrap_or_default().get(..12).unwrap_or("CONTROLLER")
        );
    }
    println!("  scale         {}", shop.words("up -d --scale pricing=3"));
    println!("  its logs      {}", shop.words("logs -f web"));
    println!("  take it down  cargo xtask demo --down");
}
