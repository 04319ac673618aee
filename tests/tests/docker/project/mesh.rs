//! What the mesh of a project says of itself.

use serde_json::Value;

use super::{Project, docker};

impl Project {
    /// Whether a controller stands in it.
    pub(super) fn is_meshed(&self) -> bool {
        !self.containers("outrigger").is_empty()
    }

    /// What `outrigger status` says; none while the controller does not answer.
    pub fn status(&self) -> Option<Value> {
        let controller = self.containers("outrigger").into_iter().next()?;
        let output = super::tried(&["exec", &controller, "/outrigger", "status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Container ids of the sidecars, by name.
    pub fn sidecars(&self) -> Vec<(String, String)> {
        let mesh = format!("label=outrigger.mesh={}", self.name);
        let managed = "label=outrigger.managed=sidecar";
        let format = "{{.Names}} {{.ID}}";
        let words = ["ps", "--no-trunc", "--filter", &mesh, "--filter", managed, "--format", format];
        let list = docker(&words);
        let pairs = list.lines().filter_map(|line| line.split_once(' '));
        let mut sidecars: Vec<_> = pairs.map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
        sidecars.sort();
        sidecars
    }

    /// Waits until exactly this many sidecars are there, and all of them serve the configuration sent last.
    pub fn meshed(&self, count: usize) -> Value {
        self.until(&format!("{count} sidecars that serve"), || {
            let status = self.status()?;
            let sidecars = status["sidecars"].as_array()?;
            let whole = status["ready"] == true && sidecars.len() == count;
            (whole && sidecars.iter().all(serves)).then_some(status)
        })
    }

    /// Waits until each of these services has sidecars, and all of these serve the configuration sent last.
    pub fn until_meshed(&self, services: &[&str]) {
        self.until(&format!("the sidecars of {services:?} serve"), || {
            let status = self.status()?;
            let sidecars = status["sidecars"].as_array()?;
            let meshed = |service: &&str| {
                let service = format!("{service}.{}", self.name);
                let mut own = sidecars.iter().filter(|sidecar| sidecar["service"] == service).peekable();
                own.peek().is_some() && own.all(serves)
            };
            services.iter().all(meshed).then_some(())
        });
    }

    /// Waits until a port of a service has exactly this many endpoints, and all of them take traffic.
    pub fn endpoints(&self, service: &str, port: u16, count: usize) -> Value {
        self.until(&format!("{count} endpoints of {service}"), || {
            let status = self.status()?;
            let services = status["services"].as_array()?;
            let service = services.iter().find(|candidate| candidate["name"] == service)?;
            let port = service["ports"].as_array()?.iter().find(|candidate| candidate["port"] == port)?;
            let endpoints = port["endpoints"].as_array()?;
            let ready = endpoints.iter().filter(|endpoint| endpoint["ready"] == true).count();
            let there = ready == count && endpoints.len() == count;
            there.then(|| status.clone())
        })
    }

    /// What the mesh saw between two services, as soon as it is reported.
    pub fn edge(&self, source: &str, destination: &str) -> Value {
        let named = |service: &str| format!("{service}.{}", self.name);
        let (from, to) = (named(source), named(destination));
        self.until(&format!("an edge from {source} to {destination}"), || {
            let status = self.status()?;
            let mut edges = status["edges"].as_array()?.iter();
            edges.find(|edge| edge["source"] == from && edge["destination"] == to).cloned()
        })
    }
}

fn serves(sidecar: &Value) -> bool {
    sidecar["connected"] == true
        && sidecar["ready"] == true
        && sidecar["config_version"] == sidecar["sent_version"]
}
