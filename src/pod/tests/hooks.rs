//! Hooks and stop signals.

use super::bench::*;
use crate::manifest::v1::{ExecAction, Lifecycle, LifecycleHandler, RestartPolicy, SleepAction};
use crate::pod::event::{Action, DesiredPod, Event, Found, HookKind, Seq};

fn exec() -> LifecycleHandler {
    LifecycleHandler { exec: Some(ExecAction { command: vec!["x".into()] }), ..Default::default() }
}

fn pause(seconds: i64) -> LifecycleHandler {
    LifecycleHandler { sleep: Some(SleepAction { seconds }), ..Default::default() }
}

fn hooked(post_start: Option<LifecycleHandler>, pre_stop: Option<LifecycleHandler>) -> DesiredPod {
    with(pod("web", RestartPolicy::Always, &[], &["app", "next"]), |pod, _| {
        pod.spec.containers[0].lifecycle = Some(Lifecycle { post_start, pre_stop, stop_signal: None });
    })
}

fn ended(seq: Seq, kind: HookKind, ok: bool) -> Event {
    Event::HookEnded { seq, kind, ok }
}

fn waits(bench: &Bench, container: &str) -> String {
    bench.status("web", container).state.waiting.map(|w| w.reason).unwrap_or_default()
}

#[test]
fn a_post_start_hook_holds_back_the_next_container_and_readiness_until_it_is_done() {
    let (mut bench, actions) = Bench::with(&[hooked(Some(exec()), None)]);
    let all = words(&bench.run(actions));
    assert_eq!(all, ["prepare web-uid-1", "image app", "start app 0", "post-start app"]);
    assert_eq!((waits(&bench, "app").as_str(), bench.phase("web").as_str()), ("ContainerCreating", "Pending"));
    assert_eq!(bench.node.deadline(), None, "it may take as long as it likes");
    let actions = bench.tell(ended(bench.live("web", "app"), HookKind::PostStart, true));
    assert_eq!(words(&bench.run(actions)), ["image next", "start next 0"]);
    assert!(bench.status("web", "app").ready && bench.status("web", "next").ready);
    assert_eq!(bench.phase("web"), "Running");
}

#[test]
fn a_post_start_pause_is_kept_by_the_core_itself() {
    let (mut bench, actions) = Bench::with(&[hooked(Some(pause(7)), None)]);
    bench.run(actions);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 7_000);
    let live = bench.live("web", "app");
    bench.now += 1_000;
    bench.restore([(live, Found::Running { pid: 1 })].into(), false);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 6_000);
    assert_eq!(words(&bench.wait()), ["image next"]);
}

#[test]
fn a_post_start_hook_that_fails_ends_the_container_and_policy_decides() {
    let (mut bench, actions) = Bench::with(&[hooked(Some(exec()), None)]);
    bench.run(actions);
    let live = bench.live("web", "app");
    assert_eq!(words(&bench.tell(ended(live, HookKind::PostStart, false))), ["signal 15"]);
    assert_eq!(waits(&bench, "app"), "PostStartHookError");
    assert!(bench.reasons().contains(&"FailedPostStartHook"));
    let actions = bench.exit(live, 143);
    assert!(words(&bench.run(actions)).contains(&"post-start app".to_owned()), "again for the next instance");
    assert_eq!(bench.status("web", "app").restart_count, 1);
}

#[test]
fn a_new_supervisor_never_runs_a_post_start_hook_a_second_time() {
    let (mut bench, actions) = Bench::with(&[hooked(Some(exec()), None)]);
    bench.run(actions);
    let live = bench.live("web", "app");
    let actions = bench.restore([(live, Found::Running { pid: 1 })].into(), false);
    assert_eq!(words(&actions), ["image next"], "what was cut off is taken as done");
    assert!(bench.reasons().contains(&"FailedPostStartHook"));
    assert_eq!(bench.tell(ended(live, HookKind::PostStart, false)), [], "nobody waits for it any more");
}

#[test]
fn a_pre_stop_hook_comes_before_the_signal_and_its_time_is_taken_from_the_grace() {
    let mut bench = Bench::running(&[hooked(None, Some(exec()))]);
    let (live, began) = (bench.live("web", "app"), bench.now);
    let actions = bench.desire(&[]);
    let bound = actions.iter().find_map(|a| match a {
        Action::Hook { bound_ms, .. } => *bound_ms,
        _ => None,
    });
    assert_eq!((words(&actions), bound), (vec!["pre-stop app".to_owned(), "signal 15".to_owned()], Some(30_000)));
    bench.now += 12_000;
    assert_eq!(words(&bench.tell(ended(live, HookKind::PreStop, true))), ["signal 15"]);
    let actions = bench.exit(bench.live("web", "next"), 0);
    bench.run(actions);
    assert_eq!(bench.node.deadline().unwrap().0, began + 30_000);
    assert!(!bench.reasons().contains(&"FailedPreStopHook"));
}

