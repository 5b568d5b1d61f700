#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;
use crate::sys::mount::parse_mountinfo;

const HYBRID: &[u8] = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

/// A v2 tree of plain files stands in for cgroup2, whose controllers this kind of machine gives to v1.
fn fake_v2() -> (tempfile::TempDir, Cgroups) {
    let dir = tempfile::tempdir().unwrap();
    for file in ["cgroup.controllers", "cgroup.subtree_control"] {
        std::fs::write(dir.path().join(file), if file == "cgroup.controllers" { "cpu memory pids rdma\n" } else { "" })
            .unwrap();
    }
    let cgroups = Cgroups { v1: Vec::new(), unified: Some(dir.path().to_owned()) };
    (dir, cgroups)
}

#[test]
fn hybrid_v1_and_v2_are_told_apart() {
    let hybrid = Cgroups::from_mounts(&parse_mountinfo(HYBRID)).unwrap();
    assert_eq!(hybrid.mode(), Mode::Hybrid);
    assert_eq!(hybrid.controller("cpuacct").unwrap(), Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    assert_eq!(hybrid.main_hierarchy().unwrap(), Path::new("/sys/fs/cgroup/pids"));
    let v1 = Cgroups::from_mounts(&parse_mountinfo(HYBRID)[..5]).unwrap();
    assert_eq!(v1.mode(), Mode::V1);
    let v2 = Cgroups::from_mounts(&parse_mountinfo(b"31 23 0:28 / /sys/fs/cgroup rw - cgroup2 none rw,nsdelegate\n"))
        .unwrap();
    assert_eq!(v2.mode(), Mode::V2);
    assert_eq!(Cgroups::from_mounts(&[]), None);
}

#[test]
fn shares_become_weights_as_kubelet_writes_them() {
    assert_eq!([2, 102, 1024, 262_144].map(weight), [1, 4, 39, 10_000]);
    assert_eq!(weight(0), 1);
}

#[test]
fn limits_are_written_in_the_words_of_each_version() {
    let limits = Limits {
        cpu_shares: Some(1024),
        cpu_quota: Some(50_000),
        memory_max: Some(1 << 20),
        pids_max: Some(9),
        ..Limits::none()
    };
    let v2: Vec<_> = limits.v2().into_iter().map(|(_, file, value)| format!("{file}={value}")).collect();
    assert_eq!(v2, ["cpu.weight=39", "cpu.max=50000 100000", "memory.max=1048576", "pids.max=9"]);
    let v1: Vec<_> = limits.v1().into_iter().map(|(_, file, value)| format!("{file}={value}")).collect();
    assert_eq!(
        v1,
        [
            "cpu.shares=1024",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "memory.limit_in_bytes=1048576",
            "pids.max=9"
        ]
    );
}

#[test]
fn on_v2_wanted_controllers_are_enabled_one_by_one() {
    let (dir, _) = fake_v2();
    enable_controllers(dir.path()).unwrap();
    // Plain files keep what was written at offset 0 by the last and longest write.
    let written = std::fs::read_to_string(dir.path().join("cgroup.subtree_control")).unwrap();
    assert!(written.starts_with("+pids"), "{written}");
}

#[test]
fn a_cgroup_path_cannot_leave_its_hierarchy() {
    let (_dir, cgroups) = fake_v2();
    for path in ["", "/", "../x", "a/../../x"] {
        assert_eq!(cgroups.create_bare(path).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{path}");
    }
    cgroups.create_bare("/a/b").unwrap();
    assert_eq!(cgroups.children("a").unwrap(), ["b"]);
    cgroups.remove("a").unwrap();
    assert!(cgroups.directories("a").unwrap().is_empty());
}

#[test]
fn events_and_counters_are_read_by_key() {
    assert_eq!(keyed("low 0\noom 3\noom_kill 2\n", "oom_kill"), Some(2));
    assert_eq!(keyed("populated 1\nfrozen 0\n", "populated"), Some(1));
    assert_eq!(keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n", "oom_kill"), Some(5));
}

#[test]
fn processes_in_a_real_cgroup_are_listed_killed_and_the_cgroup_removed() {
    let cgroups = Cgroups::detect().expect("cgroups are mounted");
    let path = format!("gatepost-unit-{}", std::process::id());
    cgroups.create_bare(&format!("{path}/deeper")).expect("root may make cgroups");
    let mut children: Vec<_> =
        (0..3).map(|_| std::process::Command::new("sleep").arg("600").spawn().unwrap()).collect();
    for child in &children {
        cgroups.add(&format!("{path}/deeper"), child.id()).unwrap();
    }
    assert_eq!(cgroups.processes(&path).unwrap().len(), 3);
    assert!(!cgroups.is_empty(&path).unwrap());
    assert!(cgroups.kill(&path, Duration::from_secs(10)).unwrap());
    for child in &mut children {
        child.wait().unwrap();
    }
    cgroups.remove(&path).unwrap();
    assert!(cgroups.directories(&path).unwrap().is_empty());
}
