//! What a container sees mounted, and which devices it may use: [`mounts`], [`device_rules`].

use std::path::{Component, Path, PathBuf};

use super::{BundleInput, ConfigError, DeviceKind};
use crate::manifest::v1;
use crate::sorted::BTreeMap;
use crate::spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount};

/// containerd's default mounts: destination, type, source, options.
const DEFAULT: [(&str, &str, &str, &[&str]); 6] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime"]),
];
/// Where a pod has no `/dev/shm` of its own to share.
const SHM: (&str, &str, &str, &[&str]) =
    ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]);

/// All mounts, parents before children. A mount of the manifest replaces a default or generated one at its path, and
/// one at `/dev` all of those below `/dev`.
pub(crate) fn mounts(input: &BundleInput, warnings: &mut Vec<String>) -> Result<Vec<Mount>, ConfigError> {
    let container = input.container()?;
    let context = container.security_context.as_ref();
    let privileged = context.and_then(|c| c.privileged) == Some(true);
    let read_only_root = context.and_then(|c| c.read_only_root_filesystem) == Some(true);

    let mut of_manifest = Vec::with_capacity(container.volume_mounts.len());
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        of_manifest.push(volume_mount(input, index, mount)?);
    }

    let mut mounts = Vec::new();
    for (destination, kind, source, options) in DEFAULT {
        let mut options = options.to_vec();
        if matches!(kind, "sysfs" | "cgroup") && !privileged {
            options.push("ro");
        }
        mounts.push(mount(destination, kind, Path::new(source), &options));
    }
    match (&input.files.shm, input.pod.spec.host_ipc) {
        (_, true) => mounts.push(bind(Path::new("/dev/shm"), Path::new("/dev/shm"), false)),
        (Some(shm), false) => mounts.push(bind(Path::new("/dev/shm"), shm, false)),
        (None, false) => mounts.push(mount(SHM.0, SHM.1, Path::new(SHM.2), SHM.3)),
    }
    // containerd: hostname and resolv.conf follow the root file system, the hosts file stays writable.
    for (destination, source, read_only) in [
        ("/etc/hosts", &input.files.hosts, false),
        ("/etc/hostname", &input.files.hostname, read_only_root),
        ("/etc/resolv.conf", &input.files.resolv_conf, read_only_root),
        (container.termination_message_path.as_str(), &input.files.termination_log, false),
    ] {
        if let Some(source) = source
            && !destination.is_empty()
        {
            mounts.push(bind(&clean(destination), source, read_only));
        }
    }

    mounts.retain(|generated| {
        !of_manifest.iter().any(|mount| {
            mount.destination() == generated.destination()
                || (mount.destination() == Path::new("/dev") && generated.destination().starts_with("/dev"))
        })
    });
    mounts.extend(of_manifest);
    mounts.sort_by_key(|mount| mount.destination().components().count());
    if read_only_root {
        warn_of_read_only_image_volumes(input, &mounts, warnings);
    }
    Ok(mounts)
}

fn volume_mount(input: &BundleInput, index: usize, wanted: &v1::VolumeMount) -> Result<Mount, ConfigError> {
    let host = input.volumes.get(&wanted.name).ok_or_else(|| {
        ConfigError::create(format!("volume \"{}\" of container {} is not mounted", wanted.name, input.container_name))
    })?;
    let source = input.sources.get(&index).unwrap_or(&host.path);
    let read_only = wanted.read_only || volume(input.pod, &wanted.name).is_some_and(v1::Volume::is_read_only);
    let mut bind = bind(&clean(&wanted.mount_path), source, read_only);
    let propagation = match wanted.mount_propagation.as_deref() {
        Some(BIDIRECTIONAL) => "rshared",
        Some(HOST_TO_CONTAINER) => "rslave",
        _ => return Ok(bind),
    };
    bind.set_options(Some(["rbind", propagation, if read_only { "ro" } else { "rw" }].map(str::to_owned).to_vec()));
    Ok(bind)
}

/// Values of `mountPropagation` beside the default.
pub(crate) const BIDIRECTIONAL: &str = "Bidirectional";
pub(crate) const HOST_TO_CONTAINER: &str = "HostToContainer";

