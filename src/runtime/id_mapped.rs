//! What a container with users of its own (`hostUsers: false`) sees of the host's files: [`IdMapped`].
//!
//! runc 1.1 ignores `uidMappings` of mounts without a word, so the id-mapped mounts are made here, in the mount namespace of `launch`,
//! and the runtime binds those: layers of the image below its overlay, and volumes. On disk owners are what the container says they
//! are; on the host's process list they are others.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::failure::{Failure, context};
use super::launch::REASON;
use crate::config::Layout;
use crate::oci::UserNamespace;
use crate::spec::runtime::Spec;
use crate::sys::id_map::{self, ReadOnly};

/// A pod's user namespace, open.
pub(super) struct IdMapped {
    namespace: File,
    first_id: u32,
}

impl IdMapped {
    /// Opens it, and lets its root, who is a stranger on the host, reach the container's directory.
    pub(super) fn open(user: &UserNamespace, layout: &Layout, rootfs: &Path) -> Result<Self, Failure> {
        let namespace = File::open(&user.path).map_err(context(REASON, "opening", &user.path))?;
        open_the_way(layout, rootfs)?;
        Ok(Self { namespace, first_id: user.first_id })
    }

    /// The host's id of one inside.
    pub(super) fn on_host(&self, id: u32) -> u32 {
        self.first_id.saturating_add(id)
    }

    /// Id-mapped mounts of these layers below `dir`, and their names there.
    pub(super) fn layers(&self, base: &Path, layers: &[PathBuf], dir: &Path) -> Result<Vec<PathBuf>, Failure> {
        let mut names = Vec::with_capacity(layers.len());
        for (number, layer) in layers.iter().enumerate() {
            let name = PathBuf::from(number.to_string());
            let target = dir.join(&name);
            fs::create_dir_all(&target).map_err(context(REASON, "creating", &target))?;
            let source = base.join(layer);
            id_map::mount(&source, &target, Some(&self.namespace), false, ReadOnly::No)
                .map_err(|error| refused(&source, &error))?;
            names.push(name);
        }
        Ok(names)
    }

    /// Has each bind mount of the configuration go through an id-mapped mount below `dir`. What lies in one of `own` belongs to the
    /// pod's users already, and a device keeps its owner.
    ///
    /// Read-only they become here as well: in the user namespace runc 1.1 may not, since it leaves out the flags of the file system.
    pub(super) fn volumes(&self, spec: &mut Spec, own: &[PathBuf], dir: &Path) -> Result<(), Failure> {
        let Some(mounts) = spec.mounts_mut() else { return Ok(()) };
        for (number, mount) in mounts.iter_mut().enumerate() {
            let Some(source) = mount.source().clone().filter(|_| mount.typ().as_deref() == Some("bind")) else {
                continue;
            };
            let mut options = mount.options().clone().unwrap_or_default();
            let read_only = read_only(&options);
            let is_own = own.iter().any(|own| source.starts_with(own));
            let metadata = source.metadata().map_err(context(REASON, "looking at the volume", &source))?;
            let is_device = metadata.file_type().is_char_device() || metadata.file_type().is_block_device();
            if (is_own || is_device) && read_only == ReadOnly::No {
                continue;
            }
            fs::create_dir_all(dir).map_err(context(REASON, "creating", dir))?;
            let target = dir.join(number.to_string());
            if metadata.is_dir() {
                fs::create_dir_all(&target).map_err(context(REASON, "creating", &target))?;
            } else {
                File::create(&target).map_err(context(REASON, "creating", &target))?;
            }
            let users = (!is_own && !is_device).then_some(&self.namespace);
            let recursive = options.iter().any(|option| option == "rbind");
            id_map::mount(&source, &target, users, recursive, read_only).map_err(|error| refused(&source, &error))?;
            options.retain(|option| !matches!(option.as_str(), "ro" | "rro" | "rw"));
            mount.set_source(Some(target)).set_options(Some(options));
        }
        Ok(())
    }
}

/// The last word counts (mount(8)).
fn read_only(options: &[String]) -> ReadOnly {
    options.iter().fold(ReadOnly::No, |so_far, option| match option.as_str() {
        "ro" if so_far != ReadOnly::All => ReadOnly::Top,
        "rro" => ReadOnly::All,
        "rw" => ReadOnly::No,
        _ => so_far,
    })
}

fn refused(source: &Path, error: &io::Error) -> Failure {
    let what = match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP) => format!(
            "the file system of {} cannot show it to users of another user namespace under this kernel ({}): \
             Linux 5.12 can for ext4 and xfs, 5.19 below an overlay, 6.3 for tmpfs; set hostUsers: true, or put the volume elsewhere",
            source.display(),
            rustix::system::uname().release().to_string_lossy(),
        ),
        _ => format!("mounting {} with the ids of the pod's user namespace: {error}", source.display()),
    };
    Failure::new(REASON, format!("hostUsers: false: {what}"))
}

/// The runtime's second half runs as the pod's root, to whom the host's directories are those of others: they must be searchable.
/// What need not be reached is closed to all others.
pub(super) fn open_the_way(layout: &Layout, rootfs: &Path) -> Result<(), Failure> {
    for (path, mode) in [(layout.pods(), 0o700), (layout.runtime_root(), 0o700), (layout.run.clone(), 0o711)] {
        fs::create_dir_all(&path)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(context(REASON, "setting the mode of", &path))?;
    }
    let closed = rootfs.ancestors().find(|dir| dir.metadata().is_ok_and(|metadata| metadata.mode() & 0o001 == 0));
    match closed {
        None => Ok(()),
        Some(dir) => Err(Failure::new(
            REASON,
            format!(
                "hostUsers: false: the pod's root is nobody special on the host and cannot pass through {}; chmod o+x it, or choose \
                 another runDir",
                dir.display()
            ),
        )),
    }
}
