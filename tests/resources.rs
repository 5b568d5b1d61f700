//! Requests and limits as the kernel holds them, what happens beyond them, and `gatepost top`. What only cgroup v2 has is tested in a
//! virtual gateway (`vm_cgroup2.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::needless_pass_by_value)]

mod gateway;
mod oci_schema;

use gatepost::sys::cgroup::{Cgroups, Mode};
use gateway::Gateway;
use gateway::manifest::{WAIT, container, pod, push, run_once};
use gateway::pods::{container as status, text};
use serde_json::{Value, json};

/// The content of a file of a cgroup, by its name in v1 or v2.
fn value(path: &str, v1: (&str, &str), v2: &str) -> String {
    let cgroups = Cgroups::detect().unwrap();
    let file = match cgroups.mode() {
        Mode::V2 => cgroups.unified().unwrap().join(path).join(v2),
        Mode::Hybrid | Mode::V1 => std::path::Path::new("/sys/fs/cgroup").join(v1.0).join(path).join(v1.1),
    };
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

const SHARES: ((&str, &str), &str) = (("cpu", "cpu.shares"), "cpu.weight");
const MEMORY: ((&str, &str), &str) = (("memory", "memory.limit_in_bytes"), "memory.max");
const PIDS: ((&str, &str), &str) = (("pids", "pids.max"), "pids.max");

/// v2 counts weights where v1 counts shares.
fn shares(value: u64) -> String {
    let is_v2 = Cgroups::detect().unwrap().mode() == Mode::V2;
    if is_v2 { (1 + (value - 2) * 9999 / 262_142).to_string() } else { value.to_string() }
}

fn quota(path: &str) -> String {
    if Cgroups::detect().unwrap().mode() == Mode::V2 {
        return value(path, ("", ""), "cpu.max");
    }
    let [quota, period] = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].map(|file| value(path, ("cpu", file), ""));
    format!("{} {period}", if quota == "-1" { "max".to_owned() } else { quota })
}

fn with_resources(name: &str, resources: &Value) -> Value {
    let mut pod = pod(name, WAIT);
    pod["spec"]["containers"][0]["resources"] = resources.clone();
    pod
}

/// The pod's cgroup and that of its container `app`.
fn cgroups_of(gateway: &Gateway, class: &str, name: &str) -> (String, String) {
    let pod = gateway.ready(name);
    assert_eq!(
        pod["status"]["qosClass"],
        match class {
            "" => "Guaranteed",
            "burstable/" => "Burstable",
            _ => "BestEffort",
        }
    );
    let uid = text(&pod, "/metadata/uid");
    let id = text(status(&pod, "app"), "/containerID").rsplit_once("//").unwrap().1;
    let of_pod = format!("{}/{class}pod{uid}", gateway.cgroup_root);
    let of_app = format!("{of_pod}/{id}");
    (of_pod, of_app)
}

