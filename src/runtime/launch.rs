//! Role `launch`: makes one container's root file system and bundle, then becomes the runtime that starts it.
//!
//! It moves into a mount namespace of its own first. The container directory lies on a private mount, so the overlay made
//! there stays in this namespace and in the container's, and vanishes with the container: the host's mount table never has it.
//!
//! Its own failures go into the report. When all is well there is no report, or one with warnings, and the process has become
//! the runtime; what that says is in `<container>/runtime.log` ([`super::log_failure`]).

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::rc::Rc;

use rustix::fs::{OFlags, ResolveFlags};

use super::devices::{self, GivenDevice};
use super::failure::context;
use super::features::{self, Features};
use super::id_mapped::IdMapped;
use super::namespaces::pod_namespaces;
use super::{Failure, Runtime, pause, protocol, sandbox, volume_mounts};
use crate::config::{Layout, WritableLayer};
use crate::image::{Reference, Store, flash};
use crate::json::{self, Deserialize, Serialize};
use crate::manifest::v1::{ConfigMap, Container, Pod, Secret};
use crate::oci::{self, BundleInput, Device, DeviceKind, HostDevice, NodeFacts, PodNamespaces};
use crate::sorted::BTreeMap;
use crate::spec::image::ImageConfiguration;
use crate::spec::runtime::{LinuxSeccomp, PosixRlimit, Spec};
use crate::sys::loop_device::mount_file;
use crate::sys::{mount, namespace};

pub(super) const REASON: &str = "CreateContainerError";
/// The bundle's configuration.
const CONFIG: &str = "config.json";
/// What takes its place once the runtime has its own copy: what `exec` takes the environment and the user from.
const CONFIG_OF_A_STARTED: &str = "exec.json";
/// `/etc/passwd` and `/etc/group` of an image are read up to this size; an image is not to be trusted.
const USER_FILE_MAX: u64 = 1 << 20;

/// Whether the runtime starts the program in the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// `run --detach`.
    Run,
    /// `create`; [`Runtime::start`] follows.
    Create,
}

/// Where the root file system and the image's configuration come from.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RootSource {
    /// An image of the store, by name or digest, with its layers unpacked.
    Stored(String),
    /// Unpacked layers.
    Unpacked(Box<Unpacked>),
}

/// Unpacked layers and the image's configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unpacked {
    /// Directory that the others are relative to.
    pub base: PathBuf,
    /// Layers, the topmost first, relative to `base` or absolute; at least one.
    pub lower: Vec<PathBuf>,
    /// What to run and how.
    pub config: ImageConfiguration,
}

/// One container instance to be started. The pod's sandbox stands, `<container>/` with its FIFOs is there, descriptors 1 and 2
/// are the container's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LaunchRequest {
    /// [`protocol::VERSION`].
    pub version: u32,
    /// One call or two.
    pub mode: Mode,
    /// Id of the instance.
    pub id: String,
    /// The pod, defaulted.
    pub pod: Rc<Pod>,
    /// Which of its containers.
    pub container: String,
    /// Its root file system.
    pub root: RootSource,
    /// ConfigMaps of the pod's namespace by name, for the environment.
    pub config_maps: BTreeMap<String, Rc<ConfigMap>>,
    /// Secrets of the pod's namespace by name, for the environment.
    pub secrets: BTreeMap<String, Rc<Secret>>,
    /// Addresses of the pod.
    pub pod_ips: Vec<String>,
    /// Variables of the Services of its namespace.
    #[serde(default)]
    pub service_links: Vec<(String, String)>,
    /// Where things lie.
    pub layout: Layout,
    /// The runtime.
    pub runtime: Runtime,
    /// Where the writable layer lives.
    pub writable_layer: WritableLayer,
    /// Facts of the node ([`super::node::facts`]).
    pub node: NodeFacts,
    /// The cgroup that holds all pods; `kubepods`.
    pub cgroup_root: String,
    /// Where `localhostProfile` of seccomp is looked for.
    pub seccomp_root: PathBuf,
    /// Devices that the container has for itself.
    #[serde(default)]
    pub devices: Vec<GivenDevice>,
    /// Socket that gets the terminal's master, for `tty: true`.
    pub console_socket: Option<PathBuf>,
    /// Whether to note in [`RUNTIME_BEGAN`] when the runtime is executed.
    #[serde(default)]
    pub time_runtime: bool,
}

