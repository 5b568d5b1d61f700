//! Field tables of what steers scheduling: [`AFFINITY`] and its kin. One node has nothing to schedule.

use super::{LABEL_SELECTOR, STRINGS};
use crate::document::{Kind, Object, carried};

pub(super) static AFFINITY: Object = Object {
    name: "Affinity",
    fields: &[
        carried("nodeAffinity", Kind::Object(&NODE_AFFINITY)),
        carried("podAffinity", Kind::Object(&POD_AFFINITY)),
        carried("podAntiAffinity", Kind::Object(&POD_ANTI_AFFINITY)),
    ],
};

pub(super) static NODE_AFFINITY: Object = Object {
    name: "NodeAffinity",
    fields: &[
        carried(
            "preferredDuringSchedulingIgnoredDuringExecution",
            Kind::List(&Kind::Object(&PREFERRED_SCHEDULING_TERM)),
        ),
        carried("requiredDuringSchedulingIgnoredDuringExecution", Kind::Object(&NODE_SELECTOR)),
    ],
};

pub(super) static POD_AFFINITY: Object = Object {
    name: "PodAffinity",
    fields: &[
        carried(
            "preferredDuringSchedulingIgnoredDuringExecution",
            Kind::List(&Kind::Object(&WEIGHTED_POD_AFFINITY_TERM)),
        ),
        carried("requiredDuringSchedulingIgnoredDuringExecution", Kind::List(&Kind::Object(&POD_AFFINITY_TERM))),
    ],
};

pub(super) static POD_ANTI_AFFINITY: Object = Object {
    name: "PodAntiAffinity",
    fields: &[
        carried(
            "preferredDuringSchedulingIgnoredDuringExecution",
            Kind::List(&Kind::Object(&WEIGHTED_POD_AFFINITY_TERM)),
        ),
        carried("requiredDuringSchedulingIgnoredDuringExecution", Kind::List(&Kind::Object(&POD_AFFINITY_TERM))),
    ],
};

pub(super) static PREFERRED_SCHEDULING_TERM: Object = Object {
    name: "PreferredSchedulingTerm",
    fields: &[carried("preference", Kind::Object(&NODE_SELECTOR_TERM)), carried("weight", Kind::Int32)],
};

pub(super) static NODE_SELECTOR: Object = Object {
    name: "NodeSelector",
    fields: &[carried("nodeSelectorTerms", Kind::List(&Kind::Object(&NODE_SELECTOR_TERM)))],
};

pub(super) static NODE_SELECTOR_TERM: Object = Object {
    name: "NodeSelectorTerm",
    fields: &[
        carried("matchExpressions", Kind::List(&Kind::Object(&NODE_SELECTOR_REQUIREMENT))),
        carried("matchFields", Kind::List(&Kind::Object(&NODE_SELECTOR_REQUIREMENT))),
    ],
};

pub(super) static NODE_SELECTOR_REQUIREMENT: Object = Object {
    name: "NodeSelectorRequirement",
    fields: &[carried("key", Kind::String), carried("operator", Kind::String), carried("values", STRINGS)],
};

pub(super) static WEIGHTED_POD_AFFINITY_TERM: Object = Object {
    name: "WeightedPodAffinityTerm",
    fields: &[carried("podAffinityTerm", Kind::Object(&POD_AFFINITY_TERM)), carried("weight", Kind::Int32)],
};

pub(super) static POD_AFFINITY_TERM: Object = Object {
    name: "PodAffinityTerm",
    fields: &[
        carried("labelSelector", Kind::Object(&LABEL_SELECTOR)),
        carried("matchLabelKeys", STRINGS),
        carried("mismatchLabelKeys", STRINGS),
        carried("namespaceSelector", Kind::Object(&LABEL_SELECTOR)),
        carried("namespaces", STRINGS),
        carried("topologyKey", Kind::String),
    ],
};

pub(super) static POD_SCHEDULING_GROUP: Object =
    Object { name: "PodSchedulingGroup", fields: &[carried("podGroupName", Kind::String)] };

pub(super) static TOLERATION: Object = Object {
    name: "Toleration",
    fields: &[
        carried("effect", Kind::String),
        carried("key", Kind::String),
        carried("operator", Kind::String),
        carried("tolerationSeconds", Kind::Int64),
        carried("value", Kind::String),
    ],
};

pub(super) static TOPOLOGY_SPREAD_CONSTRAINT: Object = Object {
    name: "TopologySpreadConstraint",
    fields: &[
        carried("labelSelector", Kind::Object(&LABEL_SELECTOR)),
        carried("matchLabelKeys", STRINGS),
        carried("maxSkew", Kind::Int32),
        carried("minDomains", Kind::Int32),
        carried("nodeAffinityPolicy", Kind::String),
        carried("nodeTaintsPolicy", Kind::String),
        carried("topologyKey", Kind::String),
        carried("whenUnsatisfiable", Kind::String),
    ],
};
