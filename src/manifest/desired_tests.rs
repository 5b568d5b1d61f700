#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::desired::{DesiredSet, Outcome};
use super::source::{Limits, Report, Request, VERSION, read_manifests};

fn pod(name: &str, extra: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}{extra}}}\nspec: {{containers: [{{name: c, image: i}}]}}\n"
    )
}

struct World {
    directories: Vec<TempDir>,
    set: DesiredSet,
}

impl World {
    fn new(directories: usize) -> Self {
        let directories = (0..directories).map(|_| TempDir::new().expect("a directory")).collect();
        Self { directories, set: DesiredSet::default() }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.path(0).join(file), text).expect("written");
    }

    fn path(&self, index: usize) -> &Path {
        self.directories[index].path()
    }

    fn report(&self) -> Report {
        let directories: Vec<PathBuf> = self.directories.iter().map(|d| d.path().to_owned()).collect();
        let limits = Limits::default();
        read_manifests(&Request {
            version: VERSION,
            directories,
            watched: Vec::new(),
            pod_security: crate::policy::Level::Privileged,
            devices: Vec::new(),
            cluster_domain: String::new(),
            fetch_binary: std::path::PathBuf::new(),
            node_name: "n".into(),
            keys: Vec::new(),
            image_policy: Vec::new(),
            limits,
        })
    }

    fn update(&mut self) -> Outcome {
        self.take(&self.report())
    }

    fn take(&mut self, report: &Report) -> Outcome {
        // What is kept durably must come back the same.
        let text = crate::json::to_string(&self.set).expect("JSON");
        let restored: DesiredSet = crate::json::from_str(&text).expect("the durable form");
        assert_eq!(crate::json::to_string(&restored).expect("JSON"), text);
        let outcome = restored.update(report);
        self.set = outcome.set.clone();
        outcome
    }
}

fn names(outcome: &Outcome) -> Vec<&str> {
    outcome.desired.iter().map(|one| one.object.metadata().name.as_str()).collect()
}

fn errors(outcome: &Outcome) -> Vec<&str> {
    outcome.problems.iter().filter(|problem| problem.error).map(|problem| problem.message.as_str()).collect()
}

#[test]
fn files_come_and_go() {
    let mut world = World::new(1);
    world.write("a.yaml", &(pod("a", "") + "---\n" + &pod("b", "")));
    world.write(".hidden", &pod("hidden", ""));
    fs::create_dir(world.path(0).join("sub")).expect("a directory");
    let outcome = world.update();
    assert_eq!(names(&outcome), ["a-n", "b-n"]);
    assert!(outcome.problems.iter().any(|problem| problem.file.ends_with("sub") && !problem.error));
    world.write("a.yaml", &pod("a", ""));
    assert_eq!(names(&world.update()), ["a-n"]);
    fs::remove_file(world.path(0).join("a.yaml")).expect("removed");
    assert!(names(&world.update()).is_empty());
}

#[test]
fn a_broken_file_keeps_the_last_good_version_and_says_so() {
    for broken in [
        "kind: Pod\n  x: [",
        "",
        "\u{0}\u{1}",
        "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec: {containers: []}\n",
    ] {
        let mut world = World::new(1);
        world.write("a.yaml", &(pod("a", "") + "---\n" + &pod("b", "")));
        let good = world.update();
        world.write("a.yaml", broken);
        let outcome = world.update();
        assert_eq!(names(&outcome), ["a-n", "b-n"], "{broken:?}");
        assert!(outcome.desired.iter().all(|one| one.manifest_error.is_some()), "{broken:?}");
        assert_eq!(outcome.desired[0].object, good.desired[0].object);
        assert!(!errors(&outcome).is_empty());
        // Also when it stays broken, and it recovers.
        assert_eq!(names(&world.update()), ["a-n", "b-n"]);
        world.write("a.yaml", &pod("b", ""));
        let outcome = world.update();
        assert_eq!(names(&outcome), ["b-n"]);
        assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    }
}

#[test]
fn a_good_document_beside_a_broken_one_counts() {
    let mut world = World::new(1);
    world.write("a.yaml", &(pod("a", "") + "---\n" + &pod("b", "")));
    let before = world.update();
    world.write("a.yaml", &(pod("a", ", labels: {new: x}") + "---\n" + &pod("b", "").replace("name: c", "name: C")));
    let outcome = world.update();
    assert_eq!(names(&outcome), ["a-n", "b-n"]);
    assert_eq!(outcome.desired[0].object.metadata().labels["new"], "x");
    assert_eq!(outcome.desired[1].object, before.desired[1].object);
    assert!(outcome.desired[0].manifest_error.is_none() && outcome.desired[1].manifest_error.is_some());
}