/// File in the container's directory: when the runtime was executed, in microseconds of CLOCK_BOOTTIME as text.
pub const RUNTIME_BEGAN: &str = "runtime-began";

/// The role's entry: request on descriptor 0, report on descriptor 3. Comes back only when it failed.
pub fn main() -> ExitCode {
    protocol::serve_until_exec("launch", |helper, request: LaunchRequest| {
        let (mut command, warnings) = prepare(&request)?;
        let own_users = super::namespaces::has_own_users(&request.pod);
        helper.drop_request(own_users).map_err(context(REASON, "opening", Path::new("/dev/null")))?;
        let log = request.layout.container(&request.id).join("runtime.log");
        let began = request.time_runtime.then(|| request.layout.container(&request.id).join(RUNTIME_BEGAN));
        Ok((warnings, move || {
            if let Some(began) = began {
                // Only for people: no chart is no reason not to start.
                let _ = fs::write(began, crate::sys::clock::boottime_us().to_string());
            }
            note_exec_failure(&log, &command.exec());
        }))
    })
}

/// Where [`super::log_failure`] looks: the report may have been written already.
fn note_exec_failure(log: &Path, error: &io::Error) {
    let line = serde_json::json!({ "level": "error", "msg": format!("the runtime could not be executed: {error}") });
    let written = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .and_then(|mut log| log.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        log::error!("{}: {error}", log.display());
    }
}

