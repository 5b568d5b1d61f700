//! Security contexts as containers see them: each rule from inside a container of the real runtime.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::needless_pass_by_value)]

mod gateway;
mod oci_schema;

#[path = "security_context/processes.rs"]
mod processes;
#[path = "security_context/users.rs"]
mod users;

use std::fs;
use std::path::Path;

use gateway::manifest::{container, push, run_once};
use gateway::pods::{text, waits};
use gateway::{Gateway, Pods};
use serde_json::{Value, json};

/// The lines a pod has written that begin with one of these names and a colon or a blank, without the name.
pub fn said<const N: usize>(gateway: &Gateway, pod: &str, names: [&str; N]) -> [String; N] {
    gateway.finished(pod);
    let log = gateway.logs(pod);
    names.map(|name| {
        let line = log.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([':', ' ']));
        line.unwrap_or_else(|| panic!("no {name} in {log}")).trim().to_owned()
    })
}

/// All bundles of the test are valid by the specification's own schema.
pub fn check_bundles(gateway: &Gateway) {
    let bundles = gateway.bundles();
    assert!(!bundles.is_empty(), "no bundle was kept");
    for bundle in bundles {
        assert_eq!(oci_schema::problems(&bundle), Vec::<String>::new(), "{bundle:#}");
    }
}

const STATUS: &str = "grep -E '^(Uid|Gid|Groups|Cap[A-Z][a-z]+|NoNewPrivs|Seccomp):' /proc/self/status";

fn with_context(name: &str, script: &str, pod_context: Value, container_context: Value) -> Value {
    let mut pod = run_once(name, script);
    pod["spec"]["securityContext"] = pod_context;
    pod["spec"]["containers"][0]["securityContext"] = container_context;
    pod
}

fn is_set(hex: &str, bit: u32) -> bool {
    u64::from_str_radix(hex, 16).unwrap() >> bit & 1 == 1
}

