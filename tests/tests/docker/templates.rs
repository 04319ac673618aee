//! What sidecars look like is the user's to change.

use crate::project::{Setup, docker};

const SERVICES: &str = "services:
  app: { image: APPS, command: [ sleep, infinity ], init: true }
";

#[test]
#[ignore = "needs Docker"]
fn sidecars_look_like_the_template_in_the_controllers_folder() {
    let built_in = include_str!("../../../templates/docker/sidecar.yaml");
    let text = built_in.replacen("HostConfig:\n", "HostConfig:\n  Memory: 268435456\n", 1);
    assert_ne!(text, built_in);
    let mounted = Some(("/templates".into(), vec![("sidecar.yaml".into(), text)]));
    let environment = vec!["OUTRIGGER_TEMPLATES=/templates".into()];
    let project = Setup { mounted, environment, ..Setup::new("templates", SERVICES) }.up();
    project.meshed(1);
    let (name, _id) = project.sidecars().remove(0);
    assert_eq!(docker(&["inspect", "-f", "{{.HostConfig.Memory}}", &name]).trim(), "268435456");
}
