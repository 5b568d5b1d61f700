//! What the volume mounts of one container show, made ready for the runtime by `launch` in its own mount namespace: image
//! volumes, paths within volumes, trees that are read-only as a whole. Main function: [`sources`].
//!
//! A path within a volume is resolved below the volume's root whatever links are in it, and mounted by the descriptor that was
//! found: a container that swaps it meanwhile wins nothing.

use crate::sorted::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::Failure;
use super::failure::context;
use super::id_mapped::IdMapped;
use super::launch::{LaunchRequest, container, device, stored};
use crate::config::Layout;
use crate::manifest::v1::{Container, Pod, Volume, VolumeMount};
use crate::oci::{self, BundleInput, HostVolume};
use crate::sys::mount_tree::MountTree;
use crate::sys::{beneath, mount};
use crate::volume;

const REASON: &str = "CreateContainerError";
const CONFIG_REASON: &str = "CreateContainerConfigError";
/// A file of variables is read up to this size.
const ENV_FILE_MAX: u64 = 1 << 20;

/// The pod's volumes on the host. The images among them that the container uses are mounted in its directory `dir`, for users of
/// the pod's own with their ids.
pub(super) fn volumes(
    request: &LaunchRequest,
    dir: &Path,
    ids: Option<&IdMapped>,
) -> Result<BTreeMap<String, HostVolume>, Failure> {
    let LaunchRequest { layout, pod, .. } = request;
    let used = |name: &str| container(request).is_some_and(|c| c.volume_mounts.iter().any(|mount| mount.name == name));
    let mut volumes = BTreeMap::new();
    for volume in &pod.spec.volumes {
        let found = if let Some(source) = &volume.image {
            if !used(&volume.name) {
                continue;
            }
            let path = mount_image(layout, &source.reference, &volume.name, dir, ids)?;
            HostVolume { path, device: None }
        } else {
            on_host(layout, pod, volume)
        };
        volumes.insert(volume.name.clone(), found);
    }
    Ok(volumes)
}

fn on_host(layout: &Layout, pod: &Pod, volume: &Volume) -> HostVolume {
    let mut path = volume::path(layout, &pod.metadata.uid, volume);
    if volume.persistent_volume_claim.is_some() {
        // The sandbox has left a link to what the claim is bound to.
        path = fs::read_link(&path).unwrap_or(path);
    }
    let device = volume.host_path.as_ref().and_then(|_| device(&path.metadata().ok()?));
    HostVolume { path, device }
}

fn mount_image(
    layout: &Layout,
    reference: &str,
    name: &str,
    dir: &Path,
    ids: Option<&IdMapped>,
) -> Result<PathBuf, Failure> {
    if name.contains('/') || !mount::is_plain_relative(Path::new(name)) {
        return Err(Failure::new(REASON, format!("invalid volume name {name:?}")));
    }
    let image = stored(layout, reference, &dir.join("flash-volumes").join(name))?;
    let (target, empty) = (dir.join("images").join(name), dir.join("empty"));
    for path in [&target, &empty] {
        fs::create_dir_all(path).map_err(context(REASON, "creating", path))?;
    }
    // The kernel maps no ids of an overlay, only those of what lies below it.
    let mapped = dir.join("image-layers").join(name);
    let (base, lower) = match ids {
        Some(ids) => (&mapped, &ids.layers(&image.base, &image.lower, &mapped)?),
        None => (&image.base, &image.lower),
    };
    mount::overlay_read_only(base, lower, &empty, &target).map_err(context(
        REASON,
        "mounting the image volume on",
        &target,
    ))?;
    Ok(target)
}

/// What shows images, with the ids of the pod's own users already.
pub(super) fn of_images(request: &LaunchRequest, dir: &Path, sources: &BTreeMap<usize, PathBuf>) -> Vec<PathBuf> {
    let is_image = |name: &str| request.pod.spec.volumes.iter().any(|v| v.name == name && v.image.is_some());
    let mounts = container(request).map(|container| container.volume_mounts.as_slice()).unwrap_or_default();
    let images = mounts.iter().enumerate().filter(|(_, mount)| is_image(&mount.name));
    images.filter_map(|(index, _)| sources.get(&index).cloned()).chain([dir.join("images")]).collect()
}

/// What to mount instead of the volume itself, by place in the container's `volumeMounts`.
pub(super) fn sources(input: &BundleInput, dir: &Path) -> Result<BTreeMap<usize, PathBuf>, Failure> {
    let paths = oci::sub_paths(input).map_err(|error| Failure::new(error.reason.as_str(), error.message))?;
    let spec = &input.pod.spec;
    let container = spec.containers.iter().chain(&spec.init_containers).find(|c| c.name == input.container_name);
    let mounts = container.map(|container| container.volume_mounts.as_slice()).unwrap_or_default();
    let mut sources = BTreeMap::new();
    for (index, (mount, path)) in mounts.iter().zip(paths).enumerate() {
        let Some(host) = input.volumes.get(&mount.name) else { continue };
        let volume = spec.volumes.iter().find(|volume| volume.name == mount.name);
        let read_only = mount.read_only || volume.is_some_and(Volume::is_read_only);
        let recursive = mount.recursive_read_only.as_deref().filter(|_| read_only);
        let recursive = recursive.filter(|wanted| matches!(*wanted, "Enabled" | "IfPossible"));
        let source = if path.is_some() || recursive.is_some() {
            let fixed = volume.is_some_and(|volume| volume.image.is_some());
            let opened = open(input.container_name, mount, host, path.as_deref().map(|path| (path, !fixed)))?;
            let target = dir.join("mounts").join(index.to_string());
            attach(&opened, &target, mount, recursive)?;
            sources.insert(index, target.clone());
            target
        } else {
            host.path.clone()
        };
        check_propagation(mount, &source)?;
    }
    Ok(sources)
}

