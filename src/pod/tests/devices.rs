//! Devices that come, go, and are had by one at a time.

use super::bench::*;
use crate::manifest::v1::RestartPolicy;
use crate::pod::event::{Action, DesiredPod, Device, Event, Found};
use crate::sorted::BTreeMap;

const MODBUS: &str = "gatepost.io/modbus0";

fn asks(desired: DesiredPod, containers: &[usize]) -> DesiredPod {
    with(desired, |pod, _| {
        for &at in containers {
            pod.spec.containers[at].resources.limits.insert(MODBUS.into(), "1".into());
        }
    })
}

fn web() -> DesiredPod {
    asks(always("web"), &[0])
}

fn there(minor: u32) -> Event {
    let device = Device { path: format!("/dev/ttyUSB{minor}"), block: false, major: 188, minor };
    Event::Devices(BTreeMap::from([(MODBUS.to_owned(), device)]))
}

fn gone() -> Event {
    Event::Devices(BTreeMap::new())
}

/// Everything that can be done now is done.
fn told(bench: &mut Bench, event: Event) -> Vec<String> {
    let actions = bench.tell(event);
    words(&bench.run(actions))
}

fn waits(bench: &Bench, pod: &str) -> (String, String) {
    let waiting = bench.status(pod, "app").state.waiting.expect("it waits");
    (waiting.reason, waiting.message)
}

#[test]
fn a_container_waits_for_its_device_in_creation_without_backoff_and_starts_when_it_comes() {
    let mut bench = Bench::running(&[web()]);
    assert_eq!(bench.reasons(), [] as [&str; 0], "nobody has looked yet");
    assert_eq!(told(&mut bench, gone()), [] as [&str; 0]);
    let (reason, message) = waits(&bench, "web");
    assert_eq!(reason, "ContainerCreating");
    assert!(message.contains(MODBUS) && message.contains("setting `devices`"), "{message}");
    assert_eq!(bench.phase("web"), "Pending");
    assert_eq!(bench.node.deadline(), None, "there is nothing to be tried");
    told(&mut bench, gone());
    assert_eq!(bench.reasons(), ["DeviceNotFound"], "once");
    assert_eq!(told(&mut bench, there(0)), ["image app", "start app 0"]);
    assert_eq!(bench.phase("web"), "Running");
}

#[test]
fn a_container_runs_on_without_its_device_and_with_the_same_number_again() {
    let mut bench = Bench::running(&[web()]);
    told(&mut bench, there(0));
    bench.recorded.clear();
    assert_eq!(told(&mut bench, gone()), [] as [&str; 0]);
    assert_eq!(told(&mut bench, there(0)), [] as [&str; 0]);
    assert_eq!(bench.reasons(), ["DeviceLost", "DeviceReturned"]);
    assert_eq!(bench.status("web", "app").restart_count, 0);
}

#[test]
fn a_device_with_another_number_restarts_its_container_at_once_however_often() {
    let mut bench = Bench::running(&[web()]);
    told(&mut bench, there(0));
    for minor in 1..5 {
        told(&mut bench, gone());
        assert_eq!(told(&mut bench, there(minor)), ["signal 15"]);
        let seq = bench.live("web", "app");
        let actions = bench.exit(seq, 143);
        let all = words(&bench.run(actions));
        assert_eq!(all, ["image app".to_owned(), format!("start app {minor}"), "remove".to_owned()]);
    }
    assert!(bench.status("web", "app").state.running.is_some());
    assert!(bench.reasons().contains(&"DeviceChanged") && !bench.reasons().contains(&"BackOff"));
}

#[test]
fn what_ends_because_its_device_is_gone_waits_for_the_device_and_not_for_a_backoff() {
    let mut bench = Bench::running(&[web()]);
    told(&mut bench, there(0));
    for _ in 0..4 {
        told(&mut bench, gone());
        let actions = bench.exit(bench.live("web", "app"), 1);
        assert_eq!(words(&bench.run(actions)), ["remove"]);
        assert_eq!(waits(&bench, "web").0, "ContainerCreating");
        let all = told(&mut bench, there(0));
        assert_eq!(all[0], "image app");
    }
    assert!(!bench.reasons().contains(&"BackOff"), "{:?}", bench.reasons());
}

#[test]
fn a_device_that_changes_while_the_image_is_looked_for_is_the_new_one() {
    let (mut bench, actions) = Bench::with(&[web()]);
    bench.run(actions);
    let actions = bench.tell(there(0));
    assert_eq!(words(&actions), ["image app"]);
    assert_eq!(bench.tell(there(1)), []);
    let all = bench.run(actions);
    assert_eq!(words(&all), ["image app", "image app", "start app 0"]);
    let Some(Action::Start { seq, .. }) = all.last() else { panic!("it starts") };
    assert_eq!(bench.node.devices_of(*seq)[MODBUS].minor, 1);
}

#[test]
fn a_second_pod_waits_until_the_first_is_gone_and_says_for_what() {
    let urgent = |desired| with(desired, |pod, _| pod.spec.priority = 1);
    let both = [web(), urgent(asks(always("meter"), &[0]))];
    let mut bench = Bench::running(&both);
    told(&mut bench, there(0));
    assert_eq!((bench.phase("meter"), bench.phase("web")), ("Running".to_owned(), "Pending".to_owned()));
    let status = bench.object("web").status;
    assert_eq!(status.reason, "DeviceInUse");
    assert!(status.message.contains(MODBUS) && status.message.contains("meter-n"), "{}", status.message);
    // Not while the first one is only being restarted.
    let actions = bench.exit(bench.live("meter", "app"), 1);
    bench.run(actions);
    assert_eq!(bench.phase("web"), "Pending");
    let actions = bench.desire(&both[..1]);
    assert_eq!(words(&bench.run(actions)), ["signal 15"]);
    let actions = bench.exit(bench.live("meter", "app"), 0);
    bench.run(actions);
    assert_eq!(bench.phase("web"), "Running");
}

#[test]
fn a_pod_that_is_done_leaves_its_device_to_the_next() {
    let once = asks(pod("first", RestartPolicy::Never, &[], &["app"]), &[0]);
    let mut bench = Bench::running(&[once, web()]);
    told(&mut bench, there(0));
    assert_eq!(bench.phase("web"), "Pending");
    let actions = bench.exit(bench.live("first", "app"), 0);
    bench.run(actions);
    assert_eq!((bench.phase("first"), bench.phase("web")), ("Succeeded".to_owned(), "Running".to_owned()));
}

#[test]
fn of_two_containers_of_a_pod_one_has_the_device_and_the_other_waits() {
    let both = asks(pod("web", RestartPolicy::Always, &[], &["one", "app"]), &[0, 1]);
    let mut bench = Bench::running(&[both]);
    told(&mut bench, there(0));
    assert!(bench.status("web", "one").state.running.is_some());
    assert_eq!(waits(&bench, "web").1, format!("{MODBUS} is in use by the container one of this pod"));
    assert!(bench.reasons().contains(&"DeviceInUse"));
}

#[test]
fn a_new_supervisor_knows_which_device_a_container_was_given() {
    let mut bench = Bench::running(&[web()]);
    told(&mut bench, there(0));
    let seq = bench.live("web", "app");
    bench.restore(BTreeMap::from([(seq, Found::Running { pid: 1 })]), false);
    assert_eq!(told(&mut bench, there(0)), [] as [&str; 0]);
    assert_eq!(told(&mut bench, there(3)), ["signal 15"]);
}
