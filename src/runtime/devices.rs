//! [`GivenDevice`]: a device that a container has for itself, by the node's setting `devices`.
//!
//! Its node is made on a tmpfs that is in the mount namespace of `launch` only, and mounted from there. So it is not the host's
//! node, which goes when the device is unplugged: it stays, and leads to the device again when that comes back under its number.
//! It belongs to the container's user, since the device is nobody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::Failure;
use super::failure::context;
use super::id_mapped::IdMapped;
use super::launch::REASON;
use crate::json::{Deserialize, Serialize};
use crate::spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, Mount, Spec};
use crate::sys::mount;

/// Room for the nodes.
const BYTES: u64 = 64 << 10;

/// A device that a container has for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenDevice {
    /// Where the container finds it.
    pub path: PathBuf,
    /// A block device, else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// Makes the nodes below the container's directory `dir` and puts them into its configuration.
pub(super) fn give(
    devices: &[GivenDevice],
    dir: &Path,
    ids: Option<&IdMapped>,
    spec: &mut Spec,
) -> Result<(), Failure> {
    if devices.is_empty() {
        return Ok(());
    }
    let user = spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid())).unwrap_or_default();
    let [uid, gid] = [user.0, user.1].map(|id| ids.map_or(id, |ids| ids.on_host(id)));
    let home = dir.join("devices");
    fs::create_dir_all(&home)
        .and_then(|()| mount::tmpfs_for_layer(&home, BYTES))
        // The pod's own root passes through it.
        .and_then(|()| fs::set_permissions(&home, fs::Permissions::from_mode(0o711)))
        .map_err(context(REASON, "mounting a tmpfs on", &home))?;
    for (number, device) in devices.iter().enumerate() {
        let node = home.join(number.to_string());
        let (kind, of_runtime) = if device.block {
            (FileType::BlockDevice, LinuxDeviceType::B)
        } else {
            (FileType::CharacterDevice, LinuxDeviceType::C)
        };
        mknodat(CWD, &node, kind, Mode::from_raw_mode(0o600), makedev(device.major, device.minor))
            .map_err(Into::into)
            .and_then(|()| std::os::unix::fs::chown(&node, Some(uid), Some(gid)))
            .and_then(|()| fs::set_permissions(&node, fs::Permissions::from_mode(0o660)))
            .map_err(context(REASON, "making the device", &node))?;
        let mut bind = Mount::default();
        let options = ["bind", "rprivate", "nosuid", "noexec", "rw"].map(str::to_owned).to_vec();
        bind.set_destination(device.path.clone())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(node))
            .set_options(Some(options));
        spec.mounts_mut().into_iter().for_each(|mounts| mounts.push(bind.clone()));
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true)
            .set_typ(Some(of_runtime))
            .set_major(Some(device.major.into()))
            .set_minor(Some(device.minor.into()))
            .set_access(Some("rw".to_owned()));
        if let Some(rules) = spec.linux_mut().and_then(|linux| linux.device_rules_mut()) {
            rules.push(rule);
        }
    }
    Ok(())
}