#[test]
fn users_groups_capabilities_and_filters_are_what_the_manifest_says() {
    let mut gateway = Gateway::keeping_bundles("");
    gateway.run(true);
    gateway.apply(&with_context("plain", STATUS, json!({}), json!({})));
    gateway.apply(&with_context(
        "ids",
        STATUS,
        json!({ "runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000], "fsGroup": 5000 }),
        json!({ "runAsUser": 1001 }),
    ));
    gateway.apply(&with_context("merged", STATUS, json!({ "supplementalGroups": [4000] }), json!({})));
    let strict = json!({ "supplementalGroups": [4000], "supplementalGroupsPolicy": "Strict" });
    gateway.apply(&with_context("strict", STATUS, strict, json!({})));
    let few = json!({
        "capabilities": { "drop": ["ALL"], "add": ["NET_ADMIN"] },
        "allowPrivilegeEscalation": false, "seccompProfile": { "type": "Unconfined" },
    });
    gateway.apply(&with_context("few", STATUS, json!({}), few));
    let all = json!({ "capabilities": { "add": ["ALL"], "drop": ["SYS_ADMIN"] } });
    gateway.apply(&with_context("all", STATUS, json!({}), all));

    let [uid, bounding, ambient, escalation, filter] =
        said(&gateway, "plain", ["Uid", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"]);
    assert_eq!(uid, "0\t0\t0\t0");
    // containerd's fourteen.
    assert_eq!(u64::from_str_radix(&bounding, 16).unwrap(), 0xa804_25fb);
    assert_eq!((ambient.trim_start_matches('0'), escalation.as_str(), filter.as_str()), ("", "0", "2"));

    let [uid, gid, groups, effective, bounding] = said(&gateway, "ids", ["Uid", "Gid", "Groups", "CapEff", "CapBnd"]);
    assert_eq!(
        (uid.as_str(), gid.as_str(), groups.as_str()),
        ("1001\t1001\t1001\t1001", "3000\t3000\t3000\t3000", "3000 4000 5000")
    );
    assert_eq!(effective.trim_start_matches('0'), "", "a user that is not root has none over execve");
    assert!(is_set(&bounding, 0));

    let [merged] = said(&gateway, "merged", ["Groups"]);
    let [strict] = said(&gateway, "strict", ["Groups"]);
    assert_eq!(strict, "0 4000");
    assert!(merged.starts_with("0 ") && merged.split(' ').any(|group| group == "4000"), "{merged}");

    let [bounding, effective, escalation, filter] =
        said(&gateway, "few", ["CapBnd", "CapEff", "NoNewPrivs", "Seccomp"]);
    assert_eq!((bounding.trim_start_matches('0'), effective.trim_start_matches('0')), ("1000", "1000"));
    assert_eq!((escalation.as_str(), filter.as_str()), ("1", "0"));
    let [bounding] = said(&gateway, "all", ["CapBnd"]);
    assert!(!is_set(&bounding, 21) && is_set(&bounding, 12) && is_set(&bounding, 25), "{bounding}");
    check_bundles(&gateway);
}

#[test]
fn run_as_non_root_refuses_root_with_kubernetes_words() {
    let gateway = Gateway::start("");
    gateway.apply(&with_context("image", "id", json!({ "runAsNonRoot": true }), json!({})));
    gateway.apply(&with_context("manifest", "id", json!({ "runAsNonRoot": true, "runAsUser": 0 }), json!({})));
    gateway.apply(&with_context("other", "id -u", json!({ "runAsNonRoot": true }), json!({ "runAsUser": 7 })));
    for (name, words) in [
        ("image", "container has runAsNonRoot and image will run as root"),
        ("manifest", "container's runAsUser breaks non-root policy"),
    ] {
        let message = gateway.wait_for(&format!("{name} to be refused"), |pods: &Pods| {
            let pod = pods.get(name).filter(|pod| waits(pod) == "CreateContainerConfigError")?;
            Some(text(&pod["status"]["containerStatuses"][0], "/state/waiting/message").to_owned())
        });
        let subject = format!("(pod: \"{name}-{}_default(", gateway.node);
        assert!(message.starts_with(words) && message.contains(&subject), "{message}");
        assert!(message.contains("container: app)"), "{message}");
    }
    gateway.finished("other");
    assert_eq!(gateway.logs("other").trim(), "7");
}

#[test]
fn masks_read_only_roots_and_default_mounts_are_seen_from_inside() {
    let mut gateway = Gateway::keeping_bundles("");
    gateway.run(true);
    let script = "cat /proc/kcore | wc -c | sed 's/^/kcore /'; ls /sys/firmware | wc -l | sed 's/^/firmware /'; \
        touch /new 2>/dev/null && echo 'root rw' || echo 'root ro'; \
        echo 1 >/proc/sys/kernel/domainname 2>/dev/null && echo 'sys rw' || echo 'sys ro'; \
        awk '{ print \"at\" $2, $3, $4 }' /proc/mounts; ls /dev | tr '\\n' ' ' | sed 's/^/dev /'";
    gateway.apply(&with_context("plain", script, json!({}), json!({})));
    gateway.apply(&with_context("fixed", script, json!({}), json!({ "readOnlyRootFilesystem": true })));
    gateway.apply(&with_context("trusted", script, json!({}), json!({ "privileged": true })));

    let [kcore, firmware, root, sys, shm, dev] =
        said(&gateway, "plain", ["kcore", "firmware", "root", "sys", "at/dev/shm", "dev"]);
    assert_eq!([kcore.as_str(), firmware.as_str(), root.as_str(), sys.as_str()], ["0", "0", "rw", "ro"]);
    assert!(shm.contains("tmpfs") && shm.contains("size=65536k") && shm.contains("noexec"), "{shm}");
    for device in ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"] {
        assert!(dev.split(' ').any(|name| name == device), "{device}: {dev}");
    }
    let [sysfs, cgroup, proc] = said(&gateway, "plain", ["at/sys", "at/sys/fs/cgroup", "at/proc"]);
    assert!(sysfs.starts_with("sysfs ro,nosuid,nodev,noexec"), "{sysfs}");
    assert!(cgroup.contains("nosuid,nodev,noexec"), "{cgroup}");
    assert!(proc.starts_with("proc rw,nosuid,nodev,noexec"), "{proc}");

    let [root, hosts, resolv] = said(&gateway, "fixed", ["root", "at/etc/hosts", "at/etc/resolv.conf"]);
    assert_eq!(root, "ro");
    assert!(hosts.starts_with("tmpfs rw") && resolv.starts_with("tmpfs ro"), "{hosts}, {resolv}");

    let [sys, sysfs, dev] = said(&gateway, "trusted", ["sys", "at/sys", "dev"]);
    assert_eq!(sys, "rw");
    assert!(sysfs.starts_with("sysfs rw"), "{sysfs}");
    let host_has = |name: &str| Path::new("/dev").join(name).exists();
    for device in ["loop-control", "kmsg", "mem", "vda"].into_iter().filter(|name| host_has(name)) {
        assert!(dev.split(' ').any(|name| name == device), "{device}: {dev}");
    }
    check_bundles(&gateway);
}

#[test]
fn a_local_seccomp_profile_is_applied_and_a_missing_one_is_named() {
    let gateway = Gateway::prepare("seccompProfileRoot: BASE/profiles");
    let mut gateway = gateway;
    fs::create_dir(gateway.path("profiles")).unwrap();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13 }],
    });
    fs::write(gateway.path("profiles/no-mkdir.json"), profile.to_string()).unwrap();
    gateway.run(true);
    let local = |name: &str| json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": name } });
    let script = "mkdir /tmp/x 2>&1 | sed 's/^/mkdir /'; exit 0";
    gateway.apply(&with_context("local", script, local("no-mkdir.json"), json!({})));
    gateway.apply(&with_context("missing", script, json!({}), local("nowhere.json")));
    let [mkdir] = said(&gateway, "local", ["mkdir"]);
    assert!(mkdir.contains("Permission denied"), "{mkdir}");
    let message = gateway.wait_for("the missing profile to be named", |pods| {
        let pod = pods.get("missing").filter(|pod| waits(pod) == "CreateContainerError")?;
        Some(text(&pod["status"]["containerStatuses"][0], "/state/waiting/message").to_owned())
    });
    let path = gateway.path("profiles/nowhere.json");
    assert!(message.starts_with(&format!("cannot load seccomp profile \"{}\"", path.display())), "{message}");
}