#[test]
fn the_tree_of_cgroups_and_its_values_are_kubelets() {
    let mut gateway =
        Gateway::keeping_bundles("systemReserved: {memory: 512Mi, cpu: 500m}\nkubeReserved: {memory: 512Mi}");
    gateway.run(true);
    let own = json!({ "cpu": "250m", "memory": "64Mi" });
    gateway.apply(&with_resources("sure", &json!({ "limits": own })));
    gateway.apply(&with_resources("some", &json!({ "requests": { "cpu": "100m" }, "limits": { "memory": "32Mi" } })));
    gateway.apply(&with_resources("none", &json!({})));
    let mut whole = with_resources("whole", &json!({}));
    whole["spec"]["resources"] =
        json!({ "requests": { "cpu": "300m" }, "limits": { "cpu": "500m", "memory": "48Mi" } });
    push(&mut whole["spec"]["containers"], container("second", WAIT));
    gateway.apply(&whole);
    let mut sidecar = with_resources("sidecar", &json!({ "limits": { "cpu": "100m", "memory": "32Mi" } }));
    sidecar["spec"]["overhead"] = json!({ "memory": "16Mi" });
    gateway.apply(&sidecar);

    let (pod, app) = cgroups_of(&gateway, "", "sure");
    for cgroup in [&pod, &app] {
        assert_eq!(value(cgroup, SHARES.0, SHARES.1), shares(256), "{cgroup}");
        assert_eq!(value(cgroup, MEMORY.0, MEMORY.1), (64 << 20).to_string(), "{cgroup}");
        assert_eq!(quota(cgroup), "25000 100000", "{cgroup}");
    }
    assert_eq!(value(&pod, PIDS.0, PIDS.1), "512");

    let (pod, app) = cgroups_of(&gateway, "burstable/", "some");
    assert_eq!((value(&pod, SHARES.0, SHARES.1), quota(&pod).split(' ').next().unwrap()), (shares(102), "max"));
    assert_eq!(value(&pod, MEMORY.0, MEMORY.1), (32 << 20).to_string());
    assert_eq!(value(&app, MEMORY.0, MEMORY.1), (32 << 20).to_string());

    let (pod, _) = cgroups_of(&gateway, "besteffort/", "none");
    assert_eq!(value(&pod, SHARES.0, SHARES.1), shares(2));

    // What is limited for the pod as a whole holds for it, and for each container that has no limit of its own.
    let (pod, app) = cgroups_of(&gateway, "burstable/", "whole");
    assert_eq!((value(&pod, SHARES.0, SHARES.1), quota(&pod)), (shares(307), "50000 100000".to_owned()));
    assert_eq!(value(&pod, MEMORY.0, MEMORY.1), (48 << 20).to_string());
    assert_eq!((quota(&app), value(&app, MEMORY.0, MEMORY.1)), ("50000 100000".to_owned(), (48 << 20).to_string()));

    let (pod, app) = cgroups_of(&gateway, "", "sidecar");
    assert_eq!(value(&pod, MEMORY.0, MEMORY.1), (48 << 20).to_string(), "the overhead is added to the pod");
    assert_eq!(value(&app, MEMORY.0, MEMORY.1), (32 << 20).to_string());

    // All pods leave what is reserved.
    let root = &gateway.cgroup_root;
    let total: u64 = rustix::system::sysinfo().totalram;
    let limit: u64 = value(root, MEMORY.0, MEMORY.1).parse().unwrap();
    assert!(limit <= total - (1 << 30) && limit > total - (1 << 30) - (1 << 20), "{limit} of {total}");
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    assert_eq!(value(root, SHARES.0, SHARES.1), shares((cpus * 1000 - 500) * 1024 / 1000));
    for bundle in gateway.bundles() {
        assert_eq!(oci_schema::problems(&bundle), Vec::<String>::new(), "{bundle:#}");
    }
}

#[test]
fn a_limit_range_gives_containers_what_they_do_not_say_and_refuses_what_is_too_much() {
    let gateway = Gateway::start("");
    let limits = json!([{"type": "Container", "max": {"memory": "64Mi"}, "default": {"memory": "24Mi"}, "defaultRequest": {"cpu": "100m"}}]);
    let range =
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": {"limits": limits}});
    gateway.write("0-range.yaml", range.to_string());
    gateway.apply(&with_resources("web", &json!({})));
    gateway.apply(&with_resources("large", &json!({"limits": {"memory": "65Mi"}})));
    let (_, app) = cgroups_of(&gateway, "burstable/", "web");
    assert_eq!(
        (value(&app, MEMORY.0, MEMORY.1), value(&app, SHARES.0, SHARES.1)),
        ((24 << 20).to_string(), shares(102))
    );
    gateway.event("large", "maximum memory usage per Container is 64Mi, but limit is 65Mi");
}

#[test]
fn the_score_of_who_is_killed_first_follows_the_class() {
    let gateway = Gateway::start("");
    gateway.apply(&with_resources("none", &json!({})));
    gateway.apply(&with_resources("some", &json!({ "requests": { "memory": "1Mi" } })));
    for (name, score) in [("none", "1000"), ("some", "999")] {
        gateway.ready(name);
        assert_eq!(gateway.exec(name, "cat /proc/1/oom_score_adj").trim(), score, "{name}");
    }
}

