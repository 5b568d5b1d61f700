//! hostPath: what the `type` asks for is checked or made; the path itself is then bind-mounted.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use super::{VolumeError, at};
use crate::manifest::v1::HostPathVolumeSource;

/// Checks or makes the path. Symbolic links are followed, as Kubernetes does.
pub(super) fn prepare(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    if !path.is_absolute() {
        return Err(VolumeError::Refused(format!("hostPath {} is not absolute", source.path)));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(VolumeError::Refused(format!("hostPath {} must not contain '..'", source.path)));
    }
    let found = match path.metadata() {
        Ok(metadata) => Some(metadata),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
        Err(source) => return Err(at("looking at", path)(source)),
    };
    match (source.kind.as_str(), found) {
        ("", Some(_)) => Ok(()),
        // Runtimes make a directory of a missing source, also where a file was meant.
        ("" | "DirectoryOrCreate", None) => {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(at("creating", path))
        }
        ("FileOrCreate", None) => {
            File::options().create(true).append(true).mode(0o644).open(path).map(drop).map_err(at("creating", path))
        }
        (kind, found) => {
            let (noun, is_it): (_, fn(&Metadata) -> bool) = match kind {
                "DirectoryOrCreate" | "Directory" => ("a directory", Metadata::is_dir),
                "FileOrCreate" | "File" => ("a file", Metadata::is_file),
                "Socket" => ("a socket file", |metadata| metadata.file_type().is_socket()),
                "CharDevice" => ("a character device", |metadata| metadata.file_type().is_char_device()),
                "BlockDevice" => ("a block device", |metadata| metadata.file_type().is_block_device()),
                _ => return Err(VolumeError::Refused(format!("unknown hostPath type {kind:?}"))),
            };
            if found.as_ref().is_some_and(is_it) {
                return Ok(());
            }
            Err(VolumeError::Refused(format!("hostPath type check failed: {} is not {noun}", source.path)))
        }
    }
}
