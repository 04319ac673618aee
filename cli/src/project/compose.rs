//! Compose itself: found, asked for its version and its flags, and had to render a project.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use outrigger_inject::compose::{Value, read};

use super::{ProjectArguments, legacy};

/// How long compose may take: it reads files, and asks no engine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first version that can merge `!override` (and `!reset`).
const OVERRIDE: [u32; 3] = [2, 24, 4];
/// Flags of `config` that keep things as they are written: values out, paths relative, nothing added. Older ones know
/// some of them only: `--no-path-resolution` is of 2.19, `--no-env-resolution` of 2.35.
const WANTED: [&str; 5] =
    ["--no-interpolate", "--no-env-resolution", "--no-path-resolution", "--no-normalize", "--no-consistency"];

/// Why compose gave no project.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// None was found.
    #[error("{0}: install the compose plugin of Docker, or say with --compose how yours is called")]
    Missing(String),
    /// It ended with a failure.
    #[error("`{command}` failed:\n{said}")]
    Failed {
        /// How it was called.
        command: String,
        /// What it said.
        said: String,
    },
    /// It did not end.
    #[error("`{command}` did not end in {} s", PATIENCE.as_secs())]
    Slow {
        /// How it was called.
        command: String,
    },
    /// It printed something else than a project.
    #[error("`{command}` printed what cannot be read: {what}")]
    Unreadable {
        /// How it was called.
        command: String,
        /// Where and why.
        what: String,
    },
}

/// A compose that answers.
#[derive(Clone, Debug)]
pub struct Compose {
    words: Vec<String>,
    version: Option<[u32; 3]>,
}

/// A project as compose renders it.
pub struct Project {
    /// The whole project.
    pub tree: Value,
    /// Values of environment files or variables are in it.
    pub private: bool,
    /// What compose could not do as it was wanted.
    pub remarks: Vec<String>,
}

impl fmt::Display for Compose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.map(|version| version.map(|number| number.to_string()).join("."));
        write!(f, "{} {}", self.words.join(" "), version.unwrap_or_else(|| "of unknown version".into()))
    }
}

impl Compose {
    /// The one that is named, or the first that answers.
    ///
    /// # Errors
    /// None answers.
    pub fn find(named: Option<&str>) -> Result<Self, ComposeError> {
        let candidates = match named {
            Some(named) => vec![named],
            None => vec!["docker compose", "docker-compose"],
        };
        let mut tried = Vec::new();
        for candidate in candidates {
            let words: Vec<String> = candidate.split_whitespace().map(str::to_owned).collect();
            let compose = Self { words, version: None };
            match compose.run(&["version", "--short"].map(OsString::from), false) {
                Ok(answer) => return Ok(Self { version: version(&answer), ..compose }),
                Err(_) => tried.push(format!("`{candidate}`")),
            }
        }
        Err(ComposeError::Missing(format!("no compose answers ({})", tried.join(", "))))
    }

    /// True if it can merge `!override`.
    pub fn has_override(&self) -> bool {
        self.version.is_none_or(|version| version >= OVERRIDE)
    }

    fn is_v1(&self) -> bool {
        self.version.is_some_and(|version| version < [2, 0, 0])
    }

    /// Has the project rendered, with as little put in as this version can do.
    ///
    /// # Errors
    /// Compose fails, or prints no project.
    pub fn config(&self, arguments: &ProjectArguments) -> Result<Project, ComposeError> {
        let help = self.run(&["config", "--help"].map(OsString::from), false)?;
        let known = |flag: &str| help.split_whitespace().any(|word| word.trim_end_matches(',') == flag);
        let unwanted = |flag: &str| flag == "--no-interpolate" && arguments.interpolate;
        let mut flags: Vec<&str> = WANTED.into_iter().filter(|flag| known(flag) && !unwanted(flag)).collect();
        let json = known("--format");
        if json {
            flags.extend(["--format", "json"]);
        }
        let stdin = arguments.files.iter().any(|file| file.as_os_str() == "-");
        let mut words = self.command(arguments, &flags);
        let text = match self.run(&words, stdin) {
            // 1.29 checks `ports` and others before variables are put in, and fails on `${PORT}:80`.
            Err(ComposeError::Failed { .. })
                if self.is_v1() && flags.contains(&"--no-interpolate") && !stdin =>
            {
                flags.retain(|flag| *flag != "--no-interpolate");
                words = self.command(arguments, &flags);
                self.run(&words, false)?
            }
            outcome => outcome?,
        };
        let tree =
            if json { serde_json::from_str(&text).map_err(|error| error.to_string()) } else { read(&text) };
        let mut tree = tree.map_err(|what| ComposeError::Unreadable { command: self.shown(&words), what })?;
        if self.is_v1() {
            legacy::readable(&mut tree);
        }
        let remark = self.put_in(arguments, &flags);
        Ok(Project { tree, private: remark.is_some(), remarks: remark.into_iter().collect() })
    }

