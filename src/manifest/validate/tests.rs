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

#[test]
fn a_service_is_judged_as_the_api_server_judges_it_once_it_is_filled_in() {
    let service =
        |spec: &str| errors(&format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{spec}}}}}"));
    let one = |spec: &str| service(&format!("ports: [{{port: 80}}], {spec}"));
    for fits in [
        "clusterIP: 10.0.0.1",
        "clusterIP: None, ipFamilies: [IPv6, IPv4], ipFamilyPolicy: RequireDualStack",
        "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], ipFamilies: [IPv4, IPv6]",
        "sessionAffinity: ClientIP",
        "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86400}}",
        "sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}",
        "type: NodePort, externalTrafficPolicy: Local",
        "externalIPs: [192.0.2.1], externalTrafficPolicy: Cluster, trafficDistribution: PreferSameNode",
    ] {
        assert_eq!(one(fits), [] as [String; 0], "{fits}");
    }
    for (spec, expected) in [
        ("ipFamilies: [IPv5]", "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\""),
        ("ipFamilies: [IPv4, IPv4]", "spec.ipFamilies[1]: Duplicate value: \"IPv4\""),
        (
            "ipFamilyPolicy: Both",
            "spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"",
        ),
        (
            "clusterIPs: [10.0.0.1]",
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]",
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
        ),
        (
            "clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 10.0.0.2]",
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
        ),
        (
            "clusterIP: None, clusterIPs: [None, 10.0.0.2]",
            "spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.2\"]: 'None' must be the first and only value",
        ),
        (
            "clusterIP: 10.0.0.1, ipFamilies: [IPv6]",
            "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
        ),
        (
            "type: NodePort, clusterIP: None",
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            "sessionAffinity: Cookie",
            "spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\"",
        ),
        (
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
        ),
        (
            "externalIPs: [127.0.0.1]",
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            "externalTrafficPolicy: Local",
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        ("loadBalancerClass: a/b", "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        (
            "type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.0/33]",
            "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ),
        (
            "internalTrafficPolicy: Near",
            "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
        ),
    ] {
        assert_eq!(one(spec), [expected], "{spec}");
    }
    assert_eq!(
        service("type: ExternalName, externalName: a.b, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack"),
        [
            "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
        ]
    );
    assert_eq!(
        service("ports: [{name: a, port: 1, nodePort: 30000}, {name: b, port: 1}]"),
        [
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":1,\"TargetPort\":0,\"NodePort\":0}",
        ]
    );
}

#[test]
fn a_claims_two_sources_must_be_the_same() {
    let claim = |sources: &str| {
        errors(&format!(
            "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: c}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}, {sources}}}}}"
        ))
    };
    let snapshot = "{apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: a}";
    assert_eq!(claim(&format!("dataSource: {snapshot}, dataSourceRef: {snapshot}")), [] as [String; 0]);
    assert_eq!(
        claim(&format!("dataSource: {snapshot}, dataSourceRef: {{kind: PersistentVolumeClaim, name: a}}")),
        ["spec: Invalid value: {}: must match dataSourceRef"]
    );
    assert_eq!(
        claim(&format!(
            "dataSource: {snapshot}, dataSourceRef: {}",
            snapshot.replace("name: a", "name: a, namespace: other")
        )),
        ["spec: Invalid value: {}: may not be specified when dataSourceRef.namespace is specified"]
    );
    let found = claim("dataSourceRef: {apiGroup: 'A', kind: K, name: a, namespace: 'B'}");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("spec.dataSourceRef.apiGroup: Invalid value: \"A\": a lowercase RFC 1123 subdomain"));
    assert!(found[1].starts_with("spec.dataSourceRef.namespace: Invalid value: \"B\": a lowercase RFC 1123 label"));
}

