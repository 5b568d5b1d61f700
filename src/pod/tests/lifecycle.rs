//! From the manifest to running containers.

use super::bench::*;
use crate::manifest::v1::RestartPolicy;
use crate::pod::event::{Action, Event, Found};
use crate::sorted::BTreeMap;

#[test]
fn init_containers_run_one_at_a_time_in_order_before_all_app_containers() {
    let (mut bench, actions) = Bench::with(&[pod("web", RestartPolicy::Always, &["one", "two"], &["a", "b"])]);
    assert_eq!(words(&bench.run(actions)), ["prepare web-uid-1", "image one", "start one 0"]);
    assert_eq!(bench.status("web", "a").state.waiting.unwrap().reason, "PodInitializing");
    let actions = bench.exit(bench.live("web", "one"), 0);
    assert_eq!(words(&bench.run(actions)), ["image two", "start two 0", "remove"]);
    let actions = bench.exit(bench.live("web", "two"), 0);
    assert_eq!(words(&actions), ["image a", "image b"]);
    bench.run(actions);
    assert_eq!(bench.phase("web"), "Running");
    let ready = bench.object("web").status.conditions;
    assert!(ready.iter().all(|condition| condition.status == "True"), "{ready:?}");
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn a_failed_init_container_is_run_again_with_backoff_and_blocks_what_follows() {
    let (mut bench, actions) = Bench::with(&[pod("web", RestartPolicy::OnFailure, &["one"], &["a"])]);
    bench.run(actions);
    let actions = bench.exit(bench.live("web", "one"), 1);
    bench.run(actions);
    bench.exit(bench.live("web", "one"), 1);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 10_000);
    assert_eq!(bench.try_live("web", "a"), None);
    assert_eq!(bench.phase("web"), "Pending");
}

#[test]
fn a_failed_init_container_of_a_never_pod_fails_the_pod() {
    let (mut bench, actions) = Bench::with(&[pod("web", RestartPolicy::Never, &["one"], &["a"])]);
    bench.run(actions);
    let actions = bench.exit(bench.live("web", "one"), 7);
    assert_eq!(words(&bench.run(actions)), ["remove", "teardown web-uid-1"]);
    assert_eq!(bench.phase("web"), "Failed");
}

#[test]
fn a_container_that_cannot_start_does_not_stop_the_others() {
    let (mut bench, _) = Bench::with(&[pod("web", RestartPolicy::Always, &[], &["a", "b"])]);
    let actions = bench.tell(Event::SandboxReady { pod: "web-uid-1".into(), ips: vec![] });
    assert_eq!(words(&actions), ["image a", "image b"]);
    bench.tell(Event::ImageFailed { container: container("web", "a"), failure: failure("ErrImageNeverPull") });
    let actions = bench.tell(Event::ImageReady {
        container: container("web", "b"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    });
    assert_eq!(words(&actions), ["start b 0"]);
}

#[test]
fn a_sandbox_is_tried_again_after_1_2_4_seconds_without_end() {
    let (mut bench, _) = Bench::with(&[always("web")]);
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        bench.tell(Event::SandboxFailed { pod: "web-uid-1".into(), failure: failure("FailedMount") });
        assert_eq!(bench.node.deadline().unwrap().0, bench.now + wait * 1000);
        assert_eq!(words(&bench.wait()), ["prepare web-uid-1"]);
    }
    assert!(bench.reasons().iter().all(|reason| *reason == "FailedMount"));
    assert_eq!(bench.status("web", "app").state.waiting.unwrap().reason, "ContainerCreating");
}

#[test]
fn pods_of_higher_priority_come_first() {
    let important = with(always("zeta"), |pod, _| pod.spec.priority = 10);
    let (_, actions) = Bench::with(&[always("alpha"), important]);
    assert_eq!(words(&actions), ["prepare zeta-uid-1", "prepare alpha-uid-1"]);
}

#[test]
fn a_quarantined_pod_is_left_alone_and_says_why_until_a_person_restarts_it() {
    let mut bench = Bench::running(&[always("web")]);
    quarantine(&mut bench, "web");
    assert_eq!(words(&bench.exit(bench.live("web", "app"), 1)), Vec::<String>::new());
    assert_eq!(bench.node.deadline(), None);
    assert_eq!(bench.object("web").status.reason, "Quarantined");
    let actions = bench.tell(Event::Restart { pod: "web-uid-1".into(), container: None });
    assert_eq!(words(&actions), ["image app"]);
}

