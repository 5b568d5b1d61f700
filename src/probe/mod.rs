//! Probes and hooks carried out: [`Attempt`], a connection that never waits, and [`exec`], the helper role that runs a command in a
//! container.
//!
//! The supervisor makes the connections itself, in its one loop: a thousand a second cost little, and a server that is slow,
//! silent, endless or rude costs no more than a socket and a bounded buffer until the attempt's time is over. A connection into
//! a pod's network begins with a socket made there: the supervisor's only thread enters the pod's network namespace, makes the
//! socket, and comes back ([`crate::sys::namespace::Home`]). What a socket does later happens where it was made.
//!
//! | file | what |
//! | --- | --- |
//! | `target` | what a handler of a manifest wants: [`Call`] |
//! | `http` | the request, and reading an answer from whoever sends it |
//! | `attempt` | one connection: [`Attempt`] |
//! | `exec` | the role `container-exec` |

mod attempt;
pub mod exec;
mod http;
mod target;

pub use attempt::{Attempt, Interest, Progress};
pub use target::{Call, Connection, Place, Reach, of_hook, of_probe};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Good,
    /// The same, with something to say.
    Warned(String),
    /// As it should not, in Kubernetes' words.
    Bad(String),
    /// It could not be made, which says nothing of the container.
    Unable(String),
}

/// What an error says, as programs in Go print it: `connection refused`.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let mut text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text).to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}
