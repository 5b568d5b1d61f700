//! Pod volumes made on the host so that containers can be given them, kept up to date and measured. Main functions:
//! [`prepare`], [`refresh`], [`measure`].
//!
//! Disk emptyDirs lie in the pod's data directory, claims beside it; what shows objects and `Memory` emptyDirs lie below the pod's
//! directory in `/run`, which is a tmpfs, so that no secret reaches a disk. A claim has a link there to what it is bound to. An
//! image's layers are mounted by whoever starts a container.

mod claim;
mod content;
mod empty_dir;
mod host_path;
mod measure;
mod ownership;
mod projected;

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::Layout;
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Volume};
use empty_dir::Medium;
use ownership::{Access, Group};

pub use content::FieldOf;
pub use measure::{Usage, forget_limits, is_measured, measure, size_limit};

/// Why a volume could not be made, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `FailedMount`.
    pub reason: String,
    /// `MountVolume.SetUp failed for volume "v" : …`.
    pub message: String,
    /// A system call failed: it may work later, whatever the manifests say.
    pub retry: bool,
}

/// The documents that volumes may show or use; those of other namespaces are not looked at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Objects {
    /// ConfigMaps.
    pub config_maps: Vec<Rc<ConfigMap>>,
    /// Secrets.
    pub secrets: Vec<Rc<Secret>>,
    /// Claims.
    pub claims: Vec<Rc<PersistentVolumeClaim>>,
    /// PersistentVolumes, which have no namespace.
    pub volumes: Vec<Rc<PersistentVolume>>,
}

/// What volumes are made of.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Where things lie.
    pub layout: &'a Layout,
    /// The pod.
    pub pod: &'a Pod,
    /// The documents.
    pub objects: &'a Objects,
    /// The text of a downwardAPI item.
    pub field: FieldOf<'a>,
    /// Most bytes of a `Memory` emptyDir, whatever its sizeLimit; `None`: the kernel's own bound, half of the memory.
    pub memory_bytes: Option<u64>,
}

/// Why one volume could not be made.
#[derive(Debug, thiserror::Error)]
enum VolumeError {
    /// A system call failed.
    #[error("{what} {}: {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    /// Anything else, in Kubernetes' words.
    #[error("{0}")]
    Refused(String),
}

impl VolumeError {
    fn of(self, volume: &Volume) -> Failure {
        Failure {
            reason: "FailedMount".to_owned(),
            message: format!("MountVolume.SetUp failed for volume \"{}\" : {self}", volume.name),
            retry: matches!(self, Self::Io { .. }),
        }
    }
}

/// Attaches what was done and to which path.
fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> VolumeError + 'a {
    move |source| VolumeError::Io { what, path: path.to_owned(), source }
}

/// Where a volume lies on the host, or will lie once prepared; of a claim the link to it. A pure function of its arguments.
pub fn path(layout: &Layout, uid: &str, volume: &Volume) -> PathBuf {
    if let Some(source) = &volume.host_path {
        return PathBuf::from(&source.path);
    }
    let on_disk = !volume.shows_documents()
        && volume.persistent_volume_claim.is_none()
        && volume.image.is_none()
        && Medium::of(volume) == Medium::Disk;
    let root = if on_disk { layout.pod_data(uid) } else { layout.pod(uid) };
    root.join("volumes").join(&volume.name)
}

/// What people should know of volumes that were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Of all sorts.
    pub warnings: Vec<String>,
    /// Of claims that another pod uses with another group: kubelet's event `AlreadyMountedVolume`.
    pub already_mounted: Vec<String>,
}

/// Makes every volume of the pod; run again it completes what is there and rewrites only what has changed.
pub fn prepare(site: Site<'_>) -> Result<Remarks, Failure> {
    let mut remarks = Remarks::default();
    for volume in &site.pod.spec.volumes {
        prepare_one(site, volume, &mut remarks).map_err(|error| error.of(volume))?;
    }
    Ok(remarks)
}

/// Brings the volumes that show documents up to date, each for itself: what fails keeps what it has.
pub fn refresh(site: Site<'_>) -> Vec<Failure> {
    let content = site.pod.spec.volumes.iter().filter(|volume| volume.shows_documents());
    content
        .filter_map(|volume| prepare_one(site, volume, &mut Remarks::default()).err().map(|error| error.of(volume)))
        .collect()
}

