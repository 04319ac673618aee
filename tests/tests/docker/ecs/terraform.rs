//! The Terraform modules and examples, without the AWS provider, which cannot be had everywhere: their names are held against the schema
//! in an npm package that is made from the provider's own, and they are applied with stand-ins for its resources.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use outrigger_tests::ecs::PYTHON;
use serde_json::Value;

/// AWS provider 6.25.
const SCHEMA: &str = "@cdktf/provider-aws@21.22.1";

#[test]
#[ignore = "downloads the provider's schema; cargo xtask test docker"]
fn terraform_uses_names_that_the_provider_has() {
    let python = env::var(PYTHON).expect("cargo xtask test docker makes a venv");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("terraform-schema-21.22.1");
    let library = folder.join("package/lib");
    if !library.is_dir() {
        std::fs::create_dir_all(&folder).unwrap();
        match Command::new("npm").args(["pack", "--silent", SCHEMA]).current_dir(&folder).status() {
            Ok(status) => assert!(status.success(), "npm pack {SCHEMA}"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: install npm for it");
                return;
            }
            Err(error) => panic!("npm: {error}"),
        }
        let archive = ["-xzf", "cdktf-provider-aws-21.22.1.tgz"];
        assert!(Command::new("tar").args(archive).current_dir(&folder).status().unwrap().success());
    }
    let check = Command::new(python)
        .arg(root.join("tests/ecs/terraform_names.py"))
        .args([&library, &root.join("terraform")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success(), "{said}{}", String::from_utf8_lossy(&check.stderr));
}

/// What the examples leave out, from modules beside them.
const REST: &str = r#"
module "controller" {
  source        = "../../modules/controller"
  cluster       = "arn:aws:ecs:eu-central-1:111122223333:cluster/shop"
  clusters      = ["shop", "batch"]
  vpc           = "vpc-1"
  subnets       = ["subnet-a", "subnet-b"]
  image         = "r/outrigger-controller:0.1.0"
  sidecar_image = "r/outrigger-sidecar:0.1.0"
  placement     = "attribute:outrigger.controller == true"
  operators     = ["10.0.0.0/24"]
  names         = { domain = "mesh.internal", for = "names" }
  edge_domain   = "edge.internal"
  cloud_map     = ["legacy.internal"]
  pass_roles    = ["arn:aws:iam::111122223333:role/cart"]
}

module "socket" {
  source                = "../../modules/service"
  name                  = "socket"
  cluster               = "arn:aws:ecs:eu-central-1:111122223333:cluster/shop"
  control               = module.controller.socket
  placement             = "attribute:outrigger.controller == true"
  sidecar_image         = "r/outrigger-sidecar:0.1.0"
  execution_role        = "arn:aws:iam::111122223333:role/execution"
  launch_type           = "EC2"
  subnets               = ["subnet-a"]
  names                 = "zone"
  task_policy           = jsonencode({ Version = "2012-10-17", Statement = [] })
  volumes               = { data = "/data" }
  container_definitions = jsonencode([{ name = "app", image = "r/app", portMappings = [{ containerPort = 8080 }] }])
}

module "elsewhere" {
  source        = "../../modules/controller"
  name          = "elsewhere"
  cluster       = "arn:aws:ecs:eu-central-1:111122223333:cluster/shop"
  vpc           = "vpc-1"
  subnets       = ["subnet-a"]
  image         = "r/outrigger-controller:0.1.0"
  sidecar_image = "r/outrigger-sidecar:0.1.0"
  namespace     = { id = "ns-1", name = "there.internal" }
  names         = { zone = "Z01" }
  edge_zone     = "Z02"
  inject        = "plan"
}

output "zones" {
  value = module.controller.zones
}
"#;
const IMAGES: &str = "controller_image = \"r/outrigger-controller:0.1.0\"\nsidecar_image = \"r/outrigger-sidecar:0.1.0\"\n\
                      web_image = \"r/web\"\ncart_image = \"r/cart\"\n";

/// A copy of `terraform/` with stand-ins; it goes with the value.
struct Copy(PathBuf);

impl Copy {
    fn new(test: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folder = env::temp_dir().join(format!("outrigger-terraform-{}-{test}", std::process::id()));
        let copy = Self(folder);
        fs::create_dir_all(copy.0.join("templates/ecs")).unwrap();
        for file in fs::read_dir(root.join("templates/ecs")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.0.join("templates/ecs").join(file.file_name())).unwrap();
        }
        let python = env::var(PYTHON).expect("cargo xtask test docker makes a venv");
        let mut command = Command::new(python);
        command.arg(root.join("tests/ecs/terraform_stand_ins.py")).arg(root.join("terraform"));
        assert!(command.arg(copy.0.join("terraform")).status().unwrap().success());
        copy
    }

    /// Whether `terraform` with these words went well in an example, and all that it said; none where there is no Terraform.
    fn terraform(&self, example: &str, words: &[&str]) -> Option<(bool, String)> {
        let mut command = Command::new("terraform");
        command.current_dir(self.0.join("terraform/examples").join(example)).env_remove("TF_CLI_CONFIG_FILE");
        match command.args(words).env("CHECKPOINT_DISABLE", "1").output() {
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => panic!("terraform: {error}"),
        }
    }

    fn apply(&self, example: &str, more: &[&str]) -> (bool, String) {
        let words = ["apply", "-no-color", "-input=false", "-auto-approve"];
        self.terraform(example, &[&words, more].concat()).expect("it was there")
    }

    /// Arguments of all resources of one kind, by the module that has them.
    fn made(&self, example: &str, kind: &str) -> BTreeMap<String, Value> {
        let (_, said) = self.terraform(example, &["show", "-json"]).expect("it was there");
        let state: Value = serde_json::from_str(&said).unwrap();
        let modules = state["values"]["root_module"]["child_modules"].as_array().unwrap();
        let resources = modules.iter().flat_map(|module| module["resources"].as_array().unwrap());
        let of = resources.filter(|one| one["name"].as_str().unwrap().starts_with(&format!("{kind}__")));
        let module = |one: &Value| one["address"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        of.map(|one| (module(one), one["values"]["output"].clone())).collect()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _removed = fs::remove_dir_all(&self.0);
    }
}

/// The containers of a task definition by name.
fn containers(definition: &Value) -> BTreeMap<String, Value> {
    let all: Value = serde_json::from_str(definition["container_definitions"].as_str().unwrap()).unwrap();
    let named = |one: &Value| (one["name"].as_str().unwrap().to_owned(), one.clone());
    all.as_array().unwrap().iter().map(named).collect()
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let all = container["environment"].as_array()?;
    all.iter().find(|one| one["name"] == name)?["value"].as_str()
}

#[test]
#[ignore = "needs a Python of the simulator's; cargo xtask test docker"]
fn the_examples_can_be_applied_as_their_readme_says() {
    let copy = Copy::new("examples");
    let pin = format!("sha256:{}", "0a".repeat(32));
    let pinned = format!("pin={pin}");
    for example in ["fargate", "ec2"] {
        fs::write(copy.0.join("terraform/examples").join(example).join("terraform.tfvars"), IMAGES).unwrap();
        let Some((good, said)) = copy.terraform(example, &["init", "-no-color"]) else {
            eprintln!("skipped: install Terraform 1.6 or later for it");
            return;
        };
        assert!(good, "{said}");
        let (good, said) = copy.apply(example, &["-target=module.controller"]);
        assert!(good, "{said}");
        let (good, said) = copy.apply(example, &[]);
        assert!(!good && said.contains("give the controller's pin"), "{said}");
        let (good, said) = copy.apply(example, &["-var", &pinned]);
        assert!(good, "{said}");

        let definitions = copy.made(example, "aws_ecs_task_definition");
        assert_eq!(definitions.keys().collect::<Vec<_>>(), ["cart", "controller", "web"]);
        let told = containers(&definitions["controller"])["controller"].clone();
        assert_eq!(variable(&told, "OUTRIGGER_QUEUE"), Some("aws_sqs_queue/events/url"));
        let control = variable(&told, "OUTRIGGER_CONTROL_URL").expect("it says where it is");
        for service in ["web", "cart"] {
            let sidecar = &containers(&definitions[service])["outrigger-sidecar"];
            assert_eq!(variable(sidecar, "OUTRIGGER_CONTROL"), Some(control), "{example}: {service}");
            assert_eq!(variable(sidecar, "OUTRIGGER_CONTROL_PIN"), Some(&*pin), "{example}: {service}");
        }
        assert_eq!(containers(&definitions["web"])["web"]["dockerLabels"]["outrigger.edge"], "8080");
    }
}

#[test]
#[ignore = "needs a Python of the simulator's; cargo xtask test docker"]
fn what_the_examples_leave_out_can_be_applied_too() {
    let copy = Copy::new("rest");
    let folder = copy.0.join("terraform/examples/rest");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("main.tf"), REST).unwrap();
    let Some((good, said)) = copy.terraform("rest", &["init", "-no-color"]) else {
        eprintln!("skipped: install Terraform 1.6 or later for it");
        return;
    };
    assert!(good, "{said}");
    let (good, said) = copy.apply("rest", &[]);
    assert!(good, "{said}");

    let definitions = copy.made("rest", "aws_ecs_task_definition");
    let told = |module: &str, name: &str| {
        let container = containers(&definitions[module])["controller"].clone();
        variable(&container, name).map(str::to_owned)
    };
    let said = |module: &str| {
        ["NAMES_ZONE", "NAMES_FOR", "EDGE_ZONE"].map(|name| told(module, &format!("OUTRIGGER_{name}")))
    };
    let some = |words: [&str; 2]| words.map(|word| Some(word.to_owned()));
    let [names, kind, edge] = said("controller");
    assert!(
        names.is_some() && edge.is_some() && names != edge,
        "each has a zone of its own: {names:?} {edge:?}"
    );
    assert_eq!(kind.as_deref(), Some("names"));
    let [names, kind, edge] = said("elsewhere");
    assert_eq!(([names, edge], kind.as_deref()), (some(["Z01", "Z02"]), Some("platform")));
    assert_eq!(
        told("elsewhere", "OUTRIGGER_CONTROL_URL").as_deref(),
        Some("https://controller.there.internal:15010")
    );
    assert_eq!(definitions["controller"]["pid_mode"], "host");

    let socket = containers(&definitions["socket"]);
    let sidecar = &socket["outrigger-sidecar"];
    assert_eq!(variable(sidecar, "OUTRIGGER_CONTROL"), Some("/run/outrigger/control.sock"));
    assert_eq!(variable(sidecar, "OUTRIGGER_HOSTS"), None, "a zone has the names");
    assert!(socket.contains_key("outrigger-capture"), "{socket:?}");
    let policy: Value = serde_json::from_str(
        copy.made("rest", "aws_iam_role_policy")["controller"]["policy"].as_str().unwrap(),
    )
    .unwrap();
    let ids: Vec<_> =
        policy["Statement"].as_array().unwrap().iter().filter_map(|one| one["Sid"].as_str()).collect();
    for statement in ["Names", "EdgeNames", "Outside", "Move", "PassRoles"] {
        assert!(ids.contains(&statement), "{ids:?}");
    }
}
