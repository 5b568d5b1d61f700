//! [`Inventory`]: every container log file and its size, kept in memory, and the bounds that rest on it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{Age, LogName};
use crate::sorted::BTreeMap;

type Files = BTreeMap<LogName, u64>;

/// The log files below the log root by container directory. Scanned once, then kept up to date by the one writer.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    loggers: BTreeMap<PathBuf, Files>,
    total: u64,
}

impl Inventory {
    /// Reads `<root>/<pod>/<container>/<file>`. What cannot be read counts as not there.
    pub(crate) fn scan(root: &Path) -> Self {
        let mut inventory = Self::default();
        for pod in directories(root) {
            for container in directories(&pod) {
                inventory.scan_container(&container);
            }
        }
        inventory
    }

    fn scan_container(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_str().and_then(LogName::parse);
            if let (Some(name), Ok(metadata)) = (name, entry.metadata()) {
                self.set(directory, name, metadata.len());
            }
        }
    }

    /// Bytes of all log files together.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Notes a file's size.
    pub(crate) fn set(&mut self, directory: &Path, name: LogName, size: u64) {
        let before = match self.loggers.get_mut(directory) {
            Some(files) => files.insert(name, size),
            None => self.loggers.entry(directory.to_owned()).or_default().insert(name, size),
        };
        self.total = self.total.saturating_sub(before.unwrap_or(0)).saturating_add(size);
    }

    /// A new instance begins: its live file exists from now on, and only the instance before it keeps its logs.
    pub(crate) fn begin_instance(&mut self, directory: &Path, instance: u32) -> io::Result<()> {
        for name in obsolete(self.files(directory), instance) {
            self.delete(directory, name)?;
        }
        fs::create_dir_all(directory)?;
        let live = LogName::live(instance);
        let file = fs::OpenOptions::new().create(true).append(true).open(directory.join(live.to_string()))?;
        self.set(directory, live, file.metadata()?.len());
        Ok(())
    }

    /// Renames the live file away and removes what is then too much. Where renaming fails the live file is removed:
    /// a log must not outgrow its bound.
    pub(crate) fn rotate(&mut self, directory: &Path, instance: u32, max_files: u32, wall_ns: u64) -> io::Result<()> {
        let live = LogName::live(instance);
        let newest = self.files(directory).keys().rev().find(|name| name.instance == instance && name.age != Age::Live);
        let rotated = LogName::rotated(instance, wall_ns, newest.copied());
        match fs::rename(directory.join(live.to_string()), directory.join(rotated.to_string())) {
            Ok(()) => {
                let size = self.forget(directory, live);
                self.set(directory, rotated, size);
            }
            Err(_) => self.delete(directory, live)?,
        }
        for name in surplus(self.files(directory), instance, max_files) {
            self.delete(directory, name)?;
        }
        Ok(())
    }

    /// Removes files, the largest logger's oldest first, until `need` more bytes fit into `bound` (0: no bound).
    pub(crate) fn make_room(&mut self, need: u64, bound: u64) -> io::Result<()> {
        while bound > 0 && self.total.saturating_add(need) > bound {
            let Some((directory, name)) = victim(&self.loggers) else { break };
            self.delete(&directory, name)?;
        }
        Ok(())
    }

    /// Deletes a pod's log directory and forgets what was in it.
    pub(crate) fn remove_tree(&mut self, directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.loggers.retain(|logger, _| !logger.starts_with(directory));
        self.total = self.loggers.values().flat_map(BTreeMap::values).sum();
        Ok(())
    }

    fn files(&self, directory: &Path) -> &Files {
        static NONE: Files = Files::new();
        self.loggers.get(directory).unwrap_or(&NONE)
    }

    fn delete(&mut self, directory: &Path, name: LogName) -> io::Result<()> {
        match fs::remove_file(directory.join(name.to_string())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.forget(directory, name);
                Ok(())
            }
        }
    }

    fn forget(&mut self, directory: &Path, name: LogName) -> u64 {
        let Some(files) = self.loggers.get_mut(directory) else { return 0 };
        let size = files.remove(&name).unwrap_or(0);
        if files.is_empty() {
            self.loggers.remove(directory);
        }
        self.total = self.total.saturating_sub(size);
        size
    }
}

