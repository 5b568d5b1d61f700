#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value as Json, json};

use super::{Level, check, refusal};

fn said(pod: &Json, level: Level) -> String {
    refusal(level, &check(pod, level))
}

fn plain(container: &Json, spec: &Json) -> Json {
    let mut pod = json!({"metadata": {"annotations": {}}, "spec": spec});
    pod["spec"]["containers"] = json!([container]);
    pod
}

#[test]
fn what_leads_out_of_the_container_is_refused_in_upstreams_words() {
    let context = json!({"privileged": true, "capabilities": {"add": ["NET_ADMIN", "CHOWN", "BPF"]},
        "procMount": "Unmasked", "seLinuxOptions": {"type": "spc_t", "user": "u"}, "seccompProfile": {"type": "Unconfined"},
        "appArmorProfile": {"type": "Unconfined"}});
    let container = json!({"name": "app", "securityContext": context, "ports": [{"containerPort": 1, "hostPort": 80}],
        "livenessProbe": {"httpGet": {"host": "10.0.0.1"}}});
    let spec = json!({"hostNetwork": true, "hostPID": true, "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}});
    assert_eq!(
        said(&plain(&container, &spec), Level::Baseline),
        "violates PodSecurity \"baseline:latest\": \
         forbidden AppArmor profile (container \"app\" must not set AppArmor profile type to \"Unconfined\"), \
         non-default capabilities (container \"app\" must not include \"BPF\", \"NET_ADMIN\" in securityContext.capabilities.add), \
         host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"v\"), \
         hostPort (container \"app\" uses hostPort 80), \
         probe or lifecycle host (container \"app\" uses probe or lifecycle host \"10.0.0.1\"), \
         privileged (container \"app\" must not set securityContext.privileged=true), \
         procMount (container \"app\" must not set securityContext.procMount to \"Unmasked\"), \
         seLinuxOptions (container \"app\" set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set), \
         seccompProfile (container \"app\" must not set securityContext.seccompProfile.type to \"Unconfined\"), \
         forbidden sysctls (kernel.msgmax)"
    );
}

#[test]
fn what_hardening_demands_is_asked_for_by_name() {
    let pod = plain(&json!({"name": "app"}), &json!({"volumes": [{"name": "v", "nfs": {}}]}));
    assert!(check(&pod, Level::Baseline).is_empty());
    assert_eq!(
        said(&pod, Level::Restricted),
        "violates PodSecurity \"restricted:latest\": \
         allowPrivilegeEscalation != false (container \"app\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"app\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         restricted volume types (volume \"v\" uses restricted volume type \"nfs\"), \
         runAsNonRoot != true (pod or container \"app\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"app\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true});
    let pod = plain(
        &json!({"name": "app", "securityContext": context}),
        &json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}),
    );
    assert!(check(&pod, Level::Restricted).is_empty());
}

#[test]
fn a_pod_with_users_of_its_own_may_show_proc_and_run_as_root() {
    let context = json!({"procMount": "Unmasked", "runAsUser": 0});
    let pod = plain(&json!({"name": "app", "securityContext": context}), &json!({"hostUsers": false}));
    assert!(check(&pod, Level::Baseline).is_empty());
    assert!(!said(&pod, Level::Restricted).contains("runAs"));
}

#[test]
fn what_windows_does_not_have_need_not_be_set_there() {
    let spec = json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}});
    assert!(check(&plain(&json!({"name": "app"}), &spec), Level::Restricted).is_empty());
    let spec = json!({"os": {"name": "linux"}, "securityContext": {"runAsNonRoot": true}});
    assert_eq!(check(&plain(&json!({"name": "app"}), &spec), Level::Restricted).len(), 3);
}
