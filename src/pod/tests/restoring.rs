//! A new supervisor takes over, in each state and after a reboot.

use super::bench::*;
use crate::manifest::v1::RestartPolicy;
use crate::pod::event::{Action, Event, Found, Seq};
use crate::sorted::BTreeMap;

fn found(seq: Seq, found: Found) -> BTreeMap<Seq, Found> {
    BTreeMap::from([(seq, found)])
}

/// A pod up to the point where `answers` were given.
fn until(policy: RestartPolicy, answers: usize) -> Bench {
    let (mut bench, _) = Bench::with(&[pod("web", policy, &[], &["app"])]);
    let image = || Event::ImageReady {
        container: container("web", "app"),
        image_id: "i".into(),
        stop_signal: None,
        pulled: false,
    };
    for answer in 0..answers {
        let event = match answer {
            0 => Event::SandboxReady { pod: "web-uid-1".into(), ips: vec![] },
            1 => image(),
            2 if policy == RestartPolicy::Never => Event::Created { seq: bench.live("web", "app"), pid: 1 },
            3 if policy == RestartPolicy::Never => Event::Marked { seq: bench.live("web", "app") },
            _ => Event::Started { seq: bench.live("web", "app"), pid: 1 },
        };
        bench.tell(event);
    }
    bench
}

#[test]
fn what_was_being_made_is_asked_again() {
    assert_eq!(words(&until(RestartPolicy::Always, 0).restore(BTreeMap::new(), false)), ["prepare web-uid-1"]);
    assert_eq!(words(&until(RestartPolicy::Always, 1).restore(BTreeMap::new(), false)), ["image app"]);
}

#[test]
fn an_unfinished_start_goes_on_from_what_is_there() {
    let mut bench = until(RestartPolicy::Always, 2);
    let seq = bench.live("web", "app");
    assert_eq!(bench.restore(found(seq, Found::Running { pid: 5 }), false), Vec::<Action>::new());
    assert_eq!(bench.phase("web"), "Running");

    // The runtime was ended in its work: whether the process would ever become the program is not known, but it has not yet. Its end
    // is that of a start, and of no run; also where it is dead already, which looks as if it ran until it is reaped.
    let (created, dying) = (Found::Created { pid: 5 }, Found::Running { pid: 5 });
    let cases = [
        (RestartPolicy::Always, 2, vec![&created]),
        (RestartPolicy::Never, 2, vec![&created]),
        (RestartPolicy::Always, 2, vec![&created, &dying]),
        (RestartPolicy::Never, 2, vec![&created, &dying]),
        (RestartPolicy::Never, 2, vec![&dying]),
        (RestartPolicy::Never, 3, vec![&dying]),
    ];
    for (policy, answers, seen) in cases {
        let mut bench = until(policy, answers);
        for (nth, of_it) in seen.iter().enumerate() {
            let actions = bench.restore(found(seq, (*of_it).clone()), false);
            assert_eq!(actions, [Action::Kill { seq }], "{policy:?} {answers} {nth}");
        }
        let exit = bench.exit_of(1);
        assert_eq!(words(&bench.tell(Event::Exited { seq, exit })), ["remove"]);
        let actions = bench.tell(Event::Removed { seq });
        assert_eq!(words(&actions), ["image app"]);
        let all = bench.run(actions);
        assert!(all.iter().any(|action| matches!(action, Action::Start { seq: other, .. } if *other != seq)));
        assert_eq!(bench.status("web", "app").restart_count, 0);
    }

    let mut bench = until(RestartPolicy::Always, 2);
    let actions = bench.restore(BTreeMap::new(), false);
    assert_eq!(words(&actions), ["image app"]);
    let all = bench.run(actions);
    assert!(all.iter().any(|action| matches!(action, Action::Start { seq: other, .. } if *other != seq)));
    assert!(all.contains(&Action::Remove { seq }));

    let mut bench = until(RestartPolicy::Always, 2);
    let exit = bench.exit_of(4);
    bench.restore(found(seq, Found::Exited(exit)), false);
    assert_eq!(bench.status("web", "app").state.terminated.unwrap().exit_code, 4);
}

#[test]
fn a_running_container_runs_on_untouched_and_one_that_is_gone_reads_status_unknown() {
    let mut bench = until(RestartPolicy::Always, 3);
    let seq = bench.live("web", "app");
    assert_eq!(bench.restore(found(seq, Found::Running { pid: 5 }), false), Vec::<Action>::new());
    assert_eq!(bench.live("web", "app"), seq);
    bench.restore(BTreeMap::new(), false);
    let last = bench.status("web", "app").state.terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_str()), (137, "ContainerStatusUnknown"));
}