/// Makes root file system and bundle in a new mount namespace; the command is the runtime's, to be executed in place.
pub fn prepare(request: &LaunchRequest) -> Result<(Command, Vec<String>), Failure> {
    let LaunchRequest { id, layout, .. } = request;
    if id.contains('/') || !mount::is_plain_relative(Path::new(id)) {
        return Err(Failure::new(REASON, format!("{id:?} is not a container id")));
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let dir = layout.container(id);
    let rootfs = Layout::rootfs(&dir);
    fs::create_dir_all(&rootfs).map_err(context(REASON, "creating", &rootfs))?;

    // In case it was killed since the sandbox was made: its pid namespace cannot be entered any more. Before the mount namespace is
    // left in which the pod's other containers look for it.
    pause::ensure(layout, &request.pod, &sandbox::pod_cgroup(&request.cgroup_root, &request.pod))?;
    namespace::unshare_mounts().map_err(context(REASON, "unsharing the mount namespace for", &dir))?;
    request.runtime.hide_hybrid_cgroups().map_err(context(REASON, "hiding cgroup2 from", &request.runtime.path))?;
    let unpacked = match &request.root {
        RootSource::Stored(reference) => &stored(layout, reference, &dir.join("flash"))?,
        RootSource::Unpacked(unpacked) => unpacked.as_ref(),
    };
    let namespaces = pod_namespaces(layout, &request.pod);
    let ids = namespaces.user.as_ref().map(|user| IdMapped::open(user, layout, &rootfs)).transpose()?;
    mount_root(request, unpacked, &dir, &rootfs, ids.as_ref())?;
    let warnings = write_bundle(request, &unpacked.config, &dir, &rootfs, (&namespaces, ids.as_ref()))?;

    let root = layout.runtime_root();
    fs::create_dir_all(&root).map_err(context(REASON, "creating", &root))?;
    let mut command = request.runtime.command(&root, &dir.join("runtime.log"));
    match request.mode {
        Mode::Run => command.args(["run", "--detach"]),
        Mode::Create => command.arg("create"),
    };
    command.arg("--bundle").arg(&dir).arg("--pid-file").arg(dir.join("pid"));
    if let Some(socket) = &request.console_socket {
        command.arg("--console-socket").arg(socket);
    }
    command.arg(id);
    Ok((command, warnings))
}

/// An image of the store, which the image worker has imported and unpacked before, or one on flash, whose layers are mounted below
/// `mounts` in this mount namespace.
pub(super) fn stored(layout: &Layout, reference: &str, mounts: &Path) -> Result<Unpacked, Failure> {
    let failed = |error: crate::image::Error| Failure::new(REASON, format!("image {reference}: {error}"));
    let parsed: Reference = reference.parse().map_err(failed)?;
    let image = Store::open(layout).and_then(|store| store.resolve(&parsed)).map_err(failed)?;
    match image {
        Some(image) if image.unpacked => {
            Ok(Unpacked { base: layout.layers(), lower: image.lower_dirs(), config: image.config })
        }
        Some(_) => Err(Failure::new(REASON, format!("image {reference} is not unpacked yet"))),
        None => match flash::resolve(&layout.preload, &parsed).map_err(failed)? {
            Some((description, found)) => on_flash(&description, found, mounts).map_err(failed),
            None => Err(Failure::new(
                REASON,
                format!("image {reference} is neither in the store any more nor on flash; import it again"),
            )),
        },
    }
}

/// Mounts the layers of an image where they lie. The mounts go with the container, and then the devices below them.
fn on_flash(description: &Path, found: flash::Found, mounts: &Path) -> crate::image::Result<Unpacked> {
    let mut lower = Vec::new();
    for (number, layer) in found.description.layers.iter().rev().enumerate() {
        let file = flash::layer_path(description, layer)?;
        let kind = flash::kind_of(&file)?;
        let name = PathBuf::from(number.to_string());
        let target = mounts.join(&name);
        let failed = |error: io::Error| {
            let hint = match error.raw_os_error() {
                Some(libc::ENODEV) => ": this kernel has no such file system",
                Some(libc::ENOENT | libc::ENXIO) => ": this kernel has no loop devices (module loop)",
                Some(libc::EINVAL | libc::EIO) => ": it is damaged, or made for a newer kernel; copy it again",
                _ => "",
            };
            crate::image::Error::io(format!("mounting its layer {} ({kind}){hint}", file.display()), error)
        };
        fs::create_dir_all(&target).and_then(|()| mount_file(&file, kind, &target)).map_err(failed)?;
        lower.push(name);
    }
    Ok(Unpacked { base: mounts.to_owned(), lower, config: found.config })
}

/// The writable layer is always there, also for a read-only root: the runtime makes mount points in it.
fn mount_root(
    request: &LaunchRequest,
    unpacked: &Unpacked,
    dir: &Path,
    rootfs: &Path,
    ids: Option<&IdMapped>,
) -> Result<(), Failure> {
    let Some(top) = unpacked.lower.first().map(|layer| unpacked.base.join(layer)) else {
        return Err(Failure::new(REASON, "the image has no layers, so there is nothing to run"));
    };
    let layer = match request.writable_layer {
        WritableLayer::Data => request.layout.container_data(&request.id),
        WritableLayer::Memory(bytes) => {
            let layer = dir.join("layer");
            fs::create_dir_all(&layer).map_err(context(REASON, "creating", &layer))?;
            mount::tmpfs_for_layer(&layer, bytes).map_err(context(REASON, "mounting a tmpfs on", &layer))?;
            layer
        }
    };
    let (upper, work) = (layer.join("upper"), layer.join("work"));
    for path in [&upper, &work] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(context(REASON, "creating", path))?;
    }
    // overlayfs takes the attributes of the root directory from the writable layer.
    let attributes = top.metadata().map_err(context(REASON, "reading the layer", &top))?;
    let [uid, gid] = [attributes.uid(), attributes.gid()].map(|id| ids.map_or(id, |ids| ids.on_host(id)));
    std::os::unix::fs::chown(&upper, Some(uid), Some(gid))
        .and_then(|()| fs::set_permissions(&upper, attributes.permissions()))
        .map_err(context(REASON, "setting the owner and mode of", &upper))?;
    let mapped = dir.join("lower");
    let (base, lower) = match ids {
        Some(ids) => (&mapped, &ids.layers(&unpacked.base, &unpacked.lower, &mapped)?),
        None => (&unpacked.base, &unpacked.lower),
    };
    mount::overlay(base, lower, &upper, &work, rootfs).map_err(context(REASON, "mounting the overlay on", rootfs))
}

