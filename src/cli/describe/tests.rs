#![allow(clippy::too_many_lines, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;

use super::*;

/// 2026-01-01T00:10:00Z.
const NOW: i64 = 1_767_226_200;

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-gw", "namespace": "iot", "uid": "u1",
            "labels": {"app": "web", "tier": "front"}, "annotations": {"gatepost.io/start-after": "clock"},
        },
        "spec": {
            "priority": 0, "nodeName": "gw", "serviceAccountName": "default",
            "initContainers": [{"name": "wait", "image": "busybox:1", "command": ["sh", "-c", "until true\ndo :; done"]}],
            "containers": [{
                "name": "app", "image": "nginx:1", "args": ["-g", "daemon off;"],
                "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}],
                "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}},
                "livenessProbe": {"httpGet": {"path": "/x", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "envFrom": [{"configMapRef": {"name": "conf"}}],
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "TWO", "value": "x\ny"},
                    {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
                    {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
                    {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": true}}},
                    {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
                ],
                "volumeMounts": [{"name": "html", "mountPath": "/www", "readOnly": true}, {"name": "data", "mountPath": "/data", "subPath": "d"}],
            }],
            "volumes": [
                {"name": "html", "configMap": {"name": "pages"}},
                {"name": "data", "emptyDir": {}},
                {"name": "dev", "hostPath": {"path": "/dev", "type": ""}},
                {"name": "sec", "secret": {"secretName": "s", "optional": true}},
            ],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"operator": "Exists"},
            ],
        },
        "status": {
            "phase": "Running", "hostIP": "192.0.2.1", "podIP": "10.0.0.2", "podIPs": [{"ip": "10.0.0.2"}],
            "startTime": "2026-01-01T00:00:00Z", "qosClass": "Burstable",
            "conditions": [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "False"}],
            "initContainerStatuses": [{"name": "wait", "imageID": "sha256:1", "containerID": "runc://wait-1", "ready": true, "restartCount": 0,
                "state": {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": "2026-01-01T00:00:01Z", "finishedAt": "2026-01-01T00:00:02Z"}}}],
            "containerStatuses": [{"name": "app", "imageID": "sha256:2", "containerID": "runc://app-2", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {"terminated": {"exitCode": 137, "signal": 9, "reason": "OOMKilled", "message": "last words", "startedAt": "2026-01-01T00:08:00Z", "finishedAt": "2026-01-01T00:09:00Z"}}}],
        },
    })
}

#[test]
fn the_layout_is_kubectls() {
    let expected = "\
Name:             web-gw
Namespace:        iot
Priority:         0
Service Account:  default
Node:             gw/192.0.2.1
Start Time:       Thu, 01 Jan 2026 00:00:00 +0000
Labels:           app=web
                  tier=front
Annotations:      gatepost.io/start-after: clock
Status:           Running
IP:               10.0.0.2
IPs:
  IP:  10.0.0.2
Init Containers:
  wait:
    Container ID:  runc://wait-1
    Image:         busybox:1
    Image ID:      sha256:1
    Port:          <none>
    Host Port:     <none>
    Command:
      sh
      -c
      until true
      do :; done
    State:          Terminated
      Reason:       Completed
      Exit Code:    0
      Started:      Thu, 01 Jan 2026 00:00:01 +0000
      Finished:     Thu, 01 Jan 2026 00:00:02 +0000
    Ready:          True
    Restart Count:  0
    Environment:    <none>
    Mounts:         <none>
Containers:
  app:
    Container ID:  runc://app-2
    Image:         nginx:1
    Image ID:      sha256:2
    Ports:         80/TCP (http), 53/UDP
    Host Ports:    0/TCP (http), 5353/UDP
    Args:
      -g
      daemon off;
    State:          Waiting
      Reason:       CrashLoopBackOff
      Message:      back-off 40s
    Last State:     Terminated
      Reason:       OOMKilled
      Message:      last words
      Exit Code:    137
      Signal:       9
      Started:      Thu, 01 Jan 2026 00:08:00 +0000
      Finished:     Thu, 01 Jan 2026 00:09:00 +0000
    Ready:          False
    Restart Count:  3
    Limits:
      memory:  64Mi
    Requests:
      cpu:     100m
      memory:  64Mi
    Liveness:  http-get http://:8080/x delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment Variables from:
      conf  ConfigMap  Optional: false
    Environment:
      A:     1
      TWO:   x
             y
      POD:   web-gw (v1:metadata.name)
      TIER:  front (v1:metadata.labels['tier'])
      PW:    <set to the key 'k' in secret 's'>      Optional: false
      C:     <set to the key 'k' of config map 'c'>  Optional: true
      MEM:   64Mi (limits.memory)
    Mounts:
      /data from data (rw,path=\"d\")
      /www from html (ro)
Conditions:
  Type          Status
  Initialized   True 
  Ready         False 
Volumes:
  html:
    Type:      ConfigMap (a volume populated by a ConfigMap)
    Name:      pages
    Optional:  false
  data:
    Type:       EmptyDir (a temporary directory that shares a pod's lifetime)
    Medium:     
    SizeLimit:  <unset>
  dev:
    Type:          HostPath (bare host directory volume)
    Path:          /dev
    HostPathType:  
  sec:
    Type:        Secret (a volume populated by a Secret)
    SecretName:  s
    Optional:    true
QoS Class:       Burstable
Node-Selectors:  <none>
Tolerations:     node.kubernetes.io/not-ready:NoExecute op=Exists for 300s
                 op=Exists
Events:  <none>
";
    assert_eq!(pod_text(&pod(), &[], NOW), expected);
}

#[test]
fn a_pod_that_ends_tells_since_when_and_its_grace() {
    let mut pod = pod();
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:09:55Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    let text = pod_text(&pod, &[], NOW);
    assert!(
        text.contains("Status:                    Terminating (lasts 5s)\nTermination Grace Period:  30s\n"),
        "{text}"
    );
}

#[test]
fn reason_message_and_profile_are_shown_when_set() {
    let mut pod = pod();
    pod["status"]["reason"] = json!("Evicted");
    pod["status"]["message"] = json!("too big");
    pod["spec"]["securityContext"] = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    pod["status"]["podIPs"] = json!([]);
    let text = pod_text(&pod, &[], NOW);
    for line in [
        "Reason:           Evicted",
        "Message:          too big",
        "SeccompProfile:   RuntimeDefault",
        "IPs:              <none>",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_long_annotation_stands_below_its_key() {
    let mut out = String::new();
    annotations(&mut out, &[("a", "1"), ("long", &"x".repeat(200)), ("two", "l1\nl2")]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "Annotations:\ta: 1");
    assert_eq!(lines[1], "\tlong:");
    assert!(lines[2].starts_with("\t  xxx") && lines[2].ends_with("..."));
    assert_eq!(&lines[3..], ["\ttwo:", "\t  l1", "\t  l2"]);
}

#[test]
fn an_empty_object_is_described_without_a_panic() {
    assert!(pod_text(&json!({}), &[], NOW).starts_with("Name:"));
    assert!(pod_text(&json!({"spec": {"containers": [null, 3, {}], "volumes": [7]}}), &[], NOW).contains("Volumes:"));
}
