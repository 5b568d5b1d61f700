//! [`Monitor`]: QEMU's machine protocol, for what only the machine itself knows: whether it was reset or switched off, and
//! whether its watchdog bit.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::BOUND;

/// Tells answers to commands from the greeting's.
const ID: &str = "test";

/// Something that happened to the machine: `SHUTDOWN`, `RESET`, `WATCHDOG`, …
#[derive(Debug, Clone)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

/// The connection to the monitor.
pub struct Monitor {
    stream: UnixStream,
    events: Arc<(Mutex<Vec<Event>>, Condvar)>,
    replies: Receiver<Value>,
    /// Events that [`Monitor::wait_for`] has gone past.
    seen: usize,
}

impl Monitor {
    /// Takes up the protocol, and collects events from now on.
    pub(super) fn new(mut stream: UnixStream) -> Self {
        let events = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (reader, shared) = (BufReader::new(stream.try_clone().unwrap()), Arc::clone(&events));
        let (reply, replies) = mpsc::channel();
        stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").unwrap();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
                if value["id"] == ID {
                    let _ = reply.send(value);
                    continue;
                }
                let Some(name) = value["event"].as_str() else { continue };
                shared.0.lock().unwrap().push(Event { name: name.to_owned(), data: value["data"].clone() });
                shared.1.notify_all();
            }
        });
        Self { stream, events, replies, seen: 0 }
    }

    /// Waits for an event of this name behind the one found last.
    pub fn wait_for(&mut self, name: &str, bound: Duration) -> Option<Event> {
        let end = Instant::now() + bound;
        let mut events = self.events.0.lock().unwrap();
        loop {
            let found = events[self.seen..].iter().position(|event| event.name == name);
            if let Some(at) = found {
                let at = self.seen + at;
                self.seen = at + 1;
                return Some(events[at].clone());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            events = self.events.1.wait_timeout(events, left).unwrap().0;
        }
    }

    /// All events until now.
    pub fn events(&self) -> Vec<Event> {
        self.events.0.lock().unwrap().clone()
    }

    /// Gives the machine a command that it must take, and waits for its answer.
    pub fn execute(&mut self, name: &str, arguments: &Value) -> Value {
        let command = json!({"execute": name, "arguments": arguments, "id": ID});
        self.stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let reply = self.replies.recv_timeout(BOUND).unwrap_or_else(|_| panic!("QEMU does not answer to {command}"));
        assert!(reply["error"].is_null(), "{command}: {reply}");
        reply["return"].clone()
    }

    /// Presses keys together on the machine's keyboard, by QEMU's names.
    pub fn press(&mut self, keys: &[&str]) {
        let keys: Vec<Value> = keys.iter().map(|key| json!({"type": "qcode", "data": key})).collect();
        self.execute("send-key", &json!({"keys": keys}));
    }
}
