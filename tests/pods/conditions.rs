//! When pods start: conditions of `gatepost.io/start-after`, and priority.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime, clock_settime};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, mount_host, pod};
use crate::gateway::pods::{restarts, text, waits};

fn after(mut pod: Value, conditions: &str, timeout: &str) -> Value {
    pod["metadata"]["annotations"] =
        json!({"gatepost.io/start-after": conditions, "gatepost.io/start-after-timeout": timeout});
    pod
}

/// Waits until the pod says what it waits for.
fn waits_for(gateway: &Gateway, name: &str, what: &str) {
    gateway.until(&format!("{name} to wait for {what}"), |pods| {
        pods.get(name).is_some_and(|pod| {
            text(pod, "/status/phase") == "Pending"
                && pod["status"].to_string().contains(&format!("WaitingFor: {what}"))
        })
    });
}

#[test]
fn a_pod_starts_when_the_path_it_waits_for_appears() {
    let gateway = Gateway::start("");
    let path = gateway.path("host/dev/ttyUSB0");
    gateway.apply(&after(pod("modem", WAIT), &format!("clock, path:{}", path.display()), "0"));
    waits_for(&gateway, "modem", &format!("path:{}", path.display()));
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "").unwrap();
    gateway.ready("modem");
}

#[test]
fn a_pod_starts_when_the_pod_it_waits_for_is_ready() {
    let gateway = Gateway::start("");
    gateway.apply(&after(pod("client", WAIT), "pod/broker", "0"));
    waits_for(&gateway, "client", "pod/broker");
    gateway.apply(&pod("broker", WAIT));
    let client = gateway.ready("client");
    let broker = gateway.ready("broker");
    let started = |pod: &Value| text(pod, "/status/containerStatuses/0/state/running/startedAt").to_owned();
    assert!(started(&broker) <= started(&client));
}

#[test]
fn a_pod_starts_with_a_warning_when_its_wait_is_over() {
    let gateway = Gateway::start("");
    gateway.apply(&after(pod("late", WAIT), "path:/no/such/device", "1s"));
    gateway.ready("late");
    let event = gateway.event("late", "/no/such/device");
    assert_eq!(text(&event, "/type"), "Warning", "{event:#}");
}

#[test]
fn a_pod_that_waits_for_a_route_starts_when_there_is_a_default_one() {
    let mut gateway = Gateway::prepare("");
    gateway.through = ["unshare", "--net"].map(str::to_owned).into();
    gateway.run(true);
    gateway.apply(&after(pod("uplink", WAIT), "route", "0"));
    waits_for(&gateway, "uplink", "route");
    let ip = |words: &str| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &gateway.pid().to_string(), "ip"]).args(words.split(' '));
        assert!(command.status().unwrap().success(), "ip {words}");
    };
    // Neither an interface nor a route to somewhere is a way out.
    ip("link add inside type veth peer name outside");
    ip("link set inside up");
    ip("link set outside up");
    ip("address add 192.0.2.2/24 dev inside");
    ip("route add 198.51.100.0/24 via 192.0.2.1");
    gateway.apply(&pod("later", WAIT));
    gateway.ready("later");
    waits_for(&gateway, "uplink", "route");
    ip("route add default via 192.0.2.1");
    gateway.ready("uplink");
}

#[test]
fn a_pod_that_waits_for_the_clock_starts_when_it_is_set_past_the_age_of_the_configuration() {
    let mut gateway = Gateway::prepare("");
    let config = fs::File::options().write(true).open(gateway.path("config.yaml")).unwrap();
    // A clock behind the configuration's last change has not been set.
    let past = SystemTime::now() + Duration::from_secs(6);
    config.set_modified(past).unwrap();
    gateway.run(true);
    gateway.apply(&after(pod("dated", WAIT), "clock", "0"));
    waits_for(&gateway, "dated", "clock");
    while SystemTime::now() <= past + Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(gateway.pods().ready("dated").is_none(), "nobody has set the clock");
    // To what it shows: the rest of the machine is none of this test's business.
    let now = clock_gettime(ClockId::Realtime);
    clock_settime(ClockId::Realtime, now).expect("CAP_SYS_TIME is needed");
    gateway.ready("dated");
}

#[test]
fn a_pod_that_becomes_ready_again_clears_the_backoff_of_those_that_wait_for_it() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("broker", WAIT));
    let script = format!("[ -e /host/works ] || exit 1; {WAIT}");
    let mut client = after(pod("client", &script), "pod/broker", "0");
    // Longer than anybody here waits.
    client["metadata"]["annotations"]["gatepost.io/backoff-initial"] = json!("1h");
    client["metadata"]["annotations"]["gatepost.io/backoff-max"] = json!("1h");
    mount_host(&mut client, &gateway.path("host"));
    gateway.apply(&client);
    gateway.until("the backoff", |pods| pods.get("client").is_some_and(|pod| waits(pod) == "CrashLoopBackOff"));
    fs::write(gateway.path("host/works"), "").unwrap();
    gateway.ok(&["restart", "pod", "broker"]);
    gateway.until("the broker's restart", |pods| pods.ready("broker").is_some_and(|pod| restarts(pod) == 1));
    gateway.ready("client");
}

#[test]
fn pods_that_wait_for_each_other_are_refused() {
    let gateway = Gateway::start("");
    gateway.apply(&after(pod("chicken", WAIT), "pod/egg", "0"));
    gateway.apply(&after(pod("egg", WAIT), "pod/chicken", "0"));
    gateway.until("the refusal", |pods| {
        pods.warnings.iter().any(|w| w.contains("chicken") && w.contains("egg")) && pods.ready("egg").is_none()
    });
}

#[test]
fn pods_of_higher_priority_start_first() {
    let mut gateway = Gateway::prepare("maxParallelStarts: 1\n");
    for (name, priority) in [("a-low", 1), ("b-high", 1000), ("c-middle", 100)] {
        let mut pod = pod(name, WAIT);
        pod["spec"]["priority"] = json!(priority);
        gateway.apply(&pod);
    }
    gateway.run(true);
    for name in ["a-low", "b-high", "c-middle"] {
        gateway.ready(name);
    }
    let node = &gateway.node;
    let events = gateway.events();
    let started: Vec<_> = events
        .iter()
        .filter(|event| event["reason"] == "Started")
        .map(|event| text(event, "/involvedObject/name").strip_suffix(&format!("-{node}")).unwrap())
        .collect();
    assert_eq!(started, ["b-high", "c-middle", "a-low"]);
}
