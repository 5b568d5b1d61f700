//! Role `features`: what the OCI runtime really does with what a bundle asks for, found by containers that are created, looked at from
//! outside and deleted again: [`find`]. Runtimes ignore what they do not know without a word (runc 1.1: `uidMappings` of mounts), so
//! neither their version nor their list of features is asked.

use crate::sorted::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use crate::json::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::{Failure, context};
use super::protocol;
use super::{Runtime, log_failure};
use crate::config::Layout;
use crate::json;
use crate::sys::cgroup::Cgroups;
use crate::sys::held::Held;
use crate::sys::id_map::{self, IdRange, ReadOnly};
use crate::sys::mount::{self, MountEntry};
use crate::sys::namespace::{self, Kind};
use crate::sys::replace::replace;

const REASON: &str = "ProbeFailed";
/// A range that no pod has: nothing of it outlives the probe.
const IDS: IdRange = IdRange { start: 4_294_836_224, size: 65_536 };
/// How long processes of the probe may take to go.
const KILL_BOUND: std::time::Duration = std::time::Duration::from_secs(5);

/// Seccomp filters are applied.
pub const SECCOMP: &str = "seccomp";
/// The option `rro`.
const RECURSIVE_READ_ONLY: &str = "recursiveReadOnlyMounts";
/// `hostUsers: false` can be had: this one is the kernel's and gatepost's own work.
pub const HOST_USERS: &str = "hostUsers";

/// What is looked for where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeaturesRequest {
    /// [`protocol::VERSION`].
    pub version: u32,
    /// Where things lie.
    pub layout: Layout,
    /// The runtime.
    pub runtime: Runtime,
    /// The cgroup that holds all pods, which names that of the probe.
    pub cgroup_root: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// The runtime's path and version, and the kernel's: of others it says nothing.
    pub of: String,
    /// Whether it works, by name.
    pub works: BTreeMap<String, bool>,
    /// What the runtime said where it refused to create a probe container.
    #[serde(default)]
    pub refusals: Vec<String>,
}

impl Features {
    /// What was found before of this runtime under this kernel.
    pub fn known(layout: &Layout, runtime: &Runtime) -> Option<Self> {
        let found: Self = json::from_slice(&fs::read(layout.features()).ok()?).ok()?;
        (found.of == subject(runtime)).then_some(found)
    }

    /// Whether it is known not to work.
    pub fn lacks(&self, feature: &str) -> bool {
        self.works.get(feature) == Some(&false)
    }
}

fn subject(runtime: &Runtime) -> String {
    let kernel = rustix::system::uname();
    let release = kernel.release().to_string_lossy();
    format!("{}, {}, Linux {release}, gatepost {}", runtime.path.display(), runtime.version, env!("CARGO_PKG_VERSION"))
}

/// The role's entry: request on descriptor 0, report on descriptor 3.
pub fn main() -> ExitCode {
    protocol::serve("features", |request: FeaturesRequest| find(&request).map(|found| (found, Vec::new())))
}

/// Finds out, and keeps what was found for this boot. Leaves the calling thread in a mount namespace of its own.
pub fn find(request: &FeaturesRequest) -> Result<Features, Failure> {
    let FeaturesRequest { layout, runtime, .. } = request;
    if let Some(known) = Features::known(layout, runtime) {
        return Ok(known);
    }
    let dir = layout.run.join("features");
    let mut found = Features { of: subject(runtime), ..Features::default() };
    namespace::unshare_mounts().map_err(context(REASON, "unsharing the mount namespace for", &dir))?;
    runtime.hide_hybrid_cgroups().map_err(context(REASON, "hiding cgroup2 from", &runtime.path))?;
    found.works.insert(HOST_USERS.to_owned(), can_map_ids(&dir, layout).unwrap_or(false));
    for (name, spec) in [("plain", plain(&dir)), ("users", with_users()), ("time", with_time())] {
        match look_at(request, &dir, name, spec) {
            Ok(works) => found.works.extend(works),
            Err(failure) => {
                // A namespace that is refused is not had; of the rest nothing is known, and it is not ignored in silence.
                let missing = match name {
                    "users" => Some("userNamespaces"),
                    "time" => Some("timeNamespaces"),
                    _ => None,
                };
                found.works.extend(missing.map(|name| (name.to_owned(), false)));
                found.refusals.push(format!("{name}: {}", failure.message));
            }
        }
    }
    let _ = mount::detach_below(&dir);
    let _ = fs::remove_dir_all(&dir);
    let text = json::to_vec(&found).map_err(|error| Failure::new(REASON, error.to_string()))?;
    replace(&layout.features(), &text, 0o600).map_err(context(REASON, "writing", &layout.features()))?;
    Ok(found)
}

