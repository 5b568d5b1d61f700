//! The field tables of the objects that are read: [`POD`], [`CONFIG_MAP`], [`SECRET`] and others. Every official field of the v1 API is
//! here with its treatment; a field that is not is unknown.
//!
//! What is `carried` has its place in `manifest::v1`, and the other way round.

mod container;
mod driver;
mod object;
#[cfg(test)]
mod official;
mod probe;
mod reference;
mod scheduling;
mod security;
mod status;
#[cfg(test)]
mod tests;
mod volume;

use self::container::CONTAINER;
use self::container::{EPHEMERAL_CONTAINER, RESOURCE_REQUIREMENTS};
use self::scheduling::{AFFINITY, POD_SCHEDULING_GROUP, TOLERATION, TOPOLOGY_SPREAD_CONSTRAINT};
use self::security::POD_SECURITY_CONTEXT;
use self::status::POD_STATUS;
use self::volume::VOLUME;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::document::Quantity;
use crate::document::{Format, Kind, Object, carried, quiet, refused, warned};

pub(super) use object::{LIMIT_RANGE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, SERVICE};
pub use reference::fields_reference;

const STRINGS: Kind = Kind::List(&Kind::String);
const INTS32: Kind = Kind::List(&Kind::Int32);
const INTS64: Kind = Kind::List(&Kind::Int64);
const STRING_MAP: Kind = Kind::Map(&Kind::String);
const QUANTITY: Kind = Kind::Text(&QUANTITY_FORMAT);
const QUANTITIES: Kind = Kind::Map(&QUANTITY);
const TIME: Kind = Kind::Text(&TIME_FORMAT);
const BASE64_MAP: Kind = Kind::Map(&Kind::Text(&BASE64_FORMAT));

static QUANTITY_FORMAT: Format = Format {
    name: "a quantity such as 500m, 1.5 or 64Mi",
    numbers: true,
    check: |text| Quantity::parse(text).map(drop).map_err(|error| error.to_string()),
};

static TIME_FORMAT: Format = Format {
    name: "a time such as 2025-01-31T08:00:00Z",
    numbers: false,
    check: |text| {
        OffsetDateTime::parse(text, &Rfc3339).map(drop).map_err(|error| format!("not a time by RFC 3339: {error}"))
    },
};

static BASE64_FORMAT: Format = Format {
    name: "text in base64",
    numbers: false,
    check: |text| super::base64::decode(text).map(drop).map_err(|error| error.to_string()),
};

pub(super) static POD: Object = Object {
    name: "Pod",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("metadata", Kind::Object(&OBJECT_META)),
        carried("spec", Kind::Object(&POD_SPEC)),
        quiet("status", Kind::Object(&POD_STATUS), "this node writes the status"),
    ],
};

pub(super) static POD_SPEC: Object = Object {
    name: "PodSpec",
    fields: &[
        carried("activeDeadlineSeconds", Kind::Int64),
        warned("affinity", Kind::Object(&AFFINITY), "there is one node, so nothing is scheduled").unless(&["{}"]),
        warned("automountServiceAccountToken", Kind::Bool, "there is no API server, so no token is mounted")
            .unless(&["false"]),
        carried("containers", Kind::List(&Kind::Object(&CONTAINER))),
        carried("dnsConfig", Kind::Object(&POD_DNS_CONFIG)),
        carried("dnsPolicy", Kind::String),
        carried("enableServiceLinks", Kind::Bool),
        refused("ephemeralContainers", Kind::List(&Kind::Object(&EPHEMERAL_CONTAINER)), "cannot be set on create"),
        carried("hostAliases", Kind::List(&Kind::Object(&HOST_ALIAS))),
        carried("hostIPC", Kind::Bool),
        carried("hostNetwork", Kind::Bool),
        carried("hostPID", Kind::Bool),
        carried("hostUsers", Kind::Bool),
        carried("hostname", Kind::String),
        carried("hostnameOverride", Kind::String),
        carried("imagePullSecrets", Kind::List(&Kind::Object(&LOCAL_OBJECT_REFERENCE))),
        carried("initContainers", Kind::List(&Kind::Object(&CONTAINER))),
        carried("nodeName", Kind::String),
        warned("nodeSelector", STRING_MAP, "there is one node, so nothing is scheduled"),
        refused("os", Kind::Object(&POD_OS), "only Linux containers run here; remove it, or set name: linux")
            .unless(&["{}", "{\"name\":\"linux\"}"]),
        carried("overhead", QUANTITIES),
        warned("preemptionPolicy", Kind::String, "pods are not preempted here"),
        carried("priority", Kind::Int32),
        carried("priorityClassName", Kind::String),
        refused(
            "readinessGates",
            Kind::List(&Kind::Object(&POD_READINESS_GATE)),
            "nothing here sets such conditions, so the pod could never be Ready; remove it",
        ),
        refused(
            "resourceClaims",
            Kind::List(&Kind::Object(&POD_RESOURCE_CLAIM)),
            "there is no resource driver here, and the containers could not run without the device; mount it by hostPath",
        ),
        carried("resources", Kind::Object(&RESOURCE_REQUIREMENTS)),
        carried("restartPolicy", Kind::String),
        refused(
            "runtimeClassName",
            Kind::String,
            "there are no RuntimeClass objects; the runtime is chosen in the node's configuration",
        ),
        warned("schedulerName", Kind::String, "there is one node, so nothing is scheduled")
            .unless(&["\"default-scheduler\""]),
        refused(
            "schedulingGates",
            Kind::List(&Kind::Object(&POD_SCHEDULING_GATE)),
            "nothing here lifts a gate, so the pod would never start; remove it",
        ),
        warned("schedulingGroup", Kind::Object(&POD_SCHEDULING_GROUP), "there is one node, so nothing is scheduled")
            .unless(&["{}"]),
        carried("securityContext", Kind::Object(&POD_SECURITY_CONTEXT)),
        warned("serviceAccount", Kind::String, "there is no API server to use it with"),
        warned("serviceAccountName", Kind::String, "there is no API server to use it with"),
        carried("setHostnameAsFQDN", Kind::Bool),
        carried("shareProcessNamespace", Kind::Bool),
        carried("subdomain", Kind::String),
        carried("terminationGracePeriodSeconds", Kind::Int64),
        quiet("tolerations", Kind::List(&Kind::Object(&TOLERATION)), "there is one node, so they select nothing"),
        warned(
            "topologySpreadConstraints",
            Kind::List(&Kind::Object(&TOPOLOGY_SPREAD_CONSTRAINT)),
            "there is one node, so nothing is scheduled",
        ),
        carried("volumes", Kind::List(&Kind::Object(&VOLUME))),
    ],
};

