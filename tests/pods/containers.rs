//! What a container finds: its command, environment, volumes, namespaces, limits and rights.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use gatepost::sys::cgroup::Cgroups;
use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, container, mount, mount_host, pod, push, run_once};
use crate::gateway::pods::{container as status, text};
use crate::gateway::{Gateway, eventually};

#[test]
fn init_containers_run_in_order_and_then_all_app_containers() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", &format!("echo app >> /host/order; {WAIT}"));
    pod["spec"]["initContainers"] =
        json!([container("first", "echo first >> /host/order"), container("second", "echo second >> /host/order")]);
    push(&mut pod["spec"]["containers"], container("side", WAIT));
    mount_host(&mut pod, &gateway.path("host"));
    gateway.apply(&pod);
    let pod = gateway.ready("web");
    gateway.host_file_is("order", "first\nsecond\napp\n");
    assert_eq!(text(status(&pod, "first"), "/state/terminated/reason"), "Completed");
    assert!(gateway.ok(&["get", "pods"]).contains("2/2"));
}

#[test]
fn command_arguments_environment_and_working_directory_are_those_of_the_manifest() {
    let gateway = Gateway::start("");
    let mut pod = run_once("once", "");
    pod["metadata"]["labels"] = json!({"app": "once"});
    pod["spec"]["containers"][0] = json!({
        "name": "app",
        "image": "sample/busybox:1",
        "command": ["sh", "-c", "pwd; echo $0 $1; echo $GREETING; echo $NAME $NODE $KEY; echo $PATH; echo $HOSTNAME; hostname; cat /etc/hostname"],
        "args": ["$(WORD)", "$$(WORD)"],
        "workingDir": "/tmp/made",
        "env": [
            {"name": "WORD", "value": "hello"},
            {"name": "GREETING", "value": "$(WORD) $(UNKNOWN)"},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "key"}}},
        ],
    });
    let settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"key": "turned"}});
    gateway.write("all.yaml", format!("---\n{settings}\n---\n{pod}\n"));
    gateway.finished("once");
    let node = &gateway.node;
    assert_eq!(
        gateway.logs("once"),
        format!(
            "/tmp/made\nhello $(WORD)\nhello $(UNKNOWN)\nonce {node} turned\n\
             /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nonce-{node}\nonce-{node}\nonce-{node}\n"
        )
    );
}

#[test]
fn config_maps_secrets_and_host_paths_are_mounted() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    mount_host(&mut pod, &gateway.path("host"));
    mount(&mut pod, "/config", json!({"configMap": {"name": "settings", "defaultMode": 0o440}}));
    mount(&mut pod, "/secret", json!({"secret": {"secretName": "token"}}));
    fs::write(gateway.path("host/from-host"), "host\n").unwrap();
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1\n", "b": "2\n"}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "s3cret\n"}}),
        pod,
    ];
    gateway.write("all.yaml", objects.map(|object| format!("---\n{object}\n")).concat());
    gateway.ready("web");
    assert_eq!(gateway.exec("web", "cat /config/a /config/b /secret/token /host/from-host"), "1\n2\ns3cret\nhost\n");
    assert_eq!(gateway.exec("web", "stat -Lc %a /config/a /secret/token"), "440\n644\n");
    assert_eq!(gateway.exec("web", "echo x > /config/a 2>/dev/null || echo read-only"), "read-only\n");
    gateway.exec("web", "echo from inside > /host/from-pod");
    assert_eq!(gateway.host_file("from-pod"), "from inside\n");
    // A secret is on no disk.
    assert_eq!(gateway.exec("web", "stat -fc %T /secret"), "tmpfs\n");
}

#[test]
fn an_empty_dir_outlives_a_restart_of_its_container_but_not_a_change_of_the_manifest() {
    let gateway = Gateway::start("");
    gateway.assert_the_pod_keeps(json!({"emptyDir": {}}));
}

#[test]
fn a_pod_has_namespaces_of_its_own_with_loopback_up_unless_it_shares_the_hosts() {
    let gateway = Gateway::start("");
    let look = "for n in net ipc pid uts; do readlink /proc/self/ns/$n; done; cat /sys/class/net/lo/flags; ls -d /proc/[0-9]* 2>/dev/null | wc -l";
    gateway.apply(&run_once("own", look));
    let mut host = run_once("host", look);
    for field in ["hostNetwork", "hostIPC", "hostPID"] {
        host["spec"][field] = json!(true);
    }
    gateway.apply(&host);
    gateway.finished("own");
    gateway.finished("host");
    let [own, shared] = ["own", "host"].map(|name| gateway.logs(name).lines().map(str::to_owned).collect::<Vec<_>>());
    let ours = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
    for (at, kind) in ["net", "ipc", "pid"].into_iter().enumerate() {
        assert_ne!(own[at], ours(kind));
        assert_eq!(shared[at], ours(kind));
    }
    assert_ne!(own[3], ours("uts"));
    // IFF_UP | IFF_LOOPBACK
    assert_eq!(own[4], "0x9");
    // The shell and what it runs; no pause process.
    assert!(own[5].parse::<u32>().unwrap() <= 3, "{own:?}");
    assert!(shared[5].parse::<u32>().unwrap() > 3, "{shared:?}");
}

