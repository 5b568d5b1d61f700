#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::format_collect)] // readable, and not in a hurry

use std::time::Duration;

use super::annotations::{Annotations, StartCondition};
use super::v1::Pod;
use super::{ErrorKind, Loaded, Object, Rules, base64, identity, load, qos_class, validate_bytes};

const NODEJS: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: nodejs
  namespace: default
spec:
  containers:
  - name: nodejs
    image: example.com/nodejs:1
    ports:
    - containerPort: 8080
";

const REGISTRY: &str = r#"{
  "apiVersion": "v1", "kind": "Pod",
  "metadata": {"generateName": "docker-registry-1-", "labels": {"deployment": "docker-registry-1"}, "creationTimestamp": null},
  "spec": {
    "containers": [{
      "name": "registry", "image": "docker.io/library/registry:2",
      "env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "C", "value": "$(A)"}],
      "imagePullPolicy": "IfNotPresent",
      "ports": [{"containerPort": 5000, "protocol": "TCP"}],
      "resources": {},
      "securityContext": {"capabilities": {"drop": ["KILL"]}, "privileged": false, "runAsUser": 1000, "seLinuxOptions": {}},
      "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
      "volumeMounts": [
        {"mountPath": "/registry", "name": "registry-storage"},
        {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "token", "readOnly": true}]
    }],
    "dnsPolicy": "ClusterFirst", "imagePullSecrets": [{"name": "pull"}], "restartPolicy": "Always",
    "schedulerName": "default-scheduler", "securityContext": {}, "serviceAccount": "registry",
    "serviceAccountName": "registry", "terminationGracePeriodSeconds": 30,
    "volumes": [{"emptyDir": {}, "name": "registry-storage"},
                {"name": "token", "secret": {"defaultMode": 420, "secretName": "registry-token"}}]
  },
  "status": {"phase": "Pending"}
}"#;

fn one(text: &str) -> Loaded {
    let mut loaded = load(text.as_bytes(), node("Gate-1")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(loaded.len(), 1);
    loaded.remove(0)
}

fn pod(text: &str) -> Pod {
    match one(text) {
        Loaded { object: Some(Object::Pod { pod, .. }), errors, .. } if errors.is_empty() => (*pod).clone(),
        other => panic!("{:#?}", other.errors),
    }
}

fn errors(text: &str) -> Vec<String> {
    one(text).errors.iter().map(|error| format!("{}: {error}", error.line)).collect()
}

fn with_spec(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers: [{{name: c, image: i:1}}]\n{spec}")
}

fn with_annotation(annotation: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    {annotation}\nspec:\n  containers: [{{name: c, image: i:1}}]\n"
    )
}

fn node(node_name: &str) -> Rules<'_> {
    Rules { node_name, ..Rules::default() }
}

#[test]
fn the_nodejs_pod_loads_without_a_word() {
    let loaded = one(NODEJS);
    assert!(loaded.errors.is_empty() && loaded.warnings.is_empty(), "{:?} {:?}", loaded.errors, loaded.warnings);
    let pod = pod(NODEJS);
    assert_eq!((pod.metadata.namespace.as_str(), pod.metadata.name.as_str()), ("default", "nodejs-gate-1"));
    assert_eq!(pod.metadata.annotations["kubernetes.io/config.hash"], pod.metadata.uid);
    assert_eq!(pod.metadata.annotations["kubernetes.io/config.source"], "file");
    assert_eq!(pod.spec.node_name, "Gate-1");
    assert_eq!(pod.spec.termination_grace_period_seconds, 30);
    assert_eq!(pod.spec.containers[0].image_pull_policy, "IfNotPresent");
    assert_eq!(pod.spec.containers[0].ports[0].protocol, "TCP");
    assert_eq!(pod.spec.dns_policy, "ClusterFirst");
}

#[test]
fn its_twin_with_host_network_gets_host_ports() {
    let pod = pod(&NODEJS.replace("spec:\n", "spec:\n  hostNetwork: true\n"));
    assert!(pod.spec.host_network);
    assert_eq!(pod.spec.containers[0].ports[0].host_port, 8080);
}

