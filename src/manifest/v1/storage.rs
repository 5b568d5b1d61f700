//! [`PersistentVolume`] and [`PersistentVolumeClaim`]: storage that outlives pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{HostPathVolumeSource, LabelSelector, ObjectMeta, ObjectReference, ResourceRequirements};

/// A PersistentVolume; it has no namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolume {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it is.
    pub spec: PersistentVolumeSpec,
}

/// What a PersistentVolume is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeSpec {
    /// Size by resource name (`storage`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capacity: BTreeMap<String, String>,
    /// `ReadWriteOnce`, `ReadOnlyMany`, `ReadWriteMany`, `ReadWriteOncePod`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_modes: Vec<String>,
    /// Class; a claim of the same class may bind it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub storage_class_name: String,
    /// `Retain` (default), `Recycle` or `Delete`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub persistent_volume_reclaim_policy: String,
    /// `Filesystem` (default) or `Block`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_mode: String,
    /// Mount options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<String>,
    /// The one claim that may bind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_ref: Option<ObjectReference>,
    /// A path of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathVolumeSource>,
    /// A directory of the host that must be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalVolumeSource>,
}

/// local.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalVolumeSource {
    /// Path on the host.
    pub path: String,
    /// File system, for block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_type: Option<String>,
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaim {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What is claimed.
    pub spec: PersistentVolumeClaimSpec,
}

/// What is claimed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PersistentVolumeClaimSpec {
    /// Needed access modes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub access_modes: Vec<String>,
    /// Needed size: `requests.storage`.
    pub resources: ResourceRequirements,
    /// Labels that the volume must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
    /// The one volume that is claimed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_name: String,
    /// `Filesystem` (default) or `Block`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_mode: String,
}