#[test]
fn backoff_survives_a_supervisor_to_the_millisecond() {
    let mut bench = Bench::running(&[always("web")]);
    for _ in 0..2 {
        let actions = bench.exit(bench.live("web", "app"), 1);
        bench.run(actions);
    }
    let due = bench.node.deadline();
    bench.now += 3_333;
    bench.restore(BTreeMap::new(), false);
    assert_eq!(bench.node.deadline(), due);
    let actions = bench.wait();
    bench.run(actions);
    bench.exit(bench.live("web", "app"), 1);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 20_000);
}

#[test]
fn a_stop_under_way_signals_again_with_a_new_grace() {
    let mut bench = until(RestartPolicy::Always, 3);
    let seq = bench.live("web", "app");
    bench.desire(&[]);
    bench.now += 20_000;
    let actions = bench.restore(found(seq, Found::Running { pid: 5 }), false);
    assert_eq!(words(&actions), ["signal 15"]);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 30_000);
    bench.wait();
    assert_eq!(words(&bench.restore(found(seq, Found::Running { pid: 5 }), false)), ["kill"]);
}

#[test]
fn an_instance_that_nobody_knows_is_killed_and_removed() {
    let mut bench = Bench::new();
    let seq = Seq(77);
    assert_eq!(bench.restore(found(seq, Found::Running { pid: 5 }), false), [Action::Kill { seq }]);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 10_000);
    assert_eq!(bench.exit(seq, 137), [Action::Remove { seq }]);
    bench.tell(Event::Removed { seq });
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn no_instance_number_is_given_twice() {
    let mut bench = until(RestartPolicy::Always, 3);
    let seq = bench.live("web", "app");
    let actions = bench.exit(seq, 0);
    bench.tell(Event::Removed { seq });
    assert_eq!(words(&actions), ["image app"]);
    let actions = bench.restore(BTreeMap::new(), false);
    bench.run(actions);
    assert!(bench.live("web", "app") > seq);
}

#[test]
fn a_never_container_runs_at_most_once_wherever_the_supervisor_ends() {
    let seq = until(RestartPolicy::Never, 2).live("web", "app");
    // Created, and the mark asked for or written: its program has not begun.
    let mut bench = until(RestartPolicy::Never, 3);
    let actions = bench.restore(found(seq, Found::Created { pid: 5 }), false);
    assert_eq!(words(&actions), ["mark app"]);
    let mut bench = until(RestartPolicy::Never, 4);
    assert_eq!(bench.restore(found(seq, Found::Created { pid: 5 }), false), [Action::StartCreated { seq }]);
    // Asked to start, and nothing is there: that was its run.
    let mut bench = until(RestartPolicy::Never, 4);
    let actions = bench.restore(BTreeMap::new(), false);
    bench.run(actions);
    assert_eq!(bench.phase("web"), "Failed");
    assert_eq!(bench.status("web", "app").state.terminated.unwrap().reason, "ContainerStatusUnknown");
}

#[test]
fn after_a_reboot_always_and_on_failure_pods_run_again_and_count_on() {
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure] {
        let mut bench = until(policy, 3);
        assert_eq!(bench.restore(BTreeMap::new(), true), Vec::<Action>::new());
        let actions = bench.desire(&[pod("web", policy, &[], &["app"])]);
        assert_eq!(words(&bench.run(actions)), ["prepare web-uid-1", "image app", "start app 1"]);
    }
}

#[test]
fn after_a_reboot_completed_pods_stay_completed() {
    let never = || pod("web", RestartPolicy::Never, &[], &["app"]);
    let mut bench = Bench::running(&[never()]);
    let actions = bench.exit(bench.live("web", "app"), 0);
    bench.run(actions);
    let before = bench.object("web").status;
    bench.restore(BTreeMap::new(), true);
    assert_eq!(bench.desire(&[never()]), Vec::<Action>::new());
    assert_eq!(bench.object("web").status, before);
    // And a person can run it again.
    let actions = bench.tell(Event::Restart { pod: "web-uid-1".into(), container: None });
    assert_eq!(words(&actions), ["prepare web-uid-1"]);
}

