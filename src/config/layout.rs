//! [`Layout`]: where things lie. The only place that knows a path below the roots.

use std::path::{Path, PathBuf};

use crate::json::{Deserialize, Serialize};

/// The roots of everything gatepost writes, and the paths below them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Volatile state on a private tmpfs.
    pub run: PathBuf,
    /// Durable state, images, layers and volumes.
    pub data: PathBuf,
    /// Container logs.
    pub logs: PathBuf,
    /// Directories with images that came with the node: archives, which are imported at start, and images that run from there.
    #[serde(default)]
    pub preload: Vec<PathBuf>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            run: "/run/gatepost".into(),
            data: "/var/lib/gatepost".into(),
            logs: "/var/log/pods".into(),
            preload: Vec::new(),
        }
    }
}

impl Layout {
    /// The control socket of the supervisor.
    pub fn control_socket(&self) -> PathBuf {
        self.run.join("control.sock")
    }
    /// What the core keeps of the node as a whole.
    pub fn node_state(&self) -> PathBuf {
        self.run.join("node.json")
    }
    /// The node's settings as every supervisor gets them.
    pub fn setup(&self) -> PathBuf {
        self.run.join("setup.json")
    }
    /// When what began and ended while the node came up, a line each.
    pub fn boot_chart(&self) -> PathBuf {
        self.run.join("boot-chart.tsv")
    }
    /// Held with `flock` by the one running init role.
    pub fn lock(&self) -> PathBuf {
        self.run.join("lock")
    }
    /// The OCI runtime's `--root`.
    pub fn runtime_root(&self) -> PathBuf {
        self.run.join("runtime")
    }
    /// All containers' volatile directories.
    pub fn containers(&self) -> PathBuf {
        self.run.join("containers")
    }
    /// One container's volatile directory: the bundle (`config.json`, `rootfs`), FIFOs, records.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }
    /// All pods' volatile directories.
    pub fn pods(&self) -> PathBuf {
        self.run.join("pods")
    }
    /// One pod's volatile directory: pinned namespaces, generated files, tmpfs volumes, core state.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }
    /// Where a pod's namespace (`net`, `ipc`, `uts`) is pinned.
    pub fn pod_namespace(&self, uid: &str, kind: &str) -> PathBuf {
        self.pod(uid).join("ns").join(kind)
    }
    /// Which host ids stand for a pod's own users, for `hostUsers: false`.
    pub fn pod_id_range(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("id-range")
    }
    /// Held with `flock` while such a range is chosen.
    pub fn id_ranges_lock(&self) -> PathBuf {
        self.run.join("id-ranges.lock")
    }
    /// What the probe container has found.
    pub fn features(&self) -> PathBuf {
        self.run.join("features.json")
    }
    /// One pod's durable directory: emptyDirs on disk.
    pub fn pod_data(&self, uid: &str) -> PathBuf {
        self.data.join("pods").join(uid)
    }
    /// What claims of a namespace are bound to, by name: a directory of their own, or a link that names a PersistentVolume.
    pub fn claims(&self, namespace: &str) -> PathBuf {
        self.data.join("claims").join(namespace)
    }
    /// One container's writable layer when it lies on data: holds `upper` and `work`.
    pub fn container_data(&self, id: &str) -> PathBuf {
        self.data.join("containers").join(id)
    }
    /// The image store: an OCI image layout.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }
    /// Unpacked layers by chain id, and short links to them in `l/`.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }
    /// Durable state files.
    pub fn state(&self) -> PathBuf {
        self.data.join("state")
    }
    /// The log directory of one pod: `<ns>_<pod>_<uid>`, as kubelet names it.
    pub fn pod_logs(&self, namespace: &str, pod: &str, uid: &str) -> PathBuf {
        self.logs.join(format!("{namespace}_{pod}_{uid}"))
    }
    /// The live log file of one container instance.
    pub fn container_log(&self, namespace: &str, pod: &str, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod_logs(namespace, pod, uid).join(container).join(format!("{attempt}.log"))
    }
    /// The bundle's root file system mount point.
    pub fn rootfs(container_dir: &Path) -> PathBuf {
        container_dir.join("rootfs")
    }
}
