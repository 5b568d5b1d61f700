//! Pods to run: a few names, each in several versions.

use std::rc::Rc;

use gatepost::manifest::v1::{
    Container, Lifecycle, LifecycleHandler, ObjectMeta, Pod, PodSpec, Probe, RestartPolicy, SleepAction,
};
use gatepost::pod::BackoffRule;
use gatepost::pod::event::{BackoffOverride, Condition, DesiredPod, PodPolicy};

use super::random::Random;

pub const NAMES: [&str; 4] = ["web-n", "db-n", "job-n", "sensor-n"];
pub const VERSIONS: u64 = 2;

/// All versions of all pods of one run.
pub fn library(random: &mut Random) -> Vec<Vec<DesiredPod>> {
    NAMES.iter().map(|name| (0..VERSIONS).map(|version| pod(name, version, random)).collect()).collect()
}

fn pod(name: &str, version: u64, random: &mut Random) -> DesiredPod {
    let container = |name: String| Container { image: format!("image-{name}"), name, ..Container::default() };
    let mut init_containers: Vec<Container> = (0..random.below(3)).map(|n| container(format!("init{n}"))).collect();
    if random.percent(40) {
        for n in 0..=random.below(2) {
            let side = Container { restart_policy: Some(RestartPolicy::Always), ..container(format!("side{n}")) };
            let at = usize::try_from(random.below(init_containers.len() as u64 + 1)).unwrap();
            init_containers.insert(at, side);
        }
    }
    let mut containers: Vec<Container> = (0..=random.below(2)).map(|n| container(format!("app{n}"))).collect();
    for lasting in init_containers.iter_mut().filter(|c| c.restart_policy.is_some()).chain(&mut containers) {
        look_after(lasting, random);
    }
    let names = init_containers.iter().chain(&containers).map(|c| c.name.clone()).collect::<Vec<_>>();
    let restart_policy =
        *random.pick(&[RestartPolicy::Always, RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
    let spec = PodSpec {
        init_containers,
        containers,
        restart_policy,
        termination_grace_period_seconds: *random.pick(&[-1, 0, 1, 5, 30]),
        priority: *random.pick(&[0, 0, 0, 100, -5]),
        ..PodSpec::default()
    };
    let mut start_after = Vec::new();
    for _ in 0..random.below(3) {
        start_after.push(match random.below(4) {
            0 => Condition::Clock,
            1 => Condition::Path("/dev/x".to_owned()),
            _ => Condition::Pod(random.pick(&["web", "db", "job-n", "default/sensor", "nobody"]).to_string()),
        });
    }
    let timeout = if start_after.iter().any(|c| *c == Condition::Pod("nobody".into())) { 60_000 } else { 300_000 };
    DesiredPod {
        pod: Rc::new(Pod {
            metadata: ObjectMeta {
                name: name.to_owned(),
                namespace: "default".to_owned(),
                uid: format!("{name}-{version}-{}", "0".repeat(8)),
                ..ObjectMeta::default()
            },
            spec,
        }),
        policy: PodPolicy {
            backoff: backoff(random),
            container_backoff: names.into_iter().map(|name| (name, backoff(random))).collect(),
            start_after,
            start_after_timeout_ms: timeout,
        },
        qos_class: "BestEffort".to_owned(),
        manifest_error: None,
    }
}

/// Kubelet's in most worlds.
pub fn node_backoff(random: &mut Random) -> BackoffRule {
    let others = [(1, 1), (500, 60_000), (7_000, 7_000), (30_000, 900_000)];
    let (initial_ms, max_ms) = if random.percent(60) { (10_000, 300_000) } else { *random.pick(&others) };
    BackoffRule { initial_ms, max_ms }
}

/// What annotations say of it: mostly nothing. A first wait is never longer than the longest of the same scope.
fn backoff(random: &mut Random) -> BackoffOverride {
    let (initial_ms, max_ms) = match random.below(10) {
        0 => (Some(*random.pick(&[1, 700, 60_000, 600_000])), None),
        1 => (None, Some(*random.pick(&[1, 3_000, 45_000, 900_000]))),
        2 => *random.pick(&[(Some(1), Some(1)), (Some(300), Some(1_000)), (Some(90_000), Some(600_000))]),
        _ => (None, None),
    };
    BackoffOverride { initial_ms, max_ms }
}

/// Gives a container probes and hooks, or none.
fn look_after(container: &mut Container, random: &mut Random) {
    let probe = |random: &mut Random| Probe {
        initial_delay_seconds: *random.pick(&[0, 0, 5]),
        period_seconds: *random.pick(&[10, 20, 60]),
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: *random.pick(&[1, 3]),
        termination_grace_period_seconds: *random.pick(&[None, Some(1), Some(40)]),
        ..Probe::default()
    };
    for place in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        if random.percent(20) {
            *place = Some(probe(random));
        }
    }
    let handler = |random: &mut Random| {
        let sleep = random.percent(40).then(|| SleepAction { seconds: i64::try_from(random.below(40)).unwrap() });
        random.percent(20).then(|| LifecycleHandler { sleep, ..LifecycleHandler::default() })
    };
    let (post_start, pre_stop) = (handler(random), handler(random));
    if post_start.is_some() || pre_stop.is_some() {
        container.lifecycle = Some(Lifecycle { post_start, pre_stop, stop_signal: None });
    }
}
