//! The objects of the Kubernetes v1 API as this node carries them out, after defaulting: [`Pod`] and what stands beside it.
//!
//! Field names, meaning and defaults are those of the Kubernetes API reference. Fields that the field table refuses or only
//! warns about are not here, so no code can half carry them out.

mod config;
mod container;
mod env;
mod limit_range;
mod pod;
mod probe;
mod security;
mod service;
mod storage;
mod volume;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use config::{ConfigMap, Secret};
pub use container::{
    Container, ContainerPort, ContainerRestartRule, ContainerRestartRuleOnExitCodes, ResourceRequirements, VolumeMount,
};
pub use env::{
    EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, KeySelector, ObjectFieldSelector, OptionalReference,
    ResourceFieldSelector,
};
pub use limit_range::{LimitRange, LimitRangeItem, LimitRangeSpec};
pub use pod::{HostAlias, PodDnsConfig, PodDnsConfigOption, PodSpec, RestartPolicy};
pub use probe::{
    ExecAction, GrpcAction, HttpGetAction, HttpHeader, Lifecycle, LifecycleHandler, Port, Probe, SleepAction,
    TcpSocketAction,
};
pub use security::{
    AppArmorProfile, Capabilities, PodSecurityContext, SeLinuxOptions, SeccompProfile, SecurityContext, Sysctl,
};
pub use service::{Service, ServicePort, ServiceSpec};
pub use storage::{
    LocalVolumeSource, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
pub use volume::{
    ConfigMapVolumeSource, DownwardApiVolumeFile, DownwardApiVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource,
    ImageVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, SecretVolumeSource, Volume,
    VolumeProjection,
};

/// Metadata of any object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Full name: for pods `<name>-<node>`.
    pub name: String,
    /// Namespace; `default` when the document names none.
    pub namespace: String,
    /// 32 hex digits; see `manifest::identity`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// RFC 3339; when this node first saw the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// RFC 3339; set while the pod is being terminated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Seconds of grace of the termination under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
}

/// A Pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What should run.
    pub spec: PodSpec,
}

/// An object of the same namespace by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalObjectReference {
    /// Name.
    pub name: String,
}

/// An object by namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Objects by their labels; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A condition on one label.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelectorRequirement {
    /// Key of the label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: String,
    /// Values, for `In` and `NotIn`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(value: &i32) -> bool {
    *value == 0
}