#[test]
fn a_kill_for_memory_is_told_from_others_also_when_it_hits_a_child() {
    let gateway = Gateway::start("");
    let memory = json!({ "limits": { "memory": "24Mi" } });
    let eat = "x=a; while :; do x=$x$x; done";
    let mut itself = run_once("itself", &format!("exec sh -c '{eat}'"));
    itself["spec"]["containers"][0]["resources"] = memory.clone();
    let mut child = run_once("child", &format!("sh -c '{eat}'; exit 3"));
    child["spec"]["containers"][0]["resources"] = memory.clone();
    let mut fine = run_once("fine", &format!("sh -c '{eat}'; exit 0"));
    fine["spec"]["containers"][0]["resources"] = memory;
    let other = run_once("other", "kill -KILL $$ & wait; sh -c 'kill -9 $PPID'; exec sh -c 'exit 137'");
    for pod in [&itself, &child, &fine, &other] {
        gateway.apply(pod);
    }
    let end = |name: &str| gateway.finished(name)["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    let itself = end("itself");
    assert_eq!((&itself["reason"], &itself["exitCode"]), (&json!("OOMKilled"), &json!(137)));
    let other = end("other");
    assert_eq!((&other["reason"], &other["exitCode"]), (&json!("Error"), &json!(137)));
    let is_v2 = Cgroups::detect().unwrap().mode() == Mode::V2;
    // With cgroup v2 a kill takes the whole container.
    let (child, fine) = (end("child"), end("fine"));
    assert_eq!((&child["reason"], &child["exitCode"]), (&json!("OOMKilled"), &json!(if is_v2 { 137 } else { 3 })));
    assert_eq!(fine["reason"], if is_v2 { "OOMKilled" } else { "Completed" });
}

#[test]
fn huge_pages_of_a_size_that_the_node_does_not_have_are_refused_by_name() {
    let gateway = Gateway::start("");
    let limits = json!({ "limits": { "hugepages-3Mi": "6Mi", "cpu": "100m", "memory": "32Mi" } });
    gateway.apply(&with_resources("huge", &limits));
    let message = gateway.wait_for("the pages to be refused", |pods| {
        let pod = pods.get("huge").filter(|pod| gateway::pods::waits(pod) == "CreateContainerConfigError")?;
        Some(text(status(pod, "app"), "/state/waiting/message").to_owned())
    });
    assert!(message.contains("resources.limits.hugepages-3Mi: 6Mi"), "{message}");
}

#[test]
fn top_shows_what_pods_and_the_node_use() {
    let gateway = Gateway::start("");
    let mut busy = with_resources("busy", &json!({ "limits": { "cpu": "200m" } }));
    busy["spec"]["containers"][0]["command"] =
        json!(["sh", "-c", "x=$(head -c 8000000 /dev/zero | tr '\\0' x); while :; do :; done"]);
    push(&mut busy["spec"]["containers"], container("quiet", WAIT));
    gateway.apply(&busy);
    let mut idle = pod("idle", WAIT);
    idle["metadata"]["namespace"] = json!("elsewhere");
    gateway.apply(&idle);
    gateway.ready("busy");
    gateway.until("the other namespace's pod", |pods| pods.ready("idle").is_some());

    let rows = |arguments: &[&str]| -> Vec<Vec<String>> {
        let table = gateway.ok(&[&["top"], arguments].concat());
        table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let of_default = rows(&["pods"]);
    assert_eq!(of_default[0], ["NAME", "CPU(cores)", "MEMORY(bytes)"]);
    assert_eq!((of_default.len(), of_default[1][0].as_str()), (2, format!("busy-{}", gateway.node).as_str()));
    let number = |text: &str, unit: &str| text.strip_suffix(unit).unwrap().parse::<u64>().unwrap();
    let containers = rows(&["pods", "-A", "--containers", "--sort-by", "cpu"]);
    assert_eq!(containers[0], ["NAMESPACE", "POD", "NAME", "CPU(cores)", "MEMORY(bytes)"]);
    assert_eq!((containers.len(), containers[1][2].as_str()), (4, "app"), "{containers:?}");
    // The quota bounds it from above whatever else the machine does; from below nothing but that it ran.
    let cpu = number(&containers[1][3], "m");
    assert!((1..=400).contains(&cpu), "{cpu}");
    assert!(number(&rows(&["pod", "busy"])[1][2], "Mi") >= 7);
    let node = rows(&["node"]);
    assert_eq!(node[0], ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]);
    assert_eq!(node[1][0], gateway.node);
    assert!(number(&node[1][3], "Mi") > 0);
    assert!(gateway.fails(&["top", "pods", "nobody"]).contains("not found"));
    assert!(gateway.fails(&["top"]).contains("say of what"));
}