#[test]
fn the_offline_pod_with_tolerations_loads_without_a_word() {
    let text = with_spec(
        "  tolerations:\n  - {effect: NoExecute, key: node.kubernetes.io/not-ready, operator: Exists, tolerationSeconds: 300}\n  - {effect: NoExecute, key: node.kubernetes.io/unreachable, operator: Exists, tolerationSeconds: 300}\n",
    )
    .replace("image: i:1", "image: i:1, imagePullPolicy: IfNotPresent");
    let loaded = one(&text);
    assert!(loaded.errors.is_empty() && loaded.warnings.is_empty(), "{:?} {:?}", loaded.errors, loaded.warnings);
}

#[test]
fn the_registry_pod_loads_with_a_stable_generated_name() {
    let loaded = one(REGISTRY);
    assert!(loaded.errors.is_empty(), "{:#?}", loaded.errors);
    let warned: Vec<_> = loaded.warnings.iter().map(|warning| warning.field.as_str()).collect();
    assert_eq!(warned, ["spec.serviceAccount", "spec.serviceAccountName"]);
    let Some(Object::Pod { written_name, pod }) = loaded.object else { panic!("no pod") };
    assert!(written_name.starts_with("docker-registry-1-") && written_name.len() == 23, "{written_name}");
    assert_eq!(pod.metadata.name, format!("{written_name}-gate-1"));
    assert_eq!(pod.spec.volumes[1].secret.as_ref().expect("secret").default_mode, Some(0o644));
}

#[test]
fn golden_identities_never_change() {
    // These values are in use on gateways: a change here restarts every pod at an upgrade.
    assert_eq!(pod(NODEJS).metadata.uid, "0837409200950d2bd2419f4cfe2ef3d5");
    assert_eq!(pod(REGISTRY).metadata.uid, "d4dd39f8de1619a59c132c4e258872ff");
    assert_eq!(pod(REGISTRY).metadata.name, "docker-registry-1-m4px4-gate-1");
    assert_eq!(identity::uid("", &serde_json::json!({})), "554d0db8ad9ae3edf99a14cfb355d6f8");
}

#[test]
fn comments_and_order_do_not_change_the_identity_but_the_node_does() {
    let reordered = "# a comment\nkind: Pod\napiVersion: v1\nspec: {containers: [{image: 'example.com/nodejs:1', name: nodejs, ports: [{containerPort: 8080}]}]}\nmetadata: {namespace: default, name: nodejs}\n";
    assert_eq!(pod(reordered).metadata.uid, pod(NODEJS).metadata.uid);
    let elsewhere = load(NODEJS.as_bytes(), node("other")).expect("loads").remove(0);
    assert_ne!(elsewhere.object.expect("a pod").metadata().uid, pod(NODEJS).metadata.uid);
}

#[test]
fn unquoted_yes_is_no_string() {
    let text = with_spec("").replace("image: i:1", "image: i:1, env: [{name: A, value: yes}]");
    let errors = errors(&text);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0]
            .starts_with("5: spec.containers[0].env[0].value: Invalid type: true: expected a string, found a boolean"),
        "{errors:?}"
    );
}

#[test]
fn what_comes_later_is_refused_by_name_and_line() {
    let text = with_spec("").replace("image: i:1", "image: i:1, livenessProbe: {grpc: {port: 1}}");
    let loaded = one(&text);
    let found: Vec<_> = loaded.errors.iter().map(|error| (error.field.as_str(), error.line, error.kind)).collect();
    assert_eq!(found, [("spec.containers[0].livenessProbe.grpc", 5, ErrorKind::Unimplemented),]);
}

#[test]
fn values_that_mean_nothing_are_accepted() {
    let text = with_spec("  hostUsers: true\n  shareProcessNamespace: false\n  activeDeadlineSeconds: ~\n  affinity: {}\n  os: {name: linux}\n")
        .replace("image: i:1", "image: i:1, volumeMounts: [{name: v, mountPath: /v, subPath: '', mountPropagation: None}]")
        + "  volumes: [{name: v}]\n";
    let loaded = one(&text);
    assert!(loaded.errors.is_empty() && loaded.warnings.is_empty(), "{:?} {:?}", loaded.errors, loaded.warnings);
    assert!(pod(&text).spec.volumes[0].empty_dir.is_some());
}

