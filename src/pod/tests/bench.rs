//! [`Bench`]: the core on the test bench: tell it something, move the clock, see what it asks for.

use std::rc::Rc;

use crate::manifest::v1::{Container, ObjectMeta, Pod, PodSpec, RestartPolicy};
use crate::pod::event::{
    Action, ContainerRef, DesiredPod, Event, Exit, Failure, Found, HookKind, PodPolicy, Recorded, Seq, Uid,
};
use crate::pod::status::{ContainerStatus, PodObject};
use crate::pod::time::{Instant, Now, Wall};
use crate::pod::{DurableState, Node, Past, Settings};
use crate::sorted::BTreeMap;

/// 2026-01-02T03:04:05Z, the wall clock at boottime 0.
const WALL: i64 = 1_767_323_045_000;

pub(super) struct Bench {
    pub(super) node: Node,
    pub(super) now: u64,
    pub(super) recorded: Vec<Recorded>,
}

pub(super) fn pod(name: &str, policy: RestartPolicy, inits: &[&str], apps: &[&str]) -> DesiredPod {
    let containers = |names: &[&str]| {
        let container =
            |name: &&str| Container { name: (*name).into(), image: format!("{name}:1"), ..Container::default() };
        names.iter().map(container).collect::<Vec<_>>()
    };
    let metadata = ObjectMeta {
        name: format!("{name}-n"),
        namespace: "default".into(),
        uid: format!("{name}-uid-1"),
        ..ObjectMeta::default()
    };
    let spec = PodSpec {
        init_containers: containers(inits),
        containers: containers(apps),
        restart_policy: policy,
        termination_grace_period_seconds: 30,
        ..PodSpec::default()
    };
    DesiredPod {
        pod: Rc::new(Pod { metadata, spec }),
        policy: PodPolicy { start_after_timeout_ms: 300_000, ..PodPolicy::default() },
        qos_class: "BestEffort".into(),
        manifest_error: None,
    }
}

pub(super) fn always(name: &str) -> DesiredPod {
    pod(name, RestartPolicy::Always, &[], &["app"])
}

/// The same pod with something of it changed.
pub(super) fn with(mut desired: DesiredPod, change: impl FnOnce(&mut Pod, &mut PodPolicy)) -> DesiredPod {
    let mut pod = (*desired.pod).clone();
    change(&mut pod, &mut desired.policy);
    desired.pod = Rc::new(pod);
    desired
}

