//! [`Guard`]: quarantine for pods over which the supervisor crashed.
//!
//! Before the core handles an event of a pod, the pod's UID is noted under `/run`, and the note is wiped afterwards. A supervisor
//! that finds a note, and hears from init that the one before crashed, counts it; at two the pod is left alone. A supervisor
//! that was killed from outside proves nothing against a pod.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::pod::event::Uid;
use crate::state::volatile;

/// Crashes over one pod until it is quarantined.
const CRASHES: u32 = 2;

/// Bytes of a UID, the size of the note.
const UID_SIZE: usize = 32;

/// The note and the count.
#[derive(Debug)]
pub(crate) struct Guard {
    note: Option<File>,
    noted: bool,
    crashes: BTreeMap<String, u32>,
    path: PathBuf,
}

impl Guard {
    /// Reads what an earlier supervisor noted; `crashed`: it ended by its own fault.
    pub(crate) fn open(run: &Path, crashed: bool) -> Self {
        let path = run.join("crashes.json");
        let mut counts: BTreeMap<String, u32> = volatile::read(&path)
            .unwrap_or_else(|error| {
                log::warn!("{error}");
                None
            })
            .unwrap_or_default();
        let note = File::options().read(true).write(true).create(true).truncate(false).open(run.join("acting-on"));
        let note = note.inspect_err(|error| log::warn!("cannot note which pod is acted on: {error}")).ok();
        if let Some(uid) = note.as_ref().and_then(read_note)
            && crashed
        {
            let count = counts.entry(uid).or_default();
            *count = count.saturating_add(1);
            if let Err(error) = volatile::write(&path, &counts) {
                log::warn!("{error}");
            }
        }
        let mut guard = Self { note, noted: true, crashes: counts, path };
        guard.leave();
        guard
    }

    /// Pods to leave alone, and why.
    pub(crate) fn quarantined(&self) -> impl Iterator<Item = (Uid, String)> {
        self.crashes.iter().filter(|(_, count)| **count >= CRASHES).map(|(uid, count)| {
            let why = format!(
                "gatepost crashed {count} times while it acted on this pod; it is left alone until its manifest changes"
            );
            (Uid::from(uid.as_str()), why)
        })
    }

    /// An event of a pod is about to be handled.
    pub(crate) fn enter(&mut self, pod: Option<&Uid>) {
        if let (Some(pod), Some(note)) = (pod, &self.note) {
            self.noted = note.write_all_at(pod.as_bytes(), 0).is_ok();
        }
    }

    /// It was handled.
    pub(crate) fn leave(&mut self) {
        if std::mem::take(&mut self.noted)
            && let Some(note) = &self.note
        {
            let _ = note.write_all_at(&[0; UID_SIZE], 0);
        }
    }

    /// Forgets pods that are no longer wanted.
    pub(crate) fn keep_only(&mut self, wanted: impl Fn(&str) -> bool) {
        let before = self.crashes.len();
        self.crashes.retain(|uid, _| wanted(uid));
        if self.crashes.len() != before
            && let Err(error) = volatile::write(&self.path, &self.crashes)
        {
            log::warn!("{error}");
        }
    }
}

fn read_note(file: &File) -> Option<String> {
    let mut uid = [0; UID_SIZE];
    file.read_exact_at(&mut uid, 0).ok()?;
    String::from_utf8(uid.to_vec()).ok().filter(|uid| uid.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const UID: &str = "0123456789abcdef0123456789abcdef";

    fn crash_over(run: &Path, crashed: bool) -> usize {
        let mut guard = Guard::open(run, crashed);
        guard.enter(Some(&Uid::from(UID)));
        // no leave: it died here
        guard.quarantined().count()
    }

    #[test]
    fn a_pod_noted_at_two_crashes_is_quarantined() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(crash_over(dir.path(), false), 0);
        assert_eq!(crash_over(dir.path(), true), 0);
        assert_eq!(crash_over(dir.path(), true), 1);
    }

    #[test]
    fn being_killed_from_outside_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            assert_eq!(crash_over(dir.path(), false), 0);
        }
    }

    #[test]
    fn a_handled_event_leaves_no_note_and_an_unwanted_pod_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut guard = Guard::open(dir.path(), false);
        guard.enter(Some(&Uid::from(UID)));
        guard.leave();
        assert_eq!(crash_over(dir.path(), true), 0);
        assert_eq!(crash_over(dir.path(), true), 0);
        assert_eq!(crash_over(dir.path(), true), 1);
        Guard::open(dir.path(), false).keep_only(|_| false);
        assert_eq!(Guard::open(dir.path(), false).quarantined().count(), 0);
    }
}
