//! Termination: grace, change, removal, delete, the end of all pods.

use super::bench::*;
use crate::pod::event::{Action, Event};

fn stop_all() -> Event {
    Event::StopAll
}

#[test]
fn a_removed_manifest_stops_its_pod_gracefully_and_leaves_nothing() {
    let mut bench = Bench::running(&[always("web")]);
    assert_eq!(words(&bench.desire(&[])), ["signal 15"]);
    assert!(bench.object("web").metadata.deletion_timestamp.is_some());
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 30_000);
    let actions = bench.exit(bench.live("web", "app"), 143);
    assert_eq!(words(&bench.run(actions)), ["remove", "discard web-uid-1"]);
    assert_eq!(bench.node.pod_objects(bench.now()), []);
    assert!(bench.reasons().contains(&"Killing"));
    assert!(bench.node.durable_snapshot().pods.is_empty());
}

#[test]
fn sigkill_comes_at_the_end_of_the_grace_and_again_every_ten_seconds() {
    let mut bench = Bench::running(&[always("web")]);
    bench.desire(&[]);
    let stopped = bench.now;
    for seconds in [30, 40, 50] {
        assert_eq!(words(&bench.wait()), ["kill"]);
        assert_eq!(bench.now - stopped, seconds * 1000);
    }
    assert_eq!(bench.reasons().iter().filter(|reason| **reason == "FailedKillPod").count(), 2);
}

#[test]
fn even_a_grace_of_zero_or_less_gives_two_seconds() {
    for grace in [0, 1, -5, i64::MIN] {
        let desired = with(always("web"), |pod, _| pod.spec.termination_grace_period_seconds = grace);
        let mut bench = Bench::running(&[desired]);
        bench.desire(&[]);
        assert_eq!(bench.node.deadline().unwrap().0, bench.now + 2_000, "grace {grace}");
    }
}

#[test]
fn a_grace_only_shrinks() {
    let mut bench = Bench::running(&[always("web")]);
    let delete = |grace| Event::Delete { pod: "web-uid-1".into(), grace: Some(grace) };
    let began = bench.now;
    bench.tell(delete(20));
    bench.now += 1_000;
    bench.tell(delete(60));
    assert_eq!(bench.node.deadline().unwrap().0, began + 20_000);
    bench.tell(delete(5));
    assert_eq!(bench.node.deadline().unwrap().0, began + 5_000);
}

#[test]
fn a_changed_manifest_stops_the_old_pod_and_starts_the_new_one_when_its_sandbox_is_gone() {
    let mut bench = Bench::running(&[always("web")]);
    let changed = with(always("web"), |pod, _| pod.metadata.uid = "web-uid-2".into());
    assert_eq!(words(&bench.desire(&[changed])), ["signal 15"]);
    let actions = bench.exit(bench.live("web", "app"), 0);
    assert_eq!(words(&actions), ["remove"]);
    let all = words(&bench.run(actions));
    assert_eq!(all, ["remove", "discard web-uid-1", "prepare web-uid-2", "image app", "start app 0"]);
}

#[test]
fn a_manifest_that_returns_while_its_pod_stops_starts_it_again_afterwards() {
    let mut bench = Bench::running(&[always("web")]);
    bench.desire(&[]);
    assert_eq!(bench.desire(&[always("web")]), Vec::<Action>::new());
    let actions = bench.exit(bench.live("web", "app"), 0);
    let all = words(&bench.run(actions));
    assert_eq!(all, ["remove", "discard web-uid-1", "prepare web-uid-1", "image app", "start app 0"]);
}

#[test]
fn a_delete_starts_afresh_with_new_volumes_and_counts() {
    let mut bench = Bench::running(&[always("web")]);
    let actions = bench.exit(bench.live("web", "app"), 1);
    bench.run(actions);
    assert_eq!(bench.status("web", "app").restart_count, 1);
    bench.tell(Event::Delete { pod: "web-uid-1".into(), grace: None });
    let actions = bench.exit(bench.live("web", "app"), 143);
    assert!(words(&bench.run(actions)).contains(&"discard web-uid-1".to_owned()));
    let status = bench.status("web", "app");
    assert_eq!((status.restart_count, status.last_state.terminated), (0, None));
}

