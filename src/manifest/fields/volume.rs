//! Field tables of volumes: [`VOLUME`] and the sources that need no driver.

use super::container::{OBJECT_FIELD_SELECTOR, RESOURCE_FIELD_SELECTOR};
use super::driver::{
    AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE, AZURE_DISK_VOLUME_SOURCE, AZURE_FILE_VOLUME_SOURCE, CEPH_FS_VOLUME_SOURCE,
    CINDER_VOLUME_SOURCE, CSI_VOLUME_SOURCE, FC_VOLUME_SOURCE, FLEX_VOLUME_SOURCE, FLOCKER_VOLUME_SOURCE,
    GCE_PERSISTENT_DISK_VOLUME_SOURCE, GIT_REPO_VOLUME_SOURCE, GLUSTERFS_VOLUME_SOURCE, ISCSI_VOLUME_SOURCE,
    PHOTON_PERSISTENT_DISK_VOLUME_SOURCE, PORTWORX_VOLUME_SOURCE, QUOBYTE_VOLUME_SOURCE, RBD_VOLUME_SOURCE,
    SCALE_IO_VOLUME_SOURCE, STORAGE_OS_VOLUME_SOURCE, VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE,
};
use super::{LABEL_SELECTOR, OBJECT_META, QUANTITIES, QUANTITY, STRING_MAP, STRINGS};
use crate::document::{Kind, Object, carried, quiet, refused, warned};

const NO_COPY: &str = "nothing is copied into a claim here; fill it in an init container";

