//! [`Feed`]: the connection to the supervisor, made anew whenever one goes and another comes.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use crate::control::{Call, Client, ClientError, Reply};

/// Milliseconds to the first new try; doubled by each further one.
const FIRST_DELAY_MS: u64 = 100;
/// The longest of these waits.
const LONGEST_DELAY_MS: u64 = 5_000;

/// The connection, or the time of the next try.
#[derive(Debug)]
pub(super) struct Feed {
    socket: PathBuf,
    client: Option<Client>,
    retry: Option<u64>,
    delay: u64,
}

impl Feed {
    /// Not connected yet; the first try is due at once.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, client: None, retry: Some(0), delay: FIRST_DELAY_MS }
    }

    /// When [`Self::connect`] is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.retry
    }

    /// The descriptor to wait on, while there is one.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.client.as_ref().map(|client| client.as_fd())
    }

    /// Tries to connect if that is due at `now` (milliseconds). An error is why there is still no connection.
    pub(super) fn connect(&mut self, now: u64) -> Option<Result<(), ClientError>> {
        self.retry.filter(|at| *at <= now)?;
        Some(match self.greet() {
            Ok(client) => {
                self.client = Some(client);
                self.retry = None;
                Ok(())
            }
            Err(error) => {
                self.retry = Some(now.saturating_add(self.delay));
                self.delay = self.delay.saturating_mul(2).min(LONGEST_DELAY_MS);
                Err(error)
            }
        })
    }

    fn greet(&self) -> Result<Client, ClientError> {
        let mut client = Client::connect(&self.socket)?;
        for call in [Call::Info, Call::WatchEvents, Call::Watch] {
            client.send(call)?;
        }
        Ok(client)
    }

    /// The next reply that has arrived. After an error the connection is gone, and the next try is due soon after `now`.
    pub(super) fn next(&mut self, now: u64) -> Result<Option<Reply>, ClientError> {
        let Some(client) = &mut self.client else { return Ok(None) };
        let reply = client.arrived();
        match &reply {
            Ok(Some(_)) => self.delay = FIRST_DELAY_MS,
            Ok(None) => {}
            Err(_) => {
                self.client = None;
                self.retry = Some(now.saturating_add(self.delay));
            }
        }
        reply
    }
}