    /// What may be in the result that was not in the files; none: nothing.
    fn put_in(&self, arguments: &ProjectArguments, flags: &[&str]) -> Option<String> {
        let variables = match flags.contains(&"--no-interpolate") {
            true => None,
            false if arguments.interpolate => Some("of variables, as --interpolate says"),
            false => Some("of variables, since it cannot keep those of this project"),
        };
        let files = !flags.contains(&"--no-env-resolution");
        let files = files.then_some("of environment files, which 2.35 and later leave out");
        let what: Vec<&str> = variables.into_iter().chain(files).collect();
        (!what.is_empty()).then(|| {
            format!(
                "{self} put in values {}: the result may hold secrets, so keep it out of version control; --output makes it readable for \
                 you alone",
                what.join(", and ")
            )
        })
    }

    fn command(&self, arguments: &ProjectArguments, flags: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |flag: &str, value: OsString| words.extend([flag.into(), value]);
        for file in &arguments.files {
            add("--file", file.into());
        }
        for file in &arguments.env_file {
            add("--env-file", file.into());
        }
        if let Some(name) = &arguments.project_name {
            add("--project-name", name.into());
        }
        if let Some(directory) = &arguments.project_directory {
            add("--project-directory", directory.into());
        }
        for profile in &arguments.profile {
            add("--profile", profile.into());
        }
        // 1.29 prints the services of all profiles, whatever it is told; later ones have a word for it.
        if arguments.profile.is_empty() && !self.is_v1() {
            add("--profile", "*".into());
        }
        words.push("config".into());
        words.extend(flags.iter().map(OsString::from));
        words
    }

    /// Runs it and gives its standard output; what it says beside stays unsaid unless it fails.
    fn run(&self, words: &[OsString], stdin: bool) -> Result<String, ComposeError> {
        let shown = self.shown(words);
        let missing = |error: &dyn fmt::Display| ComposeError::Missing(format!("`{shown}`: {error}"));
        let Some((program, first)) = self.words.split_first() else { return Err(missing(&"no command")) };
        let mut child = Command::new(program)
            .args(first)
            .args(words)
            .stdin(if stdin { Stdio::inherit() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| missing(&error))?;
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let ended = (out.recv_timeout(PATIENCE), err.recv_timeout(PATIENCE));
        let (Ok(out), Ok(err)) = ended else {
            end(&mut child);
            return Err(ComposeError::Slow { command: shown });
        };
        let status = child.wait().map_err(|error| missing(&error))?;
        if !status.success() {
            let said = format!("{err}{out}").trim().to_owned();
            return Err(ComposeError::Failed { command: shown, said });
        }
        Ok(out)
    }

    fn shown(&self, words: &[OsString]) -> String {
        let words = words.iter().map(|word| word.to_string_lossy().into_owned());
        self.words.iter().cloned().chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// Reads a pipe to its end, in a thread of its own.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _what_came_is_enough = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        let _nobody_waits_any_more = send.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receive
}

fn end(child: &mut Child) {
    let _it_may_have_ended = child.kill();
    let _its_code_is_of_no_use = child.wait();
}

/// `1.29.2`, `v2.40.3`, `2.24.4-desktop.1`.
fn version(said: &str) -> Option<[u32; 3]> {
    let number = said.trim().trim_start_matches('v').split(['-', '+', ' ', '\n']).next()?;
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    Some([parts.next()??, parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_compose_says_them() {
        assert_eq!(version("1.29.2\n"), Some([1, 29, 2]));
        assert_eq!(version("v2.40.3"), Some([2, 40, 3]));
        assert_eq!(version("2.24.4-desktop.1"), Some([2, 24, 4]));
        assert_eq!(version("podman-compose version 1.0"), None);
    }

    #[test]
    fn what_does_not_answer_is_named_with_the_way_out() {
        let error = Compose::find(Some("/nowhere/compose")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/compose") && error.contains("--compose"), "{error}");
        let error = Compose::find(Some("false")).unwrap_err().to_string();
        assert!(error.contains("`false`"), "{error}");
    }
}