#[test]
fn a_missing_directory_removes_nothing() {
    let mut world = World::new(1);
    world.write("a.yaml", &pod("a", ""));
    world.update();
    fs::remove_dir_all(world.path(0)).expect("removed");
    let outcome = world.update();
    assert_eq!(names(&outcome), ["a-n"]);
    assert!(errors(&outcome)[0].contains("keeps running"));
}

#[test]
fn a_directory_that_nobody_who_knows_leaves_out_removes_nothing() {
    let mut world = World::new(2);
    world.write("a.yaml", &pod("a", ""));
    fs::write(world.path(1).join("b.yaml"), pod("b", "")).expect("written");
    world.update();
    let mut report = world.report();
    report.directories.remove(0);
    assert_eq!(names(&world.set.update(&report)), ["b-n"]);
    world.set.keep_unnamed(&mut report, "not named");
    for _ in 0..2 {
        let outcome = world.take(&report);
        assert_eq!(names(&outcome), ["a-n", "b-n"]);
        assert_eq!(errors(&outcome), ["not named; what it last held keeps running"]);
        world.set.keep_unnamed(&mut report, "not named");
    }
}

#[test]
fn another_device_adds_but_removes_nothing() {
    let mut world = World::new(1);
    world.write("a.yaml", &pod("a", ""));
    world.update();
    fs::remove_file(world.path(0).join("a.yaml")).expect("removed");
    world.write("b.yaml", &pod("b", ""));
    let mut report = world.report();
    report.directories[0].device = "ext4 /dev/other".into();
    assert_eq!(names(&world.take(&report)), ["a-n", "b-n"]);
    let directory = world.path(0).to_owned();
    world.set.accept_device(&directory);
    assert_eq!(names(&world.take(&report)), ["b-n"]);
}

#[test]
fn a_later_directory_replaces_and_duplicates_are_named() {
    let mut world = World::new(2);
    world.write("a.yaml", &pod("a", ", labels: {from: flash}"));
    world.write("b.yaml", &pod("a", ", labels: {from: flash2}"));
    fs::write(world.path(1).join("z.yaml"), pod("a", ", labels: {from: data}")).expect("written");
    let outcome = world.update();
    assert_eq!(names(&outcome), ["a-n"]);
    assert_eq!(outcome.desired[0].object.metadata().labels["from"], "data");
    let message = &outcome.problems[0].message;
    assert!(message.contains("a.yaml") && message.contains("b.yaml"), "{message}");
}

#[test]
fn a_change_that_closes_a_circle_keeps_the_last_good_version() {
    let after =
        |name: &str, target: &str| pod(name, &format!(", annotations: {{gatepost.io/start-after: pod/{target}}}"));
    let mut world = World::new(1);
    world.write("a.yaml", &after("a", "b"));
    world.write("b.yaml", &pod("b", ""));
    assert!(world.update().problems.is_empty());
    world.write("b.yaml", &after("b", "a"));
    world.write("c.yaml", &after("c", "c"));
    let outcome = world.update();
    assert_eq!(names(&outcome), ["a-n", "b-n"], "the unchanged one runs on, the new circle does not begin");
    assert!(errors(&outcome).iter().any(|message| message.contains("a -> b -> a")));
}

#[test]
fn a_circle_named_with_the_nodes_suffix_is_one_too() {
    let after =
        |name: &str, target: &str| pod(name, &format!(", annotations: {{gatepost.io/start-after: pod/{target}}}"));
    let mut world = World::new(1);
    world.write("a.yaml", &after("a", "b-n"));
    world.write("b.yaml", &after("b", "a"));
    assert!(errors(&world.update()).iter().any(|message| message.contains("a -> b -> a")));
}

#[test]
fn a_list_that_lost_its_items_keeps_what_it_last_held() {
    let mut world = World::new(1);
    let list = |key: &str| {
        format!(
            "kind: List\napiVersion: v1\n{key}:\n- {{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{containers: [{{name: c, image: i}}]}}}}\n---\n{}",
            pod("b", "")
        )
    };
    world.write("l.yaml", &list("items"));
    assert_eq!(names(&world.update()), ["a-n", "b-n"]);
    world.write("l.yaml", &list("itmes"));
    let outcome = world.update();
    assert_eq!(names(&outcome), ["a-n", "b-n"]);
    assert_eq!(errors(&outcome), ["items: Required value: the objects of the list"]);
}