#[test]
fn containers_of_a_pod_share_its_network_and_ipc_but_not_processes() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    push(&mut pod["spec"]["containers"], container("other", WAIT));
    gateway.apply(&pod);
    let pod = gateway.ready("web");
    assert_only_what_its_containers_run(&gateway, &pod, &["app", "other"]);
    let look = |container: &str, namespace: &str| {
        gateway.ok(&["exec", "web", "-c", container, "--", "readlink", &format!("/proc/self/ns/{namespace}")])
    };
    for namespace in ["net", "ipc", "uts"] {
        assert_eq!(look("app", namespace), look("other", namespace));
    }
    assert_ne!(look("app", "pid"), look("other", "pid"));
}

/// There is no pause process: whatever runs in the pod's cgroup runs in that of one of these containers, and each has something.
fn assert_only_what_its_containers_run(gateway: &Gateway, pod: &Value, containers: &[&str]) {
    let cgroups = Cgroups::detect().unwrap();
    let cgroup = format!("{}/besteffort/pod{}", gateway.cgroup_root, text(pod, "/metadata/uid"));
    let sorted = |cgroup: &str| {
        let mut pids = cgroups.processes(cgroup).unwrap();
        pids.sort_unstable();
        pids
    };
    // The shell of each container and its `sleep`; a shell that has just been started has none yet.
    let whole = || Some(sorted(&cgroup)).filter(|pids| pids.len() >= 2 * containers.len());
    let all = eventually("all processes of the pod", whole);
    let mut of_containers = Vec::new();
    let children = cgroups.children(&cgroup).unwrap();
    assert_eq!(children.len(), containers.len(), "{children:?}");
    for name in containers {
        let id = text(status(pod, name), "/containerID").trim_start_matches("runc://").to_owned();
        assert!(children.contains(&id), "no {id} among {children:?}");
        let own = sorted(&format!("{cgroup}/{id}"));
        assert_eq!(own.len(), 2, "{name}");
        of_containers.extend(own);
    }
    of_containers.sort_unstable();
    assert_eq!(all, of_containers);
}

#[test]
fn a_terminal_is_allocated_and_its_output_logged() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", &format!("tty; echo to stderr >&2; {WAIT}"));
    pod["spec"]["containers"][0]["tty"] = json!(true);
    gateway.apply(&pod);
    gateway.ready("web");
    let line = gateway.wait_for_log(&["web"], "/dev/");
    assert!(line.contains("/dev/pts/") || line.contains("/dev/console"), "{line}");
    gateway.wait_for_log(&["web"], "to stderr");
}

#[test]
fn the_termination_message_is_the_end_of_the_log_where_a_container_fails_without_one_and_asks_for_that() {
    let gateway = Gateway::start("");
    let policy = |name: &str, script: &str, policy: &str| {
        let mut pod = run_once(name, script);
        pod["spec"]["containers"][0]["terminationMessagePolicy"] = json!(policy);
        gateway.apply(&pod);
    };
    // 100 lines, of which kubelet takes 80; these are more than its 2048 bytes.
    let long = "for n in $(seq 100); do echo \"line $n with some more words in it to fill it up\"; done; echo last words >&2; exit 3";
    policy("logs", "echo first; echo last words; exit 3", "FallbackToLogsOnError");
    policy("long", long, "FallbackToLogsOnError");
    policy("file", "echo logged; echo written > /dev/termination-log; exit 3", "FallbackToLogsOnError");
    policy("fine", "echo logged", "FallbackToLogsOnError");
    policy("plain", "echo logged; exit 3", "File");
    let message = |name: &str| {
        let pod = gateway.finished(name);
        text(status(&pod, "app"), "/state/terminated/message").to_owned()
    };
    assert_eq!(message("logs"), "first\nlast words\n");
    assert_eq!(message("file"), "written\n");
    assert_eq!([message("fine"), message("plain")], ["", ""]);
    let long = message("long");
    assert!(long.len() <= 2048 && long.len() > 1900, "{} bytes", long.len());
    assert!(long.contains("line 99 with") && long.contains("last words") && !long.contains("line 20 "), "{long}");
}

