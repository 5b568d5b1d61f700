//! [`find`] and [`wait_for`]: the block device that a setting names (`PARTLABEL=NAME` or `/dev/NAME`), without udev.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often is looked again while a device is waited for: drivers probe for milliseconds, and tell nobody without udev.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The unit in which the kernel counts, whatever the disk's own is.
pub(super) const SECTOR: u64 = 512;
/// What is left free at the end of a disk, and what ends are aligned to: the copy of a GPT lies there.
const TAIL: u64 = 1 << 20;

/// A partition (or a whole disk) that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    /// The kernel's name, for example `mmcblk0p4`.
    pub(super) name: String,
    /// Its directory below `/sys/class/block`.
    sysfs: PathBuf,
}

impl Partition {
    /// Its device file.
    pub(super) fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Its size in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.sectors("size").saturating_mul(SECTOR)
    }

    /// Where it begins on its disk, in bytes.
    pub(super) fn start(&self) -> u64 {
        self.sectors("start").saturating_mul(SECTOR)
    }

    /// Its size in bytes if it reached up to the end of its disk.
    pub(super) fn bytes_up_to_the_end(&self) -> u64 {
        let disk = self.disk().map_or(0, |(disk, _)| disk.bytes());
        let end = (disk / TAIL).saturating_sub(1).saturating_mul(TAIL);
        end.saturating_sub(self.start())
    }

    /// The disk it lies on and its number there; `None` for a whole disk.
    pub(super) fn disk(&self) -> Option<(Partition, u32)> {
        let number = fs::read_to_string(self.sysfs.join("partition")).ok()?.trim().parse().ok()?;
        let disk = fs::canonicalize(&self.sysfs).ok()?.parent()?.to_owned();
        Some((Partition { name: disk.file_name()?.to_str()?.to_owned(), sysfs: disk }, number))
    }

    /// Bytes of the disk behind this partition that belong to none; 0 where another partition follows it.
    pub(super) fn free_behind(&self) -> u64 {
        let Some((disk, _)) = self.disk() else { return 0 };
        let end = self.sectors("start").saturating_add(self.sectors("size"));
        let siblings = fs::read_dir(&disk.sysfs).into_iter().flatten().filter_map(Result::ok);
        let starts = siblings.filter_map(|sibling| number(&sibling.path().join("start")));
        if starts.into_iter().any(|start| start >= end) {
            return 0;
        }
        disk.sectors("size").saturating_sub(end).saturating_mul(SECTOR)
    }

    fn sectors(&self, file: &str) -> u64 {
        number(&self.sysfs.join(file)).unwrap_or(0)
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The device a setting names; with two of one label, that on the disk of the root file system.
pub(super) fn find(setting: &str) -> Option<Partition> {
    find_below(Path::new("/sys"), setting)
}

fn find_below(sys: &Path, setting: &str) -> Option<Partition> {
    let class = sys.join("class/block");
    let partition = |name: &str| Partition { name: name.to_owned(), sysfs: class.join(name) };
    if let Some(name) = setting.strip_prefix("/dev/") {
        return class.join(name).exists().then(|| partition(name));
    }
    let label = setting.strip_prefix("PARTLABEL=")?;
    let mut found: Vec<Partition> = fs::read_dir(&class)
        .ok()?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let uevent = fs::read_to_string(class.join(&name).join("uevent")).ok()?;
            (label_of(&uevent) == Some(label)).then(|| partition(&name))
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let root_disk = root_disk(sys);
    let preferred = found.iter().position(|p| root_disk.is_some() && p.disk().map(|(disk, _)| disk.name) == root_disk);
    if found.is_empty() { None } else { Some(found.swap_remove(preferred.unwrap_or(0))) }
}

/// The disk the root file system lies on.
fn root_disk(sys: &Path) -> Option<String> {
    let device = fs::metadata("/").ok().map(|meta| std::os::unix::fs::MetadataExt::dev(&meta))?;
    let numbers = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let directory = fs::canonicalize(sys.join("dev/block").join(numbers)).ok()?;
    let disk = if directory.join("partition").exists() { directory.parent()? } else { &directory };
    Some(disk.file_name()?.to_str()?.to_owned())
}

fn label_of(uevent: &str) -> Option<&str> {
    uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="))
}

/// Waits until the device is there and its device file too, at most until `end`.
pub(super) fn wait_for(setting: &str, end: Instant) -> Option<Partition> {
    loop {
        if let Some(partition) = find(setting).filter(|partition| partition.device().exists()) {
            return Some(partition);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A disk `vda` of 1000 sectors with partitions of (name, label, start, size).
    fn sysfs(partitions: &[(&str, &str, u64, u64)]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let (disk, class) = (sys.path().join("devices/vda"), sys.path().join("class/block"));
        fs::create_dir_all(&disk).unwrap();
        fs::create_dir_all(&class).unwrap();
        fs::write(disk.join("size"), "1000\n").unwrap();
        fs::write(disk.join("uevent"), "DEVNAME=vda\nDEVTYPE=disk\n").unwrap();
        std::os::unix::fs::symlink("../../devices/vda", class.join("vda")).unwrap();
        for (index, (name, label, start, size)) in partitions.iter().enumerate() {
            let directory = disk.join(name);
            fs::create_dir(&directory).unwrap();
            fs::write(directory.join("uevent"), format!("DEVNAME={name}\nPARTN={}\nPARTNAME={label}\n", index + 1))
                .unwrap();
            for (file, value) in [("partition", index as u64 + 1), ("start", *start), ("size", *size)] {
                fs::write(directory.join(file), format!("{value}\n")).unwrap();
            }
            std::os::unix::fs::symlink(format!("../../devices/vda/{name}"), class.join(name)).unwrap();
        }
        sys
    }

    #[test]
    fn a_partition_is_found_by_its_label_or_its_name() {
        let sys = sysfs(&[("vda1", "rootA", 0, 100), ("vda2", "data", 100, 800)]);
        let data = find_below(sys.path(), "PARTLABEL=data").unwrap();
        assert_eq!((data.name.as_str(), data.bytes()), ("vda2", 800 * 512));
        assert_eq!(data.disk().map(|(disk, number)| (disk.name, number)), Some(("vda".to_owned(), 2)));
        assert_eq!(find_below(sys.path(), "/dev/vda2").unwrap().name, "vda2");
        for nothing in ["PARTLABEL=dat", "PARTLABEL=", "/dev/vda3", "data"] {
            assert_eq!(find_below(sys.path(), nothing), None, "{nothing}");
        }
    }

    #[test]
    fn only_the_last_partition_has_room_behind_it() {
        let sys = sysfs(&[("vda1", "data", 0, 100), ("vda2", "rootA", 200, 300)]);
        assert_eq!(find_below(sys.path(), "PARTLABEL=data").unwrap().free_behind(), 0);
        assert_eq!(find_below(sys.path(), "PARTLABEL=rootA").unwrap().free_behind(), 500 * 512);
        assert_eq!(find_below(sys.path(), "/dev/vda").unwrap().free_behind(), 0);
    }
}
