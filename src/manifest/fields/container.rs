//! Field tables of containers: [`CONTAINER`] and what it holds.

use super::probe::{LIFECYCLE, PROBE};
use super::security::SECURITY_CONTEXT;
use super::{INTS32, QUANTITIES, QUANTITY, STRINGS};
use crate::document::{Kind, Object, carried, refused, warned};

pub(super) static CONTAINER: Object = Object {
    name: "Container",
    fields: &[
        carried("args", STRINGS),
        carried("command", STRINGS),
        carried("env", Kind::List(&Kind::Object(&ENV_VAR))),
        carried("envFrom", Kind::List(&Kind::Object(&ENV_FROM_SOURCE))),
        carried("image", Kind::String),
        carried("imagePullPolicy", Kind::String),
        carried("lifecycle", Kind::Object(&LIFECYCLE)),
        carried("livenessProbe", Kind::Object(&PROBE)),
        carried("name", Kind::String),
        carried("ports", Kind::List(&Kind::Object(&CONTAINER_PORT))),
        carried("readinessProbe", Kind::Object(&PROBE)),
        warned(
            "resizePolicy",
            Kind::List(&Kind::Object(&CONTAINER_RESIZE_POLICY)),
            "nothing resizes running pods here",
        ),
        carried("resources", Kind::Object(&RESOURCE_REQUIREMENTS)),
        carried("restartPolicy", Kind::String),
        carried("restartPolicyRules", Kind::List(&Kind::Object(&CONTAINER_RESTART_RULE))),
        carried("securityContext", Kind::Object(&SECURITY_CONTEXT)),
        carried("startupProbe", Kind::Object(&PROBE)),
        warned("stdin", Kind::Bool, "nothing attaches to containers here, so it reads as empty").unless(&["false"]),
        warned("stdinOnce", Kind::Bool, "nothing attaches to containers here").unless(&["false"]),
        carried("terminationMessagePath", Kind::String),
        carried("terminationMessagePolicy", Kind::String),
        carried("tty", Kind::Bool),
        refused(
            "volumeDevices",
            Kind::List(&Kind::Object(&VOLUME_DEVICE)),
            "there are no block volumes here; mount the device by hostPath of type BlockDevice",
        ),
        carried("volumeMounts", Kind::List(&Kind::Object(&VOLUME_MOUNT))),
        carried("workingDir", Kind::String),
    ],
};

pub(super) static EPHEMERAL_CONTAINER: Object = Object {
    name: "EphemeralContainer",
    fields: &[
        carried("args", STRINGS),
        carried("command", STRINGS),
        carried("env", Kind::List(&Kind::Object(&ENV_VAR))),
        carried("envFrom", Kind::List(&Kind::Object(&ENV_FROM_SOURCE))),
        carried("image", Kind::String),
        carried("imagePullPolicy", Kind::String),
        carried("lifecycle", Kind::Object(&LIFECYCLE)),
        carried("livenessProbe", Kind::Object(&PROBE)),
        carried("name", Kind::String),
        carried("ports", Kind::List(&Kind::Object(&CONTAINER_PORT))),
        carried("readinessProbe", Kind::Object(&PROBE)),
        carried("resizePolicy", Kind::List(&Kind::Object(&CONTAINER_RESIZE_POLICY))),
        carried("resources", Kind::Object(&RESOURCE_REQUIREMENTS)),
        carried("restartPolicy", Kind::String),
        carried("restartPolicyRules", Kind::List(&Kind::Object(&CONTAINER_RESTART_RULE))),
        carried("securityContext", Kind::Object(&SECURITY_CONTEXT)),
        carried("startupProbe", Kind::Object(&PROBE)),
        carried("stdin", Kind::Bool),
        carried("stdinOnce", Kind::Bool),
        carried("targetContainerName", Kind::String),
        carried("terminationMessagePath", Kind::String),
        carried("terminationMessagePolicy", Kind::String),
        carried("tty", Kind::Bool),
        carried("volumeDevices", Kind::List(&Kind::Object(&VOLUME_DEVICE))),
        carried("volumeMounts", Kind::List(&Kind::Object(&VOLUME_MOUNT))),
        carried("workingDir", Kind::String),
    ],
};

pub(super) static ENV_VAR: Object = Object {
    name: "EnvVar",
    fields: &[
        carried("name", Kind::String),
        carried("value", Kind::String),
        carried("valueFrom", Kind::Object(&ENV_VAR_SOURCE)),
    ],
};

