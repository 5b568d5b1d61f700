//! What parses foreign bytes really is confined: seen from outside while it is at work, on a machine that allows all of it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::{Gateway, sample_images};
use crate::node::{children_of, command, send, state};

/// A stopped process; goes on when dropped.
struct Stopped(u32);

impl Drop for Stopped {
    fn drop(&mut self) {
        send(self.0, Signal::CONT);
    }
}

impl Stopped {
    /// The child of `parent` with this role, stopped behind its last step of confinement; `None` when it is gone before.
    fn child(parent: u32, role: &str, confined: (&str, u64)) -> Option<Self> {
        let is_it = |pid: &u32| command(*pid).split_whitespace().nth(1) == Some(role);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let Some(pid) = children_of(parent).into_iter().find(is_it) else { continue };
            while send(pid, Signal::STOP) {
                let stopped = Self(pid);
                match state(pid) {
                    'T' if stopped.limit(confined.0) == Some(confined.1) => return Some(stopped),
                    'Z' | 'X' => return None,
                    _ => std::thread::yield_now(),
                }
            }
            return None;
        }
        None
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).unwrap_or_default()
    }

    fn status(&self, field: &str) -> String {
        let status = self.file("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        line.unwrap_or_default().to_owned()
    }

    /// Hard limit in bytes, seconds or pieces.
    fn limit(&self, name: &str) -> Option<u64> {
        let limits = self.file("limits");
        let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().nth(1)?.parse().ok()
    }

    fn namespace(&self, kind: &str) -> String {
        fs::read_link(format!("/proc/{}/ns/{kind}", self.0)).unwrap().display().to_string()
    }

    /// What holds of both kinds.
    fn assert_confined(&self, capabilities: &[u32]) {
        let kept = capabilities.iter().fold(0_u64, |all, number| all | (1 << number));
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            assert_eq!(u64::from_str_radix(&self.status(set), 16), Ok(kept), "{set} is {}", self.status(set));
        }
        for set in ["CapInh", "CapAmb"] {
            assert_eq!(self.status(set), "0000000000000000", "{set}");
        }
        assert_eq!(self.status("NoNewPrivs"), "1");
        assert_eq!(self.limit("Max core file size"), Some(0));
        for kind in ["net", "ipc", "mnt"] {
            let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
            assert_ne!(self.namespace(kind), ours, "the {kind} namespace");
        }
        let interfaces = self.file("net/dev");
        let names: Vec<&str> = interfaces.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        assert_eq!(names, ["lo"], "{interfaces}");
    }
}

/// Numbers of `linux/capability.h`.
const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;
const FSETID: u32 = 4;
const MKNOD: u32 = 27;
const SETFCAP: u32 = 31;

#[test]
fn what_reads_manifests_may_read_and_do_nothing_else() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("good", WAIT));
    gateway.ready("good");
    let supervisor = gateway.supervisor_pid();
    let mut tries = 0;
    let reader = loop {
        // Enough to read that it can be met at work; each change is read anew.
        tries += 1;
        gateway.write("long.yaml", format!("# {tries}\n{}", "# nothing but a comment\n".repeat(40_000)));
        if let Some(reader) = Stopped::child(supervisor, "read-manifests", ("Max open files", 256)) {
            break reader;
        }
        assert!(tries < 20, "it is never met confined");
    };
    reader.assert_confined(&[DAC_READ_SEARCH]);
    for (limit, value) in [("Max address space", 256 << 20), ("Max cpu time", 20), ("Max file size", 0)] {
        assert_eq!(reader.limit(limit), Some(value), "{limit}");
    }
    let mounts = reader.file("mountinfo");
    let writable: Vec<&str> = mounts.lines().filter(|line| !has_option(line, "ro")).collect();
    assert!(writable.is_empty() && !mounts.is_empty(), "{writable:#?}");
    drop(reader);
    gateway.remove("long.yaml");
    gateway.ready("good");
}

#[test]
fn what_unpacks_images_sees_the_store_and_nothing_else() {
    let gateway = Gateway::without_images("");
    let mut tries = 0;
    let (worker, mut import) = loop {
        tries += 1;
        let _ = fs::remove_dir_all(gateway.path("other"));
        let mut import = gateway.command(&["image", "import"]);
        import.arg(sample_images().join("nodejs.tar.gz")).arg("--data-dir").arg(gateway.path("other"));
        let mut import = import.stdout(std::process::Stdio::null()).spawn().unwrap();
        if let Some(worker) = Stopped::child(import.id(), "image-worker", ("Max data size", 96 << 20)) {
            break (worker, import);
        }
        import.wait().unwrap();
        assert!(tries < 20, "it is never met confined");
    };
    worker.assert_confined(&[CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP]);
    assert_eq!(worker.limit("Max address space"), Some(1 << 30));
    let root = fs::read_dir(format!("/proc/{}/root", worker.0)).unwrap();
    let mut seen: Vec<_> = root.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    seen.sort();
    assert_eq!(seen, ["images", "layers"]);
    let mounts = worker.file("mountinfo");
    let of = |target: &str| mounts.lines().find(|line| line.split(' ').nth(4) == Some(target)).unwrap_or_default();
    assert!(["ro", "nosuid", "nodev", "noexec"].iter().all(|option| has_option(of("/"), option)), "{mounts}");
    assert_eq!(mounts.lines().count(), 3, "{mounts}");
    drop(worker);
    assert!(import.wait().unwrap().success());
}

/// Whether a line of mountinfo has this option of the mount (proc_pid_mountinfo(5)).
fn has_option(line: &str, option: &str) -> bool {
    line.split(' ').nth(5).is_some_and(|options| options.split(',').any(|one| one == option))
}