#[test]
fn kernel_parameters_need_the_nodes_leave_beyond_the_safe_ones() {
    let gateway = Gateway::start("allowedUnsafeSysctls: [net.core.*]");
    let sysctls = |list: &[(&str, &str)]| {
        let list: Vec<Value> = list.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        json!({ "sysctls": list })
    };
    let script = "for name in net/ipv4/ip_local_port_range net/core/somaxconn net/ipv4/ip_unprivileged_port_start \
        kernel/shm_rmid_forced; do echo $name $(cat /proc/sys/$name); done";
    let allowed = sysctls(&[
        ("net.ipv4.ip_local_port_range", "2000 3000"),
        ("net.core.somaxconn", "77"),
        ("kernel.shm_rmid_forced", "1"),
    ]);
    gateway.apply(&with_context("allowed", script, allowed, json!({})));
    let [range, backlog, ports, shm] = said(
        &gateway,
        "allowed",
        [
            "net/ipv4/ip_local_port_range",
            "net/core/somaxconn",
            "net/ipv4/ip_unprivileged_port_start",
            "kernel/shm_rmid_forced",
        ],
    );
    assert_eq!([range.as_str(), backlog.as_str(), ports.as_str(), shm.as_str()], ["2000 3000", "77", "0", "1"]);

    gateway.apply(&with_context("forbidden", "true", sysctls(&[("net.ipv6.conf.all.forwarding", "1")]), json!({})));
    let status = gateway.wait_for("the pod to be refused", |pods| {
        let pod = pods.get("forbidden").filter(|pod| text(pod, "/status/phase") == "Failed")?;
        Some(pod["status"].clone())
    });
    let message = "Pod was rejected: forbidden sysctl: \"net.ipv6.conf.all.forwarding\" not allowlisted";
    assert_eq!((&status["reason"], &status["message"]), (&json!("SysctlForbidden"), &json!(message)));
    assert!(gateway.ok(&["get", "pods"]).contains("SysctlForbidden"));
}

