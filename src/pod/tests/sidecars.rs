//! Restartable init containers, restart rules of containers, and the pod's own deadline.

use super::bench::*;
use crate::manifest::v1::{
    ContainerRestartRule, ContainerRestartRuleOnExitCodes, ExecAction, Lifecycle, LifecycleHandler, Probe,
    RestartPolicy,
};
use crate::pod::event::{Action, DesiredPod, Event, Found};
use crate::pod::probe::{ProbeKind, ProbeOutcome};

/// Two sidecars around an ordinary init container.
fn with_sidecars(policy: RestartPolicy) -> DesiredPod {
    with(pod("web", policy, &["proxy", "setup", "log"], &["app"]), |pod, _| {
        for n in [0, 2] {
            pod.spec.init_containers[n].restart_policy = Some(RestartPolicy::Always);
        }
    })
}

fn end(bench: &mut Bench, container: &str, code: i32) -> Vec<String> {
    let actions = bench.exit(bench.live("web", container), code);
    words(&bench.run(actions))
}

#[test]
fn a_sidecar_runs_on_while_what_comes_after_it_starts() {
    let (mut bench, actions) = Bench::with(&[with_sidecars(RestartPolicy::Always)]);
    assert_eq!(
        words(&bench.run(actions)),
        ["prepare web-uid-1", "image proxy", "start proxy 0", "image setup", "start setup 0"]
    );
    assert_eq!(bench.phase("web"), "Pending");
    assert_eq!(end(&mut bench, "setup", 0), ["image log", "start log 0", "image app", "start app 0", "remove"]);
    assert_eq!(bench.phase("web"), "Running");
    assert!(bench.status("web", "proxy").ready && bench.status("web", "log").ready);
}

#[test]
fn a_sidecar_with_a_startup_probe_holds_back_what_comes_after_it_until_that_succeeds() {
    let desired = with(with_sidecars(RestartPolicy::Always), |pod, _| {
        pod.spec.init_containers[0].startup_probe = Some(Probe::default());
    });
    let (mut bench, actions) = Bench::with(&[desired]);
    assert_eq!(words(&bench.run(actions)), ["prepare web-uid-1", "image proxy", "start proxy 0"]);
    let asked = bench.wait();
    assert_eq!(words(&asked), ["probe proxy startup"]);
    let told = Event::Probed {
        pod: "web-uid-1".into(),
        seq: bench.live("web", "proxy"),
        kind: ProbeKind::Startup,
        outcome: ProbeOutcome::Success,
    };
    assert_eq!(words(&bench.tell(told)), ["image setup"]);
}

#[test]
fn a_sidecar_restarts_by_itself_with_backoff_and_the_app_runs_on() {
    for policy in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
        let mut bench = Bench::running(&[with_sidecars(policy)]);
        end(&mut bench, "setup", 0);
        let app = bench.live("web", "app");
        assert_eq!(end(&mut bench, "proxy", 0), ["image proxy", "start proxy 1", "remove"], "{policy:?}");
        end(&mut bench, "proxy", 1);
        assert_eq!(bench.status("web", "proxy").state.waiting.unwrap().reason, "CrashLoopBackOff");
        assert_eq!(bench.live("web", "app"), app);
        let initialized = bench
            .object("web")
            .status
            .conditions
            .into_iter()
            .any(|c| c.condition_type == "Initialized" && c.status == "True");
        assert!(initialized, "it stays so");
        // While it waits, the app may restart.
        if policy == RestartPolicy::Always {
            assert_eq!(end(&mut bench, "app", 1), ["image app", "start app 1", "remove"]);
        }
    }
}

#[test]
fn a_sidecar_stops_after_the_app_and_in_reverse_order() {
    let mut bench = Bench::running(&[with_sidecars(RestartPolicy::Always)]);
    end(&mut bench, "setup", 0);
    assert_eq!(words(&bench.desire(&[])), ["signal 15"]);
    assert_eq!(end(&mut bench, "app", 143), ["signal 15", "remove"]);
    assert!(bench.try_live("web", "proxy").is_some());
    assert_eq!(end(&mut bench, "log", 143), ["signal 15", "remove"]);
    assert_eq!(end(&mut bench, "proxy", 143), ["remove", "discard web-uid-1"]);
}

#[test]
fn when_the_grace_is_used_up_the_sidecars_are_told_too_and_get_two_seconds() {
    let mut bench = Bench::running(&[with_sidecars(RestartPolicy::Always)]);
    end(&mut bench, "setup", 0);
    bench.desire(&[]);
    let began = bench.now;
    assert_eq!(words(&bench.wait()), ["signal 15", "signal 15", "kill"]);
    assert_eq!(bench.now, began + 30_000);
    assert_eq!(words(&bench.wait()), ["kill", "kill"]);
    assert_eq!(bench.now, began + 32_000);
}

