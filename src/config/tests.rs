#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Duration;

use super::{Config, ConsoleShell, WritableLayer, parse, reference};

fn problems(text: &str, overrides: &[&str]) -> Vec<String> {
    let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
    parse("config.yaml", text.as_bytes(), &overrides).expect_err("must be refused").problems
}

fn config(text: &str, overrides: &[&str]) -> Config {
    let overrides: Vec<_> = overrides.iter().map(|text| (*text).to_owned()).collect();
    parse("config.yaml", text.as_bytes(), &overrides).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(config("", &[]), Config::default());
    assert_eq!(config("# nothing\n", &[]), Config::default());
}

#[test]
fn every_key_reaches_its_setting() {
    let config = config(
        "nodeName: gw-1\nstaticPodPath: [/flash, /data/m]\nimagePreloadPath: /flash/images\nruntime: crun\nrunDir: /run/g\n\
         dataDir: /d\nlogDir: /l\ncrashLoopBackOff: {initialRestartPeriod: 2s, maxContainerRestartPeriod: 1m}\n\
         containerLogMaxSize: 1Mi\ncontainerLogMaxFiles: 2\nlogsMaxTotal: 8Mi\nwritableLayer: {medium: memory, size: 8Mi}\n\
         podPidsLimit: -1\npodsMemoryLimit: 100Mi\npodsPidsLimit: 500\nresolvConf: /r\nmaxParallelStarts: 3\ncgroupRoot: gp\n\
         consoleShell: password\nconsoleShellPassword: $6$salt$hash\nconsoleShellTimeout: 2m\n",
        &[],
    );
    assert_eq!(config.node_name, "gw-1");
    assert_eq!(config.static_pod_path, [PathBuf::from("/flash"), PathBuf::from("/data/m")]);
    assert_eq!(config.image_preload_path, [PathBuf::from("/flash/images")]);
    assert_eq!(config.runtime, "crun");
    assert_eq!((config.layout.run, config.layout.data), (PathBuf::from("/run/g"), PathBuf::from("/d")));
    assert_eq!(config.layout.logs, PathBuf::from("/l"));
    assert_eq!((config.backoff.initial, config.backoff.max), (Duration::from_secs(2), Duration::from_mins(1)));
    assert_eq!((config.logs.max_size, config.logs.max_files, config.logs.total), (1 << 20, 2, 8 << 20));
    assert_eq!(config.writable_layer, WritableLayer::Memory(8 << 20));
    assert_eq!((config.pod_pids_limit, config.pods_memory_limit, config.pods_pids_limit), (0, 100 << 20, 500));
    assert_eq!(config.cgroup_root, "gp");
    assert_eq!((config.resolv_conf, config.max_parallel_starts), (PathBuf::from("/r"), 3));
    assert_eq!(config.console.shell, ConsoleShell::Password("$6$salt$hash".to_owned()));
    assert_eq!(config.console.timeout, Duration::from_mins(2));
}

#[test]
fn an_unknown_key_names_its_line_and_the_nearest_known_one() {
    let problems = problems("nodeName: a\nstaticPodpath: /x\n", &[]);
    assert_eq!(problems, ["config.yaml:2: staticPodpath: unknown key; did you mean \"staticPodPath\"?"]);
}

#[test]
fn all_problems_are_found_at_once() {
    let problems = problems("containerLogMaxFiles: 1\nrunDir: run\npodPidsLimit: many\n", &["gatepost.runtime", "x=1"]);
    assert_eq!(problems.len(), 5, "{problems:#?}");
    assert!(problems.contains(&"config.yaml:1: containerLogMaxFiles: must be at least 2".to_owned()), "{problems:#?}");
}

#[test]
fn overrides_count_more_than_the_file_and_reach_inner_keys() {
    let config = config(
        "runtime: crun\nwritableLayer: {medium: data}\n",
        &["gatepost.runtime=/usr/bin/youki", "writableLayer.medium=memory", "staticPodPath=/a,/b", "podPidsLimit=7"],
    );
    assert_eq!(config.runtime, "/usr/bin/youki");
    assert_eq!(config.writable_layer, WritableLayer::Memory(16 << 20));
    assert_eq!(config.static_pod_path, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!(config.pod_pids_limit, 7);
}

#[test]
fn the_first_wait_is_never_longer_than_the_longest() {
    let config = config("crashLoopBackOff: {maxContainerRestartPeriod: 3s}\n", &[]);
    assert_eq!(config.backoff.initial, Duration::from_secs(3));
}

#[test]
fn a_console_shell_is_off_unless_asked_for_and_a_password_needs_its_hash() {
    assert_eq!(config("consoleShellPassword: $5$a$b\n", &[]).console.shell, ConsoleShell::None);
    assert_eq!(config("", &["consoleShell=open"]).console.shell, ConsoleShell::Open);
    for (text, wrong) in [
        ("consoleShell: password\n", "needs a hash"),
        ("consoleShell: password\nconsoleShellPassword: secret\n", "is no hash"),
        ("consoleShell: yes please\n", "neither none, password nor open"),
    ] {
        let problems = problems(text, &[]);
        assert!(problems.iter().any(|problem| problem.contains(wrong)), "{problems:#?}");
    }
}

#[test]
fn the_reference_is_up_to_date() {
    crate::document::assert_file_equals("docs/configuration.md", &reference());
}
