//! [`Clients`]: the people at the control socket.

use std::os::fd::{AsFd, BorrowedFd};

use crate::control::{Connection, Reply, Request, Server};
use crate::sorted::BTreeMap;

/// The control socket and its connections.
#[derive(Debug)]
pub(crate) struct Clients {
    server: Server,
    connections: BTreeMap<u64, Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    watches: bool,
    watches_events: bool,
}

impl Clients {
    /// Serves `server`.
    pub(crate) fn new(server: Server) -> Self {
        Self { server, connections: BTreeMap::new(), next: 0 }
    }

    /// The listening socket.
    pub(crate) fn listener(&self) -> BorrowedFd<'_> {
        self.server.as_fd()
    }

    /// Accepts who waits; the new connections' numbers.
    pub(crate) fn accept(&mut self) -> Vec<u64> {
        let mut new = Vec::new();
        loop {
            match self.server.accept() {
                Ok(Some(connection)) => {
                    self.connections.insert(self.next, Client { connection, watches: false, watches_events: false });
                    new.push(self.next);
                    self.next = self.next.saturating_add(1);
                }
                Ok(None) => return new,
                Err(error) => {
                    log::warn!("{error}");
                    return new;
                }
            }
        }
    }

    /// The socket of a connection.
    pub(crate) fn descriptor(&self, number: u64) -> Option<BorrowedFd<'_>> {
        self.connections.get(&number).map(|c| c.connection.as_fd())
    }

    /// The next request of a connection.
    pub(crate) fn request(&mut self, number: u64) -> Option<Request> {
        self.connections.get_mut(&number)?.connection.read_request()
    }

    /// Answers; sent as far as the peer takes it.
    pub(crate) fn reply(&mut self, number: u64, reply: &Reply) {
        if let Some(client) = self.connections.get_mut(&number) {
            client.connection.queue(reply);
            client.connection.flush();
        }
    }

    /// From now on it is told of every change.
    pub(crate) fn watch(&mut self, number: u64) {
        if let Some(client) = self.connections.get_mut(&number) {
            client.watches = true;
        }
    }

    /// From now on it is told of every event.
    pub(crate) fn watch_events(&mut self, number: u64) {
        if let Some(client) = self.connections.get_mut(&number) {
            client.watches_events = true;
        }
    }

    /// Whether anybody wants to be told of events.
    pub(crate) fn events_watched(&self) -> bool {
        self.connections.values().any(|c| c.watches_events)
    }

    /// Tells those who watch events; gives their numbers.
    pub(crate) fn tell_event_watchers(&mut self, reply: &Reply) -> Vec<u64> {
        let mut told = Vec::new();
        for (number, client) in self.connections.iter_mut().filter(|(_, c)| c.watches_events) {
            client.connection.queue(reply);
            told.push(*number);
        }
        told
    }

    /// Whether anybody watches.
    pub(crate) fn watched(&self) -> bool {
        self.connections.values().any(|c| c.watches)
    }

    /// Tells all watchers; gives their numbers.
    pub(crate) fn tell_watchers(&mut self, reply: &Reply) -> Vec<u64> {
        let mut told = Vec::new();
        for (number, client) in self.connections.iter_mut().filter(|(_, c)| c.watches) {
            client.connection.queue(reply);
            client.connection.flush();
            told.push(*number);
        }
        told
    }

    /// What to wait for on a connection: `None` when it is finished and must be forgotten.
    pub(crate) fn wants(&mut self, number: u64) -> Option<(bool, bool)> {
        let client = self.connections.get_mut(&number)?;
        client.connection.flush();
        (!client.connection.is_finished()).then(|| (client.connection.wants_read(), client.connection.wants_write()))
    }

    /// Ends a connection.
    pub(crate) fn forget(&mut self, number: u64) {
        self.connections.remove(&number);
    }
}
