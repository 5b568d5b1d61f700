//! Role `leftovers`: what pods have left on the machine, known to anybody or not. Main function: [`find`].
//!
//! Who wants which pod only the supervisor knows, so it decides and has them torn down. Writable layers and the runtime's states
//! of containers that have no directory under `/run` are nobody's for certain (a cut of power leaves the former), and are
//! removed here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::cleanup::remove_tree;
use super::failure::context;
use super::{Failure, protocol};
use crate::config::Layout;
use crate::json::{Deserialize, Serialize};
use crate::sorted::BTreeSet;
use crate::sys::cgroup::Cgroups;

const REASON: &str = "CleanupFailed";

/// Where to look.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeftoversRequest {
    /// [`protocol::VERSION`].
    pub version: u32,
    /// Where things lie.
    pub layout: Layout,
    /// The cgroup that holds all pods; `kubepods`.
    pub cgroup_root: String,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    /// UIDs of pods that have a directory under `/run` or on data, or a cgroup.
    pub pods: BTreeSet<String>,
    /// Log directories, each with the UID at the end of its name.
    pub logs: Vec<(String, PathBuf)>,
}

/// The role's entry: request on descriptor 0, report on descriptor 3.
pub fn main() -> ExitCode {
    protocol::serve("leftovers", |request: LeftoversRequest| find(&request).map(|found| (found, Vec::new())))
}

/// Looks in every place where a pod leaves something.
pub fn find(request: &LeftoversRequest) -> Result<Leftovers, Failure> {
    let layout = &request.layout;
    let mut found = Leftovers::default();
    for directory in [layout.pods(), layout.data.join("pods")] {
        found.pods.extend(names(&directory)?.into_iter().filter(|name| is_uid(name)));
    }
    let cgroups = Cgroups::detect().map_err(context(REASON, "detecting", Path::new("cgroups")))?;
    let root = request.cgroup_root.trim_matches('/');
    for class in ["", "/burstable", "/besteffort"] {
        let path = format!("{root}{class}");
        let children = cgroups.children(&path).map_err(context(REASON, "listing the cgroup", Path::new(&path)))?;
        let uids = children.iter().filter_map(|name| name.strip_prefix("pod")).filter(|uid| is_uid(uid));
        found.pods.extend(uids.map(str::to_owned));
    }
    for name in names(&layout.logs)? {
        if let Some((_, uid)) = name.rsplit_once('_').filter(|(_, uid)| is_uid(uid)) {
            found.logs.push((uid.to_owned(), layout.logs.join(&name)));
        }
    }
    // A container's directory under `/run` is made before its layer and its state. Removed it is after the state, and before
    // the layer, which is then being removed, too.
    for id in names(&layout.data.join("containers"))? {
        if !layout.container(&id).exists() {
            remove_tree(&layout.container_data(&id))?;
        }
    }
    for id in super::list(&layout.runtime_root()).map_err(context(REASON, "listing", &layout.runtime_root()))? {
        if !layout.container(&id).exists() {
            remove_tree(&layout.runtime_root().join(id))?;
        }
    }
    Ok(found)
}

/// As manifests give them: 32 hexadecimal digits. Other names are other people's.
fn is_uid(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn names(directory: &Path) -> Result<Vec<String>, Failure> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(context(REASON, "listing", directory)(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pods_are_found_by_directory_and_log_and_only_layers_of_nobody_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            run: dir.path().join("run"),
            data: dir.path().join("data"),
            logs: dir.path().join("logs"),
            preload: Vec::new(),
        };
        let [here, there] = ["0", "1"].map(|digit| digit.repeat(32));
        let log = layout.pod_logs("default", "a_b", &here);
        for path in [
            layout.pod(&here),
            layout.pod_data(&there),
            layout.pods().join("lost+found"),
            log.clone(),
            layout.logs.join("somebodys_own"),
            layout.container("lives"),
            layout.container_data("lives"),
            layout.container_data("dead"),
        ] {
            fs::create_dir_all(path).unwrap();
        }
        let version = protocol::VERSION;
        let cgroup_root = "gatepost-no-such-cgroup".to_owned();
        let found = find(&LeftoversRequest { version, layout: layout.clone(), cgroup_root }).unwrap();
        assert_eq!(found.pods, BTreeSet::from([here.clone(), there]));
        assert_eq!(found.logs, [(here, log)]);
        assert!(layout.container_data("lives").exists());
        assert!(!layout.container_data("dead").exists());
    }
}
