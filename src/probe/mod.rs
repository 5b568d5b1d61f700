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
//! | `fetch` | what `gatepost-fetch` is asked: https and grpc |

mod attempt;
pub mod exec;
pub mod fetch;
pub mod http;
mod target;

pub use attempt::{Attempt, Interest, Progress, REDIRECTS};
pub use target::{Call, Connection, Place, Reach, of_hook, of_probe};

use crate::json::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

impl Outcome {
    /// kubelet: 200 to 399 is success, and a redirect that is not followed a warning.
    pub fn of_answer(response: &http::Response) -> Self {
        match response.status {
            200..=299 => Self::Good,
            300..=399 => Self::Warned(format!(
                "Probe terminated redirects, Response body: {}",
                String::from_utf8_lossy(&response.body)
            )),
            status => Self::Bad(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
}

/// What an error says, as programs in Go print it: `connection refused`.
pub fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let mut text = text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text).to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}
