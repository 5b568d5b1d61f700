//! Restart policy and backoff.

use super::bench::*;
use crate::manifest::v1::RestartPolicy;
use crate::pod::event::{BackoffOverride, Event};

/// Milliseconds from each exit to the next start, for a container that dies at once.
fn delays(bench: &mut Bench, exits: usize) -> Vec<u64> {
    (0..exits)
        .map(|_| {
            let ended = bench.now;
            let actions = bench.exit(bench.live("web", "app"), 1);
            bench.run(actions);
            while bench.try_live("web", "app").is_none() {
                let actions = bench.wait();
                bench.run(actions);
            }
            bench.now - ended
        })
        .collect()
}

#[test]
fn a_crashing_container_waits_0_10_20_40_80_160_300_300_seconds_to_the_millisecond() {
    let mut bench = Bench::running(&[always("web")]);
    let waits = [0, 10, 20, 40, 80, 160, 300, 300, 300].map(|s| s * 1000);
    assert_eq!(delays(&mut bench, 9), waits);
    assert_eq!(bench.status("web", "app").restart_count, 9);
}

#[test]
fn a_run_of_more_than_ten_minutes_resets_and_one_of_ten_minutes_does_not() {
    for (run, waits) in [(600_000, [10_000, 20_000]), (600_001, [0, 10_000])] {
        let mut bench = Bench::running(&[always("web")]);
        delays(&mut bench, 1);
        bench.now += run;
        assert_eq!(delays(&mut bench, 2), waits, "after a run of {run} ms");
    }
}

#[test]
fn annotations_change_the_backoff_of_a_pod_and_of_one_container() {
    let slower = |initial, max| BackoffOverride { initial_ms: initial, max_ms: max };
    let desired = with(always("web"), |_, policy| policy.backoff = slower(Some(1_500), Some(4_000)));
    assert_eq!(delays(&mut Bench::running(std::slice::from_ref(&desired)), 5), [0, 1_500, 3_000, 4_000, 4_000]);
    let desired = with(desired, |_, policy| {
        policy.container_backoff.insert("app".into(), slower(None, Some(2_000)));
    });
    assert_eq!(delays(&mut Bench::running(&[desired]), 4), [0, 1_500, 2_000, 2_000]);
}

#[test]
fn crash_loop_says_what_how_long_and_when_the_next_try_is() {
    let mut bench = Bench::running(&[always("web")]);
    delays(&mut bench, 2);
    bench.exit(bench.live("web", "app"), 3);
    let status = bench.status("web", "app");
    let waiting = status.state.waiting.unwrap();
    assert_eq!(waiting.reason, "CrashLoopBackOff");
    assert_eq!(
        waiting.message,
        "back-off 20s restarting failed container=app pod=web-n_default(web-uid-1); next try 2026-01-02T03:04:36Z"
    );
    let last = status.last_state.terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (3, "Error"));
    assert_eq!(bench.phase("web"), "Running");
    assert!(bench.reasons().contains(&"BackOff"));
}

#[test]
fn on_failure_restarts_a_failed_container_and_completes_with_a_successful_one() {
    let mut bench = Bench::running(&[pod("web", RestartPolicy::OnFailure, &[], &["app"])]);
    delays(&mut bench, 1);
    let actions = bench.exit(bench.live("web", "app"), 0);
    assert_eq!(words(&bench.run(actions)), ["remove", "teardown web-uid-1"]);
    assert_eq!(bench.phase("web"), "Succeeded");
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn never_runs_once_and_the_exit_code_decides_the_phase() {
    for (code, phase) in [(0, "Succeeded"), (1, "Failed")] {
        let (mut bench, actions) = Bench::with(&[pod("web", RestartPolicy::Never, &[], &["app"])]);
        let all = words(&bench.run(actions));
        assert_eq!(all, ["prepare web-uid-1", "image app", "start app 0", "mark app", "start created"]);
        let actions = bench.exit(bench.live("web", "app"), code);
        bench.run(actions);
        assert_eq!(bench.phase("web"), phase);
        assert_eq!(bench.node.deadline(), None);
    }
}

#[test]
fn always_restarts_a_successful_container_with_the_same_backoff() {
    let mut bench = Bench::running(&[always("web")]);
    let actions = bench.exit(bench.live("web", "app"), 0);
    // The restart does not wait for the removal of what was.
    assert_eq!(words(&bench.run(actions)), ["image app", "start app 1", "remove"]);
    bench.exit(bench.live("web", "app"), 0);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 10_000);
}

#[test]
fn a_start_that_fails_backs_off_without_counting_as_a_restart() {
    let (mut bench, actions) = Bench::with(&[always("web")]);
    let mut actions = bench.tell(match &actions[..] {
        [crate::pod::event::Action::PrepareSandbox { pod }] => Event::SandboxReady { pod: pod.clone(), ips: vec![] },
        other => panic!("{other:?}"),
    });
    let mut waits = Vec::new();
    for _ in 0..4 {
        let failed = bench.now;
        assert!(words(&actions) == ["image app"], "{actions:?}");
        bench.tell(Event::ImageReady {
            container: container("web", "app"),
            image_id: "i".into(),
            stop_signal: None,
            pulled: false,
        });
        let seq = bench.live("web", "app");
        actions = bench.tell(Event::StartFailed { seq, failure: failure("RunContainerError") });
        assert_eq!(words(&actions), ["remove"]);
        assert_eq!(bench.status("web", "app").state.waiting.unwrap().reason, "RunContainerError");
        actions = bench.tell(Event::Removed { seq });
        if bench.node.deadline().is_some() {
            actions = bench.wait();
        }
        waits.push(bench.now - failed);
    }
    assert_eq!(waits, [0, 10_000, 20_000, 40_000]);
    assert_eq!(bench.status("web", "app").restart_count, 0);
}