pub(super) static POD_OS: Object = Object { name: "PodOS", fields: &[carried("name", Kind::String)] };

pub(super) static POD_READINESS_GATE: Object =
    Object { name: "PodReadinessGate", fields: &[carried("conditionType", Kind::String)] };

pub(super) static POD_RESOURCE_CLAIM: Object = Object {
    name: "PodResourceClaim",
    fields: &[
        carried("name", Kind::String),
        carried("resourceClaimName", Kind::String),
        carried("resourceClaimTemplateName", Kind::String),
    ],
};

pub(super) static POD_SCHEDULING_GATE: Object =
    Object { name: "PodSchedulingGate", fields: &[carried("name", Kind::String)] };

pub(super) static HOST_ALIAS: Object =
    Object { name: "HostAlias", fields: &[carried("hostnames", STRINGS), carried("ip", Kind::String)] };

pub(super) static LOCAL_OBJECT_REFERENCE: Object =
    Object { name: "LocalObjectReference", fields: &[carried("name", Kind::String)] };

pub(super) static POD_DNS_CONFIG: Object = Object {
    name: "PodDNSConfig",
    fields: &[
        carried("nameservers", STRINGS),
        carried("options", Kind::List(&Kind::Object(&POD_DNS_CONFIG_OPTION))),
        carried("searches", STRINGS),
    ],
};

pub(super) static POD_DNS_CONFIG_OPTION: Object =
    Object { name: "PodDNSConfigOption", fields: &[carried("name", Kind::String), carried("value", Kind::String)] };

pub(super) static CONFIG_MAP: Object = Object {
    name: "ConfigMap",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("binaryData", BASE64_MAP),
        carried("data", STRING_MAP),
        quiet("immutable", Kind::Bool, "an object changes only when its manifest does"),
        carried("metadata", Kind::Object(&OBJECT_META)),
    ],
};

pub(super) static SECRET: Object = Object {
    name: "Secret",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("kind", Kind::String),
        carried("data", BASE64_MAP),
        quiet("immutable", Kind::Bool, "an object changes only when its manifest does"),
        carried("metadata", Kind::Object(&OBJECT_META)),
        carried("stringData", STRING_MAP),
        carried("type", Kind::String),
    ],
};

const IN_EXPORTS: &str = "written by an API server; found in exported manifests";

pub(super) static OBJECT_META: Object = Object {
    name: "ObjectMeta",
    fields: &[
        carried("annotations", STRING_MAP),
        quiet("creationTimestamp", TIME, IN_EXPORTS),
        quiet("deletionGracePeriodSeconds", Kind::Int64, IN_EXPORTS),
        quiet("deletionTimestamp", TIME, IN_EXPORTS),
        quiet("finalizers", STRINGS, IN_EXPORTS),
        carried("generateName", Kind::String),
        quiet("generation", Kind::Int64, IN_EXPORTS),
        carried("labels", STRING_MAP),
        quiet("managedFields", Kind::List(&Kind::Object(&MANAGED_FIELDS_ENTRY)), IN_EXPORTS),
        carried("name", Kind::String),
        carried("namespace", Kind::String),
        quiet("ownerReferences", Kind::List(&Kind::Object(&OWNER_REFERENCE)), IN_EXPORTS),
        quiet("resourceVersion", Kind::String, IN_EXPORTS),
        quiet("selfLink", Kind::String, IN_EXPORTS),
        warned("uid", Kind::String, "the uid is derived from the document"),
    ],
};

static MANAGED_FIELDS_ENTRY: Object = Object {
    name: "ManagedFieldsEntry",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("fieldsType", Kind::String),
        carried("fieldsV1", Kind::Any),
        carried("manager", Kind::String),
        carried("operation", Kind::String),
        carried("subresource", Kind::String),
        carried("time", TIME),
    ],
};

static OWNER_REFERENCE: Object = Object {
    name: "OwnerReference",
    fields: &[
        carried("apiVersion", Kind::String),
        carried("blockOwnerDeletion", Kind::Bool),
        carried("controller", Kind::Bool),
        carried("kind", Kind::String),
        carried("name", Kind::String),
        carried("uid", Kind::String),
    ],
};

static LABEL_SELECTOR: Object = Object {
    name: "LabelSelector",
    fields: &[
        carried("matchExpressions", Kind::List(&Kind::Object(&LABEL_SELECTOR_REQUIREMENT))),
        carried("matchLabels", STRING_MAP),
    ],
};

static LABEL_SELECTOR_REQUIREMENT: Object = Object {
    name: "LabelSelectorRequirement",
    fields: &[carried("key", Kind::String), carried("operator", Kind::String), carried("values", STRINGS)],
};
