//! [`PodSpec`]: what should run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Container, LocalObjectReference, PodSecurityContext, ResourceRequirements, Volume, is_false};

/// What should run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// App containers, at least one.
    pub containers: Vec<Container>,
    /// Init containers, run in order before the app containers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
    /// Volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Restart policy; default `Always`.
    pub restart_policy: RestartPolicy,
    /// Seconds between the stop signal and SIGKILL; default 30.
    pub termination_grace_period_seconds: i64,
    /// Seconds that the pod may be active, pulls and restarts included; unset: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Name of this node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// Share the host's network.
    #[serde(skip_serializing_if = "is_false")]
    pub host_network: bool,
    /// Share the host's process ids.
    #[serde(rename = "hostPID", skip_serializing_if = "is_false")]
    pub host_pid: bool,
    /// Share the host's IPC namespace.
    #[serde(rename = "hostIPC", skip_serializing_if = "is_false")]
    pub host_ipc: bool,
    /// `false`: the pod gets a user namespace of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_users: Option<bool>,
    /// One process namespace for all containers of the pod.
    #[serde(skip_serializing_if = "is_false")]
    pub share_process_namespace: bool,
    /// Host name of the pod; default the pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Host names become `<hostname>.<subdomain>.<namespace>.svc.<cluster domain>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The kernel's host name is the full one.
    #[serde(rename = "setHostnameAsFQDN", skip_serializing_if = "is_false")]
    pub set_hostname_as_fqdn: bool,
    /// Replaces host name and subdomain; at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname_override: Option<String>,
    /// Lines added to `/etc/hosts`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_aliases: Vec<HostAlias>,
    /// `ClusterFirst` (default; here as `Default`), `ClusterFirstWithHostNet`, `Default`, `None`.
    pub dns_policy: String,
    /// Additions to resolv.conf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<PodDnsConfig>,
    /// Pod-level security context.
    pub security_context: PodSecurityContext,
    /// Limits and requests of the pod as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// What the pod costs beside its containers: quantities by resource name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub overhead: BTreeMap<String, String>,
    /// Variables for the Services of the namespace; default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_service_links: Option<bool>,
    /// Priority: higher starts first, and stops last.
    pub priority: i32,
    /// Priority class as written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub priority_class_name: String,
    /// Service account as written; there is no API to use it with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_account_name: String,
    /// Names of Secrets with registry credentials, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Tolerations as written; one node, so they select nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<serde_json::Value>,
}

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Always, also after exit code 0.
    #[default]
    Always,
    /// After a failure only.
    OnFailure,
    /// At most one run.
    Never,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostAlias {
    /// Address.
    pub ip: String,
    /// Names.
    pub hostnames: Vec<String>,
}

/// Additions to resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDnsConfig {
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<PodDnsConfigOption>,
}

/// An option of resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodDnsConfigOption {
    /// Name.
    pub name: String,
    /// Value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
