//! [`EnvVar`]: environment variables and where their values come from.

use serde::{Deserialize, Serialize};

use super::is_false;

/// One environment variable.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value; `$(VAR)` is expanded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Value from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value comes from; exactly one is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVarSource {
    /// A field of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<ObjectFieldSelector>,
    /// A resource of a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldSelector>,
    /// A key of a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeySelector>,
    /// A key of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeySelector>,
    /// A key of a file in an emptyDir.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_key_ref: Option<FileKeySelector>,
}

/// A field of the pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectFieldSelector {
    /// `v1`.
    pub api_version: String,
    /// For example `metadata.name`.
    pub field_path: String,
}

/// A resource of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceFieldSelector {
    /// Default: the container that holds the variable.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// For example `limits.memory`.
    pub resource: String,
    /// Default 1.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub divisor: String,
}

/// A key of a ConfigMap or Secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeySelector {
    /// Name of the object.
    pub name: String,
    /// Key.
    pub key: String,
    /// A missing object or key is no error.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// A key of a file of `KEY=VALUE` lines in an emptyDir.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileKeySelector {
    /// Name of the emptyDir volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub volume_name: String,
    /// Path of the file within it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// A missing file or key is no error.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// All keys of an object as environment variables.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFromSource {
    /// Put before each key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// A ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<OptionalReference>,
    /// A Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<OptionalReference>,
}

/// An object by name that may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OptionalReference {
    /// Name.
    pub name: String,
    /// A missing object is no error.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}