pub(super) static VOLUME: Object = Object {
    name: "Volume",
    fields: &[
        refused(
            "awsElasticBlockStore",
            Kind::Object(&AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "azureDisk",
            Kind::Object(&AZURE_DISK_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "azureFile",
            Kind::Object(&AZURE_FILE_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "cephfs",
            Kind::Object(&CEPH_FS_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "cinder",
            Kind::Object(&CINDER_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        carried("configMap", Kind::Object(&CONFIG_MAP_VOLUME_SOURCE)),
        refused(
            "csi",
            Kind::Object(&CSI_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        carried("downwardAPI", Kind::Object(&DOWNWARD_API_VOLUME_SOURCE)),
        carried("emptyDir", Kind::Object(&EMPTY_DIR_VOLUME_SOURCE)),
        carried("ephemeral", Kind::Object(&EPHEMERAL_VOLUME_SOURCE)),
        refused(
            "fc",
            Kind::Object(&FC_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "flexVolume",
            Kind::Object(&FLEX_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "flocker",
            Kind::Object(&FLOCKER_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "gcePersistentDisk",
            Kind::Object(&GCE_PERSISTENT_DISK_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "gitRepo",
            Kind::Object(&GIT_REPO_VOLUME_SOURCE),
            "unsafe, and removed from Kubernetes; clone in an init container into an emptyDir",
        ),
        refused(
            "glusterfs",
            Kind::Object(&GLUSTERFS_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        carried("hostPath", Kind::Object(&HOST_PATH_VOLUME_SOURCE)),
        carried("image", Kind::Object(&IMAGE_VOLUME_SOURCE)),
        refused(
            "iscsi",
            Kind::Object(&ISCSI_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        carried("name", Kind::String),
        refused(
            "nfs",
            Kind::Object(&NFS_VOLUME_SOURCE),
            "mounting network file systems is not built in; mount it on the host and use hostPath",
        ),
        carried("persistentVolumeClaim", Kind::Object(&PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE)),
        refused(
            "photonPersistentDisk",
            Kind::Object(&PHOTON_PERSISTENT_DISK_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "portworxVolume",
            Kind::Object(&PORTWORX_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        carried("projected", Kind::Object(&PROJECTED_VOLUME_SOURCE)),
        refused(
            "quobyte",
            Kind::Object(&QUOBYTE_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "rbd",
            Kind::Object(&RBD_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "scaleIO",
            Kind::Object(&SCALE_IO_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        carried("secret", Kind::Object(&SECRET_VOLUME_SOURCE)),
        refused(
            "storageos",
            Kind::Object(&STORAGE_OS_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
        refused(
            "vsphereVolume",
            Kind::Object(&VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE),
            "no driver for it is built in, and data would go to the wrong place; use emptyDir or hostPath",
        ),
    ],
};

pub(super) static EMPTY_DIR_VOLUME_SOURCE: Object =
    Object { name: "EmptyDirVolumeSource", fields: &[carried("medium", Kind::String), carried("sizeLimit", QUANTITY)] };

pub(super) static HOST_PATH_VOLUME_SOURCE: Object =
    Object { name: "HostPathVolumeSource", fields: &[carried("path", Kind::String), carried("type", Kind::String)] };

pub(super) static CONFIG_MAP_VOLUME_SOURCE: Object = Object {
    name: "ConfigMapVolumeSource",
    fields: &[
        carried("defaultMode", Kind::Int32),
        carried("items", Kind::List(&Kind::Object(&KEY_TO_PATH))),
        carried("name", Kind::String),
        carried("optional", Kind::Bool),
    ],
};

pub(super) static SECRET_VOLUME_SOURCE: Object = Object {
    name: "SecretVolumeSource",
    fields: &[
        carried("defaultMode", Kind::Int32),
        carried("items", Kind::List(&Kind::Object(&KEY_TO_PATH))),
        carried("optional", Kind::Bool),
        carried("secretName", Kind::String),
    ],
};

pub(super) static KEY_TO_PATH: Object = Object {
    name: "KeyToPath",
    fields: &[carried("key", Kind::String), carried("mode", Kind::Int32), carried("path", Kind::String)],
};

pub(super) static DOWNWARD_API_VOLUME_SOURCE: Object = Object {
    name: "DownwardAPIVolumeSource",
    fields: &[
        carried("defaultMode", Kind::Int32),
        carried("items", Kind::List(&Kind::Object(&DOWNWARD_API_VOLUME_FILE))),
    ],
};

pub(super) static DOWNWARD_API_VOLUME_FILE: Object = Object {
    name: "DownwardAPIVolumeFile",
    fields: &[
        carried("fieldRef", Kind::Object(&OBJECT_FIELD_SELECTOR)),
        carried("mode", Kind::Int32),
        carried("path", Kind::String),
        carried("resourceFieldRef", Kind::Object(&RESOURCE_FIELD_SELECTOR)),
    ],
};

pub(super) static PROJECTED_VOLUME_SOURCE: Object = Object {
    name: "ProjectedVolumeSource",
    fields: &[carried("defaultMode", Kind::Int32), carried("sources", Kind::List(&Kind::Object(&VOLUME_PROJECTION)))],
};

const NO_API: &str = "there is no API server that issues it; put the file into a Secret";

pub(super) static VOLUME_PROJECTION: Object = Object {
    name: "VolumeProjection",
    fields: &[
        refused("clusterTrustBundle", Kind::Object(&CLUSTER_TRUST_BUNDLE_PROJECTION), NO_API),
        carried("configMap", Kind::Object(&CONFIG_MAP_PROJECTION)),
        carried("downwardAPI", Kind::Object(&DOWNWARD_API_PROJECTION)),
        refused("podCertificate", Kind::Object(&POD_CERTIFICATE_PROJECTION), NO_API),
        carried("secret", Kind::Object(&SECRET_PROJECTION)),
        refused("serviceAccountToken", Kind::Object(&SERVICE_ACCOUNT_TOKEN_PROJECTION), NO_API),
    ],
};

pub(super) static CLUSTER_TRUST_BUNDLE_PROJECTION: Object = Object {
    name: "ClusterTrustBundleProjection",
    fields: &[
        carried("labelSelector", Kind::Object(&LABEL_SELECTOR)),
        carried("name", Kind::String),
        carried("optional", Kind::Bool),
        carried("path", Kind::String),
        carried("signerName", Kind::String),
    ],
};

pub(super) static CONFIG_MAP_PROJECTION: Object = Object {
    name: "ConfigMapProjection",
    fields: &[
        carried("items", Kind::List(&Kind::Object(&KEY_TO_PATH))),
        carried("name", Kind::String),
        carried("optional", Kind::Bool),
    ],
};

pub(super) static DOWNWARD_API_PROJECTION: Object = Object {
    name: "DownwardAPIProjection",
    fields: &[carried("items", Kind::List(&Kind::Object(&DOWNWARD_API_VOLUME_FILE)))],
};

pub(super) static POD_CERTIFICATE_PROJECTION: Object = Object {
    name: "PodCertificateProjection",
    fields: &[
        carried("certificateChainPath", Kind::String),
        carried("credentialBundlePath", Kind::String),
        carried("keyPath", Kind::String),
        carried("keyType", Kind::String),
        carried("maxExpirationSeconds", Kind::Int32),
        carried("signerName", Kind::String),
        carried("userAnnotations", STRING_MAP),
    ],
};

pub(super) static SECRET_PROJECTION: Object = Object {
    name: "SecretProjection",
    fields: &[
        carried("items", Kind::List(&Kind::Object(&KEY_TO_PATH))),
        carried("name", Kind::String),
        carried("optional", Kind::Bool),
    ],
};

pub(super) static SERVICE_ACCOUNT_TOKEN_PROJECTION: Object = Object {
    name: "ServiceAccountTokenProjection",
    fields: &[
        carried("audience", Kind::String),
        carried("expirationSeconds", Kind::Int64),
        carried("path", Kind::String),
    ],
};

pub(super) static PERSISTENT_VOLUME_CLAIM_VOLUME_SOURCE: Object = Object {
    name: "PersistentVolumeClaimVolumeSource",
    fields: &[carried("claimName", Kind::String), carried("readOnly", Kind::Bool)],
};

pub(super) static EPHEMERAL_VOLUME_SOURCE: Object = Object {
    name: "EphemeralVolumeSource",
    fields: &[carried("volumeClaimTemplate", Kind::Object(&PERSISTENT_VOLUME_CLAIM_TEMPLATE))],
};

pub(super) static PERSISTENT_VOLUME_CLAIM_TEMPLATE: Object = Object {
    name: "PersistentVolumeClaimTemplate",
    fields: &[
        quiet("metadata", Kind::Object(&OBJECT_META), "the volume is a directory of the pod, no claim of its own"),
        carried("spec", Kind::Object(&PERSISTENT_VOLUME_CLAIM_SPEC)),
    ],
};

pub(super) static PERSISTENT_VOLUME_CLAIM_SPEC: Object = Object {
    name: "PersistentVolumeClaimSpec",
    fields: &[
        carried("accessModes", STRINGS),
        refused("dataSource", Kind::Object(&TYPED_LOCAL_OBJECT_REFERENCE), NO_COPY),
        refused("dataSourceRef", Kind::Object(&TYPED_OBJECT_REFERENCE), NO_COPY),
        carried("resources", Kind::Object(&VOLUME_RESOURCE_REQUIREMENTS)),
        carried("selector", Kind::Object(&LABEL_SELECTOR)),
        carried("storageClassName", Kind::String),
        warned("volumeAttributesClassName", Kind::String, "there are no such classes here"),
        carried("volumeMode", Kind::String),
        carried("volumeName", Kind::String),
    ],
};

pub(super) static VOLUME_RESOURCE_REQUIREMENTS: Object = Object {
    name: "VolumeResourceRequirements",
    fields: &[carried("limits", QUANTITIES), carried("requests", QUANTITIES)],
};

pub(super) static TYPED_LOCAL_OBJECT_REFERENCE: Object = Object {
    name: "TypedLocalObjectReference",
    fields: &[carried("apiGroup", Kind::String), carried("kind", Kind::String), carried("name", Kind::String)],
};

pub(super) static TYPED_OBJECT_REFERENCE: Object = Object {
    name: "TypedObjectReference",
    fields: &[
        carried("apiGroup", Kind::String),
        carried("kind", Kind::String),
        carried("name", Kind::String),
        carried("namespace", Kind::String),
    ],
};

pub(super) static IMAGE_VOLUME_SOURCE: Object = Object {
    name: "ImageVolumeSource",
    fields: &[carried("pullPolicy", Kind::String), carried("reference", Kind::String)],
};

pub(super) static NFS_VOLUME_SOURCE: Object = Object {
    name: "NFSVolumeSource",
    fields: &[carried("path", Kind::String), carried("readOnly", Kind::Bool), carried("server", Kind::String)],
};
