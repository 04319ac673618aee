//! Finding the engine: which socket, which API version, and what to do when there is none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

/// Between two attempts to connect.
const AGAIN: Duration = Duration::from_secs(1);
/// Oldest API that is understood: that of Docker Engine 20.10.
const OLDEST: (usize, usize) = (1, 41);
/// Where the engine listens unless `DOCKER_HOST` says otherwise.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Seconds for one request; the engine is slow when it starts many containers at once.
const TIMEOUT: u64 = 60;
/// An engine that does not answer this small question in time is as good as absent.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Why there is no engine to talk to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a Unix socket.
    #[error("DOCKER_HOST={0}: only Unix sockets are understood: write unix:///path/to/docker.sock")]
    Host(String),
    /// The file is not there.
    #[error(
        "there is no Docker socket at {0}: start Docker; in a container, mount the socket: \
         -v {0}:{0} (compose: volumes: [\"{0}:{0}\"]); or point DOCKER_HOST at it"
    )]
    Missing(String),
    /// Not allowed.
    #[error(
        "no permission on the Docker socket {0}: run the controller as root, or give it the socket's group \
         (compose: group_add: [\"<gid of {0}>\"])"
    )]
    Permission(String),
    /// Nobody listens.
    #[error("nobody answers at the Docker socket {0}: is Docker running? ({1})")]
    Silent(String, String),
    /// Too old.
    #[error(
        "Docker Engine {engine} at {path} speaks API {api}; at least {}.{} is needed: upgrade to Docker Engine 20.10 or newer",
        OLDEST.0,
        OLDEST.1
    )]
    TooOld {
        /// The socket.
        path: String,
        /// The engine's version.
        engine: String,
        /// Its newest API.
        api: String,
    },
    /// Too new: it no longer takes any version known here.
    #[error("Docker Engine {engine} at {path} asks for API {least} or newer: upgrade Outrigger")]
    TooNew {
        /// The socket.
        path: String,
        /// The engine's version.
        engine: String,
        /// Its oldest API.
        least: String,
    },
    /// Something else answers there.
    #[error("what answers at {0} is not a Docker Engine: {1}")]
    Foreign(String, String),
}

/// An engine that answered.
#[derive(Clone)]
pub struct Engine {
    /// The client, speaking the newest API that both know.
    pub docker: Docker,
    /// For people: `Docker Engine 20.10.24, API 1.41`.
    pub about: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    api_version: String,
    #[serde(rename = "MinAPIVersion", default)]
    min_api_version: String,
}

/// Connects to `host` (`unix:///path`).
///
/// # Errors
/// No socket, no permission, no answer, or an engine whose API is not understood.
pub async fn connect(host: &str) -> Result<Engine, ConnectError> {
    let path = socket_path(host)?;
    let shown = path.display().to_string();
    let found = tokio::time::timeout(FIRST_ANSWER, ask_version(&path))
        .await
        .map_err(|_| ConnectError::Silent(shown.clone(), "no answer in 10 s".into()))??;
    let api = negotiate(&shown, &found)?;
    let about = format!("Docker Engine {}, API {}.{}", found.version, api.major_version, api.minor_version);
    let docker = Docker::connect_with_unix(&shown, TIMEOUT, &api)
        .map_err(|error| ConnectError::Silent(shown, error.to_string()))?;
    Ok(Engine { docker, about })
}

/// Connects, however long the engine stays away; why it does, the source says already.
pub async fn connected(host: &str) -> Docker {
    loop {
        match connect(host).await {
            Ok(engine) => return engine.docker,
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// The path in `unix:///path`.
///
/// # Errors
/// Another kind of address.
pub fn socket_path(host: &str) -> Result<PathBuf, ConnectError> {
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(ConnectError::Host(host.to_owned())),
    }
}

fn negotiate(path: &str, found: &Version) -> Result<ClientVersion, ConnectError> {
    let foreign = || ConnectError::Foreign(path.to_owned(), format!("ApiVersion {:?}", found.api_version));
    let newest = pair(&found.api_version).ok_or_else(foreign)?;
    let known = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
    let (path, engine) = (path.to_owned(), found.version.clone());
    if newest < OLDEST {
        return Err(ConnectError::TooOld { path, engine, api: found.api_version.clone() });
    }
    if pair(&found.min_api_version).is_some_and(|least| least > known) {
        return Err(ConnectError::TooNew { path, engine, least: found.min_api_version.clone() });
    }
    let (major_version, minor_version) = newest.min(known);
    Ok(ClientVersion { major_version, minor_version })
}

fn pair(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Asks without a version in the path, which every engine answers, however old or new.
async fn ask_version(path: &Path) -> Result<Version, ConnectError> {
    let shown = path.display().to_string();
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ConnectError::Missing(shown.clone()),
        io::ErrorKind::PermissionDenied => ConnectError::Permission(shown.clone()),
        _ => ConnectError::Silent(shown.clone(), error.to_string()),
    })?;
    let foreign = |error: &dyn std::fmt::Display| ConnectError::Foreign(shown.clone(), error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| foreign(&e))?;
    let request = hyper::Request::get("/version")
        .header("host", "docker")
        .body(Empty::<Bytes>::new())
        .expect("a constant request is well formed");
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| foreign(&e))?;
        let body = Limited::new(response.into_body(), 1 << 20).collect().await.map_err(|e| foreign(&e))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|e| foreign(&e))
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        biased;
        version = &mut answer => version,
        closed = &mut connection => match closed {
            // The last bytes may have been read before the close was seen.
            Ok(()) => answer.await,
            Err(error) => Err(foreign(&error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(api: &str, least: &str) -> Version {
        Version { version: "1".into(), api_version: api.into(), min_api_version: least.into() }
    }

    #[test]
    fn the_newest_api_that_both_know_is_spoken() {
        let api = negotiate("/x", &version("1.41", "1.12")).unwrap();
        assert_eq!((api.major_version, api.minor_version), OLDEST);
        let api = negotiate("/x", &version("1.99", "1.44")).unwrap();
        assert_eq!(api.minor_version, API_DEFAULT_VERSION.minor_version);
    }

    #[test]
    fn an_engine_out_of_reach_says_what_to_upgrade() {
        let old = negotiate("/x", &version("1.40", "1.12")).unwrap_err().to_string();
        assert!(old.contains("upgrade to Docker Engine 20.10"), "{old}");
        let new = negotiate("/x", &version("1.99", "1.98")).unwrap_err().to_string();
        assert!(new.contains("upgrade Outrigger"), "{new}");
    }

    #[tokio::test]
    async fn a_missing_or_silent_socket_names_the_path_and_the_way_out() {
        let missing = connect("unix:///nowhere/docker.sock").await.err().unwrap().to_string();
        assert!(missing.contains("/nowhere/docker.sock") && missing.contains("mount"), "{missing}");
        let tcp = connect("tcp://127.0.0.1:2375").await.err().unwrap().to_string();
        assert!(tcp.contains("unix:///"), "{tcp}");
    }
}