fn prepare_one(site: Site<'_>, volume: &Volume, remarks: &mut Remarks) -> Result<(), VolumeError> {
    let warnings = &mut remarks.warnings;
    let Site { layout, pod, objects, .. } = site;
    if !is_file_name(&volume.name) {
        return Err(VolumeError::Refused(format!("invalid volume name {:?}", volume.name)));
    }
    let uid = &pod.metadata.uid;
    let dir = path(layout, uid, volume);
    let group = fs_group(pod)?;
    if let Some(source) = &volume.host_path {
        // Never chowned for fsGroup: it belongs to the host.
        return host_path::prepare(source);
    }
    if volume.image.is_some() {
        return Ok(());
    }
    if let Some(files) = content::files(volume, &pod.metadata.namespace, objects, site.field)? {
        let group = group.map(|id| Group { id, access: Access::ReadOnly, only_on_mismatch: false });
        return projected::write(&dir, &files, group, warnings);
    }
    if let Some(source) = &volume.persistent_volume_claim {
        let bound = claim::prepare(layout, &pod.metadata.namespace, &source.claim_name, objects, warnings)?;
        let others = users(layout, &bound.path, uid);
        if bound.exclusive && others {
            return Err(VolumeError::Refused(
                "volume uses the ReadWriteOncePod access mode and is already in use by another pod".to_owned(),
            ));
        }
        link(&dir, &bound.path)?;
        let Some(id) = group.filter(|_| bound.owned && !source.read_only) else { return Ok(()) };
        if others {
            remarks.already_mounted.extend(other_group(&bound, id));
            return Ok(());
        }
        let policy = pod.spec.security_context.fs_group_change_policy.as_deref();
        let only_on_mismatch = policy == Some("OnRootMismatch");
        ownership::apply(&bound.path, Group { id, access: Access::ReadWrite, only_on_mismatch }, warnings);
        return Ok(());
    }
    let own = measure::size_limit(volume);
    let bytes = match Medium::of(volume) {
        Medium::Memory => own.into_iter().chain(site.memory_bytes).min(),
        _ => own,
    };
    empty_dir::prepare(&dir, pod, volume, bytes)?;
    if let Some(id) = group {
        ownership::apply(&dir, Group { id, access: Access::ReadWrite, only_on_mismatch: false }, warnings);
    }
    Ok(())
}

/// Kubernetes applies fsGroup for the first user; another one may not work with it.
fn other_group(bound: &claim::Bound, group: u32) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let found = bound.path.metadata().ok()?.gid();
    (found != group).then(|| {
        format!(
            "The requested fsGroup is {group}, but the volume {} has GID {found}. The volume may not be shareable.",
            bound.name
        )
    })
}

/// Whether a pod other than `uid` has a volume that lies at `path`.
fn users(layout: &Layout, path: &Path, uid: &str) -> bool {
    let pods = std::fs::read_dir(layout.pods()).into_iter().flatten().flatten();
    let others = pods.filter(|pod| pod.file_name() != uid);
    let volumes = others.flat_map(|pod| std::fs::read_dir(pod.path().join("volumes")).into_iter().flatten().flatten());
    volumes.into_iter().any(|volume| std::fs::read_link(volume.path()).is_ok_and(|target| target == path))
}

fn link(place: &Path, target: &Path) -> Result<(), VolumeError> {
    if std::fs::read_link(place).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let parent = place.parent().unwrap_or(place);
    std::fs::create_dir_all(parent).map_err(at("creating", parent))?;
    let mut fresh = std::ffi::OsString::from("..");
    fresh.push(place.file_name().unwrap_or_default());
    let fresh = parent.join(fresh);
    let _ = std::fs::remove_file(&fresh);
    symlink(target, &fresh).map_err(at("linking", &fresh))?;
    std::fs::rename(&fresh, place).map_err(at("naming", place))
}

fn fs_group(pod: &Pod) -> Result<Option<u32>, VolumeError> {
    let group = pod.spec.security_context.fs_group;
    group
        .map(|gid| u32::try_from(gid).map_err(|_| VolumeError::Refused(format!("fsGroup {gid} is not a group id"))))
        .transpose()
}

/// One plain name: not empty, no `/`, not `.` or `..`.
fn is_file_name(name: &str) -> bool {
    !name.contains('/') && crate::sys::mount::is_plain_relative(Path::new(name))
}

#[cfg(test)]
mod tests;
