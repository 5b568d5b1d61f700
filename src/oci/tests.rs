//! The rules of a bundle, one sentence each.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};

use super::fixture::Fixture;
use super::{CgroupVersion, Device, DeviceKind, HostDevice, HostVolume, PodNamespaces};
use crate::manifest::v1;
use crate::sorted::BTreeMap;

fn run(container: Value) -> Fixture {
    let mut container = container;
    if container.get("command").is_none() && container.get("args").is_none() {
        container["command"] = json!(["/app"]);
    }
    Fixture::new(container, &json!({}))
}

fn env(fixture: &Fixture, name: &str) -> Option<String> {
    let all = fixture.json();
    let prefix = format!("{name}=");
    let values: Vec<_> = all["process"]["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| entry.as_str()?.strip_prefix(&prefix))
        .collect();
    assert!(values.len() < 2, "{name} is there twice");
    values.first().map(|&value| value.to_owned())
}

fn mount<'a>(spec: &'a Value, destination: &str) -> &'a Value {
    let found: Vec<_> =
        spec["mounts"].as_array().unwrap().iter().filter(|mount| mount["destination"] == destination).collect();
    assert_eq!(found.len(), 1, "{destination} in {}", spec["mounts"]);
    found[0]
}

#[test]
fn command_and_args_replace_the_images_as_kubernetes_does() {
    let image = json!({ "Entrypoint": ["/entry"], "Cmd": ["cmd"] });
    for (container, runs) in [
        (json!({}), json!(["/entry", "cmd"])),
        (json!({ "args": ["a"] }), json!(["/entry", "a"])),
        (json!({ "command": ["/c"] }), json!(["/c"])),
        (json!({ "command": ["/c"], "args": ["a"] }), json!(["/c", "a"])),
    ] {
        assert_eq!(Fixture::new(container, &image).json()["process"]["args"], runs);
    }
}

#[test]
fn a_container_without_any_command_is_refused() {
    assert_eq!(
        Fixture::new(json!({}), &json!({})).refusal(),
        ("CreateContainerError", "no command specified".to_owned())
    );
}

#[test]
fn the_working_directory_is_the_manifests_else_the_images_else_the_root() {
    let image = json!({ "Cmd": ["x"], "WorkingDir": "/srv" });
    assert_eq!(Fixture::new(json!({}), &image).json()["process"]["cwd"], "/srv");
    assert_eq!(Fixture::new(json!({ "workingDir": "/w" }), &image).json()["process"]["cwd"], "/w");
    assert_eq!(run(json!({})).json()["process"]["cwd"], "/");
}

#[test]
fn a_terminal_brings_term() {
    let fixture = run(json!({ "tty": true }));
    assert_eq!(
        (env(&fixture, "TERM").as_deref(), &fixture.json()["process"]["terminal"]),
        (Some("xterm"), &json!(true))
    );
    assert_eq!(env(&run(json!({})), "TERM"), None);
}

