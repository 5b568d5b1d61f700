//! Imports that end in their middle: the worker killed at each of its system calls, and the power cut then: what the device
//! holds at that moment, mounted anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gatepost::config::Layout;
use gatepost::image::Store;
use gatepost::image::worker::Command;
use rustix::mount::{UnmountFlags, unmount};

use super::make::{Layer, gzip_layout, tool};
use super::tree::listing;

const IMAGE: &str = "example.com/cut:1";

/// What changes the store; a kill at one of these leaves another state behind than a kill at the one before.
const CALLS: [&str; 8] = ["mkdirat", "openat", "write", "syncfs", "fsync", "renameat", "symlinkat", "unlinkat"];

/// A file system in a file, mounted while it is there.
struct Mounted(PathBuf);

impl Mounted {
    fn new(device: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        // Nothing is written before the journal's time comes but what somebody waits for: as on a card that is slow to sync.
        let options = "loop,commit=300,noatime";
        tool("mount", &["-t", "ext4", "-o", options, &device.display().to_string(), &at.display().to_string()]);
        Self(at.to_owned())
    }

    fn layout(&self) -> Layout {
        Layout { run: self.0.join("run"), data: self.0.join("data"), logs: self.0.join("logs"), preload: Vec::new() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

struct Cut {
    dir: tempfile::TempDir,
    archive: PathBuf,
    /// The right tree of each layer, by the name of its directory.
    whole: BTreeMap<String, BTreeMap<PathBuf, String>>,
}

impl Cut {
    fn new() -> Self {
        // The device's image is held in memory: copies of it are many.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let base = Layer::new().dir("etc", 0o755).file("etc/name", "base").symlink("link", "etc/name");
        let top = Layer::new().file("etc/name", &"top ".repeat(20_000)).hard_link("again", "etc/name");
        let archive = gzip_layout(&dir.path().join("archive"), IMAGE, &[base, top]);
        let device = dir.path().join("empty");
        std::fs::File::create(&device).unwrap().set_len(24 << 20).unwrap();
        tool("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0", &device.display().to_string()]);
        let mut cut = Self { dir, archive, whole: BTreeMap::new() };
        let mounted = Mounted::new(&cut.copy("empty", "first"), &cut.dir.path().join("mnt"));
        let report = import(Path::new(env!("CARGO_BIN_EXE_gatepost-worker")), &mounted.layout(), &cut.archive);
        assert_eq!(report, Some(true));
        cut.whole = layers(&mounted.layout()).into_iter().map(|(name, path)| (name, listing(&path))).collect();
        assert_eq!(cut.whole.len(), 2);
        drop(mounted);
        cut
    }

    /// Copies the device, as it is at this moment. Into a new file each time: the kernel lets go of the one before in its own time,
    /// and writes to it until then.
    fn copy(&self, from: &str, to: &str) -> PathBuf {
        let [from, to] = [from, to].map(|name| self.dir.path().join(name));
        tool(
            "cp",
            &["--sparse=always", "--remove-destination", &from.display().to_string(), &to.display().to_string()],
        );
        to
    }

    /// Copies a device that may still be written to: a copy that was the same twice is of one moment, as a power cut is.
    fn copy_of_one_moment(&self, from: &str, to: &str) -> PathBuf {
        loop {
            let copy = self.copy(from, to);
            if std::fs::read(self.dir.path().join(from)).unwrap() == std::fs::read(&copy).unwrap() {
                return copy;
            }
        }
    }

    /// Kills the worker at its `number`th `call`; false when it made fewer.
    fn kill_at(&self, call: &str, number: u32) -> bool {
        let worker = self.dir.path().join("worker");
        let program = env!("CARGO_BIN_EXE_gatepost-worker");
        let inject = format!("-e trace={call} -e inject={call}:signal=KILL:when={number}");
        let script = format!("#!/bin/sh\nexec strace -f -qq -o /dev/null {inject} {program} \"$@\"\n");
        std::fs::write(&worker, script).unwrap();
        tool("chmod", &["+x", &worker.display().to_string()]);
        let what = format!("killed at {call} {number}");

        let device = self.copy("empty", "device");
        let mounted = Mounted::new(&device, &self.dir.path().join("mnt"));
        let killed = import(&worker, &mounted.layout(), &self.archive).is_none();
        // The power goes: what the device was not told is lost.
        let after = self.copy_of_one_moment("device", "after");
        self.assert_whole(&mounted, &what);
        drop(mounted);
        let mounted = Mounted::new(&after, &self.dir.path().join("mnt"));
        self.assert_whole(&mounted, &format!("{what}, and the power cut"));
        killed
    }

    /// What is there is whole, and an import makes it complete.
    fn assert_whole(&self, mounted: &Mounted, what: &str) {
        let layout = mounted.layout();
        let half: Vec<_> =
            layers(&layout).into_iter().filter(|(name, path)| self.whole[name] != listing(path)).collect();
        assert!(half.is_empty(), "{what}: half a layer: {half:?}");
        let program = Path::new(env!("CARGO_BIN_EXE_gatepost-worker"));
        let list = || gatepost::image::command::call(program, &layout, Command::List, |_| ()).unwrap();
        let before = list();
        assert!(before.ok, "{what}: {}", before.message);
        assert!(
            before.images.iter().all(|image| image.unpacked),
            "{what}: named before it was there: {:?}",
            before.images
        );
        if !before.images.is_empty() {
            self.assert_complete(&layout, what);
        }
        assert_eq!(import(program, &layout, &self.archive), Some(true), "{what}: the next import");
        self.assert_complete(&layout, what);
        assert_eq!(list().images.len(), 1, "{what}");
        for staging in [layout.images().join(".staging"), layout.layers().join(".staging")] {
            assert!(!staging.exists(), "{what}: {} is left", staging.display());
        }
    }

    fn assert_complete(&self, layout: &Layout, what: &str) {
        let image = Store::open(layout).unwrap().resolve(&IMAGE.parse().unwrap()).unwrap();
        assert!(image.is_some(), "{what}: the image is not there");
        let trees: BTreeMap<_, _> = layers(layout).into_iter().map(|(name, path)| (name, listing(&path))).collect();
        assert_eq!(trees, self.whole, "{what}");
        for blob in std::fs::read_dir(layout.images().join("blobs/sha256")).unwrap().flatten() {
            let digest = super::make::sha256(&std::fs::read(blob.path()).unwrap());
            assert_eq!(blob.file_name().to_str(), Some(digest.as_str()), "{what}: a damaged blob");
        }
    }
}

/// The unpacked layers that are not in staging.
fn layers(layout: &Layout) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(layout.layers()).into_iter().flatten().flatten();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter(|(name, _)| name.len() == 64).collect()
}

/// Imports; `None` when the worker ended without a report.
fn import(program: &Path, layout: &Layout, archive: &Path) -> Option<bool> {
    let command = Command::Import { path: archive.to_owned(), name: None, remember: true };
    gatepost::image::command::call(program, layout, command, |_| ()).ok().map(|report| {
        assert!(report.ok, "{}", report.message);
        true
    })
}

#[test]
fn an_import_killed_or_cut_off_at_any_call_leaves_a_whole_store() {
    let cut = Cut::new();
    let mut points = BTreeMap::new();
    for call in CALLS {
        let mut number = 1;
        while cut.kill_at(call, number) {
            *points.entry(call).or_insert(0) += 1;
            // Where there are many of a kind, fewer and fewer of them.
            number += 1 + number / 8;
        }
    }
    println!("killed at {points:?}");
    assert_eq!(points.len(), CALLS.len(), "some calls were never hit: {points:?}");
    assert!(points.values().sum::<u32>() > 25, "too few points: {points:?}");
}
