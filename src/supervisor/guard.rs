//! [`Guard`]: the memory of crashes: quarantine for pods over which the supervisor crashed, safe mode when that does not help.
//!
//! Before the core handles an event of a pod, the pod's UID is noted under `/run`, and the note is wiped afterwards. A supervisor
//! that finds a note, and hears from init that the one before crashed, counts it; at two the pod is left alone. A supervisor
//! that was killed from outside proves nothing against a pod.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::safe_mode::Caution;
use crate::json::{Deserialize, Serialize};
use crate::pod::event::Uid;
use crate::sorted::BTreeMap;
use crate::state::volatile;

/// Crashes over one pod until it is quarantined.
const CRASHES: u32 = 2;

/// Bytes of a UID, the size of the note.
const UID_SIZE: usize = 32;

/// The note and the counts.
#[derive(Debug)]
pub(crate) struct Guard {
    note: Option<File>,
    noted: bool,
    crashes: Crashes,
    path: PathBuf,
}

/// What is remembered from one supervisor to the next.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Crashes {
    /// Crashes over a pod, by its UID.
    pods: BTreeMap<String, u32>,
    /// When crashes happened that put no pod into quarantine: CLOCK_BOOTTIME, milliseconds.
    unexplained: Vec<u64>,
}

impl Guard {
    /// Reads what an earlier supervisor noted; `crashed`: it ended by its own fault. `now`: CLOCK_BOOTTIME, milliseconds.
    pub(crate) fn open(run: &Path, crashed: bool, now: u64) -> Self {
        let path = run.join("crashes.json");
        let mut crashes: Crashes = volatile::read(&path)
            .unwrap_or_else(|error| {
                log::warn!("{error}");
                None
            })
            .unwrap_or_default();
        let note = File::options().read(true).write(true).create(true).truncate(false).open(run.join("acting-on"));
        let note = note.inspect_err(|error| log::warn!("cannot note which pod is acted on: {error}")).ok();
        if crashed {
            let count = note.as_ref().and_then(read_note).map(|uid| {
                let count = crashes.pods.entry(uid).or_default();
                *count = count.saturating_add(1);
                *count
            });
            if count == Some(CRASHES) {
                crashes.unexplained.clear();
            } else {
                crashes.unexplained.push(now);
            }
        }
        let mut guard = Self { note, noted: true, crashes, path };
        if crashed {
            guard.caution(now);
            guard.store();
        }
        guard.leave();
        guard
    }

    /// Pods to leave alone, and why.
    fn quarantined(&self) -> impl Iterator<Item = (Uid, String)> {
        self.crashes.pods.iter().filter(|(_, count)| **count >= CRASHES).map(|(uid, count)| {
            let why = format!(
                "gatepost crashed {count} times while it acted on this pod; it is left alone until its manifest changes"
            );
            (Uid::from(uid.as_str()), why)
        })
    }

    /// The same, told on standard error too; with the utmost caution all pods there are.
    pub(crate) fn left_alone<'a>(
        &self,
        caution: Caution,
        pods: impl Iterator<Item = &'a Uid>,
    ) -> BTreeMap<Uid, String> {
        let mut alone: BTreeMap<Uid, String> = self.quarantined().collect();
        for (pod, reason) in &alone {
            log::error!("pod {pod}: {reason}");
        }
        if caution == Caution::Alone {
            let why =
                "gatepost crashed again and again: all pods are left alone for an hour, or until `gatepost reload`";
            for pod in pods {
                alone.entry(pod.clone()).or_insert_with(|| why.to_owned());
            }
        }
        alone
    }

    /// What the crashes so far leave to dare.
    pub(crate) fn caution(&mut self, now: u64) -> Caution {
        Caution::after(&mut self.crashes.unexplained, now)
    }

    /// The next supervisor dares everything again but what is in quarantine.
    pub(crate) fn forget_unexplained(&mut self) {
        self.crashes.unexplained.clear();
        self.store();
    }

    fn store(&self) {
        if let Err(error) = volatile::write(&self.path, &self.crashes) {
            log::warn!("{error}");
        }
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
        let before = self.crashes.pods.len();
        self.crashes.pods.retain(|uid, _| wanted(uid));
        if self.crashes.pods.len() != before {
            self.store();
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
        let mut guard = Guard::open(run, crashed, 1_000);
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
        let mut guard = Guard::open(dir.path(), false, 1_000);
        guard.enter(Some(&Uid::from(UID)));
        guard.leave();
        assert_eq!(crash_over(dir.path(), true), 0);
        assert_eq!(crash_over(dir.path(), true), 0);
        assert_eq!(crash_over(dir.path(), true), 1);
        Guard::open(dir.path(), false, 1_000).keep_only(|_| false);
        assert_eq!(Guard::open(dir.path(), false, 1_000).quarantined().count(), 0);
    }

    #[test]
    fn a_crash_that_quarantines_a_pod_is_explained_and_others_lead_to_safe_mode_until_they_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let caution = |crashed| Guard::open(dir.path(), crashed, 1_000).caution(1_000);
        assert_eq!((caution(true), caution(true)), (Caution::None, Caution::None));
        crash_over(dir.path(), false);
        crash_over(dir.path(), true);
        assert_eq!(caution(true), Caution::None, "this one put the pod into quarantine");
        assert_eq!((caution(true), caution(true), caution(true)), (Caution::None, Caution::None, Caution::None));
        assert_eq!(caution(true), Caution::Safe);
        assert_eq!(caution(false), Caution::Safe);
        Guard::open(dir.path(), false, 1_000).forget_unexplained();
        assert_eq!(caution(false), Caution::None);
        assert_eq!(Guard::open(dir.path(), false, 1_000).quarantined().count(), 1);
    }
}