#[test]
fn later_sources_of_the_environment_win() {
    let mut fixture = Fixture::new(
        json!({ "command": ["/app"],
            "envFrom": [{ "configMapRef": { "name": "one" } }, { "prefix": "P_", "secretRef": { "name": "two" } },
                        { "configMapRef": { "name": "absent", "optional": true } }],
            "env": [{ "name": "B", "value": "env" }, { "name": "D", "value": "first" }, { "name": "D", "value": "last" }] }),
        &json!({ "Env": ["A=image", "B=image", "PATH=/image", "EMPTY"] }),
    );
    fixture.config_maps.insert(
        "one".to_owned(),
        crate::json::from_value(json!({ "data": { "A": "map", "B": "map", "C": "$(A)" } })).unwrap(),
    );
    fixture
        .secrets
        .insert("two".to_owned(), Rc::new(crate::json::from_value(json!({ "data": { "K": "c2VjcmV0" } })).unwrap()));
    for (name, value) in [
        ("PATH", "/image"),
        ("A", "map"),
        ("B", "env"),
        ("C", "$(A)"),
        ("D", "last"),
        ("P_K", "secret"),
        ("EMPTY", ""),
        ("HOSTNAME", "web-gw1"),
    ] {
        assert_eq!(env(&fixture, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(env(&run(json!({})), "PATH").unwrap(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

#[test]
fn variables_see_earlier_ones_and_commands_see_all_but_the_images() {
    let fixture = Fixture::new(
        json!({ "command": ["$(B)", "$(LATER)", "$(FROM_IMAGE)", "$$(B)"],
            "env": [{ "name": "A", "value": "1 $(LATER)" }, { "name": "B", "value": "$(A)2" }, { "name": "LATER", "value": "x" }] }),
        &json!({ "Env": ["FROM_IMAGE=i"] }),
    );
    assert_eq!(env(&fixture, "A").unwrap(), "1 $(LATER)");
    assert_eq!(env(&fixture, "B").unwrap(), "1 $(LATER)2");
    assert_eq!(fixture.json()["process"]["args"], json!(["1 $(LATER)2", "x", "$(FROM_IMAGE)", "$(B)"]));
}

#[test]
fn variables_that_double_each_other_are_refused_before_they_fill_the_memory() {
    let mut list = vec![json!({ "name": "V0", "value": "xxxxxxxxxxxxxxxx" })];
    list.extend((1..64).map(|n| json!({ "name": format!("V{n}"), "value": format!("$(V{0})$(V{0})", n - 1) })));
    let (reason, message) = run(json!({ "env": list })).refusal();
    assert!(
        reason == "CreateContainerConfigError" && message.starts_with("environment variable V13 is longer"),
        "{message}"
    );

    let many: Vec<_> = (0..100).map(|n| json!({ "name": format!("V{n}"), "value": "x".repeat(100_000) })).collect();
    assert!(run(json!({ "env": many })).refusal().1.starts_with("the environment is larger"));
    let args = vec!["$(A)"; 100];
    let (reason, message) =
        run(json!({ "args": args, "env": [{ "name": "A", "value": "x".repeat(100_000) }] })).refusal();
    assert!(reason == "CreateContainerError" && message.starts_with("the command is longer"), "{message}");
}

#[test]
fn missing_objects_and_keys_are_errors_in_kubernetes_words_unless_optional() {
    let of = |source: Value| {
        let mut fixture = run(json!({ "env": [{ "name": "X", "valueFrom": source }] }));
        fixture.config_maps.insert("here".to_owned(), Rc::default());
        fixture.secrets.insert("here".to_owned(), Rc::default());
        fixture
    };
    for (source, message) in [
        (json!({ "configMapKeyRef": { "name": "n", "key": "k" } }), "configmap \"n\" not found"),
        (json!({ "configMapKeyRef": { "name": "here", "key": "k" } }), "couldn't find key k in ConfigMap default/here"),
        (json!({ "secretKeyRef": { "name": "n", "key": "k" } }), "secret \"n\" not found"),
        (json!({ "secretKeyRef": { "name": "here", "key": "k" } }), "couldn't find key k in Secret default/here"),
    ] {
        assert_eq!(of(source.clone()).refusal(), ("CreateContainerConfigError", message.to_owned()));
        let mut optional = source;
        optional.as_object_mut().unwrap().values_mut().next().unwrap()["optional"] = json!(true);
        assert_eq!(env(&of(optional), "X"), None, "left unset");
    }
    assert_eq!(
        run(json!({ "envFrom": [{ "configMapRef": { "name": "n" } }] })).refusal().1,
        "configmap \"n\" not found"
    );
    assert_eq!(run(json!({ "envFrom": [{ "secretRef": { "name": "n" } }] })).refusal().1, "secret \"n\" not found");
}

#[test]
fn a_secret_that_is_no_text_is_refused_without_showing_it() {
    let mut fixture =
        run(json!({ "env": [{ "name": "X", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }] }));
    fixture
        .secrets
        .insert("s".to_owned(), Rc::new(crate::json::from_value(json!({ "data": { "k": "//79" } })).unwrap()));
    assert!(fixture.refusal().1.starts_with("key k in Secret default/s is not UTF-8 text"));
    fixture
        .secrets
        .insert("s".to_owned(), Rc::new(crate::json::from_value(json!({ "data": { "k": "AA==" } })).unwrap()));
    assert!(fixture.refusal().1.contains("NUL"));
}

#[test]
fn fields_of_the_pod_become_variables() {
    let of = |path: &str| run(json!({ "env": [{ "name": "X", "valueFrom": { "fieldRef": { "fieldPath": path } } }] }));
    for (path, value) in [
        ("metadata.name", "web-gw1"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "0123456789abcdef0123456789abcdef"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "gw1"),
        ("spec.serviceAccountName", ""),
        ("status.hostIP", "192.0.2.1"),
        ("status.hostIPs", "192.0.2.1,2001:db8::1"),
        ("status.podIP", "10.0.0.2"),
        ("status.podIPs", "10.0.0.2,fd00::2"),
    ] {
        assert_eq!(env(&of(path), "X").as_deref(), Some(value), "{path}");
    }
    let mut host = of("status.podIP");
    host.pod.spec.host_network = true;
    assert_eq!(env(&host, "X").as_deref(), Some("192.0.2.1"));
    assert!(of("spec.foo").bundle().is_err());
}

#[test]
fn variables_of_services_are_there_for_others_and_give_way_to_the_manifests() {
    let mut fixture = run(json!({ "env": [
        { "name": "URL", "value": "http://$(DB_SERVICE_HOST)" },
        { "name": "DB_SERVICE_PORT", "value": "own" },
    ] }));
    fixture.service_links =
        ["DB_SERVICE_HOST", "DB_SERVICE_PORT"].map(|name| (name.to_owned(), "x".to_owned())).to_vec();
    let all = ["URL", "DB_SERVICE_HOST", "DB_SERVICE_PORT"].map(|name| env(&fixture, name).unwrap());
    assert_eq!(all, ["http://x", "x", "own"]);
    fixture.pod.spec.enable_service_links = Some(false);
    assert_eq!(env(&fixture, "DB_SERVICE_HOST"), None);
}

#[test]
fn resources_become_variables_rounded_up_by_their_divisor() {
    let of = |resource: &str, divisor: &str| {
        env(
            &run(json!({
                "resources": { "limits": { "cpu": "250m", "memory": "100Mi" } },
                "env": [{ "name": "X", "valueFrom": { "resourceFieldRef": { "resource": resource, "divisor": divisor } } }]
            })),
            "X",
        )
        .unwrap()
    };
    assert_eq!(of("limits.cpu", ""), "1");
    assert_eq!(of("requests.cpu", "1m"), "250");
    assert_eq!(of("limits.memory", "1Mi"), "100");
    assert_eq!(of("limits.memory", "1"), "104857600");
    assert_eq!(of("limits.ephemeral-storage", "1Gi"), "8", "unset: what the node has");
    assert_eq!(of("requests.ephemeral-storage", "1Gi"), "0");
}

#[test]
fn no_new_privileges_only_when_escalation_is_forbidden() {
    for (context, expected) in [
        (json!({}), false),
        (json!({ "allowPrivilegeEscalation": true }), false),
        (json!({ "allowPrivilegeEscalation": false }), true),
    ] {
        assert_eq!(run(json!({ "securityContext": context })).json()["process"]["noNewPrivileges"], expected);
    }
    assert!(run(json!({})).json()["process"].get("rlimits").is_none());
}

#[test]
fn a_privileged_container_has_all_devices_and_nothing_masked() {
    let mut fixture = run(json!({ "securityContext": { "privileged": true } }));
    fixture.host_devices = vec![HostDevice {
        path: PathBuf::from("/dev/ttyUSB0"),
        device: Device { kind: DeviceKind::Char, major: 188, minor: 0 },
        mode: 0o660,
        uid: 0,
        gid: 20,
    }];
    let spec = fixture.json();
    let linux = &spec["linux"];
    assert!(
        linux.get("seccomp").is_none() && linux.get("maskedPaths").is_none() && linux.get("readonlyPaths").is_none()
    );
    assert_eq!(linux["resources"]["devices"], json!([{ "allow": true, "access": "rwm" }]));
    assert_eq!(linux["devices"][0]["path"], "/dev/ttyUSB0");
    assert_eq!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 41);
    for path in ["/sys", "/sys/fs/cgroup"] {
        assert!(!mount(&spec, path)["options"].as_array().unwrap().contains(&json!("ro")));
    }
    assert!(!linux["namespaces"].as_array().unwrap().contains(&json!({ "type": "cgroup" })));
    assert_eq!(spec["process"]["user"]["uid"], 0);
}

#[test]
fn kernel_files_are_masked_and_sys_is_read_only() {
    let spec = run(json!({})).json();
    assert!(spec["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert_eq!(
        spec["linux"]["readonlyPaths"],
        json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
    );
    assert_eq!(mount(&spec, "/sys")["options"], json!(["nosuid", "noexec", "nodev", "ro"]));
    assert_eq!(mount(&spec, "/sys/fs/cgroup")["options"], json!(["nosuid", "noexec", "nodev", "relatime", "ro"]));
}

#[test]
fn generated_files_are_mounted_and_follow_a_read_only_root_but_for_the_hosts_file() {
    let mut fixture = run(json!({ "terminationMessagePath": "/dev/termination-log" }));
    let rw = json!(["rbind", "rprivate", "rw"]);
    let ro = json!(["rbind", "rprivate", "ro"]);
    let spec = fixture.json();
    for path in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/dev/termination-log"] {
        assert_eq!(mount(&spec, path)["options"], rw, "{path}");
    }
    fixture.app().security_context = crate::json::from_value(json!({ "readOnlyRootFilesystem": true })).unwrap();
    let spec = fixture.json();
    assert_eq!(spec["root"]["readonly"], true);
    for path in ["/etc/hosts", "/dev/shm", "/dev/termination-log"] {
        assert_eq!(mount(&spec, path)["options"], rw, "{path}");
    }
    for path in ["/etc/hostname", "/etc/resolv.conf"] {
        assert_eq!(mount(&spec, path)["options"], ro, "{path}");
    }
}

#[test]
fn parents_are_mounted_before_children_whatever_their_order_in_the_manifest() {
    let fixture = run(json!({ "volumeMounts": [
        { "name": "v", "mountPath": "/a/b/c" }, { "name": "v", "mountPath": "a/b/" }, { "name": "v", "mountPath": "/a" }] }))
    .with_volume(json!({ "name": "v", "emptyDir": {} }), "/vol");
    let spec = fixture.json();
    let order: Vec<_> = spec["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["source"] == "/vol")
        .map(|m| m["destination"].clone())
        .collect();
    assert_eq!(order, ["/a", "/a/b", "/a/b/c"]);
}

#[test]
fn a_volume_replaces_what_would_be_generated_at_its_path() {
    let fixture = run(json!({ "volumeMounts": [
        { "name": "v", "mountPath": "/etc/hosts" }, { "name": "v", "mountPath": "/dev/shm/" }, { "name": "v", "mountPath": "/sys/fs/cgroup" }] }))
    .with_volume(json!({ "name": "v", "emptyDir": {} }), "/vol");
    let spec = fixture.json();
    for path in ["/etc/hosts", "/dev/shm", "/sys/fs/cgroup"] {
        assert_eq!(mount(&spec, path)["source"], "/vol", "{path}");
    }
}

#[test]
fn a_volume_at_dev_drops_all_default_mounts_below_it() {
    let fixture = run(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/dev" }] }))
        .with_volume(json!({ "name": "v", "hostPath": { "path": "/dev", "type": "" } }), "/dev");
    let spec = fixture.json();
    let below: Vec<_> = spec["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["destination"].as_str())
        .filter(|d| d.starts_with("/dev"))
        .collect();
    assert_eq!(below, ["/dev"]);
}

#[test]
fn config_maps_and_secrets_are_mounted_read_only() {
    let fixture = run(json!({ "volumeMounts": [
        { "name": "c", "mountPath": "/c" }, { "name": "s", "mountPath": "/s" }, { "name": "e", "mountPath": "/e" },
        { "name": "e", "mountPath": "/ro", "readOnly": true }] }))
    .with_volume(json!({ "name": "c", "configMap": { "name": "x" } }), "/vol/c")
    .with_volume(json!({ "name": "s", "secret": { "secretName": "x" } }), "/vol/s")
    .with_volume(json!({ "name": "e", "emptyDir": {} }), "/vol/e");
    let spec = fixture.json();
    for (path, option) in [("/c", "ro"), ("/s", "ro"), ("/e", "rw"), ("/ro", "ro")] {
        assert_eq!(mount(&spec, path)["options"], json!(["rbind", "rprivate", option]), "{path}");
    }
}

#[test]
fn a_mount_of_a_volume_that_is_not_there_is_an_error_and_not_left_out() {
    let fixture = run(json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }));
    assert_eq!(fixture.refusal(), ("CreateContainerError", "volume \"v\" of container app is not mounted".to_owned()));
}

#[test]
fn a_host_device_is_permitted_by_its_type_and_read_only_mounts_only_read_it() {
    let of = |kind: &str, read_only: bool| {
        let mut fixture =
            run(json!({ "volumeMounts": [{ "name": "d", "mountPath": "/dev/ttyUSB0", "readOnly": read_only }] }))
                .with_volume(
                    json!({ "name": "d", "hostPath": { "path": "/dev/ttyUSB0", "type": kind } }),
                    "/dev/ttyUSB0",
                );
        let device = Device { kind: DeviceKind::Char, major: 188, minor: 0 };
        fixture
            .volumes
            .insert("d".to_owned(), HostVolume { path: PathBuf::from("/dev/ttyUSB0"), device: Some(device) });
        (fixture.json()["linux"]["resources"]["devices"].clone(), fixture.bundle().unwrap().warnings)
    };
    let deny = json!({ "allow": false, "access": "rwm" });
    let allow = |access: &str| json!({ "allow": true, "type": "c", "major": 188, "minor": 0, "access": access });
    assert_eq!(of("CharDevice", false), (json!([deny, allow("rw")]), vec![]));
    assert_eq!(of("CharDevice", true), (json!([deny, allow("r")]), vec![]));
    let (rules, warnings) = of("", false);
    assert_eq!((rules, warnings.len()), (json!([deny]), 1));
}

#[test]
fn image_volumes_that_a_read_only_root_makes_unwritable_are_said() {
    let mut fixture = Fixture::new(
        json!({ "securityContext": { "readOnlyRootFilesystem": true }, "volumeMounts": [{ "name": "v", "mountPath": "/data" }] }),
        &json!({ "Cmd": ["x"], "Volumes": { "/data": {}, "/cache/": {} } }),
    )
    .with_volume(json!({ "name": "v", "emptyDir": {} }), "/vol");
    let warnings = fixture.bundle().unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("/cache,"), "{warnings:?}");
    fixture.app().security_context = None;
    assert!(fixture.bundle().unwrap().warnings.is_empty());
}

#[test]
fn namespaces_are_the_pods_and_pid_mount_and_cgroup_ones_own() {
    assert_eq!(
        run(json!({})).json()["linux"]["namespaces"],
        json!([
            { "type": "mount" }, { "type": "pid" }, { "type": "ipc", "path": "/run/gatepost/pods/u/ns/ipc" },
            { "type": "network", "path": "/run/gatepost/pods/u/ns/net" },
            { "type": "uts", "path": "/run/gatepost/pods/u/ns/uts" }, { "type": "cgroup" }
        ])
    );
}

#[test]
fn host_namespaces_are_left_out_and_with_them_the_host_name() {
    let mut fixture = run(json!({}));
    fixture.pod.spec.host_network = true;
    fixture.pod.spec.host_pid = true;
    fixture.pod.spec.host_ipc = true;
    fixture.node.cgroups = CgroupVersion::V1;
    fixture.namespaces = PodNamespaces::default();
    let spec = fixture.json();
    assert_eq!(spec["linux"]["namespaces"], json!([{ "type": "mount" }]));
    assert!(spec.get("hostname").is_none());
    assert_eq!(mount(&spec, "/dev/shm")["source"], "/dev/shm");
    assert_eq!(env(&fixture, "HOSTNAME").as_deref(), Some("gateway"));
}

#[test]
fn a_uts_namespace_of_ones_own_gets_the_pods_name() {
    let mut fixture = run(json!({}));
    assert!(fixture.json().get("hostname").is_none(), "the pod's namespace has it already");
    fixture.namespaces = PodNamespaces::default();
    assert_eq!(fixture.json()["hostname"], "web-gw1");
}

#[test]
fn the_cgroup_lies_below_the_pods_by_class() {
    let mut fixture = run(json!({}));
    let path = |fixture: &Fixture| fixture.json()["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    assert_eq!(path(&fixture), "/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/app-01234567-7");
    fixture.app().resources.requests = BTreeMap::from([("cpu".to_owned(), "1".to_owned())]);
    assert!(path(&fixture).starts_with("/kubepods/burstable/pod"));
    fixture.app().resources.requests.clear();
    fixture.app().resources.limits =
        BTreeMap::from([("cpu".to_owned(), "1".to_owned()), ("memory".to_owned(), "1Gi".to_owned())]);
    assert!(path(&fixture).starts_with("/kubepods/pod0123"));
}

#[test]
fn seccomp_follows_container_then_pod_then_the_default() {
    let of = |pod: Option<&str>, container: Option<&str>| {
        let profile = |kind: &str| Some(v1::SeccompProfile { kind: kind.to_owned(), localhost_profile: None });
        let mut fixture = run(json!({}));
        fixture.pod.spec.security_context.seccomp_profile = pod.and_then(profile);
        fixture.app().security_context =
            Some(v1::SecurityContext { seccomp_profile: container.and_then(profile), ..Default::default() });
        fixture
    };
    assert_eq!(of(None, None).json()["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(of(Some("Unconfined"), None).json()["linux"].get("seccomp").is_none());
    assert!(of(Some("Unconfined"), Some("RuntimeDefault")).json()["linux"].get("seccomp").is_some());

    let mut local = of(None, Some("Localhost"));
    local.localhost_seccomp = Some(Ok(crate::json::from_value(json!({ "defaultAction": "SCMP_ACT_LOG" })).unwrap()));
    assert_eq!(local.json()["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_LOG");
    local.localhost_seccomp = Some(Err("cannot load seccomp profile \"/x\": no such file".to_owned()));
    assert_eq!(local.refusal().0, "CreateContainerError");
}

#[test]
fn without_seccomp_in_the_kernel_a_demanded_profile_is_refused_and_the_default_warned_about() {
    let mut fixture = run(json!({}));
    fixture.node.seccomp = false;
    let bundle = fixture.bundle().unwrap();
    assert!(bundle.warnings.len() == 1 && bundle.spec.linux().as_ref().unwrap().seccomp().is_none());
    fixture.pod.spec.security_context.seccomp_profile =
        Some(v1::SeccompProfile { kind: "RuntimeDefault".to_owned(), localhost_profile: None });
    assert_eq!(fixture.refusal().0, "CreateContainerError");
}

#[test]
fn an_init_container_is_found_by_its_name_too() {
    let mut fixture = run(json!({}));
    fixture.pod.spec.init_containers = std::mem::take(&mut fixture.pod.spec.containers);
    assert_eq!(fixture.json()["process"]["args"], json!(["/app"]));
    fixture.pod.spec.init_containers.clear();
    assert_eq!(fixture.refusal(), ("CreateContainerConfigError", "the pod has no container app".to_owned()));
}

/// The manifests this product comes from, as they arrive here: parsed, defaulted, images adapted.
#[test]
fn the_origin_manifests_give_their_known_bundles() {
    for (name, pod, golden) in [
        (
            "nodejs",
            include_str!("../../tests/data/oci/nodejs.pod.json"),
            include_str!("../../tests/data/oci/nodejs.bundle.json"),
        ),
        (
            "nodejs-host-network",
            include_str!("../../tests/data/oci/nodejs-host-network.pod.json"),
            include_str!("../../tests/data/oci/nodejs-host-network.bundle.json"),
        ),
        (
            "offline",
            include_str!("../../tests/data/oci/offline.pod.json"),
            include_str!("../../tests/data/oci/offline.bundle.json"),
        ),
        (
            "registry",
            include_str!("../../tests/data/oci/registry.pod.json"),
            include_str!("../../tests/data/oci/registry.bundle.json"),
        ),
    ] {
        let pod: v1::Pod = crate::json::from_str(pod).unwrap();
        let mut fixture = Fixture::of_pod(
            pod,
            &json!({ "Env": ["PATH=/usr/bin:/bin", "VERSION=1"], "Entrypoint": ["/entrypoint"], "Cmd": ["serve"], "WorkingDir": "/srv" }),
        );
        "app".clone_into(&mut fixture.app().name);
        for volume in fixture.pod.spec.volumes.clone() {
            let path = PathBuf::from(format!("/var/lib/gatepost/volumes/{}", volume.name));
            fixture.volumes.insert(volume.name, HostVolume { path, device: None });
        }
        let made = fixture.bundle().unwrap();
        assert_eq!(made.warnings, Vec::<String>::new(), "{name}");
        // The filter depends on the architecture and has tests of its own, and so do the CPUs' masked paths.
        let mut spec = crate::json::to_value(&made.spec).unwrap();
        let linux = spec["linux"].as_object_mut().unwrap();
        assert!(linux.remove("seccomp").is_some());
        linux["maskedPaths"].as_array_mut().unwrap().retain(|path| !path.as_str().unwrap().contains("/cpu/"));
        // Sets have no order.
        let mut golden: Value = crate::json::from_str(golden).unwrap_or_default();
        for document in [&mut spec, &mut golden] {
            for set in document["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
                set.as_array_mut().unwrap().sort_by_key(ToString::to_string);
            }
        }
        assert!(spec == golden, "{name}: the bundle is now\n{}", serde_json::to_string_pretty(&spec).unwrap());
    }
}