#[test]
fn a_pre_stop_hook_that_takes_all_the_grace_leaves_two_seconds() {
    for hook in [exec(), pause(30)] {
        let mut bench = Bench::running(&[hooked(None, Some(hook))]);
        let live = bench.live("web", "next");
        bench.desire(&[]);
        let actions = bench.exit(live, 0);
        bench.run(actions);
        let began = bench.now;
        assert_eq!(words(&bench.wait()), ["signal 15"]);
        assert_eq!(bench.now, began + 30_000);
        assert_eq!(words(&bench.wait()), ["kill"]);
        assert_eq!(bench.now, began + 32_000);
    }
}

#[test]
fn a_pre_stop_hook_that_fails_is_told_and_the_stop_goes_on() {
    let mut bench = Bench::running(&[hooked(None, Some(exec()))]);
    bench.desire(&[]);
    let live = bench.live("web", "app");
    assert_eq!(words(&bench.tell(ended(live, HookKind::PreStop, false))), ["signal 15"]);
    let told = bench.recorded.iter().find(|r| r.reason == "FailedPreStopHook").unwrap();
    assert_eq!(told.message, "PreStopHook failed");
}

#[test]
fn without_grace_there_is_no_pre_stop_hook() {
    let mut bench = Bench::running(&[hooked(None, Some(exec()))]);
    let delete = Event::Delete { pod: "web-uid-1".into(), grace: Some(0) };
    assert_eq!(words(&bench.tell(delete)), ["signal 15", "signal 15"]);
    assert_eq!(bench.node.deadline().unwrap().0, bench.now + 2_000);
}

#[test]
fn what_has_had_its_signal_gets_no_pre_stop_hook_from_a_new_supervisor() {
    let desired = with(hooked(None, Some(exec())), |pod, _| pod.spec.termination_grace_period_seconds = 0);
    let mut bench = Bench::running(&[desired]);
    assert_eq!(words(&bench.desire(&[])), ["signal 15", "signal 15"], "there is no time for it");
    assert_eq!(bench.tell(Event::Delete { pod: "web-uid-1".into(), grace: Some(3) }), []);
    let found = ["app", "next"].map(|name| (bench.live("web", name), Found::Running { pid: 1 })).into();
    assert_eq!(words(&bench.restore(found, false)), ["signal 15", "signal 15"]);
}

#[test]
fn a_shorter_grace_shortens_a_pre_stop_hook_under_way() {
    let mut bench = Bench::running(&[hooked(None, Some(exec()))]);
    bench.desire(&[]);
    let began = bench.now;
    bench.tell(Event::Delete { pod: "web-uid-1".into(), grace: Some(5) });
    assert_eq!(bench.node.deadline().unwrap().0, began + 5_000);
    assert_eq!(words(&bench.wait()), ["kill", "signal 15"].map(String::from).into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn a_new_supervisor_goes_on_where_a_pre_stop_hook_was_cut_off() {
    let mut bench = Bench::running(&[hooked(None, Some(exec()))]);
    bench.desire(&[]);
    let began = bench.now;
    bench.now += 4_000;
    let found = ["app", "next"].map(|name| (bench.live("web", name), Found::Running { pid: 1 })).into();
    assert_eq!(words(&bench.restore(found, false)), ["signal 15", "signal 15"]);
    assert_eq!(bench.node.deadline().unwrap().0, began + 30_000);
}

#[test]
fn a_restart_by_a_person_runs_the_pre_stop_hook_too() {
    let mut bench = Bench::running(&[hooked(None, Some(exec()))]);
    let restart = Event::Restart { pod: "web-uid-1".into(), container: Some("app".into()) };
    assert_eq!(words(&bench.tell(restart)), ["pre-stop app"]);
    assert_eq!(words(&bench.tell(ended(bench.live("web", "app"), HookKind::PreStop, true))), ["signal 15"]);
}

#[test]
fn the_manifests_stop_signal_comes_before_the_images() {
    let desired = with(always("web"), |pod, _| {
        let lifecycle = Lifecycle { stop_signal: Some("SIGUSR1".into()), ..Lifecycle::default() };
        pod.spec.containers[0].lifecycle = Some(lifecycle);
    });
    let mut bench = Bench::running(&[desired]);
    assert_eq!(words(&bench.desire(&[])), ["signal 10"]);
}
