//! [`PodObject`]: a v1 Pod with its status.

use super::{PodStatus, pod_status, rfc3339, rfc3339_exact};
use crate::json::{Deserialize, Serialize};
use crate::manifest::v1::{ObjectMeta, PodSpec};
use crate::pod::lifecycle::Pod;
use crate::pod::termination::GRACE_FLOOR_MS;
use crate::pod::time::Now;
use crate::pod::turn::Settings;

/// Annotations that kubelet gives a static pod: when it saw it first, and, where others see it, that it is one.
const SEEN: &str = "kubernetes.io/config.seen";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Annotation that says why the newest version of a pod's document is refused.
const MANIFEST_ERROR: &str = "gatepost.io/manifest-error";

/// A v1 Pod: the manifest, what this node adds to its metadata, and the status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodObject {
    /// `v1`.
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// Metadata.
    pub metadata: ObjectMeta,
    /// What should run.
    pub spec: PodSpec,
    /// What does.
    pub status: PodStatus,
}

/// The metadata that the pod itself sees.
pub(crate) fn seen_metadata(pod: &Pod) -> ObjectMeta {
    let mut metadata = pod.manifest.metadata.clone();
    metadata.annotations.insert(SEEN.to_owned(), rfc3339_exact(pod.first_seen));
    metadata
}

/// The pod as people see it now.
pub(crate) fn pod_object(pod: &Pod, now: Now, settings: &Settings) -> PodObject {
    let mut metadata = seen_metadata(pod);
    metadata.annotations.insert(MIRROR.to_owned(), metadata.uid.clone());
    metadata.creation_timestamp = Some(rfc3339(pod.first_seen));
    metadata.deletion_timestamp = pod.deletion.map(rfc3339);
    metadata.deletion_grace_period_seconds = pod.deletion.map(|_| {
        let seconds = pod.scope().grace_ms(pod.grace_override).max(GRACE_FLOOR_MS) / 1000;
        i64::try_from(seconds).unwrap_or(i64::MAX)
    });
    if let Some(error) = &pod.manifest_error {
        metadata.annotations.insert(MANIFEST_ERROR.to_owned(), error.clone());
    }
    PodObject {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        metadata,
        spec: pod.manifest.spec.clone(),
        status: pod_status(pod, now, settings),
    }
}
