#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use crate::manifest::Rules;
use crate::manifest::load::load;

/// `field: message` of every error that Kubernetes has as well, sorted.
fn errors(document: &str) -> Vec<String> {
    let rules = Rules { fetch: true, ..Rules::default() };
    let loaded = load(document.as_bytes(), rules).expect("readable");
    let errors = loaded.iter().flat_map(|loaded| &loaded.errors);
    let mut errors: Vec<String> =
        errors.filter(|e| format!("{:?}", e.kind) != "Unimplemented").map(ToString::to_string).collect();
    errors.sort();
    errors
}

fn pod(metadata: &str, spec: &str) -> Vec<String> {
    errors(&format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a{metadata}}}, spec: {{{spec}}}}}"))
}

const APP: &str = "containers: [{name: c, image: i}]";

fn with_resources(resources: &str) -> Vec<String> {
    pod("", &format!("containers: [{{name: c, image: i, resources: {{{resources}}}}}]"))
}

#[test]
fn amounts_are_compared_and_shown_as_kubernetes_does() {
    let exceeds = |requests: &str, limits: &str, shown: &str| {
        let found = with_resources(&format!("requests: {{cpu: '{requests}'}}, limits: {{cpu: '{limits}'}}"));
        assert_eq!(found, [format!("spec.containers[0].resources.requests: Invalid value: {shown}")]);
    };
    exceeds("9223372036854775808", "1", "\"9223372036854775808\": must be less than or equal to cpu limit of 1");
    exceeds("+2", "01", "\"+2\": must be less than or equal to cpu limit of 01");
    exceeds("1.1Ki", "1000m", "\"1126400m\": must be less than or equal to cpu limit of 1");
    // A suffix alone is nothing at all, and no error.
    assert!(with_resources("requests: {memory: Mi}, limits: {cpu: m}").is_empty());
}

#[test]
fn a_resource_of_the_pod_as_a_whole_must_have_a_known_name_first() {
    let found = pod("", &format!("{APP}, resources: {{limits: {{bogus: 1, ephemeral-storage: 1, 'a b': 1}}}}"));
    assert!(found.iter().any(|e| e.starts_with(
        "spec.resources.limits[bogus]: Invalid value: \"bogus\": must be a standard resource type or fully qualified"
    )));
    assert!(found.iter().any(|e| e.starts_with("spec.resources.limits[ephemeral-storage]: Unsupported value")));
    assert!(found.iter().any(|e| e.starts_with("spec.resources.limits[a b]: Invalid value: \"a b\": name part")));
    assert_eq!(found.iter().filter(|e| e.contains("limits[bogus]")).count(), 1, "{found:#?}");
    let found = pod("", &format!("{APP}, overhead: {{hugepages-2Mi: 2Mi}}"));
    assert_eq!(found, ["spec.overhead: Forbidden: HugePages require cpu or memory"]);
}

#[test]
fn only_app_containers_without_a_name_are_duplicates_of_each_other() {
    let found = pod("", &format!("{APP}, initContainers: [{{image: i}}, {{image: i}}]"));
    assert_eq!(found, ["spec.initContainers[0].name: Required value", "spec.initContainers[1].name: Required value"]);
    let found = pod("", "containers: [{image: i}, {image: i}]");
    assert!(found.contains(&"spec.containers[1].name: Duplicate value: \"\"".to_owned()), "{found:#?}");
}

#[test]
fn an_ephemeral_container_may_not_even_have_empty_fields() {
    let found = pod(
        "",
        &format!("{APP}, ephemeralContainers: [{{name: e, image: i, ports: [], lifecycle: {{}}, resources: {{}}}}]"),
    );
    let place = "spec.ephemeralContainers";
    assert_eq!(
        found,
        [
            format!("{place}: Forbidden: cannot be set on create"),
            format!("{place}[0].lifecycle: Forbidden: cannot be set for an Ephemeral Container"),
            format!("{place}[0].ports: Forbidden: cannot be set for an Ephemeral Container"),
        ]
    );
}

