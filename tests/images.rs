//! Images as other people's tools make them, and archives no honest tool makes, through the real confined worker.
//! Needs root, skopeo and umoci.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
// Figures.
#![allow(clippy::print_stdout)]

#[path = "images/make.rs"]
mod make;
#[path = "images/tree.rs"]
mod tree;

#[path = "images/cuts.rs"]
mod cuts;
#[path = "images/digests.rs"]
mod digests;
#[path = "images/hostile.rs"]
mod hostile;
#[path = "images/limits.rs"]
mod limits;
#[path = "images/sparse.rs"]
mod sparse;
#[path = "images/tools.rs"]
mod tools;

use std::path::{Path, PathBuf};

use gatepost::config::Layout;
use gatepost::image::worker::{Command, Report};
use gatepost::image::{Reference, Store, StoredImage};

/// A store of its own, removed at the end.
pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) layout: Layout,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout {
            run: dir.path().join("run"),
            data: dir.path().join("data"),
            logs: dir.path().join("logs"),
            preload: Vec::new(),
        };
        Self { dir, layout }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn call(&self, command: Command) -> Report {
        let program = Path::new(env!("CARGO_BIN_EXE_gatepost-worker"));
        gatepost::image::command::call(program, &self.layout, command, |_| ()).expect("the worker reports")
    }

    pub(crate) fn try_import(&self, path: &Path) -> Report {
        self.call(Command::Import { path: path.to_owned(), name: None, remember: false })
    }

    pub(crate) fn import(&self, path: &Path) -> Report {
        let report = self.try_import(path);
        assert!(report.ok, "{}: {}", report.reason, report.message);
        assert!(!report.warnings.iter().any(|w| w.starts_with("confinement")), "confined: {:?}", report.warnings);
        self.assert_nothing_half_there();
        report
    }

    /// Imports what must be refused; gives reason and message, and checks that nothing is left of it.
    pub(crate) fn refused(&self, path: &Path) -> (String, String) {
        let before = (self.call(Command::List).images, self.stored());
        let report = self.try_import(path);
        assert!(!report.ok, "it was imported: {report:?}");
        self.assert_nothing_half_there();
        assert_eq!((self.call(Command::List).images, self.stored()), before, "something is left of it");
        assert!(report.message.contains(&path.display().to_string()), "the archive is named: {}", report.message);
        (report.reason, report.message)
    }

    pub(crate) fn resolve(&self, name: &str) -> StoredImage {
        let reference: Reference = name.parse().unwrap();
        Store::open(&self.layout).unwrap().resolve(&reference).unwrap().unwrap_or_else(|| panic!("{name} is not there"))
    }

    /// The names of all blobs and unpacked layers.
    fn stored(&self) -> Vec<PathBuf> {
        let mut stored = Vec::new();
        for directory in [self.layout.images().join("blobs/sha256"), self.layout.layers()] {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            stored.extend(entries.filter(|entry| entry.file_name().len() == 64).map(|entry| entry.path()));
        }
        stored.sort();
        stored
    }

    fn assert_nothing_half_there(&self) {
        assert!(!self.layout.images().join(".staging").exists());
        assert!(!self.layout.layers().join(".staging").exists());
    }
}