/// What the plain container shows.
const PLAIN: [&str; 6] =
    [SECCOMP, RECURSIVE_READ_ONLY, "idMappedMounts", "noNewPrivileges", "capabilities", "maskedPaths"];

fn bundle(namespaces: &[&str]) -> Value {
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({ "type": kind })).collect();
    let capabilities = ["CAP_KILL"];
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": {
            "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/never-run"], "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "permitted": capabilities, "effective": capabilities },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755", "size=64k"] },
        ],
        "linux": { "namespaces": namespaces },
    })
}

fn plain(dir: &Path) -> Value {
    let mut spec = bundle(&["mount", "pid"]);
    let ids = json!([{ "containerID": 0, "hostID": IDS.start, "size": IDS.size }]);
    let bind = |name: &str, options: &[&str]| json!({ "destination": format!("/{name}"), "type": "bind", "source": dir.join(name), "options": options });
    let mut mapped = bind("mapped", &["bind"]);
    (mapped["uidMappings"], mapped["gidMappings"]) = (ids.clone(), ids);
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.extend([bind("tree", &["rbind", "rro"]), mapped]);
    }
    spec["linux"]["maskedPaths"] = json!(["/proc/version"]);
    spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["kexec_load"], "action": "SCMP_ACT_ERRNO" }],
    });
    spec
}

fn with_users() -> Value {
    let mut spec = bundle(&["mount", "pid", "user"]);
    let ids = json!([{ "containerID": 0, "hostID": IDS.start, "size": IDS.size }]);
    (spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]) = (ids.clone(), ids);
    spec
}