#[test]
fn a_quarantined_pod_is_stopped_with_all_others_also_by_the_next_supervisor() {
    let mut bench = Bench::running(&[always("web")]);
    bench.tell(Event::StopAll);
    let actions = quarantine(&mut bench, "web");
    assert_ne!(bench.object("web").status.reason, "Quarantined");
    assert!(!words(&actions).is_empty(), "it goes on being stopped");
}

/// A supervisor takes over after the one before it has crashed over this pod for the second time.
fn quarantine(bench: &mut Bench, name: &str) -> Vec<Action> {
    let seq = bench.live(name, "app");
    let reason = "the supervisor crashed over it twice".to_owned();
    let quarantined = BTreeMap::from([(format!("{name}-uid-1").into(), reason)]);
    bench.restore_without(quarantined, BTreeMap::from([(seq, Found::Running { pid: 1 })]), false)
}

#[test]
fn a_refused_manifest_is_shown_on_the_pod_that_runs_on() {
    let mut bench = Bench::running(&[always("web")]);
    let mut broken = always("web");
    broken.manifest_error = Some("web.yaml:3: spec.containers: Required value".into());
    assert_eq!(bench.desire(&[broken]), Vec::<Action>::new());
    let annotations = bench.object("web").metadata.annotations;
    assert_eq!(annotations["gatepost.io/manifest-error"], "web.yaml:3: spec.containers: Required value");
}

#[test]
fn late_and_false_words_change_nothing() {
    let mut bench = Bench::running(&[always("web")]);
    let seq = bench.live("web", "app");
    for event in [
        Event::Started { seq, pid: 9 },
        Event::Created { seq, pid: 9 },
        Event::Marked { seq },
        Event::StartFailed { seq, failure: failure("RunContainerError") },
        Event::SandboxReady { pod: "web-uid-1".into(), ips: vec![] },
        Event::SandboxGone { pod: "web-uid-1".into() },
        Event::SandboxGone { pod: "nobody".into() },
        Event::Removed { seq },
        Event::Exited { seq: crate::pod::event::Seq(999), exit: bench.exit_of(1) },
        Event::Tick,
    ] {
        assert_eq!(bench.tell(event.clone()), Vec::<Action>::new(), "{event:?}");
    }
    assert_eq!(bench.live("web", "app"), seq);
    // A stranger that says it runs is ended: nobody wants it.
    assert_eq!(words(&bench.tell(Event::Started { seq: crate::pod::event::Seq(999), pid: 9 })), ["kill"]);
}

#[test]
fn a_late_word_about_an_ended_instance_does_not_move_the_next_one() {
    let mut bench = Bench::running(&[always("web")]);
    let ended = bench.live("web", "app");
    bench.exit(ended, 1);
    bench.tell(Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    });
    let next = bench.live("web", "app");
    for event in [Event::Started { seq: ended, pid: 9 }, Event::Created { seq: ended, pid: 9 }] {
        assert_eq!(bench.tell(event.clone()), [], "{event:?}");
        assert!(!bench.object("web").status.container_statuses[0].started, "{event:?}");
    }
    bench.tell(Event::Started { seq: next, pid: 10 });
    assert!(bench.object("web").status.container_statuses[0].started);
}

#[test]
fn pods_and_events_are_read_by_the_types_of_the_kubernetes_api() {
    let mut bench = Bench::running(&[pod("web", RestartPolicy::Always, &[], &["a", "b"])]);
    for _ in 0..2 {
        let actions = bench.exit(bench.live("web", "a"), 1);
        bench.run(actions);
    }
    let read = crate::json::to_value(&bench.object("web")).unwrap();
    let read: k8s_openapi::api::core::v1::Pod = serde_json::from_value(read).unwrap();
    let status = read.status.unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(status.host_ip.as_deref(), Some("192.0.2.1"));
    let containers = status.container_statuses.unwrap();
    assert_eq!(
        containers[0].state.as_ref().unwrap().waiting.as_ref().unwrap().reason.as_deref(),
        Some("CrashLoopBackOff")
    );
    assert!(containers[1].state.as_ref().unwrap().running.as_ref().unwrap().started_at.is_some());
    assert!(containers[1].container_id.as_ref().unwrap().starts_with("runc://b-web-uid-"));
    let mut log = crate::pod::events::EventLog::new();
    for recorded in bench.recorded {
        log.record(recorded, crate::pod::time::Wall(0));
    }
    for event in log.objects() {
        let read = crate::json::to_value(&event).unwrap();
        serde_json::from_value::<k8s_openapi::api::core::v1::Event>(read).unwrap();
    }
}