#[test]
fn a_field_path_of_old_means_the_name_of_the_node() {
    let variable = "env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.host}}}]";
    assert!(pod("", &format!("containers: [{{name: c, image: i, {variable}}}]")).is_empty());
    let volume = "volumes: [{name: v, downwardAPI: {items: [{path: p, fieldRef: {fieldPath: spec.host}}]}}]";
    let found = pod("", &format!("{APP}, {volume}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("Unsupported value: \"spec.nodeName\""), "{found:#?}");
}

#[test]
fn metadata_is_judged_by_the_rules_of_every_object() {
    for (metadata, expected) in [
        (
            "finalizers: ['a b']",
            "metadata.finalizers[0]: Invalid value: \"a b\": name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            "finalizers: [orphan, foregroundDeletion]",
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set",
        ),
        (
            "ownerReferences: [{apiVersion: a/b/c, kind: K, name: n, uid: u}]",
            "metadata.ownerReferences.apiVersion: Invalid value: \"a/b/c\": version must not be empty",
        ),
        (
            "annotations: {kubernetes.io/config.mirror: x}",
            "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set",
        ),
    ] {
        let found = pod(&format!(", {metadata}"), APP);
        assert!(found.contains(&expected.to_owned()), "{found:#?}");
    }
    // The dash at the end, and the character before it, stand for what is generated.
    for (name, valid) in [("a-", true), ("A-", true), ("--", true), ("a.-", true), ("-", false), ("ü-", false)] {
        assert_eq!(pod(&format!(", generateName: '{name}'"), APP).is_empty(), valid, "{name}");
    }
}

#[test]
fn the_objects_beside_pods_have_rules_of_their_own() {
    let found = errors("{apiVersion: v1, kind: Service, metadata: {name: 1a}, spec: {ports: [{port: 1}]}}");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("metadata.name: Invalid value: \"1a\": a DNS-1035 label"), "{found:#?}");
    let secret = |body: &str| errors(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, {body}}}"));
    assert_eq!(
        secret("type: kubernetes.io/service-account-token"),
        ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
    );
    assert_eq!(
        secret("type: kubernetes.io/ssh-auth, data: {ssh-privatekey: ''}"),
        ["data[ssh-privatekey]: Required value"]
    );
    let claim = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: '-1'}}}}";
    assert_eq!(errors(claim), ["spec.resources[storage]: Invalid value: \"-1\": must be greater than zero"]);
    let range = "{apiVersion: v1, kind: LimitRange, metadata: {name: r}, spec: {limits: [{type: Container, default: {x.io/y: 2}, defaultRequest: {x.io/y: 1}}]}}";
    assert_eq!(
        errors(range),
        [
            "spec.limits[0].defaultRequest[x.io/y]: Invalid value: \"1\": default value 2 must equal to defaultRequest value 1 in x.io/y"
        ]
    );
}

#[test]
fn names_without_effect_are_warnings() {
    let warnings = |spec: &str, cluster_domain: &str| {
        let text = format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{{APP}, {spec}}}}}");
        let loaded = load(text.as_bytes(), Rules { cluster_domain, ..Rules::default() }).expect("readable");
        assert!(loaded[0].errors.is_empty(), "{:?}", loaded[0].errors);
        loaded[0].warnings.iter().map(|warning| warning.field.clone()).collect::<Vec<_>>()
    };
    assert!(warnings("subdomain: s, setHostnameAsFQDN: true", "site.local").is_empty());
    assert_eq!(warnings("subdomain: s, setHostnameAsFQDN: true", ""), ["spec.subdomain"]);
    assert_eq!(warnings("setHostnameAsFQDN: true", "site.local"), ["spec.setHostnameAsFQDN"]);
    assert_eq!(warnings("subdomain: s, hostNetwork: true", "site.local"), ["spec.subdomain"]);
    assert!(warnings("hostnameOverride: a.b", "").is_empty());
}
