//! Which containers a controller looks at.

use std::collections::BTreeMap;

use outrigger_model::label;

/// Compose's label for the project.
pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
/// Compose's label for the service.
pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
/// Compose's label for `compose run`.
pub const COMPOSE_ONE_OFF: &str = "com.docker.compose.oneoff";
/// Which workload a container of ours belongs to (a container id).
pub const WORKLOAD: &str = "outrigger.workload";
/// Which run of that workload it joined.
pub const INSTANCE: &str = "outrigger.instance";

/// On a sidecar that was started to take another's place: the container id of that one.
pub const REPLACES: &str = "outrigger.replaces";

/// What one controller is responsible for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Name of the mesh.
    pub mesh: String,
    /// Only this compose project; none: the whole engine.
    pub project: Option<String>,
    /// The controller's own container, if it runs in one.
    pub own: Option<Own>,
}

/// The controller's own container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its id.
    pub id: String,
    /// Its compose project.
    pub project: Option<String>,
    /// Its compose service.
    pub service: Option<String>,
    /// It carries `outrigger.enable: "true"`: its whole project is meshed unless a service opts out.
    pub whole_project: bool,
}

impl Scope {
    /// `project shop` or `engine`.
    pub fn describe(&self) -> String {
        self.project.as_ref().map_or_else(|| "engine".to_owned(), |project| format!("project {project}"))
    }

    /// Whether a container with these labels is worth an inspection.
    pub fn concerns(&self, labels: &BTreeMap<String, String>) -> bool {
        if labels.contains_key(label::MANAGED) {
            return true;
        }
        let labelled = labels.range(label::PREFIX.to_owned()..).next();
        let labelled = labelled.is_some_and(|(key, _)| key.starts_with(label::PREFIX));
        // One of compose may be joined to a holder, which no label of its own says.
        self.holds(labels) && (labelled || labels.contains_key(COMPOSE_PROJECT))
    }

    /// Whether a container with these labels is in scope.
    pub fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        self.project.is_none() || labels.get(COMPOSE_PROJECT) == self.project.as_ref()
    }

    /// Whether the controller's own label covers a container with these labels.
    pub fn enabled_by_project(&self, labels: &BTreeMap<String, String>) -> bool {
        let own = self.own.as_ref().filter(|own| own.whole_project);
        own.and_then(|own| own.project.as_ref()).is_some_and(|own| labels.get(COMPOSE_PROJECT) == Some(own))
    }

    /// Whether a container is the controller itself, or a `compose run` of its service.
    pub fn is_own(&self, id: &str, labels: &BTreeMap<String, String>) -> bool {
        self.own.as_ref().is_some_and(|own| {
            let service =
                |own: &Own| own.service.is_some() && own.service.as_ref() == labels.get(COMPOSE_SERVICE);
            own.id == id || (own.project.as_ref() == labels.get(COMPOSE_PROJECT) && service(own))
        })
    }
}
