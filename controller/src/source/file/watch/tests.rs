use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use outrigger_lifecycle::Tasks;
use outrigger_model::Mode;

use super::*;

const STRICT: &str = "mode: strict\n";
const PERMISSIVE: &str = "mode: permissive\n";
const BAD: &str = "mode: strict\nservices:\n  cart: { timout: 5s }\n";

/// A folder with a mesh file, a state directory, and who follows.
struct Followed {
    root: PathBuf,
    file: watch::Receiver<MeshFile>,
    task: Tasks,
}

impl Followed {
    fn new(before: impl FnOnce(&Self)) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("outrigger-file-{}-{number}", std::process::id()));
        let _absent = fs::remove_dir_all(&root);
        for folder in ["mesh", "state"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let (_, file) = watch::channel(MeshFile::default());
        let mut followed = Self { root, file, task: Tasks::new() };
        before(&followed);
        followed.restart(false);
        followed
    }

    /// Ends who follows, and begins anew.
    fn restart(&mut self, asked: bool) {
        let place = Place { path: self.path(), asked, state: self.root.join("state") };
        let (out, file) = watch::channel(MeshFile::default());
        (self.file, self.task) = (file, Tasks::new());
        self.task.spawn("mesh file", watch(place, out));
    }

    fn path(&self) -> PathBuf {
        self.root.join("mesh/mesh.yaml")
    }

    fn kept(&self) -> PathBuf {
        self.root.join("state").join(kept::FILE)
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// As editors save.
    fn save(&self, text: &str) {
        let new = self.root.join("mesh/.mesh.yaml.swp");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    async fn until(&mut self, what: impl Fn(&MeshFile) -> bool) -> MeshFile {
        let found = self.file.wait_for(|file| what(file));
        let found = tokio::time::timeout(Duration::from_secs(30), found).await;
        found.expect("in time").expect("it follows").clone()
    }

    /// A good text is kept after it holds.
    async fn until_kept(&self, text: &str) {
        let kept = async {
            while !fs::read_to_string(self.kept()).is_ok_and(|kept| kept == text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), kept).await.expect("in time");
    }

    async fn until_mode(&mut self, mode: Mode) -> MeshFile {
        self.until(|file| file.current && mode_of(file) == Some(mode)).await
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.root);
    }
}

fn mode_of(file: &MeshFile) -> Option<Mode> {
    file.mesh.as_ref().map(|mesh| mesh.mode())
}

