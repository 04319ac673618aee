//! What is at the path of the mesh file now.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use outrigger_model::mesh::MAX_BYTES;

/// How often a file that is replaced just while it is opened is opened again.
const TRIES: usize = 5;

/// What is at the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A file.
    Text(String),
    /// No file, in a folder that is there.
    Nothing,
    /// Not even the folder.
    NoFolder,
    /// Something that is no mesh file, or an old one: why, and the way out.
    Unusable(String),
}

/// Reads the file.
pub(super) fn look(path: &Path) -> Found {
    for _ in 0..TRIES {
        if let Some(found) = once(path) {
            return found;
        }
    }
    Found::Unusable("it is replaced all the time: let it rest for a moment".into())
}

/// None: it was replaced while it was opened.
fn once(path: &Path) -> Option<Found> {
    let unusable = |what: String| Some(Found::Unusable(what));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Some(without(path)),
        Err(error) => {
            return unusable(format!("it cannot be opened ({error}): let the controller's user read it"));
        }
    };
    let about = match file.metadata() {
        Ok(about) => about,
        Err(error) => return unusable(format!("it cannot be looked at: {error}")),
    };
    if about.is_dir() {
        return unusable(
            "it is a folder: Docker makes one where the file to be mounted is missing; remove it, and mount a folder \
             that holds mesh.yaml (./mesh:/etc/outrigger:ro)"
                .into(),
        );
    }
    if about.nlink() == 0 {
        // Either replaced this very moment, or the path is a mount of the file alone, which stays the old one.
        let same = fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (about.dev(), about.ino()));
        return if same { unusable(STALE.into()) } else { None };
    }
    let mut bytes = Vec::new();
    // One more than is allowed: the reader of the mesh file says that it is too long.
    if let Err(error) = (&mut file).take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
        return unusable(format!("it cannot be read ({error})"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Some(Found::Text(text)),
        Err(error) => {
            let line = error
                .as_bytes()
                .iter()
                .take(error.utf8_error().valid_up_to())
                .filter(|b| **b == b'\n')
                .count();
            unusable(format!("line {} is not UTF-8: save it as UTF-8", line + 1))
        }
    }
}

const STALE: &str = "it was replaced on the host, and the controller's container still has the old one, because that file \
                     alone is mounted: mount its folder (./mesh:/etc/outrigger:ro), and recreate the controller";

fn without(path: &Path) -> Found {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Ok(about) if about.nlink() == 0 => Found::Unusable(
            "its folder was removed on the host, and the controller's container still has the old one: put the folder \
             back, and recreate the controller"
                .into(),
        ),
        Ok(_) if fs::symlink_metadata(path).is_ok() => {
            Found::Unusable("it is a link to nothing: link it to a file that the controller's container has".into())
        }
        Ok(_) => Found::Nothing,
        Err(_) => Found::NoFolder,
    }
}

/// Whether the file itself is a mount, as of `path: path` in compose: a save by rename is not seen then.
pub(super) fn mounted_alone(path: &Path) -> bool {
    let Ok(mounts) = fs::read_to_string("/proc/self/mountinfo") else { return false };
    // Field 5 is the mount point, with octal escapes for blanks (proc_pid_mountinfo(5)).
    let path = path.display().to_string().replace(' ', "\\040");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path.as_str()))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;

    /// Set in the process that looks from inside a mount namespace.
    const INSIDE: &str = "OUTRIGGER_TEST_MOUNTED";

    #[test]
    #[ignore = "needs root: a mount namespace"]
    fn a_file_that_is_mounted_alone_is_seen_to_be_an_old_one() {
        if let Some(folder) = env::var_os(INSIDE) {
            let mounted = Path::new(&folder).join("mounted");
            assert_eq!(look(&mounted), Found::Unusable(STALE.into()));
            assert!(mounted_alone(&mounted));
            assert!(!mounted_alone(&Path::new(&folder).join("mesh.yaml")));
            return;
        }
        let folder = env::temp_dir().join(format!("outrigger-mounted-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["mesh.yaml", "mounted", "new"] {
            fs::write(folder.join(name), "mode: strict\n").unwrap();
        }
        let script =
            "cd $1 && mount --bind mesh.yaml mounted && mv new mesh.yaml && exec $0 --ignored --exact $2";
        let test = "source::file::look::tests::a_file_that_is_mounted_alone_is_seen_to_be_an_old_one";
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "sh", "-c", script]).arg(env::current_exe().unwrap()).arg(&folder).arg(test);
        let output = inside.env(INSIDE, &folder).output().expect("unshare is there");
        fs::remove_dir_all(&folder).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }
}
