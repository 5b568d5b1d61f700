//! What `gatepost-fetch probe` is asked, and what it answers: [`Request`] and [`Report`]. TLS and HTTP/2 are in that program, not in
//! this one.

use super::Outcome;
use super::http;
use crate::json::{Deserialize, Serialize};

/// Version of [`Request`] and [`Report`].
pub const VERSION: u32 = 1;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// Milliseconds it may take.
    pub bound_ms: u64,
    /// From within the network namespace that comes as the passed descriptor.
    pub in_pod: bool,
    /// What is asked.
    pub question: Question,
}

/// What is asked of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// A GET request by TLS, whose certificate nobody looks at.
    Https {
        /// Address and port.
        to: String,
        /// The request.
        request: http::Request,
        /// Any answer will do (hooks).
        any_answer: bool,
    },
    /// The health service of gRPC, in clear text.
    Grpc {
        /// Address and port.
        to: String,
        /// Whose health is asked for.
        service: String,
        /// The client's name.
        agent: String,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
}