fn write_bundle(
    request: &LaunchRequest,
    image: &ImageConfiguration,
    dir: &Path,
    rootfs: &Path,
    (namespaces, ids): (&PodNamespaces, Option<&IdMapped>),
) -> Result<Vec<String>, Failure> {
    let LaunchRequest { id, layout, pod, .. } = request;
    let files = sandbox::generated_files(layout, pod, id);
    if let Some(log) = &files.termination_log {
        // Any user of the container may write to it (kubelet).
        fs::File::options().create(true).append(true).open(log).map_err(context(REASON, "creating", log))?;
        fs::set_permissions(log, fs::Permissions::from_mode(0o666)).map_err(context(
            REASON,
            "setting the mode of",
            log,
        ))?;
    }
    let [passwd, group] = ["etc/passwd", "etc/group"].map(|name| read_in_root(rootfs, name));
    let localhost_seccomp = localhost_profile(request);
    let volumes = volume_mounts::volumes(request, dir, ids)?;
    let env_files = volume_mounts::env_files(container(request), &volumes);
    let nothing_else = BTreeMap::new();
    let features = Features::known(layout, &request.runtime).unwrap_or_default();
    let mut node = request.node.clone();
    node.seccomp &= !features.lacks(features::SECCOMP);
    if let Some(profiles) = &mut node.app_armor {
        // Somebody may have loaded one since the start.
        *profiles = super::node::app_armor_profiles();
    }
    let mut input = BundleInput {
        pod,
        container_name: &request.container,
        container_id: id,
        rootfs,
        image,
        image_passwd: passwd.as_deref(),
        image_group: group.as_deref(),
        config_maps: &request.config_maps,
        secrets: &request.secrets,
        namespaces,
        pod_ips: &request.pod_ips,
        service_links: &request.service_links,
        volumes: &volumes,
        sources: &nothing_else,
        env_files: &env_files,
        files: &files,
        host_devices: &if is_privileged(request) { host_devices(Path::new("/dev")) } else { Vec::new() },
        localhost_seccomp: localhost_seccomp.as_ref(),
        node: &node,
    };
    let sources = volume_mounts::sources(&input, dir)?;
    input.sources = &sources;
    let bundle = oci::bundle(&input).map_err(|error| Failure::new(error.reason.as_str(), error.message))?;
    let mut spec: Spec = bundle.spec;
    if let Some(linux) = spec.linux_mut() {
        linux.set_cgroups_path(Some(format!("{}/{id}", sandbox::pod_cgroup(&request.cgroup_root, pod)).into()));
    }
    if let Some(ids) = ids {
        let mut own = volume_mounts::of_images(request, dir, &sources);
        own.extend(sandbox::own_of(layout, &pod.metadata.uid));
        ids.volumes(&mut spec, &own, &dir.join("volumes"))?;
    }
    devices::give(&request.devices, dir, ids, &mut spec)?;
    if let Some(process) = spec.process_mut() {
        process.set_rlimits(Some(vec![open_files()]));
    }
    write_spec(&dir.join(CONFIG), &spec)?;
    if request.runtime.rereads_the_process_only() {
        let mut rest = Spec::default();
        rest.set_version(spec.version().clone()).set_root(spec.root().clone()).set_process(spec.process().clone());
        rest.set_mounts(None).set_linux(None);
        write_spec(&dir.join(CONFIG_OF_A_STARTED), &rest)?;
    }
    Ok(bundle.warnings)
}

/// The limit of open files as it is here, for the container. The runtime would hand on its own, which some have raised for
/// themselves (Go 1.19 to 1.20), and a soft limit of half a million makes old daemons close each descriptor there could be.
fn open_files() -> PosixRlimit {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let mut files = PosixRlimit::default();
    files.set_typ("RLIMIT_NOFILE".to_owned()).set_soft(soft).set_hard(hard);
    files
}

/// It holds the environment, and with it Secrets.
fn write_spec(path: &Path, spec: &Spec) -> Result<(), Failure> {
    let write = || {
        let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?;
        file.write_all(&json::to_vec(spec)?)
    };
    write().map_err(context(REASON, "writing", path))
}

/// What nobody needs of a bundle whose container has been made, and whose process is on record, is given back: it lies in memory.
pub fn shrink(container_dir: &Path) {
    // Whatever is not there was dropped before, or never made.
    let _ = fs::rename(container_dir.join(CONFIG_OF_A_STARTED), container_dir.join(CONFIG));
    let _ = fs::remove_file(container_dir.join("pid"));
}

/// The device that a file is, if it is one.
pub(super) fn device(metadata: &fs::Metadata) -> Option<Device> {
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => DeviceKind::Char,
        kind if kind.is_block_device() => DeviceKind::Block,
        _ => return None,
    };
    let number = metadata.rdev();
    Some(Device { kind, major: rustix::fs::major(number).into(), minor: rustix::fs::minor(number).into() })
}

