//! Every key of the settings file, for all processes: one list, so that each knows what the others read.

/// One section of the file: the settings of one process.
#[derive(Debug)]
pub struct Section {
    /// As the file has it.
    pub name: &'static str,
    /// In the order in which they are printed.
    pub keys: &'static [Key],
    /// An unknown variable is refused, not only told: a wrong setting of this process weakens the mesh.
    pub strict: bool,
}

/// One setting. Its flag, where it has one, is `--` and its name.
#[derive(Debug)]
pub struct Key {
    /// As the file has it, in kebab-case.
    pub name: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// What to write, after the word "write".
    pub write: &'static str,
    /// A whole number; else text.
    pub number: bool,
}

/// All sections of the file.
pub static SECTIONS: [&Section; 3] = [&CONTROLLER, &SIDECAR, &CLI];

/// Beginning of every variable that is ours.
pub const PREFIX: &str = "OUTRIGGER_";
/// The variable that names the file.
pub const FILE: &str = "OUTRIGGER_SETTINGS";
/// Variables of the same prefix that are no setting: read at other places, or set in our images.
const OTHER: [&str; 4] = [FILE, "OUTRIGGER_WAIT_TIMEOUT", "OUTRIGGER_VERSION", "OUTRIGGER_PORT"];
/// Beginning of variables that only tests and benchmarks read.
const FOR_TESTS: [&str; 5] =
    ["OUTRIGGER_TEST_", "OUTRIGGER_BENCH_", "OUTRIGGER_BLESS", "OUTRIGGER_IMAGES", "OUTRIGGER_MIRROR"];

const fn text(name: &'static str, variable: &'static str, write: &'static str) -> Key {
    Key { name, variable, write, number: false }
}

const fn number(name: &'static str, variable: &'static str, write: &'static str) -> Key {
    Key { name, variable, write, number: true }
}

/// The controller.
pub static CONTROLLER: Section = Section {
    name: "controller",
    strict: true,
    keys: &[
        text("mesh", "OUTRIGGER_MESH", "letters, digits, - and _, such as shop"),
        text("scope", "OUTRIGGER_SCOPE", "project or engine"),
        text("trust-domain", "OUTRIGGER_TRUST_DOMAIN", "a domain in lower case, such as shop.internal"),
        text("mesh-file", "OUTRIGGER_MESH_FILE", "the path of a file, such as /etc/outrigger/mesh.yaml"),
        text("mesh-text", "OUTRIGGER_MESH_TEXT", "what would stand in mesh.yaml, and no mesh-file beside it"),
        text("state", "OUTRIGGER_STATE", "the path of a folder, such as /var/lib/outrigger"),
        text("control", "OUTRIGGER_CONTROL", "an absolute path, such as /run/outrigger/control.sock"),
        text("control-listen", "OUTRIGGER_CONTROL_LISTEN", "address and port, such as 0.0.0.0:15010"),
        text(
            "sts-endpoint",
            "OUTRIGGER_STS_ENDPOINT",
            "https://HOST, such as https://vpce-1234.sts.eu-west-1.vpce.amazonaws.com, or leave it out",
        ),
        text("admin", "OUTRIGGER_ADMIN", "address and port, such as 0.0.0.0:15021"),
        text("sidecar-image", "OUTRIGGER_SIDECAR_IMAGE", "an image, such as outrigger-sidecar:0.1.0"),
        number(
            "certificate-lifetime",
            "OUTRIGGER_CERTIFICATE_LIFETIME",
            "seconds from 10 to 31536000, such as 86400",
        ),
        text("log", "OUTRIGGER_LOG", "info or debug, or info,outrigger_controller::inject=debug"),
        text("templates", "OUTRIGGER_TEMPLATES", "the path of a folder, such as /etc/outrigger/templates"),
        text("platform", "OUTRIGGER_PLATFORM", "docker or ecs"),
        text(
            "docker-host",
            "DOCKER_HOST",
            "unix:///var/run/docker.sock, say: only Unix sockets are supported",
        ),
        text("clusters", "OUTRIGGER_CLUSTERS", "names or ARNs of ECS clusters, such as shop,batch"),
        text(
            "queue",
            "OUTRIGGER_QUEUE",
            "the URL of an SQS queue, such as https://sqs.eu-west-1.amazonaws.com/111122223333/outrigger",
        ),
        text("inject", "OUTRIGGER_INJECT", "off, plan or on"),
        text(
            "control-url",
            "OUTRIGGER_CONTROL_URL",
            "https://HOST:PORT, or the folder of the control socket on the instances, such as /run/outrigger",
        ),
        text("inject-resources", "OUTRIGGER_INJECT_RESOURCES", "share, subtract or add"),
        text("inject-names", "OUTRIGGER_INJECT_NAMES", "hosts or zone"),
        number("inject-patience", "OUTRIGGER_INJECT_PATIENCE", "seconds from 30 to 86400, such as 1200"),
        text("names-zone", "OUTRIGGER_NAMES_ZONE", "the id of a hosted zone, such as Z0123456789ABCDEFGHIJ"),
        text("names-for", "OUTRIGGER_NAMES_FOR", "platform or names"),
        text(
            "edge-zone",
            "OUTRIGGER_EDGE_ZONE",
            "the id of a hosted zone, such as Z0123456789ABCDEFGHIJ, another one than names-zone",
        ),
    ],
};

