//! Field table of a pod's status, as it stands in exported manifests: [`POD_STATUS`]. It has no effect, but Kubernetes reads it.

use super::{QUANTITIES, TIME};
use crate::document::{Kind, Object, carried};

pub(super) static POD_STATUS: Object = Object {
    name: "PodStatus",
    fields: &[
        carried("allocatedResources", QUANTITIES),
        carried("conditions", Kind::List(&Kind::Object(&POD_CONDITION))),
        carried("containerStatuses", STATUSES),
        carried("ephemeralContainerStatuses", STATUSES),
        carried("extendedResourceClaimStatus", Kind::Any),
        carried("hostIP", Kind::String),
        carried("hostIPs", Kind::List(&Kind::Object(&IP))),
        carried("initContainerStatuses", STATUSES),
        carried("message", Kind::String),
        carried("nodeAllocatableResourceClaimStatuses", Kind::List(&Kind::Any)),
        carried("nominatedNodeName", Kind::String),
        carried("observedGeneration", Kind::Int64),
        carried("phase", Kind::String),
        carried("podIP", Kind::String),
        carried("podIPs", Kind::List(&Kind::Object(&IP))),
        carried("qosClass", Kind::String),
        carried("reason", Kind::String),
        carried("resize", Kind::String),
        carried("resourceClaimStatuses", Kind::List(&Kind::Any)),
        carried("resources", Kind::Any),
        carried("startTime", TIME),
    ],
};

const STATUSES: Kind = Kind::List(&Kind::Object(&CONTAINER_STATUS));

static IP: Object = Object { name: "IP", fields: &[carried("ip", Kind::String)] };

static POD_CONDITION: Object = Object {
    name: "PodCondition",
    fields: &[
        carried("lastProbeTime", TIME),
        carried("lastTransitionTime", TIME),
        carried("message", Kind::String),
        carried("observedGeneration", Kind::Int64),
        carried("reason", Kind::String),
        carried("status", Kind::String),
        carried("type", Kind::String),
    ],
};

static CONTAINER_STATUS: Object = Object {
    name: "ContainerStatus",
    fields: &[
        carried("allocatedResources", QUANTITIES),
        carried("allocatedResourcesStatus", Kind::List(&Kind::Any)),
        carried("containerID", Kind::String),
        carried("image", Kind::String),
        carried("imageID", Kind::String),
        carried("lastState", Kind::Any),
        carried("name", Kind::String),
        carried("ready", Kind::Bool),
        carried("resources", Kind::Any),
        carried("restartCount", Kind::Int32),
        carried("started", Kind::Bool),
        carried("state", Kind::Any),
        carried("stopSignal", Kind::String),
        carried("user", Kind::Any),
        carried("volumeMounts", Kind::List(&Kind::Any)),
    ],
};