#[test]
fn limits_and_requests_are_in_the_cgroup() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    pod["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "250m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "32Mi"}});
    gateway.apply(&pod);
    let pod = gateway.ready("web");
    assert_eq!(text(&pod, "/status/qosClass"), "Burstable");
    let read = |v1: &str, v2: &str| {
        let script = format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}");
        gateway.exec("web", &script).trim().to_owned()
    };
    assert_eq!(read("memory/memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
    assert!(["50000", "50000 100000"].contains(&&*read("cpu/cpu.cfs_quota_us", "cpu.max")));
    assert!(["256", "10"].contains(&&*read("cpu/cpu.shares", "cpu.weight")));
}

#[test]
fn a_container_that_takes_more_memory_than_its_limit_is_oom_killed() {
    let gateway = Gateway::start("");
    let mut pod = run_once("greedy", "dd if=/dev/zero of=/dev/null bs=200M count=1");
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "20Mi"}});
    gateway.apply(&pod);
    let pod = gateway.finished("greedy");
    assert_eq!(text(status(&pod, "app"), "/state/terminated/reason"), "OOMKilled", "{:#}", pod["status"]);
    assert_eq!(text(&pod, "/status/phase"), "Failed");
}

#[test]
fn user_groups_capabilities_read_only_root_and_seccomp_are_as_the_security_context_says() {
    let gateway = Gateway::start("");
    let mut pod = run_once(
        "secure",
        "id -u; id -g; id -G; touch /x 2>/dev/null || echo read-only; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status",
    );
    pod["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 2000, "supplementalGroups": [3000]});
    pod["spec"]["containers"][0]["securityContext"] = json!({
        "readOnlyRootFilesystem": true,
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    });
    gateway.apply(&pod);
    gateway.finished("secure");
    let log = gateway.logs("secure");
    assert_eq!(
        log.split_whitespace().collect::<Vec<_>>(),
        [
            "1000",
            "2000",
            "2000",
            "3000",
            "read-only",
            "CapBnd:",
            "0000000000000400",
            "NoNewPrivs:",
            "1",
            "Seccomp:",
            "2"
        ]
    );
}

#[test]
fn what_the_image_lacks_is_told_in_the_status() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", "");
    pod["spec"]["containers"][0]["command"] = json!(["/no/such/program"]);
    gateway.apply(&pod);
    let message = gateway.wait_for("the failure", |pods| {
        let app = status(pods.get("web")?, "app");
        let told = [
            text(app, "/state/waiting/message"),
            text(app, "/lastState/terminated/message"),
            text(app, "/state/terminated/message"),
        ];
        told.iter().find(|m| m.contains("no/such/program")).map(|m| (*m).to_owned())
    });
    assert!(message.contains("no such file"), "{message}");
    gateway.event("web", "no/such/program");
}

#[test]
fn a_missing_config_map_is_waited_for() {
    let gateway = Gateway::start("");
    let mut pod = pod("web", WAIT);
    pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    gateway.apply(&pod);
    gateway.until("the reason", |pods| {
        pods.get("web").is_some_and(|pod| crate::gateway::pods::waits(pod) == "CreateContainerConfigError")
    });
    let settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"A": "1"}});
    gateway.write("settings.yaml", settings.to_string());
    gateway.ready("web");
    assert_eq!(gateway.exec("web", "echo $A"), "1\n");
}

#[test]
fn crun_runs_pods_too() {
    let gateway = Gateway::start("runtime: crun\n");
    gateway.open_the_way();
    gateway.apply(&pod("web", WAIT));
    // crun gives a container's users what it inherits.
    let mut own = pod("own", WAIT);
    own["spec"]["hostUsers"] = json!(false);
    gateway.apply(&own);
    let mut once = run_once("once", "exit 7");
    once["spec"]["containers"][0]["tty"] = json!(true);
    gateway.apply(&once);
    let pod = gateway.ready("web");
    assert!(text(status(&pod, "app"), "/containerID").starts_with("crun://"));
    assert_eq!(gateway.exec("web", "echo inside"), "inside\n");
    gateway.ready("own");
    eventually("the look at what crun does", || gateway.run_dir().join("features.json").exists().then_some(()));
    assert_eq!(std::fs::metadata("/dev/null").unwrap().uid(), 0, "the machine's /dev/null was given away");
    let once = gateway.finished("once");
    assert_eq!(status(&once, "app")["state"]["terminated"]["exitCode"], 7);
}