#[test]
fn after_a_start_that_failed_the_next_one_waits_until_nothing_of_it_can_run() {
    let mut bench = Bench::running(&[always("web")]);
    let first = bench.live("web", "app");
    assert_eq!(words(&bench.exit(first, 1)), ["image app"]);
    bench.tell(Event::Removed { seq: first });
    bench.tell(Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    });
    let seq = bench.live("web", "app");
    bench.tell(Event::StartFailed { seq, failure: failure("CreateContainerError") });
    let actions = bench.tell(Event::RemoveFailed { seq, failure: failure("Busy") });
    assert_eq!(actions, []);
    assert_eq!(words(&bench.wait()), ["remove"]);
    bench.now += 60_000;
    assert_eq!(bench.tell(Event::Tick), [], "its backoff is over, but not the one before");
    // Nor does a new supervisor hurry.
    assert_eq!(words(&bench.restore([(seq, crate::pod::event::Found::Running { pid: 1 })].into(), false)), ["remove"]);
    assert_eq!(words(&bench.tell(Event::Removed { seq })), ["image app"]);
}

#[test]
fn the_next_start_does_not_wait_for_the_removal_of_one_that_failed_once_nothing_of_it_runs() {
    let mut bench = Bench::running(&[always("web")]);
    let first = bench.live("web", "app");
    bench.exit(first, 1);
    bench.tell(Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    });
    let seq = bench.live("web", "app");
    let actions = bench.tell(Event::StartFailed { seq, failure: failure("CreateContainerError") });
    assert!(words(&actions).contains(&"remove".to_owned()), "{actions:?}");
    let due = bench.node.deadline();
    assert_eq!(bench.tell(Event::Emptied { seq }), []);
    assert_eq!(bench.node.deadline(), due, "its backoff holds");
    assert_eq!(words(&bench.wait()), ["image app"], "the log of the one before may still wait for its disk");
}

#[test]
fn a_missing_config_object_is_retried_every_ten_seconds_without_backoff() {
    let mut bench = Bench::running(&[always("web")]);
    delays(&mut bench, 1);
    bench.exit(bench.live("web", "app"), 1);
    bench.wait();
    for _ in 0..3 {
        bench.tell(Event::ImageReady {
            container: container("web", "app"),
            image_id: "i".into(),
            stop_signal: None,
            pulled: false,
        });
        let seq = bench.live("web", "app");
        bench.tell(Event::StartFailed { seq, failure: failure("CreateContainerConfigError") });
        bench.tell(Event::Removed { seq });
        assert_eq!(bench.node.deadline().unwrap().0, bench.now + 10_000);
        bench.wait();
    }
    bench.tell(Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    });
    bench.tell(Event::Started { seq: bench.live("web", "app"), pid: 1 });
    bench.exit(bench.live("web", "app"), 1);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 20_000);
}

#[test]
fn a_missing_image_is_looked_for_after_10_20_40_seconds_and_at_once_when_images_change() {
    let mut bench = Bench::new();
    let actions = bench.desire(&[always("web")]);
    assert_eq!(words(&actions), ["prepare web-uid-1"]);
    bench.tell(Event::SandboxReady { pod: "web-uid-1".into(), ips: vec![] });
    for (wait, reason) in [(10_000, "ErrImagePull"), (20_000, "ImagePullBackOff"), (40_000, "ImagePullBackOff")] {
        bench.tell(Event::ImageFailed { container: container("web", "app"), failure: failure("ErrImagePull") });
        assert_eq!(bench.node.deadline().unwrap().0, bench.now + wait);
        assert_eq!(bench.status("web", "app").state.waiting.unwrap().reason, reason);
        assert_eq!(words(&bench.wait()), ["image app"]);
    }
    // The answer to a question asked before the import is not the last word.
    bench.tell(Event::ImagesChanged);
    let actions =
        bench.tell(Event::ImageFailed { container: container("web", "app"), failure: failure("ErrImagePull") });
    assert_eq!(words(&actions), ["image app"]);
    bench.tell(Event::ImageFailed { container: container("web", "app"), failure: failure("ErrImagePull") });
    assert_eq!(words(&bench.tell(Event::ImagesChanged)), ["image app"]);
}

#[test]
fn a_restart_by_a_person_waits_for_no_backoff_and_counts() {
    let mut bench = Bench::running(&[always("web")]);
    delays(&mut bench, 3);
    bench.exit(bench.live("web", "app"), 1);
    let actions = bench.tell(Event::Restart { pod: "web-uid-1".into(), container: None });
    assert_eq!(words(&actions), ["image app"]);
    bench.run(actions);
    assert_eq!(bench.status("web", "app").restart_count, 4);
    let actions = bench.tell(Event::Restart { pod: "web-uid-1".into(), container: Some("app".into()) });
    assert_eq!(words(&actions), ["signal 15"]);
    let actions = bench.exit(bench.live("web", "app"), 143);
    bench.run(actions);
    assert_eq!(bench.status("web", "app").restart_count, 5);
    assert_eq!(delays(&mut bench, 1), [10_000], "the wait for the exit after this start is the first one");
}