#[tokio::test]
async fn a_save_of_any_kind_is_taken() {
    let mut followed = Followed::new(|_| {});
    let none = followed.until(|file| file.current).await;
    assert_eq!(none.mesh.as_deref(), Some(&Mesh::default()));
    assert!(none.about.ends_with("mesh.yaml (there is none)"), "{}", none.about);

    followed.write(STRICT);
    followed.until_mode(Mode::Strict).await;
    followed.save(PERMISSIVE);
    followed.until_mode(Mode::Permissive).await;
    followed.write(STRICT);
    let file = followed.until_mode(Mode::Strict).await;
    assert!(file.problems.is_empty() && file.error.is_none() && file.read.is_some());
    followed.until_kept(STRICT).await;
    assert_eq!(fs::metadata(followed.kept()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn it_does_not_wait_for_the_next_look() {
    let mut followed = Followed::new(|followed| followed.write(STRICT));
    followed.until_mode(Mode::Strict).await;
    let mut took = Vec::new();
    for round in 0..9 {
        let (text, mode) =
            if round % 2 == 0 { (PERMISSIVE, Mode::Permissive) } else { (STRICT, Mode::Strict) };
        let begun = Instant::now();
        followed.save(text);
        followed.until_mode(mode).await;
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[4] < POLL / 4, "{took:?}");
}

/// As Kubernetes mounts a ConfigMap: the file is a link through a link that is swapped.
#[tokio::test]
async fn a_swapped_link_is_followed() {
    let version = |root: &Path, name: &str, text: &str| {
        fs::create_dir(root.join("mesh").join(name)).unwrap();
        fs::write(root.join("mesh").join(name).join("mesh.yaml"), text).unwrap();
        symlink(name, root.join("mesh/..new")).unwrap();
        fs::rename(root.join("mesh/..new"), root.join("mesh/..data")).unwrap();
    };
    let mut followed = Followed::new(|followed| {
        version(&followed.root, "..1", STRICT);
        symlink("..data/mesh.yaml", followed.path()).unwrap();
    });
    followed.until_mode(Mode::Strict).await;
    version(&followed.root, "..2", PERMISSIVE);
    followed.until_mode(Mode::Permissive).await;
    fs::write(followed.root.join("mesh/..2/mesh.yaml"), STRICT).unwrap();
    followed.until_mode(Mode::Strict).await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_says_why() {
    let mut followed = Followed::new(|followed| followed.write(STRICT));
    let good = followed.until_mode(Mode::Strict).await;
    followed.save(BAD);
    let bad = followed.until(|file| !file.current).await;
    assert_eq!(bad.mesh, good.mesh);
    assert_eq!(bad.read, good.read.max(bad.read), "its age is that of the last good look");
    let path = followed.path().display().to_string();
    let problem = bad.problems.iter().find(|problem| problem.subject == format!("{path}:3:11")).unwrap();
    assert!(problem.what.contains("services.cart") && problem.what.contains("timeout"), "{problem:?}");
    let error = bad.error.unwrap();
    assert!(error.contains(":3:11") && error.contains("the last good mesh file stays in force"), "{error}");
    followed.until_kept(STRICT).await;

    followed.save(PERMISSIVE);
    assert!(followed.until_mode(Mode::Permissive).await.problems.is_empty());
}

#[tokio::test]
async fn at_the_start_a_bad_file_is_replaced_by_the_last_good_one_or_by_nothing() {
    let mut followed = Followed::new(|followed| followed.write(BAD));
    let closed = followed.until(|file| file.error.is_some()).await;
    assert!(closed.mesh.is_none() && !closed.current);
    assert!(closed.error.unwrap().contains("nothing is published"));

    followed.save(STRICT);
    followed.until_mode(Mode::Strict).await;
    followed.until_kept(STRICT).await;
    followed.save(BAD);
    followed.until(|file| !file.current).await;
    followed.restart(false);
    let kept = followed.until(|file| file.error.is_some()).await;
    assert_eq!(mode_of(&kept), Some(Mode::Strict));
    assert!(!kept.problems.is_empty());
}

#[tokio::test]
async fn a_removed_file_is_none_and_a_removed_folder_is_a_mistake() {
    let mut followed = Followed::new(|followed| followed.write(STRICT));
    followed.until_mode(Mode::Strict).await;
    followed.until_kept(STRICT).await;
    fs::remove_dir_all(followed.root.join("mesh")).unwrap();
    let lost = followed.until(|file| !file.current).await;
    assert_eq!(mode_of(&lost), Some(Mode::Strict));
    assert!(lost.error.unwrap().contains("folder is not there"));
    followed.restart(false);
    let lost = followed.until(|file| file.error.is_some()).await;
    assert_eq!(mode_of(&lost), Some(Mode::Strict), "nor does a restart loosen anything");

    fs::create_dir(followed.root.join("mesh")).unwrap();
    followed.write(STRICT);
    followed.until_mode(Mode::Strict).await;
    fs::remove_file(followed.path()).unwrap();
    let none = followed.until_mode(Mode::Permissive).await;
    assert!(none.about.ends_with("(there is none)"), "{}", none.about);
    assert!(!followed.kept().exists());
}

#[tokio::test]
async fn a_file_that_was_asked_for_must_be_there() {
    let mut followed = Followed::new(|_| {});
    followed.restart(true);
    let closed = followed.until(|file| file.error.is_some()).await;
    assert!(closed.mesh.is_none());
    assert!(closed.error.unwrap().contains("OUTRIGGER_MESH_FILE"));
    followed.write(STRICT);
    followed.until_mode(Mode::Strict).await;
    fs::remove_file(followed.path()).unwrap();
    let lost = followed.until(|file| !file.current).await;
    assert_eq!(mode_of(&lost), Some(Mode::Strict));
}

/// Each half is a good file of its own, and the first one would open everything.
#[tokio::test]
async fn half_a_file_never_holds() {
    let mut followed = Followed::new(|followed| followed.write(STRICT));
    followed.until_mode(Mode::Strict).await;
    let mut seen = followed.file.clone();
    let (done, mut ended) = watch::channel(());
    let mut task = Tasks::new();
    let (tell, told) = watch::channel(Vec::new());
    task.spawn("collector", async move {
        loop {
            let now = seen.borrow_and_update().clone();
            tell.send_modify(|all: &mut Vec<_>| all.push((mode_of(&now), now.current)));
            tokio::select! { _ = seen.changed() => {}, _ = ended.changed() => break }
        }
        std::future::pending().await
    });
    let mut file = fs::File::create(followed.path()).unwrap();
    for part in ["defaults: { timeout: 7s }\n", "# a pause\n", STRICT] {
        // The pause is the test: longer than any patience with a text.
        tokio::time::sleep(Duration::from_millis(300)).await;
        file.write_all(part.as_bytes()).unwrap();
    }
    drop(file);
    let whole = |file: &MeshFile| {
        file.mesh.as_ref().is_some_and(|mesh| *mesh.defaults() != Mesh::default().defaults().clone())
    };
    followed.until(whole).await;
    done.send_replace(());
    assert!(told.borrow().iter().all(|seen| *seen == (Some(Mode::Strict), true)), "{:?}", *told.borrow());
}

#[tokio::test]
async fn what_is_no_file_is_told() {
    let mut followed = Followed::new(|followed| fs::create_dir(followed.path()).unwrap());
    let folder = followed.until(|file| file.error.is_some()).await;
    assert!(folder.error.unwrap().contains("it is a folder"));
    fs::remove_dir(followed.path()).unwrap();
    fs::write(followed.path(), b"mode: strict\n# \xff\n").unwrap();
    followed
        .until(|file| file.error.as_ref().is_some_and(|error| error.contains("line 2 is not UTF-8")))
        .await;
    fs::remove_file(followed.path()).unwrap();
    symlink("nowhere", followed.path()).unwrap();
    followed.until(|file| file.error.as_ref().is_some_and(|error| error.contains("a link to nothing"))).await;
}
