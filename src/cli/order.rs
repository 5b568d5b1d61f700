//! `gatepost delete`, `gatepost restart`, `gatepost reload`: what the supervisor is told to do.

use std::process::ExitCode;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::view::{list, text};
use super::{describe, output, session, suggest, target, worker};
use crate::control::Call;

/// `gatepost delete`.
pub(super) fn delete(invocation: &Invocation) -> Outcome {
    if invocation.has("filename") {
        return worker::hand_over(invocation);
    }
    let grace = match invocation.value("grace-period")? {
        None => None,
        Some(seconds) => match seconds.parse::<i64>() {
            Ok(seconds) if seconds >= 0 => Some(seconds),
            _ => {
                return Err(
                    invocation.misuse(&format!("--grace-period {seconds:?}: expected a number of seconds, 0 or more"))
                );
            }
        },
    };
    each(invocation, "deleted; its manifest makes it anew", |pod| {
        let (namespace, name) = identity(pod);
        Ok(Call::Delete { namespace, name, grace })
    })
}

/// `gatepost restart`.
pub(super) fn restart(invocation: &Invocation) -> Outcome {
    let container = invocation.value("container")?;
    each(invocation, "restarted", |pod| {
        if let Some(container) = container {
            known_container(pod, container)?;
        }
        let (namespace, name) = identity(pod);
        Ok(Call::Restart { namespace, name, container: container.map(str::to_owned) })
    })
}

/// `gatepost reload`.
pub(super) fn reload(invocation: &Invocation) -> Outcome {
    invocation.at_most(0)?;
    say(&session::order(invocation, Call::Reload)?, "manifests are being read again")?;
    Ok(ExitCode::SUCCESS)
}

/// Sends the call of each named pod; the first failure does not keep the others from theirs.
fn each(invocation: &Invocation, done: &str, call: impl Fn(&Value) -> Outcome<Call>) -> Outcome {
    let words = invocation.texts()?;
    let names = describe::names(invocation, &words)?;
    let snapshot = session::pods(invocation)?;
    let namespace = invocation.namespace()?;
    let mut status = ExitCode::SUCCESS;
    for name in names {
        let result = target::find(&snapshot.pods, namespace, name).and_then(|pod| {
            let message = session::order(invocation, call(pod)?)?;
            say(&message, &format!("pod {:?} {done}", text(pod, "/metadata/name")))
        });
        match result {
            Ok(()) => {}
            Err(Failure::BrokenPipe) => return Err(Failure::BrokenPipe),
            Err(failure) => {
                output::note(&format!("error: {failure}"));
                status = ExitCode::FAILURE;
            }
        }
    }
    Ok(status)
}

/// Prints the supervisor's message, or ours when it has none.
fn say(message: &str, otherwise: &str) -> Outcome<()> {
    let message = if message.is_empty() { otherwise } else { message };
    output::print(&format!("{message}\n"))
}

fn identity(pod: &Value) -> (String, String) {
    (text(pod, "/metadata/namespace").to_owned(), text(pod, "/metadata/name").to_owned())
}

/// The names of a pod's containers, apps first.
pub(super) fn container_names(pod: &Value) -> Vec<&str> {
    ["/spec/containers", "/spec/initContainers"]
        .iter()
        .flat_map(|field| list(pod, field))
        .map(|container| text(container, "/name"))
        .collect()
}

/// Fails when the pod has no container of this name.
pub(super) fn known_container(pod: &Value, container: &str) -> Outcome<()> {
    let names = container_names(pod);
    if names.contains(&container) {
        return Ok(());
    }
    let pod = text(pod, "/metadata/name");
    let near = suggest::nearest(container, names.iter().copied());
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    Err(Failure::failed(format!(
        "container {container:?} is not in pod {pod:?}, which has: {}{near}",
        names.join(", ")
    )))
}

/// The container meant: the named one, else the first app container, with a note when there are others.
pub(super) fn container<'a>(pod: &'a Value, named: Option<&'a str>) -> Outcome<&'a str> {
    if let Some(name) = named {
        known_container(pod, name)?;
        return Ok(name);
    }
    let names = container_names(pod);
    let Some(first) = names.first() else {
        return Err(Failure::failed(format!("pod {:?} has no container", text(pod, "/metadata/name"))));
    };
    if names.len() > 1 {
        output::note(&format!("Defaulted container {first:?} out of: {}", names.join(", ")));
    }
    Ok(first)
}
