//! Field tables of the objects that stand beside pods: [`PERSISTENT_VOLUME`], [`PERSISTENT_VOLUME_CLAIM`], [`SERVICE`],
//! [`LIMIT_RANGE`].

use super::scheduling::NODE_SELECTOR;
use super::volume::{HOST_PATH_VOLUME_SOURCE, NFS_VOLUME_SOURCE, PERSISTENT_VOLUME_CLAIM_SPEC};
use super::{OBJECT_META, QUANTITIES, STRING_MAP, STRINGS};
use crate::document::{Field, Kind, Object, carried, quiet, refused, warned};

const STATUS: Field = quiet("status", Kind::Any, "this node writes the status");
const NO_PROXY: &str = "there is no proxy here; names lead to the pod itself";
const NO_BALANCER: &str = "there is no load balancer here";
const NO_DRIVER: &str = "no driver for it is built in, and data would go to the wrong place; use local or hostPath";

pub(in super::super) static PERSISTENT_VOLUME: Object = Object {
    name: "PersistentVolume",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("metadata", Kind::Object(&OBJECT_META)),
        carried("spec", Kind::Object(&PERSISTENT_VOLUME_SPEC)),
        STATUS,
    ],
};

static PERSISTENT_VOLUME_SPEC: Object = Object {
    name: "PersistentVolumeSpec",
    fields: &[
        carried("accessModes", STRINGS),
        refused("awsElasticBlockStore", Kind::Any, NO_DRIVER),
        refused("azureDisk", Kind::Any, NO_DRIVER),
        refused("azureFile", Kind::Any, NO_DRIVER),
        carried("capacity", QUANTITIES),
        refused("cephfs", Kind::Any, NO_DRIVER),
        refused("cinder", Kind::Any, NO_DRIVER),
        carried("claimRef", Kind::Object(&OBJECT_REFERENCE)),
        refused("csi", Kind::Any, NO_DRIVER),
        refused("fc", Kind::Any, NO_DRIVER),
        refused("flexVolume", Kind::Any, NO_DRIVER),
        refused("flocker", Kind::Any, NO_DRIVER),
        refused("gcePersistentDisk", Kind::Any, NO_DRIVER),
        refused("glusterfs", Kind::Any, NO_DRIVER),
        carried("hostPath", Kind::Object(&HOST_PATH_VOLUME_SOURCE)),
        refused("iscsi", Kind::Any, NO_DRIVER),
        carried("local", Kind::Object(&LOCAL_VOLUME_SOURCE)),
        carried("mountOptions", STRINGS),
        refused("nfs", Kind::Object(&NFS_VOLUME_SOURCE), NO_DRIVER),
        quiet("nodeAffinity", Kind::Object(&VOLUME_NODE_AFFINITY), "there is one node"),
        carried("persistentVolumeReclaimPolicy", Kind::String),
        refused("photonPersistentDisk", Kind::Any, NO_DRIVER),
        refused("portworxVolume", Kind::Any, NO_DRIVER),
        refused("quobyte", Kind::Any, NO_DRIVER),
        refused("rbd", Kind::Any, NO_DRIVER),
        refused("scaleIO", Kind::Any, NO_DRIVER),
        carried("storageClassName", Kind::String),
        refused("storageos", Kind::Any, NO_DRIVER),
        warned("volumeAttributesClassName", Kind::String, "there are no such classes here"),
        carried("volumeMode", Kind::String),
        refused("vsphereVolume", Kind::Any, NO_DRIVER),
    ],
};

static LOCAL_VOLUME_SOURCE: Object =
    Object { name: "LocalVolumeSource", fields: &[carried("fsType", Kind::String), carried("path", Kind::String)] };

static VOLUME_NODE_AFFINITY: Object =
    Object { name: "VolumeNodeAffinity", fields: &[carried("required", Kind::Object(&NODE_SELECTOR))] };

