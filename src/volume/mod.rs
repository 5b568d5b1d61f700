//! Pod volumes: emptyDir, hostPath, configMap and secret, made on the host so that containers can be given them.
//! Main function: [`prepare`].
//!
//! Disk emptyDirs lie in the pod's data directory; `Memory` ones, ConfigMaps and Secrets below the pod's directory in
//! `/run`, which is a tmpfs, so that no secret reaches a disk.

mod empty_dir;
mod host_path;
mod ownership;
mod projected;

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::Layout;
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1::{ConfigMap, Pod, Secret, Volume};

/// Why a volume could not be made, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `FailedMount`.
    pub reason: String,
    /// `MountVolume.SetUp failed for volume "v" : …`.
    pub message: String,
}

/// The documents that volumes may show.
#[derive(Debug, Clone, Copy)]
pub struct Objects<'a> {
    /// ConfigMaps; those of other namespaces are not looked at.
    pub config_maps: &'a [Rc<ConfigMap>],
    /// Secrets; those of other namespaces are not looked at.
    pub secrets: &'a [Rc<Secret>],
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

/// Attaches what was done and to which path.
fn at<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> VolumeError + 'a {
    move |source| VolumeError::Io { what, path: path.to_owned(), source }
}

/// Where a volume lies on the host, or will lie once prepared. A pure function of its arguments.
pub fn path(layout: &Layout, uid: &str, volume: &Volume) -> PathBuf {
    if let Some(source) = &volume.host_path {
        return PathBuf::from(&source.path);
    }
    let in_memory = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.empty_dir.as_ref().is_some_and(|source| source.medium == "Memory");
    let root = if in_memory { layout.pod(uid) } else { layout.pod_data(uid) };
    root.join("volumes").join(&volume.name)
}

/// Makes every volume of the pod; run again it completes what is there and rewrites only what has changed.
///
/// `memory_bytes` gives the size in bytes of a tmpfs emptyDir (`None`: the kernel's own bound, half of the memory).
/// Returns warnings about single files whose group could not be set.
pub fn prepare(
    layout: &Layout,
    pod: &Pod,
    objects: Objects<'_>,
    memory_bytes: impl Fn(&Volume) -> Option<u64>,
) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for volume in &pod.spec.volumes {
        prepare_one(layout, pod, volume, objects, memory_bytes(volume), &mut warnings).map_err(|error| Failure {
            reason: "FailedMount".to_owned(),
            message: format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name),
        })?;
    }
    Ok(warnings)
}

fn prepare_one(
    layout: &Layout,
    pod: &Pod,
    volume: &Volume,
    objects: Objects<'_>,
    memory_bytes: Option<u64>,
    warnings: &mut Vec<String>,
) -> Result<(), VolumeError> {
    if !is_file_name(&volume.name) {
        return Err(VolumeError::Refused(format!("invalid volume name {:?}", volume.name)));
    }
    let dir = path(layout, &pod.metadata.uid, volume);
    let group = fs_group(pod)?;
    let namespace = &pod.metadata.namespace;
    if let Some(source) = &volume.host_path {
        // Never chowned for fsGroup: it belongs to the host.
        return host_path::prepare(source);
    }
    if let Some(source) = &volume.config_map {
        let object =
            objects.config_maps.iter().find(|o| o.metadata.namespace == *namespace && o.metadata.name == source.name);
        let files = projected::config_map_files(source, object.map(AsRef::as_ref))?;
        return projected::write(&dir, &files, group, warnings);
    }
    if let Some(source) = &volume.secret {
        let object = objects
            .secrets
            .iter()
            .find(|o| o.metadata.namespace == *namespace && o.metadata.name == source.secret_name);
        let files = projected::secret_files(source, object.map(AsRef::as_ref))?;
        return projected::write(&dir, &files, group, warnings);
    }
    let in_memory = volume.empty_dir.as_ref().is_some_and(|source| source.medium == "Memory");
    empty_dir::prepare(&dir, in_memory, memory_bytes)?;
    if let Some(group) = group {
        ownership::apply(&dir, group, ownership::Access::ReadWrite, warnings);
    }
    Ok(())
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