#[test]
fn an_unknown_field_is_a_warning_and_an_error_to_a_strict_reader() {
    let text = with_spec("  restartpolicy: Never\n");
    let loaded = one(&text);
    assert!(loaded.object.is_some());
    assert_eq!((loaded.warnings[0].field.as_str(), loaded.warnings[0].line), ("spec.restartpolicy", 6));
    assert!(loaded.warnings[0].message.contains("restartPolicy"));
    assert!(load(text.as_bytes(), Rules { strict: true, ..node("n") }).expect("loads")[0].object.is_none());
}

#[test]
fn enumerations_are_checked_in_kubernetes_words() {
    assert_eq!(
        errors(&with_spec("  restartPolicy: always\n")),
        [
            "6: spec.restartPolicy: Unsupported value: \"always\": supported values: \"Always\", \"OnFailure\", \"Never\""
        ]
    );
}

#[test]
fn lists_are_opened_and_other_kinds_are_never_silent() {
    let text = "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: v}}\n- {apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: d}}\n---\nkind: PodList\napiVersion: v1\nitems: [{metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}]\n---\napiVersion: v1\nkind: pod\n";
    let loaded = load(text.as_bytes(), node("n")).expect("loads");
    let kinds: Vec<_> = loaded
        .iter()
        .map(|one| (one.kind.as_str(), one.object.is_some(), one.errors.len(), one.warnings.len()))
        .collect();
    assert_eq!(kinds, [("ConfigMap", true, 0, 0), ("Ingress", false, 0, 1), ("Pod", true, 0, 0), ("pod", false, 1, 0)]);
    assert!(loaded[1].warnings[0].message.contains("not carried out"));
    assert_eq!(loaded[1].warnings[0].line, 5);
}

#[test]
fn a_secret_merges_string_data_and_checks_base64() {
    let loaded =
        one("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: héllo}\ndata: {a: eA==, b: aGk=}\n");
    let Some(Object::Secret(secret)) = loaded.object else { panic!("{:?}", loaded.errors) };
    assert_eq!(base64::decode(&secret.data["a"]).expect("base64"), "héllo".as_bytes());
    assert_eq!(base64::decode(&secret.data["b"]).expect("base64"), b"hi");
    assert_eq!(secret.kind, "Opaque");
    let wrong = errors("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a: not base64!\n");
    assert!(wrong[0].starts_with("5: data[a]: Invalid type"), "{wrong:?}");
    assert!(!wrong[0].contains("not base64!"), "a secret's value reached a message: {wrong:?}");
}

#[test]
fn base64_is_its_own_inverse() {
    for length in 0..70_u8 {
        let bytes: Vec<u8> = (0..length).map(|n| n.wrapping_mul(37)).collect();
        assert_eq!(base64::decode(&base64::encode(&bytes)).expect("base64"), bytes);
    }
    for text in ["a", "ab", "abc", "a===", "=", "ab=c", "ab==c", "a b=", "ab=", "====", "ab==ab==", "ab-c", "ü"] {
        assert!(base64::decode(text).is_err(), "{text}");
    }
}

#[test]
fn qos_follows_cpu_and_memory_of_all_containers() {
    let class = |resources: &str| {
        let text = with_spec("").replace("image: i:1", &format!("image: i:1, resources: {resources}"));
        qos_class(&pod(&text)).to_string()
    };
    assert_eq!(class("{}"), "BestEffort");
    assert_eq!(class("{limits: {cpu: 1, memory: 1Mi}}"), "Guaranteed");
    assert_eq!(class("{limits: {cpu: 1, memory: 1Mi}, requests: {cpu: 500m}}"), "Burstable");
    assert_eq!(class("{requests: {memory: 1Mi}}"), "Burstable");
}

