//! Field tables of probes and lifecycle hooks: [`PROBE`] and [`LIFECYCLE`].

use super::STRINGS;
use crate::document::{Kind, Object, carried, fetched};

pub(super) static LIFECYCLE: Object = Object {
    name: "Lifecycle",
    fields: &[
        carried("postStart", Kind::Object(&LIFECYCLE_HANDLER)),
        carried("preStop", Kind::Object(&LIFECYCLE_HANDLER)),
        carried("stopSignal", Kind::String),
    ],
};

pub(super) static LIFECYCLE_HANDLER: Object = Object {
    name: "LifecycleHandler",
    fields: &[
        carried("exec", Kind::Object(&EXEC_ACTION)),
        carried("httpGet", Kind::Object(&HTTP_GET_ACTION)),
        carried("sleep", Kind::Object(&SLEEP_ACTION)),
        carried("tcpSocket", Kind::Object(&TCP_SOCKET_ACTION)),
    ],
};

pub(super) static PROBE: Object = Object {
    name: "Probe",
    fields: &[
        carried("exec", Kind::Object(&EXEC_ACTION)),
        carried("failureThreshold", Kind::Int32),
        fetched("grpc", Kind::Object(&GRPC_ACTION)),
        carried("httpGet", Kind::Object(&HTTP_GET_ACTION)),
        carried("initialDelaySeconds", Kind::Int32),
        carried("periodSeconds", Kind::Int32),
        carried("successThreshold", Kind::Int32),
        carried("tcpSocket", Kind::Object(&TCP_SOCKET_ACTION)),
        carried("terminationGracePeriodSeconds", Kind::Int64),
        carried("timeoutSeconds", Kind::Int32),
    ],
};

pub(super) static EXEC_ACTION: Object = Object { name: "ExecAction", fields: &[carried("command", STRINGS)] };

pub(super) static GRPC_ACTION: Object =
    Object { name: "GRPCAction", fields: &[carried("port", Kind::Int32), carried("service", Kind::String)] };

pub(super) static HTTP_GET_ACTION: Object = Object {
    name: "HTTPGetAction",
    fields: &[
        carried("host", Kind::String),
        carried("httpHeaders", Kind::List(&Kind::Object(&HTTP_HEADER))),
        carried("path", Kind::String),
        carried("port", Kind::IntOrString),
        fetched("scheme", Kind::String).unless(&["\"HTTP\""]),
    ],
};

pub(super) static HTTP_HEADER: Object =
    Object { name: "HTTPHeader", fields: &[carried("name", Kind::String), carried("value", Kind::String)] };

pub(super) static TCP_SOCKET_ACTION: Object =
    Object { name: "TCPSocketAction", fields: &[carried("host", Kind::String), carried("port", Kind::IntOrString)] };

pub(super) static SLEEP_ACTION: Object = Object { name: "SleepAction", fields: &[carried("seconds", Kind::Int64)] };