pub(super) fn failure(reason: &str) -> Failure {
    Failure { reason: reason.into(), message: "because".into() }
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { node: Node::new(settings()), now: 1_000, recorded: Vec::new() }
    }

    /// With this set of pods desired; gives the first actions.
    pub(super) fn with(desired: &[DesiredPod]) -> (Self, Vec<Action>) {
        let mut bench = Self::new();
        let actions = bench.desire(desired);
        (bench, actions)
    }

    /// With these pods, and all of their app containers running.
    pub(super) fn running(desired: &[DesiredPod]) -> Self {
        let (mut bench, actions) = Self::with(desired);
        bench.run(actions);
        bench
    }

    pub(super) fn now(&self) -> Now {
        Now { boot: Instant(self.now), wall: Wall(WALL + i64::try_from(self.now).unwrap()) }
    }

    pub(super) fn desire(&mut self, desired: &[DesiredPod]) -> Vec<Action> {
        self.tell(Event::Desired(desired.to_vec()))
    }

    /// Tells an event; events for people are put aside.
    pub(super) fn tell(&mut self, event: Event) -> Vec<Action> {
        let actions = self.node.handle(self.now(), event);
        self.put_aside(actions)
    }

    pub(super) fn put_aside(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut rest = Vec::new();
        for action in actions {
            match action {
                Action::Record(recorded) => self.recorded.push(recorded),
                other => rest.push(other),
            }
        }
        rest
    }

    /// Everything goes well, at once, until the core asks for nothing more; gives all it asked for.
    pub(super) fn run(&mut self, actions: Vec<Action>) -> Vec<Action> {
        let mut open: std::collections::VecDeque<Action> = actions.into();
        let mut all = Vec::new();
        while let Some(action) = open.pop_front() {
            let answer = Self::success(&action);
            all.push(action);
            if let Some(event) = answer {
                open.extend(self.tell(event));
            }
        }
        all
    }

    pub(super) fn success(action: &Action) -> Option<Event> {
        Some(match action {
            Action::PrepareSandbox { pod } => Event::SandboxReady { pod: pod.clone(), ips: vec!["10.0.0.1".into()] },
            Action::TeardownSandbox { pod, .. } => Event::SandboxGone { pod: pod.clone() },
            Action::EnsureImage { container } => Event::ImageReady {
                container: container.clone(),
                image_id: "sha256:1".into(),
                stop_signal: None,
                pulled: false,
            },
            Action::Start { seq, mode: crate::pod::event::StartMode::Create, .. } => {
                Event::Created { seq: *seq, pid: 1 }
            }
            Action::Start { seq, .. } | Action::StartCreated { seq } => Event::Started { seq: *seq, pid: 1 },
            Action::Mark { seq, .. } => Event::Marked { seq: *seq },
            Action::Remove { seq } => Event::Removed { seq: *seq },
            Action::Signal { .. }
            | Action::Kill { .. }
            | Action::Record(_)
            | Action::Probe { .. }
            | Action::Hook { .. } => return None,
        })
    }

    /// The container ends now; gives what the core asks for.
    pub(super) fn exit(&mut self, seq: Seq, code: i32) -> Vec<Action> {
        let exit = self.exit_of(code);
        self.tell(Event::Exited { seq, exit })
    }

    pub(super) fn exit_of(&self, code: i32) -> Exit {
        let now = self.now();
        Exit { code, oom_killed: false, reason: None, message: String::new(), at: now.boot, at_wall: now.wall }
    }

    /// Moves the clock to the core's deadline and ticks.
    pub(super) fn wait(&mut self) -> Vec<Action> {
        self.now = self.node.deadline().expect("something is due").0;
        self.tell(Event::Tick)
    }

    /// The instance that lives.
    pub(super) fn live(&self, pod: &str, container: &str) -> Seq {
        self.try_live(pod, container).expect("it lives")
    }

    pub(super) fn try_live(&self, pod: &str, container: &str) -> Option<Seq> {
        let pod = self.node.pods.get(format!("{pod}-uid-1").as_str())?;
        pod.containers.iter().find(|c| *c.name == *container).and_then(super::super::container::Container::live)
    }

    pub(super) fn object(&self, pod: &str) -> PodObject {
        let uid = format!("{pod}-uid-1");
        self.node
            .pod_objects(self.now())
            .into_iter()
            .find(|object| object.metadata.uid == uid)
            .expect("the pod is known")
    }

    pub(super) fn status(&self, pod: &str, container: &str) -> ContainerStatus {
        let status = self.object(pod).status;
        let mut all = status.init_container_statuses.into_iter().chain(status.container_statuses);
        all.find(|status| status.name == container).expect("the container is known")
    }

    pub(super) fn phase(&self, pod: &str) -> String {
        self.object(pod).status.phase
    }

    pub(super) fn reasons(&self) -> Vec<&str> {
        self.recorded.iter().map(|recorded| recorded.reason.as_str()).collect()
    }

    /// A new supervisor takes over; everything saved goes through its written form.
    pub(super) fn restore(&mut self, found: BTreeMap<Seq, Found>, rebooted: bool) -> Vec<Action> {
        self.restore_without(BTreeMap::new(), found, rebooted)
    }

    /// The same with some pods quarantined.
    pub(super) fn restore_without(
        &mut self,
        quarantined: BTreeMap<Uid, String>,
        found: BTreeMap<Seq, Found>,
        rebooted: bool,
    ) -> Vec<Action> {
        let pods: Vec<_> = self.node.pods.keys().map(|uid| self.node.snapshot(uid).unwrap()).collect();
        let text = crate::json::to_string(&pods).unwrap();
        let durable = self.node.durable_snapshot();
        self.restore_from(&durable, &text, quarantined, found, rebooted)
    }

    /// After a loss of power, with `durable` on the disk.
    pub(super) fn reboot_with(&mut self, durable: &DurableState) -> Vec<Action> {
        self.restore_from(durable, "[]", BTreeMap::new(), BTreeMap::new(), true)
    }

    fn restore_from(
        &mut self,
        durable: &DurableState,
        pods: &str,
        quarantined: BTreeMap<Uid, String>,
        found: BTreeMap<Seq, Found>,
        rebooted: bool,
    ) -> Vec<Action> {
        let durable = crate::json::to_string(durable).unwrap();
        let past = Past {
            node: (!rebooted).then(|| self.node.node_snapshot()),
            pods: if rebooted { Vec::new() } else { crate::json::from_str(pods).unwrap() },
            quarantined,
            durable: crate::json::from_str::<DurableState>(&durable).unwrap(),
            found,
            rebooted,
        };
        let (node, actions) = Node::restore(settings(), past, self.now());
        self.node = node;
        self.put_aside(actions)
    }
}

pub(super) fn container(pod: &str, name: &str) -> ContainerRef {
    ContainerRef { pod: format!("{pod}-uid-1").into(), name: name.into() }
}

/// Short words for actions, to compare with.
pub(super) fn words(actions: &[Action]) -> Vec<String> {
    actions
        .iter()
        .map(|action| match action {
            Action::PrepareSandbox { pod } => format!("prepare {pod}"),
            Action::TeardownSandbox { pod, discard_volumes: true } => format!("discard {pod}"),
            Action::TeardownSandbox { pod, .. } => format!("teardown {pod}"),
            Action::EnsureImage { container } => format!("image {}", container.name),
            Action::Start { container, attempt, .. } => format!("start {} {attempt}", container.name),
            Action::Mark { container, .. } => format!("mark {}", container.name),
            Action::StartCreated { .. } => "start created".into(),
            Action::Signal { signal, .. } => format!("signal {signal}"),
            Action::Kill { .. } => "kill".into(),
            Action::Remove { .. } => "remove".into(),
            Action::Probe { container, kind, .. } => format!("probe {} {kind:?}", container.name).to_ascii_lowercase(),
            Action::Hook { container, kind: HookKind::PostStart, .. } => format!("post-start {}", container.name),
            Action::Hook { container, kind: HookKind::PreStop, .. } => format!("pre-stop {}", container.name),
            Action::Record(_) => "record".into(),
        })
        .collect()
}

fn settings() -> Settings {
    Settings { node_name: "n".into(), host_ips: vec!["192.0.2.1".into()], ..Settings::default() }
}
