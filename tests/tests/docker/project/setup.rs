//! What a project consists of, before it is one.

use std::env;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use outrigger_inject::compose::Options;

use super::{Project, apps, image};

/// Folder of the project that the controller may mount.
const MOUNTED: &str = "mounted";

/// A project that is not up yet: `Setup { environment: vec![…], ..Setup::new(…) }.up()`.
pub struct Setup {
    /// What its name begins with.
    pub test: String,
    /// Its compose file, in which `APPS` stands for the image of the test applications and `BASE` for the plain one.
    pub text: String,
    /// Whether `compose/outrigger.yaml` stands beside it.
    pub meshed: bool,
    /// The controller's, `NAME=value`.
    pub environment: Vec<String>,
    /// Where the controller finds a folder with files of this test, and these files: name and text. To change one
    /// later, [`Project::write`] `mounted/<name>`.
    pub mounted: Option<(String, Vec<(String, String)>)>,
    /// Compose, as words: `OUTRIGGER_TEST_COMPOSE`, else `docker compose` where it is there, else `docker-compose`.
    pub compose: Vec<String>,
}

impl Setup {
    /// A meshed project with nothing special.
    pub fn new(test: &str, text: &str) -> Self {
        Self {
            test: test.to_owned(),
            text: text.to_owned(),
            meshed: true,
            environment: Vec::new(),
            mounted: None,
            compose: compose(),
        }
    }

    /// Writes its files.
    pub fn write(self) -> Project {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{number}", self.test, std::process::id());
        let folder = env::temp_dir().join(format!("outrigger-{name}"));
        let mut project = Project { name, folder, files: Vec::new(), compose: self.compose };
        let base = env::var("OUTRIGGER_TEST_BASE").unwrap_or_else(|_unset| apps());
        let text = self.text.replace("APPS", &apps()).replace("BASE", &base);
        project.files.push(project.write("docker-compose.yaml", &text));
        if self.meshed {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
            project.files.push(root.join("compose/outrigger.yaml"));
            let mut environment = self.environment;
            environment.push(format!("OUTRIGGER_SIDECAR_IMAGE={}", image("sidecar")));
            let mut volumes = Vec::new();
            if let Some((target, files)) = self.mounted {
                let folder = project.folder.join(MOUNTED);
                std::fs::create_dir_all(&folder).unwrap();
                for (name, text) in files {
                    project.write(&format!("{MOUNTED}/{name}"), &text);
                }
                volumes.push(format!("{}:{target}:ro", folder.display()));
            }
            let more = serde_json::json!({
                "services": { "outrigger": { "environment": environment, "volumes": volumes } }
            });
            project.files.push(project.write("controller.yaml", &more.to_string()));
        }
        project
    }

    /// Writes its files, and in their place one in which the mesh is injected statically.
    pub fn inject(self) -> Project {
        self.write().injected()
    }

    /// Writes its files and brings it up.
    pub fn up(self) -> Project {
        let project = self.write();
        project.compose(&["up", "-d"]);
        project
    }
}

impl Project {
    /// The same with one file, in which the mesh is injected statically.
    pub fn injected(mut self) -> Self {
        let whole = outrigger_inject::compose::read(&self.compose(&["config"])).unwrap();
        let injected = outrigger_inject::compose::inject(&whole, &Options::default());
        let injected = injected.unwrap_or_else(|reasons| panic!("{reasons:?}"));
        let text = outrigger_inject::compose::render(&injected.project);
        self.files = vec![self.write("injected.yaml", &text)];
        self
    }
}

fn compose() -> Vec<String> {
    if let Ok(program) = env::var("OUTRIGGER_TEST_COMPOSE") {
        return vec![program];
    }
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    let plugin = plugin.is_ok_and(|output| output.status.success());
    if plugin { vec!["docker".into(), "compose".into()] } else { vec!["docker-compose".into()] }
}