#[test]
fn links_are_followed_and_large_files_refused() {
    let mut world = World::new(1);
    let elsewhere = TempDir::new().expect("a directory");
    fs::write(elsewhere.path().join("x"), pod("linked", "")).expect("written");
    std::os::unix::fs::symlink(elsewhere.path().join("x"), world.path(0).join("l.yaml")).expect("a link");
    std::os::unix::fs::symlink("nowhere", world.path(0).join("m.yaml")).expect("a link");
    world.write("big", &"#".repeat((10 << 20) + 1));
    let outcome = world.update();
    assert_eq!(names(&outcome), ["linked-n"]);
    assert_eq!(errors(&outcome).len(), 2, "{:?}", errors(&outcome));
    assert!(errors(&outcome)[0].contains("larger than the limit"));
}

#[test]
fn a_report_survives_its_way_between_processes() {
    let world = World::new(1);
    world.write("a.yaml", &pod("a", ""));
    let report = world.report();
    let text = crate::json::to_vec(&report).expect("JSON");
    assert_eq!(crate::json::from_slice::<Report>(&text).expect("a report"), report);
}

#[test]
fn a_pipe_among_the_manifests_is_not_waited_for() {
    let mut world = World::new(1);
    let path = world.path(0).join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("a pipe");
    assert!(world.update().problems.iter().any(|problem| problem.message.contains("not a regular file")));
}

#[test]
fn another_file_system_of_the_same_kind_removes_nothing_within_a_boot() {
    let found = |device_number, files| Report {
        version: 1,
        ok: true,
        error: None,
        watches: super::watch::Watches::default(),
        vouched: Vec::new(),
        directories: vec![super::source::DirectoryReport {
            path: "/m".into(),
            error: None,
            device: "tmpfs tmpfs".to_owned(),
            unsigned: None,
            device_number,
            files,
            skipped: Vec::new(),
        }],
    };
    let file = super::source::FileReport {
        name: "a.yaml".to_owned(),
        sha256: String::new(),
        line: 0,
        error: None,
        documents: super::load(pod("a", "").as_bytes(), super::Rules { node_name: "n", ..super::Rules::default() })
            .expect("YAML"),
    };
    let before = DesiredSet::default().update(&found(1, vec![file])).set;
    assert_eq!(before.update(&found(1, Vec::new())).desired.len(), 0);
    let covered = before.update(&found(2, Vec::new()));
    assert_eq!((covered.desired.len(), covered.problems.len()), (1, 1));
    let mut accepted = covered.set;
    accepted.accept_device(std::path::Path::new("/m"));
    assert_eq!(accepted.update(&found(2, Vec::new())).desired.len(), 0);
}

const RANGE: &str = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l}\nspec: {limits: [{type: Container, max: {memory: 64Mi}, default: {memory: 32Mi}}]}\n";

fn sized(memory: &str) -> String {
    pod("a", "").replace("image: i", &format!("image: i, resources: {{limits: {{memory: {memory}}}}}"))
}

#[test]
fn a_pod_that_a_limit_range_forbids_keeps_its_last_good_version_or_never_comes() {
    let mut world = World::new(1);
    world.write("range.yaml", RANGE);
    world.write("a.yaml", &sized("60Mi"));
    world.write("b.yaml", &pod("b", "").replace("image: i", "image: i, resources: {limits: {memory: 1Gi}}"));
    let good = world.update();
    assert_eq!(names(&good), ["l", "a-n"]);
    world.write("a.yaml", &sized("65Mi"));
    for _ in 0..2 {
        let outcome = world.update();
        assert_eq!(names(&outcome), ["l", "a-n"]);
        let kept = &outcome.desired[1];
        assert_eq!(kept.object, good.desired[1].object);
        assert!(kept.manifest_error.as_ref().unwrap().contains("maximum memory usage per Container is 64Mi"));
        assert_eq!(errors(&outcome).len(), 2, "{:?}", outcome.problems);
    }
    world.write("a.yaml", &sized("61Mi"));
    assert_eq!(errors(&world.update()).len(), 1);
}

#[test]
fn a_limit_range_that_comes_later_stops_nothing_that_is_there() {
    let mut world = World::new(1);
    world.write("a.yaml", &sized("1Gi"));
    world.update();
    world.write("range.yaml", RANGE);
    for _ in 0..2 {
        let outcome = world.update();
        assert_eq!(names(&outcome), ["l", "a-n"]);
        assert!(errors(&outcome).is_empty());
        assert!(outcome.problems[0].message.ends_with("it was there before that, and stays"), "{:?}", outcome.problems);
    }
}