#[test]
fn a_container_that_is_being_started_gets_its_stop_signal_when_it_runs() {
    let (mut bench, _) = Bench::with(&[always("web")]);
    bench.tell(Event::SandboxReady { pod: "web-uid-1".into(), ips: vec![] });
    bench.tell(Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: Some(3),
        pulled: false,
    });
    let seq = bench.live("web", "app");
    assert_eq!(bench.desire(&[]), Vec::<Action>::new());
    assert_eq!(words(&bench.tell(Event::Started { seq, pid: 1 })), ["signal 3"]);
}

#[test]
fn a_container_created_but_not_started_is_killed_without_grace() {
    let never = pod("web", crate::manifest::v1::RestartPolicy::Never, &[], &["app"]);
    let (mut bench, _) = Bench::with(&[never]);
    bench.tell(Event::SandboxReady { pod: "web-uid-1".into(), ips: vec![] });
    bench.tell(Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    });
    let seq = bench.live("web", "app");
    assert_eq!(words(&bench.tell(Event::Created { seq, pid: 1 })), ["mark app"]);
    assert_eq!(words(&bench.desire(&[])), ["kill"]);
    assert_eq!(bench.tell(Event::Marked { seq }), Vec::<Action>::new(), "it is not started any more");
}

#[test]
fn what_cannot_be_removed_is_tried_again() {
    let mut bench = Bench::running(&[always("web")]);
    bench.desire(&[]);
    let seq = bench.live("web", "app");
    assert_eq!(words(&bench.exit(seq, 0)), ["remove"]);
    for wait in [1_000, 2_000] {
        bench.tell(Event::RemoveFailed { seq, failure: failure("Busy") });
        assert_eq!(bench.node.deadline().unwrap().0, bench.now + wait);
        assert_eq!(words(&bench.wait()), ["remove"]);
    }
    assert_eq!(words(&bench.tell(Event::Removed { seq })), ["discard web-uid-1"]);
    bench.tell(Event::TeardownFailed { pod: "web-uid-1".into(), failure: failure("Busy") });
    assert_eq!(words(&bench.wait()), ["discard web-uid-1"]);
}

#[test]
fn all_pods_stop_in_groups_lowest_priority_first() {
    let high = with(always("high"), |pod, _| pod.spec.priority = 5);
    let mut bench = Bench::running(&[high, always("low")]);
    let low = bench.live("low", "app");
    let disrupted = |bench: &Bench, pod: &str| {
        let conditions = bench.object(pod).status.conditions.into_iter();
        let found = conditions.filter(|c| c.condition_type == "DisruptionTarget");
        found.map(|c| (c.status, c.reason, c.message)).collect::<Vec<_>>()
    };
    let message = "Pod was terminated in response to imminent node shutdown.";
    let told = vec![("True".to_owned(), "TerminationByKubelet".to_owned(), message.to_owned())];
    assert_eq!(disrupted(&bench, "low"), []);
    let actions = bench.tell(stop_all());
    assert!(matches!(&actions[..], [Action::Signal { seq, .. }] if *seq == low), "{actions:?}");
    // As kubelet: when it is its turn.
    assert_eq!((disrupted(&bench, "low"), disrupted(&bench, "high")), (told.clone(), Vec::new()));
    let actions = bench.exit(low, 0);
    let all = bench.run(actions);
    assert_eq!(words(&all), ["remove", "teardown low-uid-1", "signal 15"]);
    assert!(!bench.node.stopped());
    let actions = bench.exit(bench.live("high", "app"), 0);
    bench.run(actions);
    assert!(bench.node.stopped());
    assert_eq!(bench.node.deadline(), None);
    assert_eq!(bench.object("low").status.reason, "Terminated");
    assert_eq!((disrupted(&bench, "low"), disrupted(&bench, "high")), (told.clone(), told));
}
