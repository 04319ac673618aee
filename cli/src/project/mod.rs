//! A user's compose project, as compose itself reads it.

mod compose;
mod legacy;

use std::path::PathBuf;

use clap::Args;

pub use compose::{Compose, ComposeError, Project};

/// Which project, and who reads it.
#[derive(Clone, Debug, Default, Args)]
pub struct ProjectArguments {
    /// Compose files, in the order in which they are merged; `-` is standard input. None: those that compose finds itself
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How compose is called [default: `docker compose`, else `docker-compose`]
    #[arg(long, value_name = "COMMAND")]
    pub compose: Option<String>,
    /// Passed on to compose, which leaves services of other profiles out where it can [default: all profiles]
    #[arg(long, value_name = "NAME")]
    pub profile: Vec<String>,
    /// Passed on to compose
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Passed on to compose
    #[arg(long, short, value_name = "NAME")]
    pub project_name: Option<String>,
    /// Passed on to compose
    #[arg(long, value_name = "DIRECTORY")]
    pub project_directory: Option<PathBuf>,
    /// Have compose put the values of variables in; the result may hold secrets then, and is of this environment only
    #[arg(long)]
    pub interpolate: bool,
}

impl ProjectArguments {
    /// The project's name as compose would take it: the one given, the one in the file, else that of its directory.
    pub fn name(&self, project: &Project) -> String {
        let given = self.project_name.clone();
        let written = || project.tree.get("name")?.as_str().map(str::to_owned);
        given.or_else(written).filter(|name| !name.contains('$')).unwrap_or_else(|| self.directory_name())
    }

    fn directory_name(&self) -> String {
        let beside = || self.files.first().and_then(|file| Some(file.parent()?.to_path_buf()));
        let directory = self.project_directory.clone().or_else(beside).unwrap_or_default();
        let directory = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory };
        let whole = directory.canonicalize().unwrap_or(directory);
        let name = whole.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let kept = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        let name: String = name.chars().filter(kept).collect();
        let name = name.trim_start_matches(['-', '_']);
        if name.is_empty() { "default".to_owned() } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_named_as_compose_names_it() {
        let of = |arguments: ProjectArguments, tree: &str| {
            let tree = outrigger_inject::compose::read(tree).unwrap();
            arguments.name(&Project { tree, private: false, remarks: Vec::new() })
        };
        let directory = |path: &str| ProjectArguments {
            project_directory: Some(path.into()),
            ..ProjectArguments::default()
        };
        assert_eq!(of(directory("/nowhere/My.Shop_1"), "services: {}"), "myshop_1");
        assert_eq!(of(directory("/nowhere/x"), "name: shop"), "shop");
        assert_eq!(of(directory("/nowhere/x"), "name: '${NAME}'"), "x");
        let given = ProjectArguments { project_name: Some("given".into()), ..directory("/nowhere/x") };
        assert_eq!(of(given, "name: shop"), "given");
    }
}