#[test]
fn annotations_are_typed() {
    let text = with_annotation("gatepost.io/start-after: 'clock, path:/dev/ttyUSB0, pod/mosquitto, route'")
        .replace("  annotations:\n", "  annotations:\n    gatepost.io/backoff-max: 2m\n    gatepost.io/backoff-max.c: '30'\n    gatepost.io/start-after-timeout: '0'\n");
    let annotations = Annotations::of(&pod(&text));
    assert_eq!(
        annotations.start_after,
        [
            StartCondition::Clock,
            StartCondition::Route,
            StartCondition::Path("/dev/ttyUSB0".into()),
            StartCondition::Pod("mosquitto".into())
        ]
    );
    assert_eq!(annotations.container_backoff["c"].max, Some(Duration::from_secs(30)));
    assert_eq!(annotations.backoff.max, Some(Duration::from_mins(2)));
    assert_eq!(annotations.start_after_timeout, Some(Duration::ZERO));
}

#[test]
fn a_wrong_annotation_is_an_error_at_its_line() {
    for (annotation, part) in [
        ("gatepost.io/backoff-initial: soon", "is no duration"),
        ("gatepost.io/backoff-initial: '0'", "longer than zero"),
        ("gatepost.io/backoff-max.nobody: 5s", "no container"),
        ("gatepost.io/start-after: moon", "is no condition"),
        ("gatepost.io/start-after: path:relative", "is no condition"),
    ] {
        let errors = errors(&with_annotation(annotation));
        assert!(
            errors.len() == 1
                && errors[0].starts_with("6: metadata.annotations[gatepost.io/")
                && errors[0].contains(part),
            "{errors:?}"
        );
    }
    let loaded = one(&with_annotation("gatepost.io/backoff-maximum: 5s"));
    assert!(loaded.errors.is_empty());
    assert_eq!(loaded.warnings[0].line, 6);
}

#[test]
fn pods_that_wait_for_each_other_are_refused_by_name() {
    let waiting = |name: &str, after: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{gatepost.io/start-after: '{after}'}}}}\nspec: {{containers: [{{name: c, image: i}}]}}\n---\n"
        )
    };
    let text = waiting("a", "pod/b") + &waiting("b", "pod/c, clock") + &waiting("c", "pod/a") + &waiting("d", "pod/a");
    let verdicts = validate_bytes("f", text.as_bytes(), Rules::default());
    let ok: Vec<_> = verdicts.iter().map(|verdict| verdict.ok).collect();
    assert_eq!(ok, [false, false, false, true]);
    assert!(verdicts[0].errors[0].message.contains("a -> b -> c -> a"), "{:?}", verdicts[0].errors);
    assert!(!validate_bytes("f", waiting("self", "pod/self").as_bytes(), Rules::default())[0].ok);
}

#[test]
fn a_list_without_items_and_one_with_unknown_fields_are_told() {
    let load = |text: &str| load(text.as_bytes(), node("n")).expect("loads");
    let loaded = load("kind: List\napiVersion: v1\nmetadata: {}\nitem: []\n");
    assert_eq!(loaded[0].errors[0].to_string(), "items: Required value: the objects of the list");
    assert_eq!((loaded[0].warnings[0].field.as_str(), loaded[0].warnings[0].line), ("item", 4));
    let loaded = load("kind: List\napiVersion: v1\nitems: {a: b}\n");
    assert_eq!((loaded[0].errors[0].field.as_str(), loaded[0].errors[0].line), ("items", 3));
    assert!(load("kind: List\napiVersion: v1\nitems: []\n").is_empty());
    assert!(load("kind: List\napiVersion: v1\nitems: null\n").is_empty());
}

#[test]
fn a_written_pull_policy_of_always_is_a_warning_and_the_default_for_latest_is_not() {
    let warned = |image: &str| {
        let loaded = one(&with_spec("").replace("image: i:1", image));
        loaded.warnings.into_iter().map(|w| (w.field, w.line)).collect::<Vec<_>>()
    };
    let field = "spec.containers[0].imagePullPolicy".to_owned();
    assert!(matches!(&warned("image: i:1, imagePullPolicy: Always")[..], [(f, line)] if *f == field && *line > 0));
    assert_eq!(warned("image: i:latest"), []);
}

#[test]
fn ten_thousand_containers_give_one_clear_error() {
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec:\n  containers:\n{}",
        (0..10_000).map(|n| format!("  - {{name: c{n}, image: i}}\n")).collect::<String>()
    );
    assert_eq!(
        errors(&text),
        ["5: spec.containers: Not carried out: at most 256 containers run in a pod here, init containers included"]
    );
}

