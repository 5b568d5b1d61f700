//! Talking to the supervisor for one command: its pods, events, and who it is.

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use crate::control::{Call, Client, Info, Reply};

/// All pods, and warnings for people.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// v1 Pod objects.
    pub(super) pods: Vec<Value>,
    /// Lines for people.
    pub(super) warnings: Vec<String>,
}

/// A connection to the supervisor.
pub(super) fn connect(invocation: &Invocation) -> Outcome<Client> {
    Ok(Client::connect(&invocation.layout().control_socket())?)
}

/// All pods of this node.
pub(super) fn pods(invocation: &Invocation) -> Outcome<Snapshot> {
    match connect(invocation)?.ask(Call::Pods)? {
        Reply::Pods { items, warnings } => Ok(Snapshot { pods: items, warnings }),
        other => Err(unexpected(&other)),
    }
}

/// All recorded events.
pub(super) fn events(invocation: &Invocation) -> Outcome<Vec<Value>> {
    match connect(invocation)?.ask(Call::Events)? {
        Reply::Events { items } => Ok(items),
        other => Err(unexpected(&other)),
    }
}

/// Who is running, and where its things lie.
pub(super) fn info(invocation: &Invocation) -> Outcome<Info> {
    match connect(invocation)?.ask(Call::Info)? {
        Reply::Info(info) => Ok(*info),
        other => Err(unexpected(&other)),
    }
}

/// A request that is answered with a message.
pub(super) fn order(invocation: &Invocation, call: Call) -> Outcome<String> {
    match connect(invocation)?.ask(call)? {
        Reply::Done { message } => Ok(message),
        other => Err(unexpected(&other)),
    }
}

/// A reply that does not fit the request.
pub(super) fn unexpected(reply: &Reply) -> Failure {
    let kind = match reply {
        Reply::Pods { .. } => "pods",
        Reply::Events { .. } => "events",
        Reply::Services { .. } => "Services",
        Reply::Done { .. } => "a message",
        Reply::Error { .. } => "an error",
        Reply::Info(_) => "its name",
    };
    Failure::failed(format!(
        "gatepost answered with {kind}, which was not asked for: use the gatepost binary that is running here"
    ))
}
