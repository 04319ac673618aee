//! The services that injection adds to one replica of an application: their names, and how they are told apart.

use outrigger_model::label;

/// One of the services that stand beside an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Owns the network namespace.
    Holder,
    /// Carries the traffic.
    Sidecar,
    /// Ends once the application may start.
    Capture,
}

impl Part {
    /// All of them, in the order in which they start.
    pub const ALL: [Self; 3] = [Self::Holder, Self::Sidecar, Self::Capture];

    /// As in the label `outrigger.managed`, and at the end of the service's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holder => label::HOLDER,
            Self::Sidecar => "sidecar",
            Self::Capture => "capture",
        }
    }

    /// Name of the service beside `replica`.
    pub fn beside(self, replica: &str) -> String {
        format!("{replica}-{}", self.as_str())
    }
}

/// Names of the replicas of an application: `cart`, `cart-2`, `cart-3`.
pub fn replicas(app: &str, count: u32) -> Vec<String> {
    (1..=count).map(|number| if number == 1 { app.to_owned() } else { format!("{app}-{number}") }).collect()
}