#[test]
fn a_secret_for_registries_holds_a_json_object() {
    let secret = |kind: &str, text: &str| {
        let key = if kind == "dockercfg" { ".dockercfg" } else { ".dockerconfigjson" };
        errors(&format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, type: kubernetes.io/{kind}, stringData: {{{key}: '{text}'}}}}"
        ))
    };
    for fits in ["{}", " {\"auths\": {}} ", "null"] {
        assert_eq!(secret("dockerconfigjson", fits), [] as [String; 0], "{fits}");
    }
    let redacted = "Invalid value: \"<secret contents redacted>\"";
    for (text, why) in [
        ("", "unexpected end of JSON input"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ("x", "invalid character 'x' looking for beginning of value"),
    ] {
        assert_eq!(secret("dockerconfigjson", text), [format!("data[.dockerconfigjson]: {redacted}: {why}")]);
        assert_eq!(secret("dockercfg", text), [format!("data[.dockercfg]: {redacted}: {why}")]);
    }
    // The same from base64.
    let encoded =
        "{apiVersion: v1, kind: Secret, metadata: {name: s}, type: kubernetes.io/dockercfg, data: {.dockercfg: MQ==}}";
    let why = "json: cannot unmarshal number into Go value of type map[string]interface {}";
    assert_eq!(errors(encoded), [format!("data[.dockercfg]: {redacted}: {why}")]);
}

#[test]
fn names_of_iscsi_targets_have_the_forms_of_kubernetes_expressions() {
    let long = |prefix: &str, count: usize| format!("{prefix}{}", "a".repeat(count));
    for (name, expected) in [
        ("iqn.2020-01.com.example:disk".to_owned(), ""),
        ("iqn.2020-01.com.example:a:b".to_owned(), ""),
        // The expression is not bound to the beginning.
        ("iqnx iqn.2020-01.a:b".to_owned(), ""),
        ("iqn.2020-01.com.example".to_owned(), "must be valid format"),
        ("iqn.2020-01.com.example:a b".to_owned(), "must be valid format"),
        ("iqn.20-01.com.example:a".to_owned(), "must be valid format"),
        (long("eui.", 16), ""),
        (long("euiü", 16), ""),
        (long("eui.", 15), "must be valid format"),
        (long("naa.", 32), ""),
        (long("naa.", 33), "must be valid format"),
        ("abc".to_owned(), "must be valid format starting with iqn, eui, or naa"),
    ] {
        let found =
            pod("", &format!("{APP}, volumes: [{{name: v, iscsi: {{targetPortal: p, iqn: '{name}', lun: 0}}}}]"));
        let expected = [expected].into_iter().filter(|detail| !detail.is_empty());
        let expected: Vec<_> =
            expected.map(|detail| format!("spec.volumes[0].iscsi.iqn: Invalid value: \"{name}\": {detail}")).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn tolerations_in_an_annotation_are_judged_as_well() {
    let annotated =
        |text: &str| pod(&format!(", annotations: {{scheduler.alpha.kubernetes.io/tolerations: '{text}'}}"), APP);
    for fits in ["", "[]", "null", "[{\"Key\": \"a\", \"operator\": \"Exists\"}]"] {
        assert_eq!(annotated(fits), [] as [String; 0], "{fits}");
    }
    let place = "metadata.annotations.scheduler.alpha.kubernetes.io/tolerations[0]";
    let found = annotated("[{\"key\": \"a\", \"operator\": \"Exists\", \"value\": \"b\"}]");
    assert_eq!(
        found,
        [format!("{place}.operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'")]
    );
    let refused = "metadata.annotations: Invalid value: \"scheduler.alpha.kubernetes.io/tolerations\"";
    for (text, why) in [
        ("{}", "json: cannot unmarshal object into Go value of type []core.Toleration"),
        ("[1]", "json: cannot unmarshal number into Go value of type core.Toleration"),
        (
            "[{\"effect\": 1}]",
            "json: cannot unmarshal number into Go struct field Toleration.Effect of type core.TaintEffect",
        ),
        ("x", "invalid character 'x' looking for beginning of value"),
    ] {
        assert_eq!(annotated(text), [format!("{refused}: {why}")], "{text}");
    }
}