#[test]
fn after_a_reboot_a_marked_never_pod_is_failed_as_interrupted() {
    for answers in [4, 5] {
        let mut bench = until(RestartPolicy::Never, answers);
        bench.restore(BTreeMap::new(), true);
        assert_eq!(bench.desire(&[pod("web", RestartPolicy::Never, &[], &["app"])]), Vec::<Action>::new());
        let status = bench.object("web").status;
        assert_eq!((status.phase.as_str(), status.reason.as_str()), ("Failed", "Interrupted"));
    }
    let mut bench = until(RestartPolicy::Never, 2);
    bench.restore(BTreeMap::new(), true);
    let actions = bench.desire(&[pod("web", RestartPolicy::Never, &[], &["app"])]);
    assert_eq!(words(&actions), ["prepare web-uid-1"], "not marked, so it may run");
}

/// A pod of a job and a service, after the job has ended with 0.
fn half_done(policy: RestartPolicy) -> Bench {
    let mut bench = Bench::running(&[jobs(policy)]);
    let actions = bench.exit(bench.live("web", "job"), 0);
    bench.run(actions);
    bench
}

fn jobs(policy: RestartPolicy) -> crate::pod::event::DesiredPod {
    pod("web", policy, &[], &["job", "service"])
}

/// What starts after a reboot, or in the pod's next life within a boot.
fn started(bench: &mut Bench, rebooted: bool) -> Vec<String> {
    if rebooted {
        bench.restore(BTreeMap::new(), true);
    }
    let actions = bench.desire(&[jobs(RestartPolicy::OnFailure)]);
    let mut all = words(&bench.run(actions));
    all.retain(|word| word.starts_with("start "));
    all
}

#[test]
fn after_a_reboot_a_container_that_has_succeeded_does_not_run_again() {
    let mut bench = half_done(RestartPolicy::OnFailure);
    let ended = bench.status("web", "job").state.terminated.unwrap().finished_at;
    assert_eq!(started(&mut bench, true), ["start service 1"]);
    let job = bench.status("web", "job").state.terminated.unwrap();
    assert_eq!((job.exit_code, job.reason.as_str(), job.finished_at), (0, "Completed", ended));
    // And once more: the second reboot knows it from the first one's state.
    assert_eq!(started(&mut bench, true), ["start service 2"]);
    let actions = bench.exit(bench.live("web", "service"), 0);
    bench.run(actions);
    assert_eq!(bench.phase("web"), "Succeeded");
}

#[test]
fn a_pod_whose_power_went_before_its_final_status_was_kept_has_succeeded_all_the_same() {
    let mut bench = half_done(RestartPolicy::OnFailure);
    let actions = bench.exit(bench.live("web", "service"), 0);
    bench.run(actions);
    let mut durable = bench.node.durable_snapshot();
    durable.pods.get_mut("web-uid-1").unwrap().completed = None;
    bench.reboot_with(&durable);
    assert_eq!(started(&mut bench, false), Vec::<String>::new());
    assert_eq!(bench.phase("web"), "Succeeded");
}

#[test]
fn what_was_told_to_end_has_not_succeeded_and_runs_again_after_the_reboot() {
    let mut bench = Bench::running(&[jobs(RestartPolicy::OnFailure)]);
    let (job, service) = (bench.live("web", "job"), bench.live("web", "service"));
    bench.tell(Event::StopAll);
    bench.exit(job, 0);
    bench.exit(service, 0);
    assert_eq!(started(&mut bench, true), ["start job 1", "start service 1"]);
}

#[test]
fn a_person_or_a_policy_that_restarts_all_makes_a_successful_container_run_again() {
    let mut bench = half_done(RestartPolicy::OnFailure);
    bench.tell(Event::Restart { pod: "web-uid-1".into(), container: Some("job".into()) });
    assert_eq!(started(&mut bench, true).len(), 2, "restarted, and cut off in the middle of it");

    let mut bench = half_done(RestartPolicy::OnFailure);
    let actions = bench.desire(&[]);
    let service = bench.live("web", "service");
    bench.run(actions);
    let actions = bench.exit(service, 0);
    bench.run(actions);
    assert_eq!(started(&mut bench, false), ["start job 0", "start service 0"], "its manifest went");

    let mut bench = half_done(RestartPolicy::Always);
    assert!(bench.try_live("web", "job").is_some());
    bench.restore(BTreeMap::new(), true);
    assert!(bench.node.durable_snapshot().pods["web-uid-1"].succeeded.is_empty());
}
