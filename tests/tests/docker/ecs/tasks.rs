//! Task definitions of the test applications, as a user writes them, and meshed.

use outrigger_inject::ecs::{Options, inject, read, render};
use serde_json::{Value, json};

use crate::project::{apps, image};

/// The container of the application.
pub const APP: &str = "app";
/// The container of the mesh.
pub const SIDECAR: &str = "outrigger-sidecar";
/// Where all replicas of a service append what they count.
pub const STORE: &str = "/seen/store";

/// A task definition of one application, that answers on 8080 with its family's name in `x-name`.
pub fn serving(family: &str, mode: &str, launch: &str) -> Value {
    let mut task = calling(family, mode, launch);
    let app = &mut task["containerDefinitions"][0];
    app["portMappings"] = json!([{ "containerPort": 8080 }]);
    app["environment"] = json!([{ "name": "NAME", "value": family }]);
    app.as_object_mut().unwrap().remove("command");
    task
}

/// A task definition of one application, that only calls.
pub fn calling(family: &str, mode: &str, launch: &str) -> Value {
    json!({
        "family": family,
        "networkMode": mode,
        "requiresCompatibilities": [launch],
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": format!("arn:aws:iam::123456789012:role/{family}"),
        "containerDefinitions": [{
            "name": APP,
            "image": apps(),
            "command": ["sleep", "infinity"],
            "stopTimeout": 10,
            "linuxParameters": { "initProcessEnabled": true }
        }]
    })
}

/// The same with a label on its application.
pub fn labelled(mut task: Value, label: &str, value: &str) -> Value {
    let app = &mut task["containerDefinitions"][0];
    app["dockerLabels"][label] = value.into();
    task
}

/// The same with a variable of its application.
pub fn told(mut task: Value, name: &str, value: &str) -> Value {
    let app = &mut task["containerDefinitions"][0];
    let all = app["environment"].as_array_mut().expect("a serving task has variables");
    all.retain(|one| one["name"] != name);
    all.push(json!({ "name": name, "value": value }));
    task
}

/// The same with a folder of the instance at `/seen`, and its store there.
pub fn storing(task: Value, folder: &str) -> Value {
    let mut task = told(task, "STORE", STORE);
    task["volumes"] = json!([{ "name": "seen", "host": { "sourcePath": folder } }]);
    let app = &mut task["containerDefinitions"][0];
    app["mountPoints"] = json!([{ "sourceVolume": "seen", "containerPath": "/seen" }]);
    task
}

/// One in bridge mode that others may call, at a port of its instance.
pub fn reached(task: Value) -> Value {
    let mut task = labelled(task, "outrigger.app-address", "172.17.0.1");
    let app = &mut task["containerDefinitions"][0];
    app["portMappings"] = json!([{ "containerPort": 8080, "hostPort": 8080 }]);
    app["healthCheck"] = json!({ "command": ["CMD", "curl", "-sf", "http://127.0.0.1:8080/healthz"] });
    task
}

/// What RunTask is asked for a task in a subnet, which is in the zone of the same letter.
pub fn in_subnet(zone: &str) -> Value {
    json!({ "networkConfiguration": { "awsvpcConfiguration": { "subnets": [format!("subnet-{zone}")] } } })
}

/// What `register-task-definition` takes, meshed.
pub fn meshed(task: &Value, control: &str, pin: &str) -> Value {
    let options = Options {
        control: control.to_owned(),
        pin: pin.to_owned(),
        image: image("sidecar"),
        ..Options::default()
    };
    let task = read(&task.to_string()).unwrap();
    let injected = inject(&task, &options).unwrap_or_else(|reasons| panic!("{reasons:?}"));
    serde_json::from_str(&render(&injected.definition)).unwrap()
}

/// A meshed definition whose sidecar ECS starts again when it has died.
pub fn restarting(mut meshed: Value) -> Value {
    let containers = meshed["containerDefinitions"].as_array_mut().expect("a list");
    let sidecar = containers.iter_mut().find(|one| one["name"] == SIDECAR).expect("it is meshed");
    sidecar["restartPolicy"] = json!({ "enabled": true, "restartAttemptPeriod": 60 });
    meshed
}