pub(super) static ENV_VAR_SOURCE: Object = Object {
    name: "EnvVarSource",
    fields: &[
        carried("configMapKeyRef", Kind::Object(&CONFIG_MAP_KEY_SELECTOR)),
        carried("fieldRef", Kind::Object(&OBJECT_FIELD_SELECTOR)),
        carried("fileKeyRef", Kind::Object(&FILE_KEY_SELECTOR)),
        carried("resourceFieldRef", Kind::Object(&RESOURCE_FIELD_SELECTOR)),
        carried("secretKeyRef", Kind::Object(&SECRET_KEY_SELECTOR)),
    ],
};

pub(super) static ENV_FROM_SOURCE: Object = Object {
    name: "EnvFromSource",
    fields: &[
        carried("configMapRef", Kind::Object(&CONFIG_MAP_ENV_SOURCE)),
        carried("prefix", Kind::String),
        carried("secretRef", Kind::Object(&SECRET_ENV_SOURCE)),
    ],
};

pub(super) static CONFIG_MAP_ENV_SOURCE: Object =
    Object { name: "ConfigMapEnvSource", fields: &[carried("name", Kind::String), carried("optional", Kind::Bool)] };

pub(super) static SECRET_ENV_SOURCE: Object =
    Object { name: "SecretEnvSource", fields: &[carried("name", Kind::String), carried("optional", Kind::Bool)] };

pub(super) static CONFIG_MAP_KEY_SELECTOR: Object = Object {
    name: "ConfigMapKeySelector",
    fields: &[carried("key", Kind::String), carried("name", Kind::String), carried("optional", Kind::Bool)],
};

pub(super) static SECRET_KEY_SELECTOR: Object = Object {
    name: "SecretKeySelector",
    fields: &[carried("key", Kind::String), carried("name", Kind::String), carried("optional", Kind::Bool)],
};

pub(super) static OBJECT_FIELD_SELECTOR: Object = Object {
    name: "ObjectFieldSelector",
    fields: &[carried("apiVersion", Kind::String), carried("fieldPath", Kind::String)],
};

pub(super) static RESOURCE_FIELD_SELECTOR: Object = Object {
    name: "ResourceFieldSelector",
    fields: &[carried("containerName", Kind::String), carried("divisor", QUANTITY), carried("resource", Kind::String)],
};

pub(super) static FILE_KEY_SELECTOR: Object = Object {
    name: "FileKeySelector",
    fields: &[
        carried("key", Kind::String),
        carried("optional", Kind::Bool),
        carried("path", Kind::String),
        carried("volumeName", Kind::String),
    ],
};

pub(super) static CONTAINER_PORT: Object = Object {
    name: "ContainerPort",
    fields: &[
        carried("containerPort", Kind::Int32),
        carried("hostIP", Kind::String),
        carried("hostPort", Kind::Int32),
        carried("name", Kind::String),
        carried("protocol", Kind::String),
    ],
};

pub(super) static CONTAINER_RESIZE_POLICY: Object = Object {
    name: "ContainerResizePolicy",
    fields: &[carried("resourceName", Kind::String), carried("restartPolicy", Kind::String)],
};

pub(super) static RESOURCE_REQUIREMENTS: Object = Object {
    name: "ResourceRequirements",
    fields: &[
        refused(
            "claims",
            Kind::List(&Kind::Object(&RESOURCE_CLAIM)),
            "there is no resource driver here, and the container could not run without the device; mount it by hostPath",
        ),
        carried("limits", QUANTITIES),
        carried("requests", QUANTITIES),
    ],
};

pub(super) static RESOURCE_CLAIM: Object =
    Object { name: "ResourceClaim", fields: &[carried("name", Kind::String), carried("request", Kind::String)] };

pub(super) static CONTAINER_RESTART_RULE: Object = Object {
    name: "ContainerRestartRule",
    fields: &[
        carried("action", Kind::String),
        carried("exitCodes", Kind::Object(&CONTAINER_RESTART_RULE_ON_EXIT_CODES)),
    ],
};

pub(super) static CONTAINER_RESTART_RULE_ON_EXIT_CODES: Object = Object {
    name: "ContainerRestartRuleOnExitCodes",
    fields: &[carried("operator", Kind::String), carried("values", INTS32)],
};

pub(super) static VOLUME_DEVICE: Object =
    Object { name: "VolumeDevice", fields: &[carried("devicePath", Kind::String), carried("name", Kind::String)] };

pub(super) static VOLUME_MOUNT: Object = Object {
    name: "VolumeMount",
    fields: &[
        carried("mountPath", Kind::String),
        carried("mountPropagation", Kind::String),
        carried("name", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("recursiveReadOnly", Kind::String),
        carried("subPath", Kind::String),
        carried("subPathExpr", Kind::String),
    ],
};
