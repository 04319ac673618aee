//! A cloud of one test: the simulator of ECS, whose agent runs tasks as containers, and the controller in its network.
//!
//! All that is made carries a name that begins with `orecs-` and this process's id, and that as label `orecs`.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use outrigger_tests::ecs::Simulator;
use serde_json::{Value, json};

use super::tasks;
use crate::project::{apps, docker, image, tried, within};

/// How long tasks may take to come, go or serve. A pass never takes it.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// What every name begins with.
const PREFIX: &str = "orecs";
/// Where sidecars call the controller.
const CONTROL: u16 = 15010;

/// Dropping it takes everything down.
pub struct Cloud {
    /// The API, and what tests order of it.
    pub ecs: Simulator,
    /// A folder of this machine that tasks may mount.
    pub folder: PathBuf,
    prefix: String,
    pin: String,
    /// The container of the controller.
    controller: String,
    /// After the simulator, which would replace tasks that go.
    _rest: Rest,
}

/// What the simulator leaves where it cannot clean up itself; dropping it takes that away.
struct Rest(String);

impl Cloud {
    /// A cluster `default` with two instances, each in a zone of its own, and no mesh.
    pub fn bare() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        sweep_dead();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}-{}-{number}", std::process::id());
        let folder = env::temp_dir().join(&prefix);
        fs::create_dir_all(&folder).unwrap();
        let arguments = ["--host", "0.0.0.0", "--containers", &prefix, "--pause-image", &apps()];
        let rest = Rest(prefix.clone());
        let (pin, controller) = (String::new(), format!("{prefix}-controller"));
        let cloud = Self { ecs: Simulator::with(&arguments), folder, prefix, pin, controller, _rest: rest };
        cloud
            .ecs
            .post("cluster", json!({ "name": "default", "instances": [{ "zone": "a" }, { "zone": "b" }] }));
        cloud
    }

    /// The same with a controller that is ready.
    pub fn start() -> Self {
        Self::start_told(|_| Vec::new())
    }

    /// The same with a controller that is told more, as `NAME=value`; `of` is given where containers reach this machine.
    pub fn start_told(of: impl Fn(&str) -> Vec<String>) -> Self {
        let mut cloud = Self::bare();
        cloud.run_controller(of(cloud.gateway()));
        cloud.pin = cloud.pinned();
        cloud
    }

    /// The same with a controller that is itself a task, of the cluster's service `controller`; `of` makes its definition.
    pub fn start_as_task(of: impl Fn(&Self) -> Value) -> Self {
        let mut cloud = Self::bare();
        let definition = of(&cloud);
        cloud.serve("controller", &cloud.made(&definition), &definition, 1);
        let task = cloud.task("controller").container("controller");
        cloud.controller = task;
        cloud.pin = cloud.pinned();
        cloud
    }

    /// The controller's pin, once it is ready.
    fn pinned(&self) -> String {
        let pinned = |status: Value| {
            let pin = status["control_pin"].as_str()?.to_owned();
            (status["ready"] == true).then_some(pin)
        };
        within(PATIENCE, "the controller is ready", || pinned(self.status()?))
    }

    /// The network of all tasks.
    pub fn network(&self) -> &str {
        self.vpc("network")
    }

    /// Where containers reach this machine.
    pub fn gateway(&self) -> &str {
        self.vpc("gateway")
    }

    fn vpc(&self, part: &str) -> &str {
        self.ecs.addresses()["vpc"][part].as_str().expect("a simulator with containers has a network")
    }

    /// What the controller is told, as `NAME=value`; any credentials are good for the simulator.
    pub fn environment(&self) -> Vec<String> {
        let aws = format!("http://{}:{}", self.vpc("gateway"), self.ecs.addresses()["port"]);
        let queue = self.ecs.addresses()["queue"].as_str().unwrap_or_default();
        let queue = queue.rsplit_once(":").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
        let mut environment = vec![
            "OUTRIGGER_PLATFORM=ecs".to_owned(),
            "OUTRIGGER_CLUSTERS=default".to_owned(),
            format!("OUTRIGGER_STS_ENDPOINT={aws}"),
        ];
        environment.extend(queue.map(|path| format!("OUTRIGGER_QUEUE={aws}/{path}")));
        let said = self.ecs.environment().into_iter().filter(|(name, _)| name != "AWS_ENDPOINT_URL");
        environment.extend(said.map(|(name, value)| format!("{name}={value}")));
        environment.push(format!("AWS_ENDPOINT_URL={aws}"));
        environment
    }

    /// Another controller in the place of the one that runs, with its state.
    pub fn replace_controller(&self, more: Vec<String>) {
        docker(&["rm", "-f", &self.controller]);
        self.run_controller(more);
    }

    /// The controller, as a container of the network that is always at the same address.
    fn run_controller(&self, more: Vec<String>) {
        let own = format!("OUTRIGGER_CONTROL_URL=https://{}:{CONTROL}", self.vpc("controller"));
        let environment = [self.environment(), vec![own], more].concat();
        let (state, label) = (self.name("state"), format!("{PREFIX}={}", self.prefix));
        docker(&["volume", "create", "--label", &label, &state]);
        let state = format!("{state}:/var/lib/outrigger");
        let mut words = vec!["--network", self.vpc("network"), "--ip", self.vpc("controller"), "-v", &state];
        for pair in &environment {
            words.extend(["-e", pair]);
        }
        let image = image("controller");
        words.push(&image);
        self.run("controller", &words);
    }

    /// Runs a container beside all tasks that goes with the cloud: `words` as for `docker run`. Its name.
    pub fn run(&self, part: &str, words: &[&str]) -> String {
        let (name, label) = (self.name(part), format!("{PREFIX}={}", self.prefix));
        docker(&[&["run", "-d", "--name", &name, "--label", &label, "--no-healthcheck"], words].concat());
        name
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.prefix)
    }

    /// What `outrigger status` says; none while the controller does not answer.
    pub fn status(&self) -> Option<Value> {
        let output = tried(&["exec", &self.controller, "/outrigger", "status", "--json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// All that the controller has written.
    pub fn controller_log(&self) -> String {
        let output = tried(&["logs", &self.controller]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Kills the controller; its state stays.
    pub fn kill_controller(&self) {
        docker(&["kill", &self.controller]);
    }

    /// Has the controller run again.
    pub fn start_controller(&self) {
        docker(&["start", &self.controller]);
    }

    /// Registers a task definition, meshed; `family:revision`.
    pub fn register(&self, task: &Value) -> String {
        self.made(&self.meshed(task))
    }

    /// A task definition, meshed, whose sidecar calls the controller over TLS.
    pub fn meshed(&self, task: &Value) -> Value {
        let address = match self.controller == self.name("controller") {
            true => self.vpc("controller").to_owned(),
            false => self.task("controller").address().to_string(),
        };
        tasks::meshed(task, &format!("https://{address}:{CONTROL}"), &self.pin)
    }

    /// Registers a task definition as it is; `family:revision`.
    pub fn made(&self, definition: &Value) -> String {
        let made = self.ecs.post("definition", definition.clone());
        format!("{}:{}", made["family"].as_str().unwrap(), made["revision"])
    }

    /// Makes a service of this name, meshed.
    pub fn service(&self, name: &str, task: &Value, count: u32) {
        self.serve(name, &self.register(task), task, count);
    }

    /// Makes a service that asks the controller to mesh it.
    pub fn tagged(&self, name: &str, task: &Value, count: u32) {
        let tags = json!([{ "key": "outrigger:inject", "value": "true" }]);
        self.order(name, &self.made(task), task, count, json!({ "tags": tags }));
    }

    /// Makes a service, meshed, that a load balancer's target group reaches at 8080.
    pub fn balanced(&self, name: &str, task: &Value, count: u32) {
        let group = format!("arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/{name}/1");
        let group = json!({ "targetGroupArn": group, "containerName": tasks::APP, "containerPort": 8080 });
        self.order(name, &self.register(task), task, count, json!({ "loadBalancers": [group] }));
    }

    /// Makes a service of a registered revision of `task`.
    pub fn serve(&self, name: &str, revision: &str, task: &Value, count: u32) {
        self.order(name, revision, task, count, json!({}));
    }

    fn order(&self, name: &str, revision: &str, task: &Value, count: u32, mut order: Value) {
        let said = json!({
            "cluster": "default",
            "serviceName": name,
            "taskDefinition": revision,
            "desiredCount": count,
            "launchType": task["requiresCompatibilities"][0],
            "placementConstraints": task.get("placementConstraints").unwrap_or(&json!([])),
        });
        order.as_object_mut().expect("an object").extend(said.as_object().cloned().unwrap_or_default());
        if task["networkMode"] == "awsvpc" {
            order["networkConfiguration"] =
                json!({ "awsvpcConfiguration": { "subnets": ["subnet-a", "subnet-b"] } });
        }
        self.ecs.post("service", order);
    }

    /// Runs one task of a definition that is registered already; `more` is added to what RunTask is asked.
    pub fn run_task(&self, definition: &str, launch: &str, more: &Value) -> Task<'_> {
        let mut order = json!({ "cluster": "default", "taskDefinition": definition, "launchType": launch });
        let fields = order.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        self.known(&self.ecs.post("run", order)["tasks"][0])
    }

    /// Changes a service; `order` as UpdateService asks.
    pub fn update(&self, name: &str, mut order: Value) {
        order["cluster"] = "default".into();
        order["service"] = name.into();
        self.ecs.post("update", order);
    }

    /// Waits until a service has exactly this many tasks, all of them RUNNING on its newest definition; these.
    pub fn running(&self, service: &str, count: usize) -> Vec<Task<'_>> {
        within(PATIENCE, &format!("{count} running tasks of {service}"), || {
            let services = self.ecs.records("service");
            let service = services.iter().find(|one| one["serviceName"] == service)?;
            let group = format!("service:{}", service["serviceName"].as_str()?);
            let tasks = self.ecs.records("task");
            let mut own = tasks.iter().filter(|one| one["group"] == *group && one["lastStatus"] != "STOPPED");
            let whole = own.clone().count() == count
                && own.clone().all(|one| {
                    one["lastStatus"] == "RUNNING"
                        && one["desiredStatus"] == "RUNNING"
                        && one["taskDefinitionArn"] == service["taskDefinition"]
                });
            whole.then(|| own.by_ref().map(|one| self.known(one)).collect())
        })
    }

    /// The task of a record.
    pub fn known(&self, record: &Value) -> Task<'_> {
        Task { cloud: self, arn: text(&record["taskArn"]) }
    }

    /// The only task of a service, once it runs.
    pub fn task(&self, service: &str) -> Task<'_> {
        self.running(service, 1).remove(0)
    }

    /// The only task of a tagged service, once the controller has meshed it.
    pub fn moved(&self, service: &str) -> Task<'_> {
        within(PATIENCE, &format!("{service} is meshed"), || {
            let services = self.ecs.records("service");
            let one = services.iter().find(|one| one["serviceName"] == service)?;
            let at = one["taskDefinition"].as_str()?;
            (!at.ends_with(":1") && one["deployments"].as_array()?.len() == 1).then_some(())
        });
        self.task(service)
    }

    /// Waits until the first task of a service gets an answer from `url`; the answer's `x-name`.
    pub fn until_answers(&self, task: &Task<'_>, url: &str) -> String {
        within(PATIENCE, &format!("{} reaches {url}", task.arn), || task.ask(url, ""))
    }

    /// The bridge that all traffic between tasks crosses, and a name for what watches it.
    pub fn wire(&self) -> (&str, String) {
        (self.vpc("bridge"), self.name("capture"))
    }

    /// Prints what every container said last.
    fn tell(&self) {
        let label = format!("label={PREFIX}={}", self.prefix);
        let names = docker(&["ps", "-a", "--filter", &label, "--format", "{{.Names}} {{.Status}}"]);
        for line in names.lines() {
            let name = line.split(' ').next().unwrap_or_default();
            let output = tried(&["logs", "--tail=40", name]);
            let said = [output.stdout, output.stderr].concat();
            if !said.is_empty() {
                println!("--- {line}\n{}", String::from_utf8_lossy(&said));
            }
        }
        for task in self.ecs.records("task") {
            let containers = task["containers"].as_array().into_iter().flatten();
            let containers: Vec<String> = containers
                .map(|one| {
                    format!("{} {} {} {}", one["name"], one["lastStatus"], one["healthStatus"], one["reason"])
                })
                .collect();
            let of = [&task["taskArn"], &task["lastStatus"], &task["desiredStatus"], &task["stoppedReason"]];
            println!("--- {of:?} {containers:?}");
        }
        println!("--- status\n{:#}", self.status().unwrap_or_default());
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell();
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        sweep(&self.0);
        let _removed = fs::remove_dir_all(env::temp_dir().join(&self.0));
    }
}