#[test]
fn a_manifest_for_another_node_is_refused() {
    assert!(errors(&with_spec("  nodeName: elsewhere\n"))[0].contains("this node is"));
    assert!(errors(&with_spec("  nodeName: Gate-1\n")).is_empty());
}

const LIMITED: &str = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l}\nspec:\n  limits:\n  - type: Container\n    max: {memory: 64Mi}\n    default: {memory: 32Mi}\n    defaultRequest: {cpu: 10m}\n    maxLimitRequestRatio: {memory: \"2\"}\n  - type: Pod\n    max: {memory: 100Mi}\n---\n";

fn limited(containers: &str) -> super::DocumentVerdict {
    let text =
        format!("{LIMITED}apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{containers}]}}\n");
    validate_bytes("f", text.as_bytes(), Rules::default()).remove(1)
}

#[test]
fn a_limit_range_gives_defaults_and_refuses_in_the_words_of_the_api_server() {
    let verdict = limited("{name: a, image: i}");
    assert!(verdict.ok, "{:?}", verdict.errors);
    assert_eq!(verdict.qos, "Burstable");
    let words = |containers: &str| limited(containers).errors[0].message.clone();
    assert_eq!(
        words("{name: a, image: i, resources: {limits: {memory: 65Mi}}}"),
        "pods \"p\" is forbidden: maximum memory usage per Container is 64Mi, but limit is 65Mi"
    );
    assert_eq!(
        words("{name: a, image: i, resources: {limits: {memory: 64Mi}, requests: {memory: 16Mi}}}"),
        "pods \"p\" is forbidden: memory max limit to request ratio per Container is 2, but provided ratio is 4.000000"
    );
    let both = "resources: {limits: {memory: 60Mi}}";
    assert_eq!(
        words(&format!("{{name: a, image: i, {both}}}, {{name: b, image: i, {both}}}")),
        "pods \"p\" is forbidden: maximum memory usage per Pod is 100Mi, but limit is 120Mi"
    );
}

#[test]
fn a_limit_range_judges_a_pod_by_what_it_says_of_itself_as_a_whole() {
    let whole = |resources: &str, memory: &str| {
        let containers = format!(
            "{{name: a, image: i, resources: {{limits: {{memory: {memory}}}}}}}], resources: {resources}, tolerations: ["
        );
        limited(&containers).errors.first().map(|error| error.message.clone()).unwrap_or_default()
    };
    assert_eq!(whole("{limits: {memory: 100Mi}}", "60Mi"), "");
    assert_eq!(
        whole("{limits: {memory: 120Mi}}", "60Mi"),
        "pods \"p\" is forbidden: maximum memory usage per Pod is 100Mi, but limit is 120Mi"
    );
    // The default that the range gives is more than the pod as a whole has.
    let text = format!(
        "{LIMITED}apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [{{name: a, image: i}}], resources: {{limits: {{memory: 16Mi}}}}}}\n"
    );
    let found = validate_bytes("f", text.as_bytes(), Rules::default()).remove(1);
    assert!(found.errors[0].message.contains("must be less than or equal to pod limits of 16Mi"), "{:?}", found.errors);
}

#[test]
fn a_workload_runs_as_one_pod_made_of_its_template() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {a: b}}\nspec:\n  replicas: 3\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      - {name: c, image: i}\n";
    let loaded = one(deployment);
    let Some(Object::Pod { written_name, pod }) = &loaded.object else { panic!("{:?}", loaded.errors) };
    assert_eq!((written_name.as_str(), pod.metadata.name.as_str()), ("web-pod", "web-pod-gate-1"));
    assert_eq!(pod.metadata.labels["app"], "web");
    assert_eq!(pod.metadata.annotations["a"], "b");
    let warned: Vec<_> = loaded.warnings.iter().map(|warning| (warning.field.as_str(), warning.line)).collect();
    assert_eq!(warned, [("spec.replicas", 5)]);
    let wrong = errors(
        &deployment.replace("image: i", "imag: i").replace("containers:", "restartPolicy: Never\n      containers:"),
    );
    assert_eq!(
        wrong,
        [
            "12: spec.template.spec.containers[0].image: Required value",
            "10: spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ]
    );
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n";
    assert!(errors(job)[0].contains("supported values: \"OnFailure\", \"Never\""));
    assert!(errors(&deployment.replace("apps/v1", "v1"))[0].contains("supported values: \"apps/v1\""));
}

