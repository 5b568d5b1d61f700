//! Machines that do not allow everything: missing capabilities.

use std::process::Command;

use serde_json::json;

use crate::gateway::manifest::{WAIT, container, pod, push};
use crate::gateway::{GATEPOST, Gateway};

/// A gateway without these capabilities, as `setpriv` names them.
fn without(capabilities: &[&str]) -> Gateway {
    let mut gateway = Gateway::prepare("");
    gateway.through = setpriv(capabilities);
    gateway
}

fn setpriv(capabilities: &[&str]) -> Vec<String> {
    let set: Vec<_> = capabilities.iter().map(|name| format!("-{name}")).collect();
    vec!["setpriv".to_owned(), format!("--bounding-set={}", set.join(",")), format!("--inh-caps={}", set.join(","))]
}

#[test]
fn without_cap_sys_resource_the_oom_score_is_clamped_with_a_warning() {
    let mut gateway = without(&["sys_resource"]);
    gateway.run(true);
    let told = gateway.said("CAP_SYS_RESOURCE is missing");
    assert!(told.contains("oom_score_adj"), "{told}");
    let mut guaranteed = pod("guaranteed", WAIT);
    let amounts = json!({"cpu": "100m", "memory": "64Mi"});
    guaranteed["spec"]["containers"][0]["resources"] = json!({"limits": amounts, "requests": amounts});
    gateway.apply(&guaranteed);
    gateway.ready("guaranteed");
    gateway.said("oom_score_adj -997 cannot be set without CAP_SYS_RESOURCE");
    let own = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", gateway.pid())).unwrap();
    assert_eq!(gateway.exec("guaranteed", "cat /proc/1/oom_score_adj"), own);
}

#[test]
fn a_capability_that_the_node_lacks_is_left_out_with_a_warning() {
    let mut gateway = without(&["sys_resource", "sys_time", "mknod"]);
    gateway.run(true);
    let mut wants = pod("wants", WAIT);
    wants["spec"]["containers"][0]["securityContext"] = json!({"capabilities": {"add": ["SYS_TIME"]}});
    let mut all = container("all", WAIT);
    all["securityContext"] = json!({"privileged": true});
    push(&mut wants["spec"]["containers"], all);
    gateway.apply(&wants);
    gateway.ready("wants");
    let told = gateway.said("container app: this node cannot give the capabilities");
    assert!(told.contains("MKNOD") && told.contains("SYS_TIME"), "{told}");
    // CAP_MKNOD is bit 27, CAP_SYS_TIME 25, CAP_CHOWN 0.
    for name in ["app", "all"] {
        let status = gateway.ok(&["exec", "wants", "-c", name, "--", "sh", "-c", "grep CapEff /proc/1/status"]);
        let set = u64::from_str_radix(status.trim().rsplit('\t').next().unwrap(), 16).unwrap();
        assert_eq!((set >> 27 & 1, set >> 25 & 1, set & 1), (0, 0, 1), "{name}: {status}");
    }
}

#[test]
fn without_cap_sys_admin_gatepost_says_so_and_ends() {
    let gateway = Gateway::without_images("");
    let words = setpriv(&["sys_admin"]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args([GATEPOST, "run", "--config"]).arg(gateway.path("config.yaml"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("CAP_SYS_ADMIN"), "{told}");
}

#[test]
fn manifests_are_read_where_the_reader_cannot_be_confined() {
    // Nothing may be dropped from the bounding set, and no namespace made: what is allowed is done, the rest is said.
    let gateway = Gateway::without_images("");
    gateway.apply(&pod("read", WAIT));
    let request = json!({"version": gatepost::manifest::source::VERSION, "directories": [gateway.path("manifests")],
        "watched": [], "node_name": "n", "limits": gatepost::json::to_value(&gatepost::manifest::source::Limits::default()).unwrap()});
    let request_file = gateway.path("request.json");
    std::fs::write(&request_file, request.to_string()).unwrap();
    let words = setpriv(&["sys_admin", "setpcap", "sys_resource", "dac_read_search"]);
    // Through a pipe: the reader may let no file grow.
    let script = "exec \"$@\" < $REQUEST 3>&1";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(words).args([env!("CARGO_BIN_EXE_gatepost-worker"), "read-manifests"]);
    command.env("REQUEST", &request_file).env("GATEPOST_DEBUG", "1");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    for part in ["no private network namespace", "no read-only view", "reducing the bounding set"] {
        assert!(told.contains(part), "no {part:?} in {told}");
    }
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("\"read\""), "{report}");
}
