//! [`Chart`]: the supervisor's part of `gatepost boot-chart`: when imports, sandboxes and container starts began and ended. Bounded in
//! lines and time, so that a node that has long been up writes nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Supervisor;
use super::act::Task;
use super::images::ImageTask;
use crate::pod::event::{Seq, StartMode};
use crate::sys::clock::boottime_us;

/// Lines of the file, those of init and boot included.
const LINES: usize = 256;
/// Microseconds from the first line in which something still belongs to the start: ten minutes.
const WINDOW_US: u64 = 600_000_000;

/// What is under way, and where it is noted when it is over.
#[derive(Debug)]
pub(super) struct Chart {
    path: PathBuf,
    begun: Vec<(Task, u64)>,
    /// When the starts of containers began that take two calls.
    creating: Vec<(Seq, u64)>,
    lines: usize,
    until_us: u64,
}

impl Chart {
    /// Goes on with what init, boot and former supervisors have noted.
    pub(super) fn open(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_default();
        // Of a kernel that also runs other machines, the start says nothing.
        let own = text.lines().filter(|line| !line.contains("\tkernel\t"));
        let first = own.filter_map(|line| line.split('\t').next()?.parse().ok()).min();
        let until_us = first.unwrap_or_else(boottime_us).saturating_add(WINDOW_US);
        Self { path, begun: Vec::new(), creating: Vec::new(), lines: text.lines().count(), until_us }
    }

    /// Whether anything is still noted.
    pub(super) fn is_open(&self) -> bool {
        self.lines < LINES && boottime_us() < self.until_us
    }

    /// A helper is started.
    pub(super) fn begin(&mut self, task: &Task) {
        if self.is_open() {
            self.begun.push((task.clone(), boottime_us()));
        }
    }

    /// It has ended; gives when it began, if that was noted.
    fn end(&mut self, task: &Task) -> Option<u64> {
        let at = self.begun.iter().position(|(begun, _)| begun == task)?;
        Some(self.begun.swap_remove(at).1)
    }

    /// Notes something that ends now. A chart is no reason to complain.
    pub(super) fn note(&mut self, begin_us: u64, room: &str, name: &str) {
        if !self.is_open() {
            return;
        }
        self.lines = self.lines.saturating_add(1);
        let line = format!("{begin_us}\t{}\t{room}\t{name}\n", boottime_us());
        let _ = File::options()
            .create(true)
            .append(true)
            .open(&self.path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// When the role `launch` became the runtime, as it has noted.
fn runtime_began(directory: &Path) -> Option<u64> {
    fs::read_to_string(directory.join(crate::runtime::launch::RUNTIME_BEGAN)).ok()?.parse().ok()
}

impl Supervisor {
    /// Notes a helper that has ended.
    pub(super) fn note_in_chart(&mut self, task: &Task, failed: bool) {
        let Some(begin) = self.chart.end(task) else { return };
        let mark = if failed { " (failed)" } else { "" };
        match task {
            Task::Images(ImageTask::List) => self.chart.note(begin, "images", "list"),
            Task::Images(ImageTask::Preload) => self.chart.note(begin, "images", "import imagePreloadPath"),
            Task::Images(ImageTask::Unpack(digest)) => {
                let short: String = digest.chars().take(19).collect();
                self.chart.note(begin, "images", &format!("unpack {short}{mark}"));
            }
            Task::ReadManifests => self.chart.note(begin, "manifests", "read"),
            Task::Prepare(pod) => {
                if let Some(pod) = self.node.pod(pod) {
                    let name = format!("{}/{}{mark}", pod.metadata.namespace, pod.metadata.name);
                    self.chart.note(begin, "sandbox", &name);
                }
            }
            Task::Launch(seq) => {
                let Some(instance) = self.instances.get(seq) else { return };
                let record = instance.record.clone();
                let name = format!("{}/{} {}{mark}", record.namespace, record.pod_name, record.container.name);
                if let Some(began) = runtime_began(&self.config.layout.container(&record.id)) {
                    self.chart.note(began, "runtime", &name);
                }
                match record.mode {
                    _ if failed => {}
                    StartMode::Run => self.chart.note(begin, "container", &name),
                    StartMode::Create => self.chart.creating.push((*seq, begin)),
                }
            }
            Task::StartCreated(seq) => {
                let Some(record) = self.instances.get(seq).map(|instance| &instance.record) else { return };
                let name = format!("{}/{} {}{mark}", record.namespace, record.pod_name, record.container.name);
                self.chart.note(begin, "runtime", &name);
                if !failed && let Some(at) = self.chart.creating.iter().position(|(creating, _)| creating == seq) {
                    let (_, begin) = self.chart.creating.swap_remove(at);
                    self.chart.note(begin, "container", &name);
                }
            }
            // Not of a start.
            _ => {}
        }
    }
}