/// The container that is asked for.
pub(super) fn container(request: &LaunchRequest) -> Option<&Container> {
    let spec = &request.pod.spec;
    spec.containers.iter().chain(&spec.init_containers).find(|container| container.name == request.container)
}

fn is_privileged(request: &LaunchRequest) -> bool {
    container(request).and_then(|c| c.security_context.as_ref()?.privileged) == Some(true)
}

/// Device nodes below `/dev`; what cannot be read is left out, and the terminals of others stay theirs.
fn host_devices(dev: &Path) -> Vec<HostDevice> {
    let mut devices = Vec::new();
    let mut pending = vec![dev.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if metadata.is_dir() {
                if !["pts", "shm", "mqueue", "hugepages", "fd"].iter().any(|name| path == dev.join(name)) {
                    pending.push(path);
                }
            } else if let Some(device) = device(&metadata).filter(|_| path != dev.join("console")) {
                let mode = metadata.mode() & 0o7777;
                devices.push(HostDevice { path, device, mode, uid: metadata.uid(), gid: metadata.gid() });
            }
        }
    }
    devices
}

/// The profile that the manifest names, from the node's `seccomp` directory.
fn localhost_profile(request: &LaunchRequest) -> Option<Result<LinuxSeccomp, String>> {
    let of_container = container(request).and_then(|c| c.security_context.as_ref()?.seccomp_profile.as_ref());
    let profile = of_container.or(request.pod.spec.security_context.seccomp_profile.as_ref())?;
    let name = profile.localhost_profile.as_deref().filter(|_| profile.kind == "Localhost")?;
    let read = || -> Result<LinuxSeccomp, String> {
        if !mount::is_plain_relative(Path::new(name)) {
            return Err("it must be a relative path without '..'".to_owned());
        }
        let path = request.seccomp_root.join(name);
        let failed = |error: &dyn std::fmt::Display| {
            format!("cannot load seccomp profile \"{}\" (seccompProfile.localhostProfile): {error}", path.display())
        };
        let text = fs::read(&path).map_err(|error| failed(&error))?;
        json::from_slice(&text).map_err(|error| failed(&error))
    };
    Some(read())
}

/// Reads a text file of the container's root; links are resolved inside it, so none leads out. `None` when it is not there, is
/// no ordinary file, or is larger than anything sensible.
fn read_in_root(rootfs: &Path, name: &str) -> Option<String> {
    let root =
        rustix::fs::open(rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty()).ok()?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = fs::File::from(rustix::fs::openat2(&root, name, flags, rustix::fs::Mode::empty(), resolve).ok()?);
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > USER_FILE_MAX {
        return None;
    }
    let mut text = Vec::new();
    file.take(USER_FILE_MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn user_files_are_read_without_leaving_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("usr")).unwrap();
        fs::write(dir.path().join("passwd"), "outside").unwrap();
        fs::write(root.join("usr/passwd"), "inside").unwrap();
        symlink("/usr/passwd", root.join("etc/passwd")).unwrap();
        assert_eq!(read_in_root(&root, "etc/passwd").unwrap(), "inside");
        fs::remove_file(root.join("etc/passwd")).unwrap();
        symlink("../../passwd", root.join("etc/passwd")).unwrap();
        assert_eq!(read_in_root(&root, "etc/passwd"), None);
        assert_eq!(read_in_root(&root, "etc/group"), None);
    }

    #[test]
    fn a_fifo_and_a_giant_in_place_of_a_user_file_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        assert_eq!(read_in_root(dir.path(), "fifo"), None);
        fs::File::create(dir.path().join("giant")).unwrap().set_len(USER_FILE_MAX + 1).unwrap();
        assert_eq!(read_in_root(dir.path(), "giant"), None);
    }

    #[test]
    fn devices_of_the_host_are_found_by_number() {
        let devices = host_devices(Path::new("/dev"));
        let null = devices.iter().find(|device| device.path == Path::new("/dev/null")).unwrap();
        assert_eq!(null.device, Device { kind: DeviceKind::Char, major: 1, minor: 3 });
        assert!(!devices.iter().any(|device| device.path.starts_with("/dev/pts")));
    }
}
