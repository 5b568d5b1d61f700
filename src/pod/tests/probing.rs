//! Probes.

use super::bench::*;
use crate::manifest::v1::{Container, Probe, RestartPolicy};
use crate::pod::event::{Action, DesiredPod, Event, Found};
use crate::pod::health::Health;
use crate::pod::probe::{ProbeKind, ProbeOutcome};

fn probe() -> Probe {
    Probe {
        tcp_socket: Some(crate::manifest::v1::TcpSocketAction::default()),
        period_seconds: 10,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
        ..Probe::default()
    }
}

fn web(change: impl FnOnce(&mut Container)) -> DesiredPod {
    with(always("web"), |pod, _| change(&mut pod.spec.containers[0]))
}

fn outcome(good: bool) -> ProbeOutcome {
    if good { ProbeOutcome::Success } else { ProbeOutcome::Failure("refused".into()) }
}

impl Bench {
    /// The attempts now under way are answered, as `good` says by kind; gives what else the core asks for.
    fn answer(&mut self, actions: Vec<Action>, good: impl Fn(ProbeKind) -> ProbeOutcome) -> Vec<Action> {
        let mut rest = Vec::new();
        for action in actions {
            match action {
                Action::Probe { seq, container, kind, .. } => {
                    let told = Event::Probed { pod: container.pod, seq, kind, outcome: good(kind) };
                    rest.extend(self.tell(told));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// Waits for the next attempt and answers it.
    fn probe_next(&mut self, good: impl Fn(ProbeKind) -> ProbeOutcome) -> (u64, Vec<String>) {
        let actions = self.wait();
        let asked = words(&actions);
        let rest = self.answer(actions, good);
        assert!(rest.iter().all(|action| !matches!(action, Action::Probe { .. })), "{rest:?}");
        (self.now, asked)
    }

    fn is_ready(&self, pod: &str) -> bool {
        self.object(pod).status.conditions.iter().any(|c| c.condition_type == "Ready" && c.status == "True")
    }
}

#[test]
fn a_pod_without_probes_has_no_timer() {
    let bench = Bench::running(&[always("web")]);
    assert_eq!(bench.node.deadline(), None);
    assert!(bench.is_ready("web"));
}

#[test]
fn attempts_come_in_exact_periods_from_the_initial_delay_on() {
    for (delay, first) in [(0, 1_000), (1, 1_000), (7, 7_000)] {
        let mut bench = Bench::new();
        bench.now = 1_050;
        let actions = bench.desire(&[web(|c| {
            c.readiness_probe = Some(Probe { initial_delay_seconds: delay, period_seconds: 5, ..probe() });
        })]);
        bench.run(actions);
        // To the next tenth of a second.
        let first = 1_050 + 50 + first;
        for attempt in 0..4 {
            assert_eq!(bench.probe_next(|_| outcome(true)).0, first + attempt * 5_000, "delay {delay}");
        }
    }
}

#[test]
fn attempts_of_one_probe_never_overlap_and_are_not_made_up_for() {
    let mut bench = Bench::running(&[web(|c| c.readiness_probe = Some(probe()))]);
    let actions = bench.wait();
    assert_eq!(words(&actions), ["probe app readiness"]);
    assert_eq!(bench.node.deadline(), None, "nothing is due before the answer");
    bench.now += 35_000;
    assert_eq!(bench.answer(actions, |_| outcome(true)), []);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 100);
    let at = bench.probe_next(|_| outcome(true)).0;
    assert_eq!(bench.node.deadline().unwrap().0, at + 10_000);
}

#[test]
fn a_readiness_probe_decides_whether_the_pod_is_ready_and_never_ends_it() {
    let mut bench = Bench::running(&[web(|c| c.readiness_probe = Some(probe()))]);
    assert!(!bench.is_ready("web"), "before the first success");
    assert!(bench.status("web", "app").started);
    let message = |bench: &Bench| {
        let conditions = bench.object("web").status.conditions;
        conditions.into_iter().find(|c| c.condition_type == "Ready").unwrap().message
    };
    assert_eq!(message(&bench), "containers with unready status: [app]");
    bench.probe_next(|_| outcome(true));
    assert!(bench.is_ready("web") && bench.status("web", "app").ready);
    for failures in 1..6 {
        assert_eq!(bench.probe_next(|_| outcome(false)).1, ["probe app readiness"]);
        assert_eq!(bench.is_ready("web"), failures < 3, "after {failures} failures");
    }
    bench.probe_next(|_| outcome(true));
    assert!(bench.is_ready("web"));
    assert_eq!(bench.status("web", "app").restart_count, 0);
}

#[test]
fn thresholds_count_what_comes_in_a_row() {
    let mut bench = Bench::running(&[web(|c| {
        c.readiness_probe = Some(Probe { success_threshold: 2, failure_threshold: 2, ..probe() });
    })]);
    let ready: Vec<bool> = [true, false, true, true, false, true, false, false]
        .map(|good| {
            bench.probe_next(|_| outcome(good));
            bench.is_ready("web")
        })
        .into();
    assert_eq!(ready, [false, false, false, true, true, true, true, false]);
}

#[test]
fn every_failure_is_told_and_a_warning_counts_as_success() {
    let mut bench = Bench::running(&[web(|c| c.readiness_probe = Some(probe()))]);
    bench.probe_next(|_| outcome(false));
    bench.probe_next(|_| ProbeOutcome::Warning("moved".into()));
    assert!(bench.is_ready("web"));
    let told: Vec<_> = bench.recorded.iter().filter(|r| r.warning).map(|r| (&*r.reason, &*r.message)).collect();
    assert_eq!(
        told,
        [("Unhealthy", "Readiness probe failed: refused"), ("ProbeWarning", "Readiness probe warning: moved")]
    );
    assert_eq!(bench.recorded.last().unwrap().field_path, "spec.containers{app}");
}

#[test]
fn a_failing_liveness_probe_stops_the_container_and_it_starts_again_as_after_a_crash() {
    let mut bench = Bench::running(&[web(|c| c.liveness_probe = Some(probe()))]);
    assert!(bench.is_ready("web"));
    bench.probe_next(|_| outcome(false));
    bench.probe_next(|_| outcome(false));
    let actions = bench.wait();
    let actions = bench.answer(actions, |_| outcome(false));
    assert_eq!(words(&actions), ["signal 15"]);
    let killing = bench.recorded.iter().find(|r| r.reason == "Killing").unwrap();
    assert_eq!(killing.message, "Container app failed liveness probe, will be restarted");
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 30_000, "no further attempt, only the end of the grace");
    // It obeys, which is no success.
    let actions = bench.exit(bench.live("web", "app"), 0);
    assert!(words(&actions).contains(&"image app".to_owned()), "{actions:?}");
    bench.run(actions);
    assert_eq!(bench.status("web", "app").restart_count, 1);
    // Counted anew, and the next restart meets the backoff.
    for _ in 0..2 {
        bench.probe_next(|_| outcome(false));
    }
    let actions = bench.wait();
    bench.answer(actions, |_| outcome(false));
    bench.exit(bench.live("web", "app"), 137);
    assert_eq!(bench.status("web", "app").state.waiting.unwrap().reason, "CrashLoopBackOff");
}

#[test]
fn a_liveness_probe_that_recovers_in_time_costs_nothing() {
    let mut bench = Bench::running(&[web(|c| c.liveness_probe = Some(probe()))]);
    for good in [false, false, true, false, false, true] {
        assert_eq!(bench.probe_next(|_| outcome(good)).1, ["probe app liveness"]);
    }
    assert!(!bench.reasons().contains(&"Killing"));
}

#[test]
fn a_probes_own_grace_replaces_the_pods() {
    let mut bench = Bench::running(&[web(|c| {
        let own = Probe { failure_threshold: 1, termination_grace_period_seconds: Some(5), ..probe() };
        c.liveness_probe = Some(own);
    })]);
    bench.probe_next(|_| outcome(false));
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 5_000);
    assert_eq!(words(&bench.wait()), ["kill"]);
}

#[test]
fn what_a_probe_has_stopped_starts_again_unless_policy_is_never() {
    for (policy, again) in
        [(RestartPolicy::Always, true), (RestartPolicy::OnFailure, true), (RestartPolicy::Never, false)]
    {
        let desired = with(pod("web", policy, &[], &["app"]), |pod, _| {
            pod.spec.containers[0].liveness_probe = Some(Probe { failure_threshold: 1, ..probe() });
        });
        let mut bench = Bench::running(&[desired]);
        bench.probe_next(|_| outcome(false));
        let actions = bench.exit(bench.live("web", "app"), 0);
        assert_eq!(words(&actions).contains(&"image app".to_owned()), again, "{policy:?}");
        let killing = bench.recorded.iter().find(|r| r.reason == "Killing").unwrap();
        assert_eq!(killing.message.ends_with(", will be restarted"), again);
    }
}

#[test]
fn a_startup_probe_holds_the_others_back_until_it_succeeds_and_then_ends() {
    let mut bench = Bench::running(&[web(|c| {
        c.startup_probe = Some(Probe { period_seconds: 1, failure_threshold: 30, ..probe() });
        c.liveness_probe = Some(probe());
        c.readiness_probe = Some(probe());
    })]);
    for _ in 0..5 {
        assert_eq!(bench.probe_next(|_| outcome(false)).1, ["probe app startup"]);
        assert!(!bench.status("web", "app").started);
    }
    let actions = bench.wait();
    let actions = bench.answer(actions, |_| outcome(true));
    let started = bench.now;
    assert_eq!(words(&actions), ["probe app readiness"], "at once");
    assert!(bench.status("web", "app").started && !bench.status("web", "app").ready);
    bench.answer(actions, |_| outcome(true));
    assert!(bench.is_ready("web"));
    let next = bench.probe_next(|_| outcome(true));
    assert_eq!(
        (next.0 - started, next.1),
        (10_000, vec!["probe app liveness".to_owned(), "probe app readiness".to_owned()])
    );
}

#[test]
fn a_startup_probe_that_fails_restarts_the_container_with_words_of_its_own() {
    let mut bench = Bench::running(&[web(|c| c.startup_probe = Some(Probe { failure_threshold: 2, ..probe() }))]);
    assert!(!bench.is_ready("web"));
    bench.probe_next(|_| outcome(false));
    bench.probe_next(|_| outcome(false));
    let killing = bench.recorded.iter().find(|r| r.reason == "Killing").unwrap();
    assert_eq!(killing.message, "Container app failed startup probe, will be restarted");
}

#[test]
fn an_attempt_that_cannot_be_made_is_tried_three_times_and_counts_for_nothing() {
    let mut bench = Bench::running(&[web(|c| c.liveness_probe = Some(Probe { failure_threshold: 1, ..probe() }))]);
    for _ in 0..4 {
        let mut actions = bench.wait();
        let began = bench.now;
        for _ in 0..3 {
            assert_eq!(words(&actions), ["probe app liveness"]);
            actions = bench.answer(actions, |_| ProbeOutcome::Error("port db not found".into()));
        }
        assert_eq!(actions, []);
        assert_eq!(bench.node.deadline().unwrap().0, began + 10_000);
    }
    let told: Vec<_> = bench.recorded.iter().filter(|r| r.warning).map(|r| r.message.as_str()).collect();
    assert_eq!(told, ["Liveness probe errored and resulted in unknown state: port db not found"; 4]);
}

#[test]
fn an_answer_that_came_too_late_to_be_seen_counts_for_nothing() {
    let mut bench = Bench::running(&[web(|c| c.liveness_probe = Some(Probe { failure_threshold: 1, ..probe() }))]);
    for _ in 0..4 {
        assert_eq!(bench.probe_next(|_| ProbeOutcome::Lost).1, ["probe app liveness"]);
    }
    assert!(bench.recorded.iter().all(|r| !r.warning));
}

#[test]
fn a_late_answer_about_an_ended_instance_changes_nothing() {
    let mut bench = Bench::running(&[web(|c| c.liveness_probe = Some(Probe { failure_threshold: 1, ..probe() }))]);
    let asked = bench.wait();
    let actions = bench.exit(bench.live("web", "app"), 1);
    bench.run(actions);
    let second = bench.live("web", "app");
    bench.answer(asked, |_| outcome(false));
    assert_eq!((bench.live("web", "app"), bench.status("web", "app").restart_count), (second, 1));
    assert!(!bench.reasons().contains(&"Unhealthy"));
}

#[test]
fn while_a_pod_stops_only_readiness_is_probed() {
    let mut bench = Bench::running(&[web(|c| {
        c.liveness_probe = Some(probe());
        c.readiness_probe = Some(probe());
    })]);
    bench.probe_next(|_| outcome(true));
    assert_eq!(words(&bench.desire(&[])), ["signal 15"]);
    assert!(!bench.is_ready("web"));
    assert_eq!(bench.probe_next(|_| outcome(true)).1, ["probe app readiness"]);
    let actions = bench.exit(bench.live("web", "app"), 143);
    bench.run(actions);
    assert_eq!(bench.node.deadline(), None);
}

#[test]
fn a_pod_that_waits_for_another_starts_when_that_is_ready_by_its_probe() {
    let waits = with(always("app"), |_, policy| {
        policy.start_after = vec![crate::pod::event::Condition::Pod("web".into())];
    });
    let mut bench = Bench::running(&[web(|c| c.readiness_probe = Some(probe())), waits]);
    assert!(bench.try_live("app", "app").is_none());
    let asked = bench.wait();
    assert_eq!(words(&bench.answer(asked, |_| outcome(true))), ["prepare app-uid-1"]);
}

#[test]
fn a_new_supervisor_keeps_what_was_known_and_spreads_the_first_attempts_over_a_period() {
    let mut bench = Bench::running(&[web(|c| {
        c.startup_probe = Some(probe());
        c.readiness_probe = Some(probe());
        c.liveness_probe = Some(Probe { failure_threshold: 1, ..probe() });
    })]);
    let asked = bench.wait();
    let asked = bench.answer(asked, |_| outcome(true));
    bench.answer(asked, |_| outcome(true));
    assert!(bench.is_ready("web"));
    bench.now += 60_000;
    let live = bench.live("web", "app");
    assert_eq!(bench.restore([(live, Found::Running { pid: 1 })].into(), false), []);
    assert!(bench.is_ready("web") && bench.status("web", "app").started);
    let restored = bench.now;
    let first = bench.node.deadline().unwrap().0;
    assert!((restored..restored + 10_100).contains(&first), "{first}");
    assert_eq!(bench.probe_next(|_| outcome(false)).1, ["probe app liveness", "probe app readiness"]);
    assert!(bench.is_ready("web") || bench.reasons().contains(&"Killing"));
    // What must end is still known to the next one.
    let live = bench.live("web", "app");
    assert_eq!(words(&bench.restore([(live, Found::Running { pid: 1 })].into(), false)), ["signal 15"]);
}

#[test]
fn a_container_saved_before_there_were_probes_is_as_ready_as_it_was() {
    let mut bench = Bench::running(&[always("web")]);
    let live = bench.live("web", "app");
    bench.node.pods.values_mut().for_each(|pod| pod.containers[0].health = Health::default());
    bench.restore([(live, Found::Running { pid: 1 })].into(), false);
    assert!(bench.is_ready("web") && bench.status("web", "app").started);
}

#[test]
fn a_quarantined_pod_is_not_probed() {
    let mut bench = Bench::running(&[web(|c| c.liveness_probe = Some(probe()))]);
    let live = bench.live("web", "app");
    bench.restore_without([("web-uid-1".into(), "x".into())].into(), [(live, Found::Running { pid: 1 })].into(), false);
    assert_eq!(bench.node.deadline(), None);
}