#[test]
fn a_pod_that_does_not_meet_the_nodes_standard_is_refused_in_upstreams_words() {
    let rules = Rules { pod_security: crate::policy::Level::Baseline, ..node("n") };
    let text = with_spec("  hostPID: true\n");
    let loaded = load(text.as_bytes(), rules).expect("loads").remove(0);
    assert!(loaded.object.is_none());
    assert_eq!(
        loaded.errors[0].message(),
        "Forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"
    );
}

#[test]
fn repeated_keys_are_errors_to_a_strict_reader() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v, k: w}\n";
    assert!(validate_bytes("f", text.as_bytes(), Rules::default())[0].ok);
    let strict = Rules { strict: true, ..Rules::default() };
    assert!(!validate_bytes("f", text.as_bytes(), strict)[0].ok);
}

#[test]
fn the_objects_beside_pods_are_checked_in_kubernetes_words() {
    let object = |kind: &str, spec: &str| {
        errors(&format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: o}}\nspec: {spec}\n"))
    };
    assert_eq!(
        object("PersistentVolumeClaim", "{accessModes: [Often]}"),
        [
            "4: spec.accessModes: Unsupported value: \"Often\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            "4: spec.resources[storage]: Required value",
        ]
    );
    assert_eq!(
        object(
            "PersistentVolume",
            "{accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, local: {path: /srv/../x}}"
        ),
        [
            "4: spec.local.path: Invalid value: \"/srv/../x\": must not contain '..'",
            "4: spec.nodeAffinity: Required value: Local volume requires node affinity",
        ]
    );
    assert_eq!(object("Service", "{selector: {app: web}}"), ["4: spec.ports: Required value"]);
    assert!(object("Service", "{selector: {app: web}, ports: [{port: 80}]}").is_empty());
    assert_eq!(
        object("LimitRange", "{limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}]}")[0],
        "4: spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"
    );
}

#[test]
fn an_extended_resource_is_a_device_that_the_node_must_name() {
    let text = with_spec("")
        .replace("image: i:1", "image: i:1, resources: {limits: {gatepost.io/modbus0: 1, gatepost.io/none: 0}}");
    let named = ["gatepost.io/modbus0".to_owned(), "gatepost.io/none".to_owned()];
    let read = |text: &str, devices| {
        let loaded = load(text.as_bytes(), Rules { devices, ..node("n") }).expect("loads").remove(0);
        loaded.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(read(&text, Some(&named)), [] as [&str; 0]);
    assert_eq!(read(&text, None), [] as [&str; 0], "nobody knows here what the node has");
    let found = read(&text, Some(named.get(1..).expect("a rest")));
    assert_eq!(
        found,
        [
            "spec.containers[0].resources.limits[gatepost.io/modbus0]: Not carried out: no device of this node has that name; say in the node's setting `devices` which one it is"
        ]
    );
    let two = read(&text.replace("modbus0: 1", "modbus0: 2"), Some(&named));
    assert!(two.len() == 1 && two[0].contains("a name stands for one device here"), "{two:?}");
    let half = read(&text.replace("modbus0: 1", "modbus0: 500m"), Some(&named));
    assert!(half.iter().all(|error| error.contains("must be an integer")), "{half:?}");
}

#[test]
fn a_probe_of_a_host_by_name_is_refused_since_nobody_looks_names_up() {
    let probe =
        |host: &str| {
            errors(&with_spec("").replace(
                "image: i:1",
                &format!("image: i:1, livenessProbe: {{tcpSocket: {{port: 80, host: {host}}}}}"),
            ))
        };
    assert_eq!(
        probe("meter.example"),
        [
            "5: spec.containers[0].livenessProbe.tcpSocket.host: Not carried out: names are not looked up here; write an IP address, or remove the field to ask the pod"
        ]
    );
    for host in ["192.0.2.1", "\"::1\"", "\"[::1]\"", "localhost"] {
        assert!(probe(host).is_empty(), "{host}");
    }
}