static OBJECT_REFERENCE: Object = Object {
    name: "ObjectReference",
    fields: &[
        quiet("apiVersion", Kind::String, "claims are v1"),
        quiet("fieldPath", Kind::String, "a claim is meant as a whole"),
        quiet("kind", Kind::String, "it is a claim"),
        carried("name", Kind::String),
        carried("namespace", Kind::String),
        quiet("resourceVersion", Kind::String, super::IN_EXPORTS),
        quiet("uid", Kind::String, super::IN_EXPORTS),
    ],
};

pub(in super::super) static PERSISTENT_VOLUME_CLAIM: Object = Object {
    name: "PersistentVolumeClaim",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("metadata", Kind::Object(&OBJECT_META)),
        carried("spec", Kind::Object(&PERSISTENT_VOLUME_CLAIM_SPEC)),
        STATUS,
    ],
};

pub(in super::super) static SERVICE: Object = Object {
    name: "Service",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("metadata", Kind::Object(&OBJECT_META)),
        carried("spec", Kind::Object(&SERVICE_SPEC)),
        STATUS,
    ],
};

static SERVICE_SPEC: Object = Object {
    name: "ServiceSpec",
    fields: &[
        warned("allocateLoadBalancerNodePorts", Kind::Bool, NO_BALANCER),
        carried("clusterIP", Kind::String),
        quiet("clusterIPs", STRINGS, "clusterIP counts"),
        warned("externalIPs", STRINGS, NO_PROXY),
        carried("externalName", Kind::String),
        warned("externalTrafficPolicy", Kind::String, NO_PROXY),
        warned("healthCheckNodePort", Kind::Int32, NO_PROXY),
        quiet("internalTrafficPolicy", Kind::String, NO_PROXY),
        quiet("ipFamilies", STRINGS, "pods have the addresses that the CNI configuration gives"),
        quiet("ipFamilyPolicy", Kind::String, "pods have the addresses that the CNI configuration gives"),
        warned("loadBalancerClass", Kind::String, NO_BALANCER),
        warned("loadBalancerIP", Kind::String, NO_BALANCER),
        warned("loadBalancerSourceRanges", STRINGS, NO_BALANCER),
        carried("ports", Kind::List(&Kind::Object(&SERVICE_PORT))),
        carried("publishNotReadyAddresses", Kind::Bool),
        carried("selector", STRING_MAP),
        warned("sessionAffinity", Kind::String, NO_PROXY).unless(&["\"None\""]),
        warned("sessionAffinityConfig", Kind::Object(&SESSION_AFFINITY), NO_PROXY),
        warned("trafficDistribution", Kind::String, NO_PROXY),
        carried("type", Kind::String),
    ],
};

static SESSION_AFFINITY: Object =
    Object { name: "SessionAffinityConfig", fields: &[quiet("clientIP", Kind::Object(&CLIENT_IP), NO_PROXY)] };

static CLIENT_IP: Object = Object { name: "ClientIPConfig", fields: &[quiet("timeoutSeconds", Kind::Int32, NO_PROXY)] };

static SERVICE_PORT: Object = Object {
    name: "ServicePort",
    fields: &[
        quiet("appProtocol", Kind::String, "a hint for proxies"),
        carried("name", Kind::String),
        carried("nodePort", Kind::Int32),
        carried("port", Kind::Int32),
        carried("protocol", Kind::String),
        carried("targetPort", Kind::IntOrString),
    ],
};

pub(in super::super) static LIMIT_RANGE: Object = Object {
    name: "LimitRange",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("metadata", Kind::Object(&OBJECT_META)),
        carried("spec", Kind::Object(&LIMIT_RANGE_SPEC)),
    ],
};

static LIMIT_RANGE_SPEC: Object =
    Object { name: "LimitRangeSpec", fields: &[carried("limits", Kind::List(&Kind::Object(&LIMIT_RANGE_ITEM)))] };

static LIMIT_RANGE_ITEM: Object = Object {
    name: "LimitRangeItem",
    fields: &[
        carried("default", QUANTITIES),
        carried("defaultRequest", QUANTITIES),
        carried("max", QUANTITIES),
        carried("maxLimitRequestRatio", QUANTITIES),
        carried("min", QUANTITIES),
        carried("type", Kind::String),
    ],
};