/// A task of the cloud.
pub struct Task<'a> {
    cloud: &'a Cloud,
    /// Its ARN.
    pub arn: String,
}

impl Task<'_> {
    /// The engine's name of one of its containers.
    pub fn container(&self, name: &str) -> String {
        let id = self.arn.rsplit('/').next().unwrap_or_default();
        self.cloud.name(&format!("{}-{name}", id.get(..8).unwrap_or_default()))
    }

    /// Its record in the API.
    pub fn record(&self) -> Value {
        let tasks = self.cloud.ecs.records("task");
        tasks
            .into_iter()
            .find(|one| one["taskArn"] == self.arn.as_str())
            .expect("a task that was there stays for an hour")
    }

    /// Waits until it is in this state; its record then.
    pub fn until(&self, status: &str) -> Value {
        within(PATIENCE, &format!("{} is {status}", self.arn), || {
            Some(self.record()).filter(|record| record["lastStatus"] == status)
        })
    }

    /// One of its containers, as the API has it.
    pub fn state(&self, container: &str) -> Value {
        let record = self.record();
        let mut containers = record["containers"].as_array().expect("a task has containers").iter();
        containers.find(|one| one["name"] == container).expect("it has this one").clone()
    }

    /// Its address in the VPC; in bridge and host mode that of its instance.
    pub fn address(&self) -> Ipv4Addr {
        let record = self.record();
        if record["attachments"][0].is_null() {
            let instance = text(&record["containerInstanceArn"]);
            let id = instance.rsplit('/').next().and_then(|id| id.get(..8)).unwrap_or_default();
            let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
            let said = docker(&["inspect", "-f", format, &self.cloud.name(&format!("host-{id}"))]);
            return said.trim().parse().expect("an address");
        }
        let details = record["attachments"][0]["details"].as_array().cloned().unwrap_or_default();
        let own = details.iter().find(|one| one["name"] == "privateIPv4Address");
        text(&own.expect("an awsvpc task has an address")["value"]).parse().expect("an address")
    }

    /// POSTs to a URL from its application; `x-name` of the answer, or none where there is no good one.
    pub fn ask(&self, url: &str, body: &str) -> Option<String> {
        let script = format!(
            "import urllib.request as r; a = r.urlopen('{url}', b'{body}' or None, timeout=5); print(a.headers['x-name'])"
        );
        let output = tried(&["exec", &self.container(tasks::APP), "python3", "-c", &script]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether one of its containers was ever made.
    pub fn has(&self, container: &str) -> bool {
        tried(&["inspect", &self.container(container)]).status.success()
    }

    /// All that one of its containers has written.
    pub fn log(&self, container: &str) -> String {
        let output = tried(&["logs", &self.container(container)]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Takes away what a killed run left.
fn sweep_dead() {
    let format = format!("{{{{.Label \"{PREFIX}\"}}}}");
    let list = docker(&["ps", "-a", "--filter", &format!("label={PREFIX}"), "--format", &format]);
    let networks = docker(&["network", "ls", "--filter", &format!("label={PREFIX}"), "--format", &format]);
    let mut prefixes: Vec<&str> = list.lines().chain(networks.lines()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    for prefix in prefixes {
        let pid = prefix.split('-').nth(1).unwrap_or_default();
        if !pid.is_empty() && !Path::new("/proc").join(pid).is_dir() {
            sweep(prefix);
            let _removed = fs::remove_dir_all(env::temp_dir().join(prefix));
        }
    }
}

fn sweep(prefix: &str) {
    let label = format!("label={PREFIX}={prefix}");
    for (list, remove) in [
        (&["ps", "-aq"][..], &["rm", "-fv"][..]),
        (&["network", "ls", "-q"], &["network", "rm"]),
        (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
    ] {
        let found = docker(&[list, &["--filter", &label]].concat());
        let found: Vec<&str> = found.lines().collect();
        if !found.is_empty() {
            let _gone = tried(&[remove, &found].concat());
        }
    }
}
