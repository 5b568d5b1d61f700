//! Devices that the node's setting `devices` names: given to one container at a time, gone and come back.

use std::fs;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, restarts, text, waits};

const MODBUS: &str = "gatepost.io/modbus0";
const SETTING: &str = "podSecurity: baseline\ndevices:\n  gatepost.io/modbus0: {path: BASE/host/modbus}\n";

fn asking(name: &str, script: &str) -> Value {
    let mut pod = pod(name, &format!("{script}; {WAIT}"));
    pod["spec"]["containers"][0]["resources"] = json!({"limits": {MODBUS: 1}});
    pod
}

/// loop-control, and as another device loop0: no container may open them by default, and opening them does nothing.
fn plug(gateway: &Gateway, kind: FileType, major: u32, minor: u32) {
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, gateway.path("host/modbus"), kind, mode, makedev(major, minor)).unwrap();
}

fn plug_control(gateway: &Gateway) {
    plug(gateway, FileType::CharacterDevice, 10, 237);
}

fn unplug(gateway: &Gateway) {
    fs::remove_file(gateway.path("host/modbus")).unwrap();
}

#[test]
fn a_container_waits_for_its_device_and_follows_it_when_it_goes_and_comes() {
    let gateway = Gateway::start(SETTING);
    let mut web = asking("web", "id -u; stat -c '%u:%g %a %t:%T' /dev/modbus0; (exec 3<>/dev/modbus0) && echo opened");
    web["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000});
    gateway.apply(&web);
    let event = gateway.event("web", "DeviceNotFound");
    assert!(text(&event, "/message").contains(MODBUS), "{event}");
    let waiting = gateway.pods().get("web").cloned().unwrap();
    assert_eq!((text(&waiting, "/status/phase"), waits(&waiting)), ("Pending", "ContainerCreating"));
    let message = text(container(&waiting, "app"), "/state/waiting/message");
    assert!(message.contains("setting `devices`"), "{message}");

    plug_control(&gateway);
    gateway.ready("web");
    gateway.wait_for_log(&["web"], "opened");
    assert_eq!(gateway.logs("web"), "1000\n1000:1000 660 a:ed\nopened\n", "it is the device of the container's user");

    unplug(&gateway);
    gateway.event("web", "DeviceLost");
    plug_control(&gateway);
    gateway.event("web", "DeviceReturned");
    let again = gateway.exec("web", "(exec 3<>/dev/modbus0) && echo opened again");
    assert_eq!(again, "opened again\n");
    assert_eq!(restarts(gateway.pods().get("web").unwrap()), 0);

    for (number, (kind, major, minor)) in
        [(FileType::BlockDevice, 7, 0), (FileType::CharacterDevice, 10, 237), (FileType::BlockDevice, 7, 0)]
            .into_iter()
            .enumerate()
    {
        unplug(&gateway);
        plug(&gateway, kind, major, minor);
        let restarted = |pod: &Value| restarts(pod) == number as u64 + 1 && crate::gateway::pods::is_ready(pod);
        gateway.until("the container to be restarted", |pods| pods.get("web").is_some_and(restarted));
        assert_eq!(gateway.exec("web", "(exec 3<>/dev/modbus0) && echo opened"), "opened\n");
    }
    gateway.event("web", "DeviceChanged");
    let events = gateway.events();
    assert!(events.iter().all(|event| event["reason"] != "BackOff"), "that is no crash: {events:?}");
}

#[test]
fn a_device_is_one_pods_at_a_time_and_nobody_elses() {
    let gateway = Gateway::start(SETTING);
    plug_control(&gateway);
    gateway.apply(&asking("first", "(exec 3<>/dev/modbus0) && echo first"));
    gateway.wait_for_ready_log("first", "first");
    gateway.apply(&asking("second", "(exec 3<>/dev/modbus0) && echo second"));
    gateway.event("second", "DeviceInUse");
    let second = gateway.pods().get("second").cloned().unwrap();
    assert_eq!((text(&second, "/status/phase"), text(&second, "/status/reason")), ("Pending", "DeviceInUse"));
    assert!(text(&second, "/status/message").contains(&format!("first-{}", gateway.node)), "{second}");
    assert!(gateway.ok(&["get", "pods"]).contains("DeviceInUse"));

    let script = format!("mknod /tmp-node c 10 237; (exec 3<>/tmp-node) 2>/dev/null || echo denied; {WAIT}");
    gateway.apply(&pod("stranger", &script));
    gateway.wait_for_ready_log("stranger", "denied");

    gateway.remove("first.yaml");
    gateway.wait_for_ready_log("second", "second");
}

#[test]
fn a_device_that_the_node_does_not_name_is_refused_with_the_setting_that_would() {
    let gateway = Gateway::start(SETTING);
    let mut web = asking("web", "true");
    web["spec"]["containers"][0]["resources"] = json!({"limits": {"gatepost.io/modbus1": 1}});
    gateway.apply(&web);
    let event = gateway.event("web", "FailedValidation");
    let message = text(&event, "/message");
    assert!(message.contains("limits[gatepost.io/modbus1]") && message.contains("setting `devices`"), "{message}");
}

#[test]
fn a_pod_with_users_of_its_own_may_use_its_device() {
    let mut gateway = Gateway::prepare(SETTING);
    gateway.open_the_way();
    gateway.run(true);
    plug_control(&gateway);
    let mut web = asking("web", "stat -c '%u:%g' /dev/modbus0; (exec 3<>/dev/modbus0) && echo opened");
    web["spec"]["hostUsers"] = json!(false);
    gateway.apply(&web);
    gateway.wait_for_ready_log("web", "opened");
    assert_eq!(gateway.logs("web"), "0:0\nopened\n");
}

#[test]
fn a_new_supervisor_restarts_what_has_lost_its_device_for_another_meanwhile() {
    let mut gateway = Gateway::prepare(SETTING);
    gateway.run(false);
    plug_control(&gateway);
    gateway.apply(&asking("web", "true"));
    gateway.ready("web");
    gateway.stop();
    unplug(&gateway);
    plug(&gateway, FileType::BlockDevice, 7, 0);
    gateway.run(false);
    gateway.event("web", "DeviceChanged");
    gateway.until("the restart", |pods| pods.ready("web").is_some_and(|pod| restarts(pod) == 1));
    assert_eq!(gateway.exec("web", "test -b /dev/modbus0 && echo block"), "block\n");
}