#[test]
fn app_armor_and_selinux_confine_where_the_kernel_has_them_and_are_warned_of_or_refused_elsewhere() {
    let app_armor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with('Y'));
    let se_linux = Path::new("/sys/fs/selinux/enforce").exists();
    let mut gateway = Gateway::keeping_bundles("");
    gateway.run(true);
    let mut soft = with_context(
        "soft",
        "echo ran",
        json!({ "seLinuxOptions": { "level": "s0:c1,c2" }, "appArmorProfile": { "type": "RuntimeDefault" } }),
        json!({}),
    );
    push(&mut soft["spec"]["initContainers"], container("first", "true"));
    gateway.apply(&soft);
    let strict = json!({ "appArmorProfile": { "type": "Localhost", "localhostProfile": "mine" } });
    gateway.apply(&with_context("strict", "echo ran", json!({}), strict));
    gateway.finished("soft");
    let bundles = gateway.bundles();
    let of_soft = |bundle: &&Value| text(bundle, "/annotations/io.kubernetes.pod.name").starts_with("soft-");
    let of_soft: Vec<&Value> = bundles.iter().filter(of_soft).collect();
    assert_eq!(of_soft.len(), 2);
    for bundle in of_soft {
        let label = if se_linux { json!("system_u:system_r:container_t:s0:c1,c2") } else { Value::Null };
        assert_eq!(bundle["process"]["selinuxLabel"], label);
        let profile = &bundle["process"]["apparmorProfile"];
        match (app_armor, profile.is_null()) {
            (true, false) => {}
            (true, true) => _ = gateway.said("is loaded; it runs without one"),
            (false, _) => {
                assert_eq!(*profile, Value::Null);
                gateway.said("AppArmor is not enabled on this node; it runs without a profile");
            }
        }
    }
    if !se_linux {
        gateway.said("SELinux is not enabled on this node; its label has no effect");
    }
    let message = gateway.wait_for("the profile to be refused", |pods| {
        let pod = pods.get("strict").filter(|pod| waits(pod) == "CreateContainerError")?;
        Some(text(&pod["status"]["containerStatuses"][0], "/state/waiting/message").to_owned())
    });
    let why =
        if app_armor { "AppArmor profile mine is not loaded" } else { "AppArmor profile mine cannot be enforced" };
    assert!(message.contains(why), "{message}");
}

#[test]
fn a_probe_container_finds_what_the_runtime_does_and_people_can_read_it() {
    let gateway = Gateway::start("");
    gateway.said("probe of ");
    let node: Value = serde_json::from_str(&gateway.ok(&["get", "node", &gateway.node, "-o", "json"])).unwrap();
    let found = |name: &str| text(&node, &format!("/metadata/annotations/feature.gatepost.io~1{name}")).to_owned();
    for feature in ["seccomp", "noNewPrivileges", "capabilities", "maskedPaths", "recursiveReadOnlyMounts"] {
        assert_eq!(found(feature), "works", "{feature}");
    }
    // runc 1.1 passes over the mappings of a mount in silence; the node can have them nevertheless.
    if gateway.info().runtime_version.contains(" 1.1") {
        assert_eq!(found("idMappedMounts"), "missing");
    }
    assert_eq!(found("hostUsers"), "works");
    assert_eq!(node["status"]["runtimeHandlers"][0]["features"]["userNamespaces"], true);
    let described = gateway.ok(&["describe", "node"]);
    assert!(described.contains("Runtime features:\n") && described.contains("seccomp:"), "{described}");
    assert!(gateway.ok(&["get", "nodes"]).contains("Ready"));
    assert!(!gateway.run_dir().join("features").exists(), "the look leaves nothing but its result");
}
