//! `gatepost logs`: a container's log, read from its files by this process.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use time::OffsetDateTime;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::view::{int, list, named, part, text};
use super::{order, session, target};
use crate::config::{Layout, duration};
use crate::control::{Call, Client, ClientError, Reply};
use crate::log::reader::{ReadError, ReadOptions, read};

/// How long to wait before a lost supervisor is looked for again.
const RECONNECT: Duration = Duration::from_secs(1);

/// `gatepost logs`.
pub(super) fn run(invocation: &Invocation) -> Outcome {
    invocation.at_most(1)?;
    let words = invocation.texts()?;
    let [name] = *words else { return Err(invocation.misuse("name a pod")) };
    let tail = tail(invocation)?;
    let since = since(invocation)?;
    let previous = invocation.has("previous");
    let snapshot = session::pods(invocation)?;
    let info = session::info(invocation)?;
    let pod = target::find(&snapshot.pods, invocation.namespace()?, name)?;
    let container = order::container(pod, invocation.value("container")?)?;
    let instance = Instance::of(pod, container);
    if !instance.has_started && !previous {
        let pod = &instance.pod;
        let why = if instance.waiting.is_empty() { "not started yet" } else { &instance.waiting };
        return Err(Failure::failed(format!(
            "container {container:?} in pod {pod:?} is waiting to start: {why}; see `gatepost describe pod {pod}`"
        )));
    }
    let layout = Layout { logs: info.logs, ..invocation.layout() };
    let attempt = u32::try_from(instance.restarts).unwrap_or(u32::MAX);
    let path = layout.container_log(&instance.namespace, &instance.pod, &instance.uid, container, attempt);
    let options = ReadOptions {
        path,
        previous,
        tail,
        since,
        timestamps: invocation.has("timestamps"),
        follow: invocation.has("follow") && !previous,
    };
    let mut follower = Follower {
        socket: layout.control_socket(),
        client: None,
        retry: None,
        instance: &instance,
        over: !instance.running,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match read(&options, &mut out, &mut || follower.has_ended()) {
        Ok(()) => {}
        Err(ReadError::Write(error)) => return Err(error.into()),
        Err(error) => return Err(Failure::failed(error.to_string())),
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// One container instance, as the pod's status tells.
struct Instance {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
    restarts: i64,
    running: bool,
    has_started: bool,
    waiting: String,
}

impl Instance {
    fn of(pod: &Value, container: &str) -> Self {
        let app = named(list(pod, "/status/containerStatuses"), container);
        let status =
            app.or_else(|| named(list(pod, "/status/initContainerStatuses"), container)).unwrap_or(&Value::Null);
        let running = part(status, "/state/running").is_some();
        let ended = part(status, "/state/terminated").is_some() || part(status, "/lastState/terminated").is_some();
        Self {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            pod: text(pod, "/metadata/name").to_owned(),
            uid: text(pod, "/metadata/uid").to_owned(),
            container: container.to_owned(),
            restarts: int(status, "/restartCount"),
            running,
            has_started: running || ended,
            waiting: text(status, "/state/waiting/reason").to_owned(),
        }
    }
}

/// Watches whether the followed instance still runs. A supervisor that is gone ends nothing: the container may well live on.
struct Follower<'a> {
    socket: PathBuf,
    client: Option<Client>,
    retry: Option<Instant>,
    instance: &'a Instance,
    over: bool,
}

impl Follower<'_> {
    fn has_ended(&mut self) -> bool {
        if self.over {
            return true;
        }
        if self.client.is_none() && self.retry.is_none_or(|at| Instant::now() >= at) {
            self.client = self.connect().ok();
            self.retry = Some(Instant::now() + RECONNECT);
        }
        while let Some(client) = &mut self.client {
            // Only what has arrived already: the log must not wait for the socket.
            match client.next(Duration::from_millis(1)) {
                Ok(Some(Reply::Pods { items, .. })) => self.over = !self.runs(&items),
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => self.client = None,
            }
        }
        self.over
    }

    fn connect(&self) -> Result<Client, ClientError> {
        let mut client = Client::connect(&self.socket)?;
        client.send(Call::Watch)?;
        Ok(client)
    }

    /// Whether the instance is among these pods, and runs.
    fn runs(&self, pods: &[Value]) -> bool {
        let pod = pods.iter().find(|pod| text(pod, "/metadata/uid") == self.instance.uid);
        let now = pod.map(|pod| Instance::of(pod, &self.instance.container));
        now.is_some_and(|now| now.running && now.restarts == self.instance.restarts)
    }
}

fn tail(invocation: &Invocation) -> Outcome<Option<u64>> {
    match invocation.value("tail")? {
        None | Some("-1") => Ok(None),
        Some(lines) => match lines.parse() {
            Ok(lines) => Ok(Some(lines)),
            Err(_) => Err(invocation.misuse(&format!("--tail {lines:?}: expected a number of lines"))),
        },
    }
}

fn since(invocation: &Invocation) -> Outcome<Option<OffsetDateTime>> {
    let Some(since) = invocation.value("since")? else { return Ok(None) };
    let back = duration(since).map_err(|why| invocation.misuse(&format!("--since: {why}")))?;
    // Before the beginning of time: everything.
    Ok(time::Duration::try_from(back).ok().and_then(|back| OffsetDateTime::now_utc().checked_sub(back)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_instance_that_crashed_has_a_log_to_show() {
        let pod = |state: Value| json!({"metadata": {"uid": "u"}, "status": {"containerStatuses": [state]}});
        let creating = pod(json!({"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}));
        assert!(!Instance::of(&creating, "a").has_started);
        let crashed = pod(
            json!({"name": "a", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {}}}),
        );
        let crashed = Instance::of(&crashed, "a");
        assert!(crashed.has_started && !crashed.running && crashed.restarts == 2);
        assert!(!Instance::of(&creating, "b").has_started);
    }
}
