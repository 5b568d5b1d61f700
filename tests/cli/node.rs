//! [`Node`]: a control socket with fixed answers.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Output, Stdio};

use gatepost::control::{Call, Connection, Info, Reply, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

use super::gatepost;

/// A control socket with fixed answers, served by this thread until the command has ended.
pub(crate) struct Node {
    pub(crate) directory: tempfile::TempDir,
    server: Server,
    pub(crate) pods: Vec<Value>,
    /// What a watch is told besides, each once the one before is on its way; then its connection ends.
    pub(crate) later: Vec<Vec<Value>>,
    pub(crate) warnings: Vec<String>,
    /// What was asked.
    pub(crate) calls: Vec<Call>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(&directory.path().join("control.sock")).unwrap();
        Self {
            directory,
            server,
            pods: vec![pod("default", "web"), pod("iot", "broker")],
            later: Vec::new(),
            warnings: Vec::new(),
            calls: Vec::new(),
        }
    }

    fn reply(&mut self, call: &Call) -> Reply {
        match call {
            Call::Pods | Call::Watch => Reply::Pods { items: self.pods.clone(), warnings: self.warnings.clone() },
            Call::Events => Reply::Events { items: vec![event()] },
            Call::Info => {
                let root = self.directory.path();
                Reply::Info(Box::new(Info {
                    version: "9.9.9".into(),
                    node: "gw".into(),
                    runtime: root.join("runtime.sh").to_str().unwrap().into(),
                    runtime_root: root.join("state"),
                    logs: root.join("logs"),
                    ..Info::default()
                }))
            }
            Call::Delete { name, .. } if name.starts_with("broker") => {
                Reply::Error { message: "it is quarantined".into(), remedy: "restart gatepost".into() }
            }
            _ => Reply::Done { message: String::new() },
        }
    }

    /// Runs the command and serves it.
    pub(crate) fn run(&mut self, args: &[&str]) -> Output {
        let mut command = gatepost();
        command.env("GATEPOST_RUN_DIR", self.directory.path()).args(args);
        self.serve(command)
    }

    pub(crate) fn serve(&mut self, mut command: Command) -> Output {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let reading = std::thread::spawn(move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            stdout.read_to_end(&mut out).unwrap();
            stderr.read_to_end(&mut err).unwrap();
            (out, err)
        });
        let mut connections: Vec<Connection> = Vec::new();
        let mut over = false;
        while !reading.is_finished() {
            {
                let mut ready = vec![PollFd::new(&self.server, PollFlags::IN)];
                for connection in &connections {
                    let write = if connection.wants_write() { PollFlags::OUT } else { PollFlags::empty() };
                    ready.push(PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN | write));
                }
                poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })).unwrap();
            }
            connections.extend(self.server.accept().unwrap());
            for connection in &mut connections {
                while let Some(request) = connection.read_request() {
                    let reply = self.reply(&request.call);
                    self.calls.push(request.call);
                    connection.queue(&reply);
                    for items in self.later.drain(..) {
                        connection.queue(&Reply::Pods { items, warnings: Vec::new() });
                        over = true;
                    }
                }
                connection.flush();
            }
            let is_over = |connection: &Connection| over && !connection.wants_write();
            connections.retain(|connection| !connection.is_finished() && !is_over(connection));
        }
        let (stdout, stderr) = reading.join().unwrap();
        Output { status: child.wait().unwrap(), stdout, stderr }
    }
}

pub(crate) fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("{name}-gw"), "namespace": namespace, "uid": "0123456789abcdef0123456789abcdef",
                     "labels": {"app": name}, "annotations": {"on": "yes", "n": "0644"}, "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {"nodeName": "gw", "containers": [{"name": "app", "image": "x:1", "args": ["a\nb\n"]}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.1.2.3",
                   "containerStatuses": [{"name": "app", "image": "x:1", "imageID": "sha256:0", "containerID": "runc://app-1", "ready": true,
                                          "started": true, "restartCount": 0, "state": {"running": {"startedAt": "2020-01-01T00:00:00Z"}}}]},
    })
}

fn event() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web-gw.1", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-gw", "fieldPath": "spec.containers{app}"},
        "type": "Normal", "reason": "Started", "message": "Container started", "count": 1,
        "firstTimestamp": "2020-01-01T00:00:00Z", "lastTimestamp": "2020-01-01T00:00:00Z", "source": {"component": "gatepost"},
    })
}