#[test]
fn a_sidecars_pre_stop_hook_begins_at_once_and_its_signal_waits_for_its_turn() {
    let desired = with(with_sidecars(RestartPolicy::Always), |pod, _| {
        let exec = LifecycleHandler { exec: Some(ExecAction::default()), ..Default::default() };
        pod.spec.init_containers[2].lifecycle = Some(Lifecycle { pre_stop: Some(exec), ..Lifecycle::default() });
    });
    let mut bench = Bench::running(&[desired]);
    end(&mut bench, "setup", 0);
    assert_eq!(words(&bench.desire(&[])), ["pre-stop log", "signal 15"]);
    let seq = bench.live("web", "log");
    assert_eq!(bench.tell(Event::HookEnded { seq, kind: crate::pod::event::HookKind::PreStop, ok: true }), []);
    assert_eq!(end(&mut bench, "app", 143), ["signal 15", "remove"]);
}

#[test]
fn a_pod_whose_apps_are_done_ends_its_sidecars_and_their_ends_do_not_count() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let mut bench = Bench::running(&[with_sidecars(RestartPolicy::Never)]);
        end(&mut bench, "setup", 0);
        assert_eq!(end(&mut bench, "app", code), ["signal 15", "remove"]);
        end(&mut bench, "log", 137);
        assert_eq!(end(&mut bench, "proxy", 1), ["remove", "teardown web-uid-1"]);
        let status = bench.object("web").status;
        assert_eq!(status.phase, phase);
        assert!(status.init_container_statuses.iter().all(|c| c.state.terminated.is_some()), "{status:#?}");
    }
}

#[test]
fn a_supervisor_restart_leaves_sidecars_and_the_order_as_they_are() {
    let mut bench = Bench::running(&[with_sidecars(RestartPolicy::Always)]);
    end(&mut bench, "setup", 0);
    let found = |bench: &Bench| ["proxy", "log", "app"].map(|n| (bench.live("web", n), Found::Running { pid: 1 }));
    assert_eq!(bench.restore(found(&bench).into(), false), []);
    assert_eq!(words(&bench.desire(&[])), ["signal 15"]);
    assert_eq!(bench.restore(found(&bench).into(), false).len(), 1, "the app again, and it alone");
}

#[test]
fn a_containers_own_policy_replaces_the_pods() {
    let own = |policy: RestartPolicy, own: RestartPolicy| {
        with(pod("web", policy, &[], &["app", "other"]), |pod, _| pod.spec.containers[0].restart_policy = Some(own))
    };
    for (desired, code, again) in [
        (own(RestartPolicy::Never, RestartPolicy::Always), 0, true),
        (own(RestartPolicy::Never, RestartPolicy::OnFailure), 0, false),
        (own(RestartPolicy::Never, RestartPolicy::OnFailure), 1, true),
        (own(RestartPolicy::Always, RestartPolicy::Never), 1, false),
    ] {
        let mut bench = Bench::running(&[desired]);
        assert_eq!(end(&mut bench, "app", code).contains(&"image app".to_owned()), again);
    }
}

#[test]
fn a_container_with_policy_never_runs_once_across_boots_in_a_pod_that_runs_again() {
    let desired = with(pod("web", RestartPolicy::Always, &[], &["once", "app"]), |pod, _| {
        pod.spec.containers[0].restart_policy = Some(RestartPolicy::Never);
    });
    let mut bench = Bench::running(std::slice::from_ref(&desired));
    assert!(bench.node.durable_snapshot().pods["web-uid-1"].marks.contains("once"));
    bench.restore(crate::sorted::BTreeMap::new(), true);
    let actions = bench.desire(&[desired]);
    let asked = words(&bench.run(actions));
    assert!(asked.contains(&"start app 1".to_owned()) && !asked.iter().any(|word| word.contains("once")), "{asked:?}");
}

fn ruled(policy: RestartPolicy, operator: &str, values: &[i32], action: &str) -> DesiredPod {
    with(pod("web", RestartPolicy::Never, &["setup"], &["app", "other"]), |pod, _| {
        let exit_codes = ContainerRestartRuleOnExitCodes { operator: operator.into(), values: values.into() };
        let rule = ContainerRestartRule { action: action.into(), exit_codes: Some(exit_codes) };
        pod.spec.containers[0].restart_policy = Some(policy);
        pod.spec.containers[0].restart_policy_rules = vec![rule];
    })
}

