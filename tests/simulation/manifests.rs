//! Pods to run: a few names, each in several versions.

use std::rc::Rc;

use gatepost::manifest::v1::{Container, ObjectMeta, Pod, PodSpec, RestartPolicy};
use gatepost::pod::event::{Condition, DesiredPod, PodPolicy};

use super::random::Random;

pub const NAMES: [&str; 4] = ["web-n", "db-n", "job-n", "sensor-n"];
pub const VERSIONS: u64 = 2;

/// All versions of all pods of one run.
pub fn library(random: &mut Random) -> Vec<Vec<DesiredPod>> {
    NAMES.iter().map(|name| (0..VERSIONS).map(|version| pod(name, version, random)).collect()).collect()
}

fn pod(name: &str, version: u64, random: &mut Random) -> DesiredPod {
    let container = |name: String| Container { image: format!("image-{name}"), name, ..Container::default() };
    let inits = random.below(3);
    let apps = 1 + random.below(2);
    let restart_policy =
        *random.pick(&[RestartPolicy::Always, RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
    let spec = PodSpec {
        init_containers: (0..inits).map(|n| container(format!("init{n}"))).collect(),
        containers: (0..apps).map(|n| container(format!("app{n}"))).collect(),
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
        policy: PodPolicy { start_after, start_after_timeout_ms: timeout, ..PodPolicy::default() },
        qos_class: "BestEffort".to_owned(),
        manifest_error: None,
    }
}
