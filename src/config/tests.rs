#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::time::Duration;

use super::{Config, ConsoleShell, DataOnFailure, WritableLayer, lenient, parse, reference};

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
         podPidsLimit: -1\npodsMemoryLimit: 100Mi\npodsPidsLimit: 500\nresolvConf: /r\nclusterDomain: site.local\ncniConfDir: /c\ncniBinDir: [/x, /y]\npodSubnet: 10.1.0.0/16\nmaxParallelStarts: 3\ncgroupRoot: gp\n\
         consoleShell: password\nconsoleShellPassword: $6$salt$hash\nconsoleShellTimeout: 2m\n",
        &[],
    );
    assert_eq!(config.node_name, "gw-1");
    assert_eq!(config.static_pod_path, [PathBuf::from("/flash"), PathBuf::from("/data/m")]);
    assert_eq!(config.layout.preload, [PathBuf::from("/flash/images")]);
    assert_eq!(config.runtime, "crun");
    assert_eq!((config.layout.run, config.layout.data), (PathBuf::from("/run/g"), PathBuf::from("/d")));
    assert_eq!(config.layout.logs, PathBuf::from("/l"));
    assert_eq!((config.backoff.initial, config.backoff.max), (Duration::from_secs(2), Duration::from_mins(1)));
    assert_eq!((config.logs.max_size, config.logs.max_files, config.logs.total), (1 << 20, 2, 8 << 20));
    assert_eq!(config.writable_layer, WritableLayer::Memory(8 << 20));
    assert_eq!((config.pod_pids_limit, config.pods_memory_limit, config.pods_pids_limit), (0, Some(100 << 20), 500));
    assert_eq!(config.cgroup_root, "gp");
    assert_eq!(config.cluster_domain, "site.local");
    assert_eq!((config.resolv_conf, config.max_parallel_starts), (PathBuf::from("/r"), 3));
    assert_eq!((config.cni_conf_dir, config.pod_subnet), (PathBuf::from("/c"), "10.1.0.0/16".to_owned()));
    assert_eq!(config.cni_bin_dir, ["/x", "/y"].map(PathBuf::from));
    assert_eq!(config.console.shell, ConsoleShell::Password("$6$salt$hash".to_owned()));
    assert_eq!(config.console.timeout, Duration::from_mins(2));
}

#[test]
fn a_subnet_of_pods_is_a_network_with_room() {
    for wrong in ["10.1.0.0", "10.1.0.1/16", "10.1.0.0/31", "10.1.0.0/0", "fd00::/64", "x/24"] {
        let problems = problems(&format!("podSubnet: {wrong:?}\n"), &[]);
        assert!(problems.len() == 1 && problems[0].contains("no IPv4 subnet"), "{problems:?}");
    }
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

#[test]
fn the_gateways_keys_reach_their_settings() {
    let gateway = config(
        "hostname: gw\nnetwork: {interface: eth1, address: 10.0.0.2/24, gateway: 10.0.0.1, dns: 10.0.0.1}\n\
         sysctls: {net.ipv4.ip_forward: 0, net/ipv4/conf/eth0.5/forwarding: 1}\nmodules: [i6300esb heartbeat=30]\n\
         dataPartition: /dev/sda3\ndataOnFailure: format\nflashPartition: ''\nwatchdogTimeout: 30s\nwatchdogMaximum: 0\n\
         shutdownBound: 1m\n",
        &["sysctls.kernel.panic=5", "network.dns=10.0.0.1,9.9.9.9"],
    )
    .gateway;
    assert_eq!(gateway.hostname, "gw");
    assert_eq!(gateway.network.interface, "eth1");
    assert_eq!(gateway.network.address, Some(([10, 0, 0, 2].into(), 24)));
    assert_eq!(gateway.network.gateway, Some([10, 0, 0, 1].into()));
    assert_eq!(gateway.network.dns, [std::net::Ipv4Addr::new(10, 0, 0, 1), std::net::Ipv4Addr::new(9, 9, 9, 9)]);
    assert_eq!(gateway.sysctls.get("net.ipv4.ip_forward").map(String::as_str), Some("0"));
    assert_eq!(gateway.sysctls.get("kernel.panic").map(String::as_str), Some("5"));
    assert_eq!(gateway.sysctls.len(), 3);
    assert_eq!(gateway.modules, ["i6300esb heartbeat=30"]);
    assert_eq!((gateway.data_partition.as_str(), gateway.flash_partition.as_str()), ("/dev/sda3", ""));
    assert_eq!(gateway.data_on_failure, DataOnFailure::Format);
    assert_eq!((gateway.watchdog_timeout, gateway.watchdog_maximum), (Some(Duration::from_secs(30)), None));
    assert_eq!(gateway.shutdown_bound, Duration::from_mins(1));
}

#[test]
fn what_a_gateway_cannot_do_is_refused_with_its_key() {
    for (text, key) in [
        ("hostname: -x", "hostname"),
        ("network: {address: 10.0.0.2}", "network.address"),
        ("network: {address: 10.0.0.2/33}", "network.address"),
        ("network: {gateway: 10.0.0.1}", "network.gateway"),
        ("network: {address: 10.0.0.2/24, dhcp: true}", "network.dhcp"),
        ("network: {interface: a/b}", "network.interface"),
        ("dataPartition: LABEL=x", "dataPartition"),
        ("dataOnFailure: panic", "dataOnFailure"),
        ("watchdogTimeout: 2h", "watchdogTimeout"),
        ("sysctls: {'../x': 1}", "sysctls"),
    ] {
        let problems = problems(text, &[]);
        assert!(problems[0].starts_with(&format!("config.yaml:1: {key}: ")), "{text}: {problems:?}");
    }
}

#[test]
fn a_lenient_reading_leaves_out_what_is_wrong_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, "nodeName: gw\nrunDir: relative\nlogsMaxTotal: 4Ki\ncontainerLogMaxSize: 1Mi\nbogus: 1\n")
        .unwrap();
    let overrides = ["runtime=crun".to_owned(), "podPidsLimit=x".to_owned(), "maxParallelStarts=2".to_owned()];
    let (config, problems) = lenient(Some(&file), &overrides);
    assert_eq!((config.node_name.as_str(), config.runtime.as_str(), config.max_parallel_starts), ("gw", "crun", 2));
    assert_eq!(config.layout, Config::default().layout);
    assert_eq!((config.logs.total, config.logs.max_size), (Config::default().logs.total, 1 << 20));
    assert_eq!(problems.len(), 4, "{problems:#?}");
    // Good only together.
    std::fs::write(&file, "logsMaxTotal: 8Mi\nbogus: 1\ncontainerLogMaxSize: 1Mi\n").unwrap();
    let (config, problems) = lenient(Some(&file), &[]);
    assert_eq!((config.logs.total, config.logs.max_size, problems.len()), (8 << 20, 1 << 20, 1));
    let (config, problems) = lenient(Some(&directory.path().join("none")), &[]);
    assert_eq!((config, problems.len()), (Config { stands_in: true, ..Config::default() }, 1));
    std::fs::write(&file, "- a list\n").unwrap();
    assert_eq!(Config { modified: 0, ..lenient(Some(&file), &[]).0 }, Config { stands_in: true, ..Config::default() });
    std::fs::write(&file, "nodeName: gw\n").unwrap();
    assert!(!lenient(Some(&file), &[]).0.stands_in && lenient(Some(&file), &["bogus=1".to_owned()]).0.stands_in);
    assert_eq!(lenient(None, &[]), (Config::default(), Vec::new()));
}