fn with_time() -> Value {
    let mut spec = bundle(&["mount", "pid", "time"]);
    spec["ociVersion"] = json!("1.1.0");
    spec["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1000 } });
    spec
}

/// Creates a container, looks at it, and deletes it.
fn look_at(
    request: &FeaturesRequest,
    dir: &Path,
    name: &str,
    mut spec: Value,
) -> Result<BTreeMap<String, bool>, Failure> {
    let FeaturesRequest { layout, runtime, cgroup_root, .. } = request;
    let (root, here) = (dir.join("runtime"), dir.join(name));
    for path in [&root, &here.join("rootfs"), &dir.join("tree/below"), &dir.join("mapped")] {
        fs::create_dir_all(path).map_err(context(REASON, "creating", path))?;
    }
    // The run directory lets no program run.
    let rootfs = here.join("rootfs");
    mount::tmpfs(&rootfs, Some(64 << 10), 0o755, true).map_err(context(REASON, "mounting a tmpfs on", &rootfs))?;
    // A runtime looks for the program when it creates the container, and nobody ever starts it.
    let program = rootfs.join("never-run");
    fs::write(&program, "")
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
        .map_err(context(REASON, "writing", &program))?;
    if name == "users" {
        super::id_mapped::open_the_way(layout, &rootfs)?;
        let root = Some(IDS.start);
        std::os::unix::fs::chown(&rootfs, root, root).map_err(context(REASON, "giving away", &rootfs))?;
    }
    let below = dir.join("tree/below");
    if name == "plain" {
        mount::tmpfs(&below, Some(4096), 0o755, false).map_err(context(REASON, "mounting a tmpfs on", &below))?;
    }
    let cgroup = format!("gatepost/{cgroup_root}/probe-{name}");
    spec["linux"]["cgroupsPath"] = json!(format!("/{cgroup}"));
    let config = here.join("config.json");
    let text = serde_json::to_vec(&spec).map_err(|error| Failure::new(REASON, error.to_string()))?;
    fs::write(&config, text).map_err(context(REASON, "writing", &config))?;

    let id = format!("probe-{name}");
    let log = here.join("runtime.log");
    let pid_file = here.join("pid");
    let mut create = runtime.command(&root, &log);
    create.arg("create").arg("--bundle").arg(&here).arg("--pid-file").arg(&pid_file).arg(&id);
    let quiet = |mut command: std::process::Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    // crun gives what it inherits to the container's users: that must not be the machine's /dev/null.
    let own = here.join("stdio");
    let created = fs::File::create(&own)
        .and_then(|file| Ok((Stdio::from(file.try_clone()?), Stdio::from(file.try_clone()?), Stdio::from(file))))
        .and_then(|(stdin, stdout, stderr)| create.stdin(stdin).stdout(stdout).stderr(stderr).status())
        .map_err(context(REASON, "executing", &runtime.path))?;
    let pid = fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let works = match pid.filter(|_| created.success()) {
        Some(pid) => Ok(shown_by(pid, name)),
        None => Err(log_failure(&here)),
    };
    let _ = quiet(runtime.delete(&root, &log, &id));
    if let Ok(cgroups) = Cgroups::detect() {
        let _ = cgroups.kill(&cgroup, KILL_BOUND);
        let _ = cgroups.remove(&cgroup);
    }
    works
}

fn shown_by(pid: u32, name: &str) -> BTreeMap<String, bool> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(proc.join("status")).unwrap_or_default();
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim).unwrap_or_default();
    let own = |kind: &str| {
        let link = |path: PathBuf| fs::read_link(path).ok();
        link(proc.join("ns").join(kind)) != link(PathBuf::from("/proc/self/ns").join(kind))
    };
    let mounts = mount::parse_mountinfo(&fs::read(proc.join("mountinfo")).unwrap_or_default());
    let with = |target: &str, option: &str| {
        let is_it = |entry: &&MountEntry| entry.target == Path::new(target);
        mounts.iter().find(is_it).is_some_and(|entry| entry.options.split(',').any(|word| word == option))
    };
    let found: Vec<(&str, bool)> = match name {
        "plain" => PLAIN
            .into_iter()
            .zip([
                field("Seccomp:") == "2",
                with("/tree/below", "ro"),
                with("/mapped", "idmapped"),
                field("NoNewPrivs:") == "1",
                // Bit 5 is CAP_KILL's.
                field("CapBnd:").trim_start_matches('0') == "20",
                mounts.iter().any(|entry| entry.target == Path::new("/proc/version")),
            ])
            .collect(),
        "users" => vec![("userNamespaces", own("user"))],
        _ => vec![("timeNamespaces", own("time"))],
    };
    found.into_iter().map(|(name, works)| (name.to_owned(), works)).collect()
}

/// Whether this kernel shows the data file system through an id-mapped mount.
fn can_map_ids(dir: &Path, layout: &Layout) -> std::io::Result<bool> {
    let target = dir.join("ids");
    fs::create_dir_all(&target)?;
    let held = Held::start(|| namespace::unshare(Kind::User).map(|()| String::new()).map_err(|e| e.to_string()))?;
    IDS.apply(held.pid())?;
    let users = fs::File::open(format!("/proc/{}/ns/user", held.pid()))?;
    let mapped = id_map::mount(&layout.data, &target, Some(&users), false, ReadOnly::No).is_ok();
    mount::detach(&target)?;
    Ok(mapped)
}