#[test]
fn a_rule_for_the_exit_code_comes_before_the_policy() {
    for (policy, operator, code, again) in [
        (RestartPolicy::Never, "In", 42, true),
        (RestartPolicy::Never, "In", 1, false),
        (RestartPolicy::Never, "NotIn", 1, true),
        (RestartPolicy::Never, "NotIn", 42, false),
        (RestartPolicy::OnFailure, "In", 1, true),
    ] {
        let mut bench = Bench::running(&[ruled(policy, operator, &[42], "Restart")]);
        end(&mut bench, "setup", 0);
        assert_eq!(
            end(&mut bench, "app", code).contains(&"image app".to_owned()),
            again,
            "{policy:?} {operator} {code}"
        );
    }
}

#[test]
fn a_rule_can_restart_all_containers_in_the_same_sandbox_without_backoff() {
    let mut bench = Bench::running(&[ruled(RestartPolicy::Never, "In", &[88], "RestartAllContainers")]);
    end(&mut bench, "setup", 0);
    let restarting = |bench: &Bench| {
        let conditions = bench.object("web").status.conditions;
        let [.., scheduled, last] = conditions.as_slice() else { panic!("{conditions:?}") };
        assert_eq!([&*scheduled.condition_type, &*last.condition_type], ["PodScheduled", "AllContainersRestarting"]);
        format!("{} {} {}", last.status, last.reason, last.message)
    };
    for round in 1..4 {
        assert_eq!(restarting(&bench), "False  ");
        let other = bench.live("web", "other");
        assert_eq!(end(&mut bench, "app", 88), ["remove", "signal 15"], "round {round}");
        assert_eq!(bench.status("web", "app").state.waiting.unwrap_or_default().reason, "RestartingAllContainers");
        assert_eq!(bench.node.deadline().unwrap().0, bench.now + 2_000);
        assert_eq!(restarting(&bench), "True RestartAllContainersStarted container exited with restart policy rule");
        let actions = bench.exit(other, 143);
        let asked = words(&bench.run(actions));
        assert_eq!(
            asked[..4],
            ["remove".to_owned(), "image setup".into(), format!("start setup {round}"), "mark setup".into()]
        );
        end(&mut bench, "setup", 0);
        assert_eq!(bench.status("web", "app").restart_count, round);
        assert!(bench.try_live("web", "other").is_some());
    }
    assert!(bench.object("web").metadata.deletion_timestamp.is_none());
    end(&mut bench, "app", 0);
    end(&mut bench, "other", 0);
    assert_eq!(restarting(&bench), "False PodCompleted ");
}

#[test]
fn only_a_pod_with_such_a_rule_says_whether_all_of_it_restarts() {
    let mut bench = Bench::running(&[ruled(RestartPolicy::Never, "In", &[88], "Restart")]);
    end(&mut bench, "setup", 0);
    end(&mut bench, "app", 88);
    let conditions = bench.object("web").status.conditions;
    assert!(conditions.iter().all(|c| c.condition_type != "AllContainersRestarting"), "{conditions:?}");
}

#[test]
fn a_pod_that_is_active_for_too_long_fails() {
    let desired = with(with_sidecars(RestartPolicy::Always), |pod, _| pod.spec.active_deadline_seconds = Some(60));
    let mut bench = Bench::running(&[desired]);
    let began = bench.now;
    end(&mut bench, "setup", 0);
    bench.now += 20_000;
    let found = ["proxy", "log", "app"].map(|n| (bench.live("web", n), Found::Running { pid: 1 })).into();
    bench.restore(found, false);
    assert_eq!(words(&bench.wait()), ["signal 15"]);
    assert_eq!(bench.now, began + 60_000, "across supervisors too");
    let status = bench.object("web").status;
    assert_eq!((status.phase.as_str(), status.reason.as_str()), ("Failed", "DeadlineExceeded"));
    assert_eq!(status.message, "Pod was active on the node longer than the specified deadline");
    assert!(status.conditions.iter().all(|c| c.condition_type != "Ready" || c.status == "False"));
    for container in ["app", "log", "proxy"] {
        end(&mut bench, container, 143);
    }
    let status = bench.object("web").status;
    assert_eq!((status.phase.as_str(), status.container_statuses[0].state.terminated.is_some()), ("Failed", true));
    assert_eq!(bench.node.deadline(), None);
    assert_eq!(bench.tell(Event::Tick), [] as [Action; 0], "for good");
}

#[test]
fn the_deadline_also_ends_a_pod_that_has_not_come_to_run() {
    let desired = with(always("web"), |pod, policy| {
        pod.spec.active_deadline_seconds = Some(5);
        policy.start_after = vec![crate::pod::event::Condition::Clock];
    });
    let (mut bench, actions) = Bench::with(&[desired]);
    assert_eq!(actions, []);
    let actions = bench.wait();
    assert_eq!(words(&bench.run(actions)), ["teardown web-uid-1"]);
    assert_eq!(bench.object("web").status.reason, "DeadlineExceeded");
}
