//! A database behind the mesh still asks for its password, although its own rules trust loopback.

use std::time::Duration;

use crate::project::{Project, Setup};

const PASSWORD: &str = "correct-horse";

/// The public image, or one that stands in for it where no registry answers.
pub fn image() -> String {
    std::env::var("OUTRIGGER_TEST_POSTGRES").unwrap_or_else(|_| "postgres:16-alpine".into())
}

fn query(project: &Project, password: &str) -> (bool, String) {
    let database = format!("host=database user=shop dbname=shop connect_timeout=10 password={password}");
    project.try_exec("client", &["psql", &database, "-Atc", "select 6 * 7"])
}

#[test]
#[ignore = "needs Docker"]
fn postgres_asks_for_the_password_through_the_mesh() {
    let image = image();
    let services = format!(
        "services:
  database:
    image: '{image}'
    environment: {{ POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD: {PASSWORD} }}
    healthcheck: {{ test: [ CMD, pg_isready, -U, shop, -h, localhost ], interval: 1s, retries: 30 }}
  client: {{ image: '{image}', entrypoint: [ sleep, infinity ], init: true }}
"
    );
    let project = Setup::new("wire-postgres", &services).up();
    project.until_meshed(&["database", "client"]);
    let rows = project.within(Duration::from_secs(30), "the database answers", || {
        let (answered, rows) = query(&project, PASSWORD);
        answered.then_some(rows)
    });
    assert_eq!(rows.trim(), "42");
    let (answered, text) = query(&project, "wrong-horse");
    assert!(!answered && text.contains("password authentication failed"), "{text}");
    // The rules do trust loopback: had the sidecar handed over there, any password had been right.
    let loopback = "host=127.0.0.1 user=shop dbname=shop password=wrong-horse";
    let trusted = project.exec("database", &["psql", loopback, "-Atc", "select 6 * 7"]);
    assert_eq!(trusted.trim(), "42");
    let edge = project.edge("client", "database");
    assert_eq!((&edge["protocol"], &edge["mtls"]), (&"tcp".into(), &true.into()), "{edge}");
    assert_eq!(edge["port"], 5432, "{edge}");
}
