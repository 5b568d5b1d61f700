//! What people ask for at the control socket, and the answers.

use std::rc::Rc;

use super::Supervisor;
use super::token::Token;
use crate::control::{Call, Info, Reply};
use crate::json;
use crate::pod::event::{Event, Uid};
use crate::pod::status::rfc3339;
use crate::sys::epoll::EventFlags;

impl Supervisor {
    pub(super) fn accept_clients(&mut self) {
        for number in self.clients.accept() {
            if let Some(socket) = self.clients.descriptor(number) {
                self.watch(socket, Token::Client(number), EventFlags::IN);
            }
        }
    }

    /// Takes a peer's requests and sends what it has room for.
    pub(super) fn serve_client(&mut self, number: u64) {
        while let Some(request) = self.clients.request(number) {
            let reply = self.answer(number, request.call);
            self.clients.reply(number, &reply);
        }
        self.renew_client_watch(number);
    }

    fn answer(&mut self, number: u64, call: Call) -> Reply {
        match call {
            Call::Pods => self.pods_reply(),
            Call::Manifests => self.manifests_reply(),
            Call::Services => Reply::Services { items: self.service_objects() },
            Call::Watch => {
                self.clients.watch(number);
                self.pods_reply()
            }
            Call::WatchEvents => {
                self.clients.watch_events(number);
                Reply::Events { items: Vec::new() }
            }
            Call::Events => {
                Reply::Events { items: self.events.objects().filter_map(|e| json::to_value(&e).ok()).collect() }
            }
            Call::Restart { namespace, name, container } => self.with_pod(&namespace, &name, |pod| {
                let container = container.as_deref().map(Rc::from);
                (Event::Restart { pod, container }, format!("pod/{name} restarted"))
            }),
            Call::Delete { namespace, name, grace } => self.with_pod(&namespace, &name, |pod| {
                let message = format!("pod \"{name}\" deleted; its manifest is still there, so it is made anew");
                (Event::Delete { pod, grace }, message)
            }),
            Call::ImagesChanged => {
                self.list_images();
                Reply::Done { message: String::new() }
            }
            Call::Reload => {
                self.manifests.accept_devices();
                self.read_manifests_now();
                Reply::Done { message: "the manifests are read again".to_owned() }
            }
            Call::Info => Reply::Info(Box::new(self.info())),
        }
    }

    fn with_pod(&mut self, namespace: &str, name: &str, ask: impl FnOnce(Uid) -> (Event, String)) -> Reply {
        let found = self.node.uid_of(namespace, name);
        match found {
            Some(uid) => {
                // A person has looked at it: the crashes before count no more.
                self.guard.keep_only(|noted| *noted != *uid);
                let (event, message) = ask(uid);
                self.inbox.push_back(event);
                Reply::Done { message }
            }
            None => Reply::Error {
                message: format!("pods \"{name}\" not found in namespace {namespace}"),
                remedy: "look at `gatepost get pods -A`".to_owned(),
            },
        }
    }

    fn pods_reply(&self) -> Reply {
        let mut pods = self.node.pod_objects(self.now());
        self.tell_progress(&mut pods);
        let mut items: Vec<_> = pods.into_iter().filter_map(|pod| json::to_value(&pod).ok()).collect();
        items.extend(self.manifests.refused_pods());
        let warnings = self.warnings.iter().cloned().chain(self.manifests.warnings()).collect();
        Reply::Pods { items, warnings }
    }

    fn info(&self) -> Info {
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.config.node_name.clone(),
            runtime: self.runtime.path.display().to_string(),
            runtime_root: self.config.layout.runtime_root(),
            run: self.config.layout.run.clone(),
            data: self.config.layout.data.clone(),
            logs: self.config.layout.logs.clone(),
            preload: self.config.layout.preload.clone(),
            worker: self.config.worker_program(),
            started_at: rfc3339(self.started_at),
            pid: std::process::id(),
            init_pid: std::os::unix::process::parent_id(),
            runtime_version: self.runtime.version.clone(),
            cgroup_root: self.config.cgroup_root.clone(),
            pods_memory: self.pods_memory,
            reserved_cpu: self.config.reserved.cpu_milli,
            devices: self.known_devices(),
            features: self.features.as_ref().map(|features| features.works.clone()).unwrap_or_default(),
        }
    }

    /// Tells everybody who watches.
    pub(super) fn tell_watchers(&mut self) {
        if !self.clients.watched() {
            return;
        }
        let reply = self.pods_reply();
        for number in self.clients.tell_watchers(&reply) {
            self.renew_client_watch(number);
        }
    }

    /// Tells everybody who watches events of the newest one.
    pub(super) fn tell_event_watchers(&mut self) {
        if !self.clients.events_watched() {
            return;
        }
        let items = self.events.newest().and_then(|event| json::to_value(&event).ok()).into_iter().collect();
        for number in self.clients.tell_event_watchers(&Reply::Events { items }) {
            self.renew_client_watch(number);
        }
    }

    fn renew_client_watch(&mut self, number: u64) {
        let wants = self.clients.wants(number);
        let Some(socket) = self.clients.descriptor(number) else { return };
        if let Some((read, write)) = wants {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, read);
            flags.set(EventFlags::OUT, write);
            if let Err(error) = self.epoll.modify(socket, Token::Client(number).into(), flags) {
                log::warn!("cannot wait on a control connection: {error}");
            }
        } else {
            let _ = self.epoll.remove(socket);
            self.clients.forget(number);
        }
    }
}
