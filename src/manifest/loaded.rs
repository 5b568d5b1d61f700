//! [`Loaded`]: what became of a document: the [`Object`] that it describes, or what is wrong with it.

use std::rc::Rc;

use crate::json::{Deserialize, Serialize};

use super::error::ValidationError;
use super::qos::QosClass;
use super::v1::{ConfigMap, LimitRange, ObjectMeta, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service};
use super::workload;
use crate::policy::Level;

/// An object that is carried out. Cheap to clone: whoever has one shares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A pod, defaulted, with its uid and full name.
    Pod {
        /// The name in the manifest, without the node's.
        written_name: String,
        /// The pod.
        pod: Rc<Pod>,
    },
    /// A ConfigMap.
    ConfigMap(Rc<ConfigMap>),
    /// A Secret.
    Secret(Rc<Secret>),
    /// A PersistentVolume; its namespace is empty.
    PersistentVolume(Rc<PersistentVolume>),
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim(Rc<PersistentVolumeClaim>),
    /// A Service.
    Service(Rc<Service>),
    /// A LimitRange.
    LimitRange(Rc<LimitRange>),
}

impl Object {
    /// The object's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pod { .. } => "Pod",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
            Self::PersistentVolume(_) => "PersistentVolume",
            Self::PersistentVolumeClaim(_) => "PersistentVolumeClaim",
            Self::Service(_) => "Service",
            Self::LimitRange(_) => "LimitRange",
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod { pod, .. } => &pod.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::PersistentVolume(object) => &object.metadata,
            Self::PersistentVolumeClaim(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::LimitRange(object) => &object.metadata,
        }
    }
}

/// Something odd in a document that is accepted all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Path of the field; empty for the document as a whole.
    pub field: String,
    /// What is odd and what follows.
    pub message: String,
    /// Line in the file, from 1.
    pub line: u32,
}

/// What became of one document, or of one item of a `List`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Which document of the file, from 0.
    pub document: usize,
    /// Line where it begins, from 1.
    pub line: u32,
    /// Kind as written; empty when missing.
    pub kind: String,
    /// Namespace; `default` when none is written.
    pub namespace: String,
    /// Full name (pods: with the node's); empty when missing.
    pub name: String,
    /// The object; none with errors, and for kinds that are not carried out.
    pub object: Option<Object>,
    /// QoS class of a pod that Kubernetes would take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<QosClass>,
    /// The strictest Pod Security Standard that such a pod meets.
    #[serde(default)]
    pub meets: Level,
    /// What is wrong.
    pub errors: Vec<ValidationError>,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// The kind of the object that comes of the document: workloads run as a pod.
    pub fn object_kind(&self) -> &str {
        if workload::KINDS.contains(&self.kind.as_str()) { "Pod" } else { &self.kind }
    }
}
