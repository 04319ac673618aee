//! Settings of the command: defaults, then the file (`cli:`), then the environment (`OUTRIGGER_...`), then flags.

use outrigger_settings::{CLI, Layered, Refused, Said};
use serde::{Deserialize, Serialize};

use crate::args::{Arguments, Color, Command};

/// All settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Where the controller answers; plain HTTP. Default `http://127.0.0.1:15021`.
    pub controller: String,
    /// When to colour. Default: on a terminal.
    pub color: Color,
}

/// Flags of any command that are settings.
#[derive(Serialize)]
struct Flags<'a> {
    controller: Option<&'a str>,
    color: Option<Color>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { controller: "http://127.0.0.1:15021".into(), color: Color::Auto }
    }
}

impl Settings {
    /// Layers defaults, file, environment and flags.
    ///
    /// # Errors
    /// Every unknown key, every value that cannot be, a file that was named and cannot be read.
    pub fn load(arguments: &Arguments) -> Result<Layered<Self>, Refused> {
        let controller = match &arguments.command {
            Command::Status(status) => status.controller.as_deref(),
            _ => None,
        };
        let flags = Flags { controller, color: arguments.color };
        outrigger_settings::layer(&CLI, &Said::new(arguments.settings.clone(), &flags), |_| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_defaults_says_what_the_code_says() {
        let file = include_str!("../../templates/settings.yaml");
        let differences = outrigger_settings::template::differences(file, &CLI, &Settings::default());
        assert!(differences.is_empty(), "templates/settings.yaml:\n{}", differences.join("\n"));
    }
}
