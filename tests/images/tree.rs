//! Compares file trees: names, types, modes, owners, times, link structure, extended attributes, contents.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gatepost::config::Layout;
use gatepost::image::StoredImage;

use super::make::{sha256, tool};

/// What a tree looks like, one line a path.
pub(crate) fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() {
            sha256(&std::fs::read(&path).unwrap())
        } else if meta.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else {
            String::new()
        };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        let line = format!(
            "{:o} {}:{} mtime {} links {links} dev {} {content} {:?}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.rdev(),
            xattrs(&path)
        );
        found.insert(path.strip_prefix(root).unwrap().to_owned(), line);
        if meta.is_dir() {
            walk(root, &path, found);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0_u8; 65_536];
    let length = rustix::fs::llistxattr(path, &mut *list).unwrap_or(0);
    let names = list[..length].split(|b| *b == 0).filter(|n| !n.is_empty());
    names
        .filter(|name| !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"security.selinux"))
        .map(|name| {
            let mut value = vec![0_u8; 65_536];
            let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut *value).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// An overlay of an image, mounted as a container's is: by short names, from the layers' directory. Unmounted at the end.
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
}

impl Mounted {
    pub(crate) fn new(layout: &Layout, image: &StoredImage, dir: &Path) -> Self {
        let at = dir.join("merged");
        for name in ["merged", "upper", "work"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        let lower: Vec<String> = image.lower_dirs().iter().map(|p| p.display().to_string()).collect();
        let d = dir.display();
        let options = format!("lowerdir={},upperdir={d}/upper,workdir={d}/work", lower.join(":"));
        assert!(options.len() < 4096, "the options fit one page: {}", options.len());
        // mount(8) resolves names; the system call is made from the right directory by a process of its own.
        let script = "import ctypes,os,sys\nos.chdir(sys.argv[1])\nl=ctypes.CDLL(None,use_errno=True)\n\
                      r=l.mount(b'overlay',sys.argv[2].encode(),b'overlay',0,sys.argv[3].encode())\n\
                      sys.exit(os.strerror(ctypes.get_errno()) if r else 0)";
        tool("python3", &["-c", script, &layout.layers().display().to_string(), &at.display().to_string(), &options]);
        Self { at }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Fails with the first differences.
pub(crate) fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (listing(ours), listing(theirs));
    let differences: Vec<String> = ours
        .keys()
        .chain(theirs.keys())
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .take(20)
        .map(|path| format!("{}\n  ours:   {:?}\n  theirs: {:?}", path.display(), ours.get(path), theirs.get(path)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(!ours.is_empty());
}
