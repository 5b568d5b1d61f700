//! [`Service`]: a name for pods.

use crate::sorted::BTreeMap;

use crate::json::{Deserialize, Serialize};

use super::{ObjectMeta, Port, is_false, is_zero};

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What it stands for.
    pub spec: ServiceSpec,
}

/// What a Service stands for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (default), `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Labels of the pods behind it; none: it selects nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Address, or `None`.
    #[serde(rename = "clusterIP", skip_serializing_if = "String::is_empty")]
    pub cluster_ip: String,
    /// The name leads to pods that are not Ready, too.
    #[serde(skip_serializing_if = "is_false")]
    pub publish_not_ready_addresses: bool,
    /// Name that `ExternalName` stands for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_name: String,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `TCP` (default), `UDP` or `SCTP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Port of the Service.
    pub port: i32,
    /// Port of the pods; default the same.
    pub target_port: Port,
    /// Port on the node.
    #[serde(skip_serializing_if = "is_zero")]
    pub node_port: i32,
}
