//! Volumes as containers see them, with the real binary and the real runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gateway;

#[path = "volumes/claims.rs"]
mod claims;
#[path = "volumes/documents.rs"]
mod documents;
#[path = "volumes/hosts.rs"]
mod hosts;
#[path = "volumes/images.rs"]
mod images;
#[path = "volumes/mounts.rs"]
mod mounts;
#[path = "volumes/sizes.rs"]
mod sizes;
#[path = "volumes/sub_paths.rs"]
mod sub_paths;

use serde_json::{Value, json};

/// A volume of the pod and a mount of it in the container `app`; `mount` are further fields of the mount.
fn add(pod: &mut Value, name: &str, source: Value, path: &str, mount: Value) {
    let mut volume = source;
    volume["name"] = json!(name);
    gateway::manifest::push(&mut pod["spec"]["volumes"], volume);
    add_mount(pod, name, path, mount);
}

/// A further mount of a volume that is there.
fn add_mount(pod: &mut Value, name: &str, path: &str, mut mount: Value) {
    mount["name"] = json!(name);
    mount["mountPath"] = json!(path);
    gateway::manifest::push(&mut pod["spec"]["containers"][0]["volumeMounts"], mount);
}

/// A mount of a test's own on the host; undone at the end.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(arguments: &[&str], target: &std::path::Path) -> Self {
        let status = std::process::Command::new("mount").args(arguments).arg(target).status().unwrap();
        assert!(status.success(), "mount {arguments:?}");
        Self(target.to_owned())
    }

    /// A directory that passes mounts on, as those of a host with an init do.
    fn shared(target: &std::path::Path) -> Self {
        let mounted = Self::new(&["--bind", target.to_str().unwrap()], target);
        rustix::mount::mount_change(target, rustix::mount::MountPropagationFlags::SHARED).unwrap();
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
