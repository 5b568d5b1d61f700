//! Start conditions.

use super::bench::*;
use crate::manifest::v1::ContainerPort;
use crate::pod::event::{Action, Condition, DesiredPod, Event};

fn after(name: &str, conditions: &[Condition]) -> DesiredPod {
    with(always(name), |_, policy| policy.start_after = conditions.to_vec())
}

fn on(name: &str) -> Condition {
    Condition::Pod(name.into())
}

#[test]
fn a_pod_waits_for_its_conditions_pending_with_the_reason_and_without_backoff() {
    let (mut bench, actions) = Bench::with(&[after("web", &[Condition::Clock, Condition::Route])]);
    assert_eq!(actions, []);
    assert_eq!(bench.phase("web"), "Pending");
    assert_eq!(bench.object("web").status.reason, "WaitingFor: clock, route");
    assert_eq!(bench.node.awaited_conditions().len(), 2);
    assert_eq!(bench.tell(Event::Condition { condition: Condition::Clock, met: true }), []);
    assert_eq!(bench.object("web").status.reason, "WaitingFor: route");
    let actions = bench.tell(Event::Condition { condition: Condition::Route, met: true });
    assert_eq!(words(&actions), ["prepare web-uid-1"]);
    assert!(bench.node.awaited_conditions().is_empty());
}

#[test]
fn after_the_time_out_it_starts_with_a_warning() {
    let (mut bench, _) = Bench::with(&[after("web", &[Condition::Path("/dev/ttyUSB0".into())])]);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 300_000);
    assert_eq!(words(&bench.wait()), ["prepare web-uid-1"]);
    assert_eq!(bench.reasons(), ["StartAfterTimeout"]);
}

#[test]
fn a_time_out_of_zero_waits_for_ever() {
    let desired = with(after("web", &[Condition::Clock]), |_, policy| policy.start_after_timeout_ms = 0);
    let (bench, _) = Bench::with(&[desired]);
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn a_pod_starts_when_the_pod_it_waits_for_is_ready() {
    let (mut bench, actions) = Bench::with(&[after("web", &[on("mqtt")]), always("mqtt")]);
    let all = words(&bench.run(actions));
    assert_eq!(all[..4], ["prepare mqtt-uid-1", "image app", "start app 0", "prepare web-uid-1"]);
}

#[test]
fn a_dependency_that_becomes_ready_again_clears_the_backoff_of_those_that_wait_for_it() {
    let mut bench = Bench::running(&[after("web", &[on("default/mqtt-n")]), always("mqtt")]);
    for _ in 0..2 {
        let actions = bench.exit(bench.live("web", "app"), 1);
        bench.run(actions);
    }
    assert_eq!(bench.status("web", "app").state.waiting.unwrap().reason, "CrashLoopBackOff");
    let actions = bench.exit(bench.live("mqtt", "app"), 1);
    let all = words(&bench.run(actions));
    assert_eq!(all, ["image app", "start app 1", "remove", "image app", "start app 2"]);
}

#[test]
fn pods_that_wait_for_each_other_or_for_themselves_start_nevertheless() {
    let forever = |pod: DesiredPod| with(pod, |_, policy| policy.start_after_timeout_ms = 0);
    let desired = [
        forever(after("a", &[on("b")])),
        forever(after("b", &[on("c")])),
        forever(after("c", &[on("a")])),
        forever(after("d", &[on("d")])),
    ];
    let bench = Bench::running(&desired);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(bench.phase(name), "Running", "{name}");
    }
    assert!(bench.reasons().contains(&"StartAfterCycle"));
}

fn on_port(name: &str, port: i32) -> DesiredPod {
    let port = ContainerPort { host_port: port, protocol: "TCP".into(), ..ContainerPort::default() };
    with(always(name), |pod, _| pod.spec.containers[0].ports = vec![port])
}

#[test]
fn a_pod_whose_port_another_one_has_is_refused_until_that_goes() {
    let mut bench = Bench::running(&[on_port("a", 80), on_port("b", 81)]);
    let late = on_port("late", 80);
    assert_eq!(bench.desire(&[on_port("a", 80), on_port("b", 81), late.clone()]), []);
    let status = bench.object("late").status;
    assert_eq!((status.phase.as_str(), status.reason.as_str()), ("Failed", "NodePorts"));
    let who = "node(s) didn't have free ports for the requested pod ports: TCP port 80 is taken by pod default/a-n";
    assert_eq!(status.message, format!("Pod was rejected: Predicate NodePorts failed: {who}"));
    assert_eq!((bench.reasons().last(), bench.node.deadline()), (Some(&"NodePorts"), None));
    let seq = bench.live("a", "app");
    let actions = bench.desire(&[on_port("b", 81), late]);
    bench.run(actions);
    let actions = bench.exit(seq, 0);
    bench.run(actions);
    assert_eq!(bench.phase("late"), "Running");
    assert_eq!(bench.reasons().iter().filter(|reason| **reason == "NodePorts").count(), 1);
}

#[test]
fn a_pod_whose_port_another_one_is_about_to_free_waits_without_being_refused() {
    let mut bench = Bench::running(&[on_port("a", 80)]);
    bench.desire(&[on_port("b", 80)]);
    assert_eq!(bench.object("b").status.phase, "Pending");
    assert!(!bench.reasons().contains(&"NodePorts"));
}

#[test]
fn another_address_of_the_node_is_that_of_the_pods_on_its_network() {
    let host = with(always("host"), |pod, _| pod.spec.host_network = true);
    let mut bench = Bench::running(&[host, always("own")]);
    bench.tell(Event::HostIps(vec!["192.0.2.9".into()]));
    let of = |name: &str| bench.object(name).status;
    assert_eq!((of("host").pod_ip.as_str(), of("own").host_ip.as_str()), ("192.0.2.9", "192.0.2.9"));
    assert_ne!(of("own").pod_ip, "192.0.2.9");
}

#[test]
fn a_waiting_pod_that_is_not_wanted_any_more_goes() {
    let (mut bench, _) = Bench::with(&[after("web", &[Condition::Clock])]);
    let actions: Vec<Action> = bench.desire(&[]);
    assert_eq!(words(&bench.run(actions)), ["discard web-uid-1"]);
    assert_eq!(bench.node.pod_objects(bench.now()), []);
}

#[test]
fn what_waits_for_a_document_looks_again_when_documents_were_read() {
    let (mut bench, actions) = Bench::with(&[always("web")]);
    assert_eq!(words(&actions), ["prepare web-uid-1"]);
    let uid: crate::pod::event::Uid = "web-uid-1".into();
    for _ in 0..5 {
        assert_eq!(bench.tell(Event::SandboxFailed { pod: uid.clone(), failure: failure("FailedMount") }), []);
        assert_eq!(words(&bench.desire(&[always("web")])), ["prepare web-uid-1"]);
    }
    let actions = bench.tell(Event::SandboxReady { pod: uid.clone(), ips: Vec::new() });
    let image = bench.tell(Bench::success(&actions[0]).unwrap());
    let Action::Start { seq, .. } = image[0] else { panic!("{image:?}") };
    let failed = Event::StartFailed { seq, failure: failure("CreateContainerConfigError") };
    let left = words(&bench.tell(failed));
    assert_eq!(left, ["remove"]);
    bench.tell(Event::Removed { seq });
    assert_eq!(words(&bench.desire(&[always("web")])), ["image app"]);
}