fn directories(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// The files of instances before the one that precedes `instance`.
fn obsolete(files: &Files, instance: u32) -> Vec<LogName> {
    let previous = files.keys().map(|name| name.instance).filter(|other| *other < instance).max().unwrap_or(instance);
    files.keys().filter(|name| name.instance < previous).copied().collect()
}

/// The oldest rotated files of `instance` beyond `max_files`, the live file counted as there.
fn surplus(files: &Files, instance: u32, max_files: u32) -> Vec<LogName> {
    let rotated: Vec<_> =
        files.keys().filter(|name| name.instance == instance && name.age != Age::Live).copied().collect();
    let keep = usize::try_from(max_files.saturating_sub(1)).unwrap_or(usize::MAX);
    let excess = rotated.len().saturating_sub(keep);
    rotated.into_iter().take(excess).collect()
}

/// The oldest file of the logger that uses most; empty files free nothing.
fn victim(loggers: &BTreeMap<PathBuf, Files>) -> Option<(PathBuf, LogName)> {
    let (directory, files) = loggers.iter().max_by_key(|(_, files)| files.values().sum::<u64>())?;
    let (name, _) = files.iter().find(|(_, size)| **size > 0)?;
    Some((directory.clone(), *name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn files(list: &[(&str, u64)]) -> Files {
        list.iter().map(|(name, size)| (LogName::parse(name).unwrap(), *size)).collect()
    }

    fn names(list: &[LogName]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_the_previous_instance_keeps_its_logs() {
        let all = files(&[("1.log", 1), ("3.log", 1), ("3.log.20260101-000000", 1), ("2.log", 1)]);
        assert_eq!(names(&obsolete(&all, 4)), ["1.log", "2.log"]);
        assert_eq!(names(&obsolete(&all, 1)), [""; 0]);
    }

    #[test]
    fn the_oldest_rotated_files_go_and_other_instances_are_left_alone() {
        let all = files(&[("1.log.20260101-000000", 1), ("2.log.20260101-000000", 1), ("2.log.20260101-000000.1", 1)]);
        assert_eq!(names(&surplus(&all, 2, 2)), ["2.log.20260101-000000"]);
        assert_eq!(names(&surplus(&all, 2, 3)), [""; 0]);
    }

    #[test]
    fn the_largest_logger_loses_its_oldest_file_first() {
        let loggers = BTreeMap::from([
            (PathBuf::from("/small"), files(&[("0.log", 5)])),
            (PathBuf::from("/large"), files(&[("7.log", 4), ("7.log.20260101-000000", 2), ("6.log", 0)])),
        ]);
        let (directory, name) = victim(&loggers).unwrap();
        assert_eq!((directory, name.to_string()), (PathBuf::from("/large"), "7.log.20260101-000000".to_owned()));
        assert_eq!(victim(&BTreeMap::from([(PathBuf::from("/a"), files(&[("0.log", 0)]))])), None);
    }

    #[test]
    fn files_on_disk_are_rotated_bounded_and_counted() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("pod/box");
        let mut inventory = Inventory::default();
        inventory.begin_instance(&directory, 3).unwrap();
        for _ in 0..4 {
            fs::write(directory.join("3.log"), b"12345678").unwrap();
            inventory.set(&directory, LogName::live(3), 8);
            inventory.rotate(&directory, 3, 3, 1_767_355_200_000_000_000).unwrap();
        }
        let mut left: Vec<_> = directories(&directory.join("..")).collect();
        assert_eq!(left.len(), 1);
        left = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
        left.sort();
        assert_eq!(left, [PathBuf::from("3.log.20260102-120000.2"), PathBuf::from("3.log.20260102-120000.3")]);
        assert_eq!((inventory.total(), Inventory::scan(root.path()).total()), (16, 16));
        inventory.make_room(5, 15).unwrap();
        assert_eq!(inventory.total(), 8);
        inventory.remove_tree(&root.path().join("pod")).unwrap();
        assert_eq!(inventory.total(), 0);
    }
}
