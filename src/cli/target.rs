//! [`find`]: the pod a person means by a name.

use serde_json::Value;

use super::failure::Failure;
use super::suggest;
use super::view::text;

/// `pod/NAME` → `NAME`.
pub(super) fn bare(name: &str) -> &str {
    ["pod/", "pods/", "po/"].iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// The pod of this name in this namespace: by its full name, or without the `-<node>` at its end.
pub(super) fn find<'a>(pods: &'a [Value], namespace: &str, name: &str) -> Result<&'a Value, Failure> {
    let name = bare(name);
    let here = || pods.iter().filter(|pod| text(pod, "/metadata/namespace") == namespace);
    if let Some(pod) = here().find(|pod| text(pod, "/metadata/name") == name) {
        return Ok(pod);
    }
    let matches: Vec<&Value> = here().filter(|pod| short_name(pod) == name).collect();
    match *matches {
        [pod] => Ok(pod),
        [] => Err(Failure::failed(format!("pods {name:?} not found{}", hint(pods, namespace, name)))),
        _ => Err(Failure::failed(format!("pods {name:?} is ambiguous: give the full name: {}", names(&matches)))),
    }
}

/// The pod's name without the node's.
fn short_name(pod: &Value) -> &str {
    let full = text(pod, "/metadata/name");
    full.strip_suffix(text(pod, "/spec/nodeName")).and_then(|name| name.strip_suffix('-')).unwrap_or(full)
}

/// What else could be meant.
fn hint(pods: &[Value], namespace: &str, name: &str) -> String {
    let is = |pod: &&Value| text(pod, "/metadata/name") == name || short_name(pod) == name;
    if let Some(pod) = pods.iter().find(is) {
        let other = text(pod, "/metadata/namespace");
        return format!(" in namespace {namespace}; it is in namespace {other}: add -n {other}");
    }
    let here = pods.iter().filter(|pod| text(pod, "/metadata/namespace") == namespace);
    let known = here.flat_map(|pod| [short_name(pod), text(pod, "/metadata/name")]);
    match suggest::nearest(name, known) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => format!(" in namespace {namespace}; see `gatepost get pods -A`"),
    }
}

fn names(pods: &[&Value]) -> String {
    pods.iter().map(|pod| text(pod, "/metadata/name")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use serde_json::json;

    fn pod(namespace: &str, name: &str) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}, "spec": {"nodeName": "gw-1"}})
    }

    #[test]
    fn a_pod_is_found_with_and_without_the_nodes_name() {
        let pods = [pod("default", "web-gw-1"), pod("default", "web-gw-1-gw-1"), pod("iot", "broker-gw-1")];
        let name = |namespace, name| find(&pods, namespace, name).map(|pod| text(pod, "/metadata/name").to_owned());
        assert_eq!(name("default", "web").unwrap(), "web-gw-1");
        assert_eq!(name("default", "web-gw-1").unwrap(), "web-gw-1");
        assert_eq!(name("default", "pod/web").unwrap(), "web-gw-1");
        assert_eq!(name("default", "web-gw-1-gw-1").unwrap(), "web-gw-1-gw-1");
        assert_eq!(name("iot", "po/broker").unwrap(), "broker-gw-1");
    }

    #[test]
    fn a_name_not_found_comes_with_what_could_be_meant() {
        let pods = [pod("default", "web-gw-1"), pod("iot", "broker-gw-1")];
        let error = |namespace, name| find(&pods, namespace, name).unwrap_err().to_string();
        assert_eq!(error("default", "wbe"), "pods \"wbe\" not found; did you mean \"web\"?");
        assert_eq!(
            error("default", "broker"),
            "pods \"broker\" not found in namespace default; it is in namespace iot: add -n iot"
        );
        assert_eq!(
            error("default", "zzzzz"),
            "pods \"zzzzz\" not found in namespace default; see `gatepost get pods -A`"
        );
    }
}