/// What the container's mount table as a whole must let through for its volumes' mounts to do so (containerd).
pub(crate) fn root_propagation(container: &v1::Container) -> Option<String> {
    let any = |wanted: &str| container.volume_mounts.iter().any(|m| m.mount_propagation.as_deref() == Some(wanted));
    let propagation = if any(BIDIRECTIONAL) {
        "rshared"
    } else if any(HOST_TO_CONTAINER) {
        "rslave"
    } else {
        return None;
    };
    Some(propagation.to_owned())
}

/// containerd gives such paths a writable directory of their own; here they are part of the root file system.
fn warn_of_read_only_image_volumes(input: &BundleInput, mounts: &[Mount], warnings: &mut Vec<String>) {
    for path in input.image_config().and_then(|config| config.volumes().as_ref()).into_iter().flat_map(BTreeMap::keys) {
        let path = clean(path);
        if !mounts.iter().any(|mount| path.starts_with(mount.destination())) {
            warnings.push(format!(
                "container {}: the image expects to write to {}, which is read-only with readOnlyRootFilesystem; \
                 mount an emptyDir there",
                input.container_name,
                path.display()
            ));
        }
    }
}

/// Rules of the device cgroup. The runtime itself adds null, zero, full, random, urandom, tty, console, ptmx and pts.
pub(crate) fn device_rules(
    input: &BundleInput,
    warnings: &mut Vec<String>,
) -> Result<Vec<LinuxDeviceCgroup>, ConfigError> {
    let container = input.container()?;
    let privileged = container.security_context.as_ref().and_then(|c| c.privileged) == Some(true);
    let mut all = LinuxDeviceCgroup::default();
    all.set_allow(privileged).set_access(Some("rwm".to_owned()));
    let mut rules = vec![all];
    if privileged {
        return Ok(rules);
    }
    for mount in &container.volume_mounts {
        let Some(device) = input.volumes.get(&mount.name).and_then(|volume| volume.device) else { continue };
        let kind = volume(input.pod, &mount.name).and_then(|v| v.host_path.as_ref()).map(|path| path.kind.as_str());
        if !matches!(kind, Some("CharDevice" | "BlockDevice")) {
            warnings.push(format!(
                "container {}: volume \"{}\" is a device that the container may not open; \
                 set hostPath.type to CharDevice or BlockDevice to permit it",
                container.name, mount.name
            ));
            continue;
        }
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(device_type(device.kind)))
            .set_major(Some(device.major))
            .set_minor(Some(device.minor))
            // A read-only mount does not keep anyone from writing to a device; the cgroup does.
            .set_access(Some(if mount.read_only { "r" } else { "rw" }.to_owned()));
        rules.push(rule);
    }
    Ok(rules)
}

/// The host's devices, for privileged containers.
pub(crate) fn host_devices(input: &BundleInput) -> Vec<LinuxDevice> {
    input
        .host_devices
        .iter()
        .map(|host| {
            let mut device = LinuxDevice::default();
            device
                .set_path(host.path.clone())
                .set_typ(device_type(host.device.kind))
                .set_major(host.device.major)
                .set_minor(host.device.minor)
                .set_file_mode(Some(host.mode))
                .set_uid(Some(host.uid))
                .set_gid(Some(host.gid));
            device
        })
        .collect()
}

fn device_type(kind: DeviceKind) -> LinuxDeviceType {
    match kind {
        DeviceKind::Char => LinuxDeviceType::C,
        DeviceKind::Block => LinuxDeviceType::B,
    }
}

fn volume<'a>(pod: &'a v1::Pod, name: &str) -> Option<&'a v1::Volume> {
    pod.spec.volumes.iter().find(|volume| volume.name == name)
}

fn mount(destination: &str, kind: &str, source: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

fn bind(destination: &Path, source: &Path, read_only: bool) -> Mount {
    let mut bind = mount("", "bind", source, &["rbind", "rprivate", if read_only { "ro" } else { "rw" }]);
    bind.set_destination(destination.to_owned());
    bind
}

/// The absolute path without `.`, `..`, doubled and trailing slashes, so that equal places compare equal.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