/// The sidecar.
pub static SIDECAR: Section = Section {
    name: "sidecar",
    // A newer controller may set what an older sidecar does not know: that must not keep it from starting.
    strict: false,
    keys: &[
        text(
            "control",
            "OUTRIGGER_CONTROL",
            "an absolute path, such as /run/outrigger/control.sock, or https://HOST:PORT",
        ),
        text(
            "control-pin",
            "OUTRIGGER_CONTROL_PIN",
            "the pin that the controller logs at its start (sha256: and 64 hex digits), several with commas",
        ),
        text("state", "OUTRIGGER_STATE", "the path of a folder, such as /var/lib/outrigger"),
        number("workers", "OUTRIGGER_WORKERS", "a whole number from 1 to 1024, or leave it out"),
        text("log", "OUTRIGGER_LOG", "info or debug, or info,outrigger_sidecar::tcp=debug"),
        text("admin", "OUTRIGGER_ADMIN", "address and port, such as [::]:15020"),
        text("access-log", "OUTRIGGER_ACCESS_LOG", "off or json"),
        number("handover-deadline", "OUTRIGGER_HANDOVER_DEADLINE", "seconds from 0 to 86400, such as 30"),
        number("drain-deadline", "OUTRIGGER_DRAIN_DEADLINE", "seconds from 0 to 86400, such as 9"),
        text("hosts", "OUTRIGGER_HOSTS", "the path of a hosts file, such as /etc/hosts"),
    ],
};

/// The `outrigger` command.
pub static CLI: Section = Section {
    name: "cli",
    strict: false,
    keys: &[
        text("controller", "OUTRIGGER_CONTROLLER", "http://HOST:PORT, such as http://127.0.0.1:15021"),
        text("color", "OUTRIGGER_COLOR", "auto, always or never"),
    ],
};

/// Whether somebody reads a variable of our prefix.
pub(crate) fn known_variable(name: &str) -> bool {
    OTHER.contains(&name)
        || FOR_TESTS.iter().any(|beginning| name.starts_with(beginning))
        || SECTIONS.iter().flat_map(|section| section.keys).any(|key| key.variable == name)
}

/// The variable that was probably meant.
pub(crate) fn near_variable(name: &str) -> Option<&'static str> {
    let settings = SECTIONS.iter().flat_map(|section| section.keys).map(|key| key.variable);
    near(name, settings.chain(OTHER))
}

/// The word that was probably meant.
pub(crate) fn near<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |word: &str| word.replace('_', "-").to_ascii_lowercase();
    let found = alike(found);
    let measured = known.map(|word| (distance(&alike(word), &found), word));
    measured
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, word)| word)
}

/// Levenshtein distance, over bytes: keys are ASCII in practice.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