/// Kubernetes is deliberately vague here: what is wrong may be a secret of the host.
///
/// `path`: within the volume, and whether it is made where it is missing.
fn open(
    container: &str,
    mount: &VolumeMount,
    host: &HostVolume,
    path: Option<(&str, bool)>,
) -> Result<OwnedFd, Failure> {
    let failed = |what: &str, error: &io::Error| {
        log::warn!("subPath {path:?} of volume {} at {}: {error}", mount.name, host.path.display());
        let name = &mount.name;
        Failure::new(CONFIG_REASON, format!("failed to {what} for volumeMount \"{name}\" of container \"{container}\""))
    };
    let root = beneath::root(&host.path).map_err(|error| failed("prepare subPath", &error))?;
    let Some((path, make)) = path else { return Ok(root) };
    let path = Path::new(path);
    match beneath::open(&root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && make => {}
        done => return done.map_err(|error| failed("prepare subPath", &error)),
    }
    // As the volume itself: with fsGroup, its members are to have the same rights here.
    let mode = rustix::fs::fstat(&root).map_err(|error| failed("prepare subPath", &error.into()))?.st_mode & 0o7777;
    beneath::make_directories(&root, path, Mode::from_raw_mode(mode))
        .map_err(|error| failed("create subPath directory", &error))
}

fn attach(source: &OwnedFd, target: &Path, mount: &VolumeMount, recursive: Option<&str>) -> Result<(), Failure> {
    let failed = |what: &'static str| context(REASON, what, target);
    let kind = rustix::fs::fstat(source).map_err(|error| failed("looking at what belongs on")(error.into()))?.st_mode;
    let tree = MountTree::of(source).map_err(failed("preparing the mount of"))?;
    match (recursive, tree_read_only(&tree, recursive)) {
        (_, Ok(())) => {}
        (Some("Enabled"), Err(error)) => {
            let name = &mount.name;
            return Err(Failure::new(
                CONFIG_REASON,
                format!(
                    "volume \"{name}\" requested recursive read-only mode, but it is not supported by this kernel: {error}; \
                     it needs Linux 5.12"
                ),
            ));
        }
        (_, Err(error)) => log::debug!("volume {} is not made read-only recursively: {error}", mount.name),
    }
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(context(REASON, "creating", parent))?;
    let made = if FileType::from_raw_mode(kind) == FileType::Directory {
        fs::create_dir_all(target)
    } else {
        fs::File::options().create(true).append(true).open(target).map(drop)
    };
    made.map_err(failed("creating"))?;
    tree.attach(target).map_err(failed("mounting on"))
}

fn tree_read_only(tree: &MountTree, recursive: Option<&str>) -> io::Result<()> {
    if recursive.is_some() { tree.make_read_only() } else { Ok(()) }
}

/// Mounts come through only where the source is in a group of mounts that know of each other (containerd).
fn check_propagation(mount: &VolumeMount, source: &Path) -> Result<(), Failure> {
    let (noun, enough): (_, fn(&mount::MountEntry) -> bool) = match mount.mount_propagation.as_deref() {
        Some("Bidirectional") => ("a shared mount", |entry| entry.shared),
        Some("HostToContainer") => ("a shared or slave mount", |entry| entry.shared || entry.slave),
        _ => return Ok(()),
    };
    let real = fs::canonicalize(source).map_err(context(REASON, "looking for", source))?;
    let mounts = mount::mounts().map_err(context(REASON, "reading the mounts around", source))?;
    // Of several on one place the last is on top.
    let around = mounts.iter().filter(|entry| real.starts_with(&entry.target));
    let Some(around) = around.max_by_key(|entry| entry.target.components().count()) else { return Ok(()) };
    if enough(around) {
        return Ok(());
    }
    let (path, target) = (source.display(), around.target.display());
    Err(Failure::new(
        REASON,
        format!(
            "path \"{path}\" is mounted on \"{target}\" but it is not {noun}; \
             `mount --make-rshared {target}` on the host, or use mountPropagation None"
        ),
    ))
}

/// The files that `fileKeyRef` of the container names; one that is not there is left out.
pub(super) fn env_files(
    container: Option<&Container>,
    volumes: &BTreeMap<String, HostVolume>,
) -> BTreeMap<(String, String), String> {
    let variables = container.map(|container| container.env.as_slice()).unwrap_or_default();
    let wanted = variables.iter().filter_map(|variable| variable.value_from.as_ref()?.file_key_ref.as_ref());
    let mut files = BTreeMap::new();
    for file in wanted {
        let Some(volume) = volumes.get(&file.volume_name) else { continue };
        match read_beneath(&volume.path, Path::new(&file.path)) {
            Ok(text) => drop(files.insert((file.volume_name.clone(), file.path.clone()), text)),
            Err(error) => log::debug!("{} in volume {}: {error}", file.path, file.volume_name),
        }
    }
    files
}

fn read_beneath(root: &Path, path: &Path) -> io::Result<String> {
    let root = beneath::root(root)?;
    // A container may have put anything there: never wait for a FIFO.
    let file = fs::File::from(beneath::open(&root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > ENV_FILE_MAX {
        return Err(io::Error::other("no file, or too large a one"));
    }
    let mut text = String::new();
    file.take(ENV_FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}
