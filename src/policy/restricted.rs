//! What the restricted standard adds to the baseline.

use serde_json::Value as Json;

use super::{Subject, Violation, add, baseline, containers, items, number_of, quoted, text};

/// The only sources; upstream calls what it does not know yet `unknown`.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// All checks in upstream's order.
pub(super) fn check(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    // What Windows does not have need not be set there.
    let on_windows = pod.spec["os"]["name"] == "windows";
    let names = pod.names(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    if !names.is_empty() && !on_windows {
        let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
        add(found, "allowPrivilegeEscalation != false", detail);
    }
    if !on_windows {
        capabilities(pod, found);
    }
    volumes(pod, found);
    if !pod.has_own_users() {
        non_root(pod, found);
        if let Some(setters) = pod.setters(|context| context["runAsUser"] == 0) {
            add(found, "runAsUser=0", format!("{setters} must not set runAsUser=0"));
        }
    }
    if !baseline::seccomp(pod, found) && !on_windows && !pod.spec["securityContext"]["seccompProfile"].is_object() {
        let names = pod.names(|container| !container["securityContext"]["seccompProfile"].is_object());
        if !names.is_empty() {
            let detail = format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                containers(&names)
            );
            add(found, "seccompProfile", detail);
        }
    }
}

fn capabilities(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let list = |container: &Json, key: &str| -> Vec<String> {
        items(&container["securityContext"]["capabilities"][key]).map(|name| text(name).to_owned()).collect()
    };
    let mut details = Vec::new();
    let names = pod.names(|container| !list(container, "drop").iter().any(|name| name == "ALL"));
    if !names.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&names)));
    }
    let added = |container: &Json| list(container, "add").into_iter().filter(|name| name != "NET_BIND_SERVICE");
    let names = pod.names(|container| added(container).next().is_some());
    if !names.is_empty() {
        let mut bad: Vec<String> = pod.containers.iter().flat_map(|(_, container)| added(container)).collect();
        bad.sort();
        bad.dedup();
        let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            quoted(&bad)
        ));
    }
    if !details.is_empty() {
        add(found, "unrestricted capabilities", details.join("; "));
    }
}

fn volumes(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    let source = |volume: &Json| {
        let sources = volume.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| *key != "name");
        let sources: Vec<String> = sources.cloned().collect();
        if sources.iter().any(|key| VOLUMES.contains(&key.as_str())) {
            return None;
        }
        sources.into_iter().next().map(|key| if key == "image" { "unknown".to_owned() } else { key })
    };
    let bad: Vec<(&str, String)> =
        items(&pod.spec["volumes"]).filter_map(|volume| Some((text(&volume["name"]), source(volume)?))).collect();
    if bad.is_empty() {
        return;
    }
    let names: Vec<&str> = bad.iter().map(|(name, _)| *name).collect();
    let mut types: Vec<&str> = bad.iter().map(|(_, source)| source.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let detail = format!(
        "{} {} {} {} {}",
        number_of(names.len(), "volume", "volumes"),
        quoted(&names),
        number_of(names.len(), "uses", "use"),
        number_of(types.len(), "restricted volume type", "restricted volume types"),
        quoted(&types)
    );
    add(found, "restricted volume types", detail);
}

fn non_root(pod: &Subject<'_>, found: &mut Vec<Violation>) {
    const REASON: &str = "runAsNonRoot != true";
    if let Some(setters) = pod.setters(|context| context["runAsNonRoot"] == false) {
        add(found, REASON, format!("{setters} must not set securityContext.runAsNonRoot=false"));
        return;
    }
    let names = pod.names(|container| !container["securityContext"]["runAsNonRoot"].is_boolean());
    if pod.spec["securityContext"]["runAsNonRoot"] != true && !names.is_empty() {
        let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&names));
        add(found, REASON, detail);
    }
}
