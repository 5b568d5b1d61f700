//! Field tables of the volume sources that need a driver. They are refused, and still known field by field.

use super::{LOCAL_OBJECT_REFERENCE, STRING_MAP, STRINGS};
use crate::document::{Kind, Object, carried};

pub(super) static AWS_ELASTIC_BLOCK_STORE_VOLUME_SOURCE: Object = Object {
    name: "AWSElasticBlockStoreVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("partition", Kind::Int32),
        carried("readOnly", Kind::Bool),
        carried("volumeID", Kind::String),
    ],
};

pub(super) static AZURE_DISK_VOLUME_SOURCE: Object = Object {
    name: "AzureDiskVolumeSource",
    fields: &[
        carried("cachingMode", Kind::String),
        carried("diskName", Kind::String),
        carried("diskURI", Kind::String),
        carried("fsType", Kind::String),
        carried("kind", Kind::String),
        carried("readOnly", Kind::Bool),
    ],
};

pub(super) static AZURE_FILE_VOLUME_SOURCE: Object = Object {
    name: "AzureFileVolumeSource",
    fields: &[carried("readOnly", Kind::Bool), carried("secretName", Kind::String), carried("shareName", Kind::String)],
};

pub(super) static CEPH_FS_VOLUME_SOURCE: Object = Object {
    name: "CephFSVolumeSource",
    fields: &[
        carried("monitors", STRINGS),
        carried("path", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("secretFile", Kind::String),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("user", Kind::String),
    ],
};

pub(super) static CINDER_VOLUME_SOURCE: Object = Object {
    name: "CinderVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("volumeID", Kind::String),
    ],
};

pub(super) static CSI_VOLUME_SOURCE: Object = Object {
    name: "CSIVolumeSource",
    fields: &[
        carried("driver", Kind::String),
        carried("fsType", Kind::String),
        carried("nodePublishSecretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("readOnly", Kind::Bool),
        carried("volumeAttributes", STRING_MAP),
    ],
};

pub(super) static FC_VOLUME_SOURCE: Object = Object {
    name: "FCVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("lun", Kind::Int32),
        carried("readOnly", Kind::Bool),
        carried("targetWWNs", STRINGS),
        carried("wwids", STRINGS),
    ],
};

pub(super) static FLEX_VOLUME_SOURCE: Object = Object {
    name: "FlexVolumeSource",
    fields: &[
        carried("driver", Kind::String),
        carried("fsType", Kind::String),
        carried("options", STRING_MAP),
        carried("readOnly", Kind::Bool),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
    ],
};

pub(super) static FLOCKER_VOLUME_SOURCE: Object = Object {
    name: "FlockerVolumeSource",
    fields: &[carried("datasetName", Kind::String), carried("datasetUUID", Kind::String)],
};

pub(super) static GCE_PERSISTENT_DISK_VOLUME_SOURCE: Object = Object {
    name: "GCEPersistentDiskVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("partition", Kind::Int32),
        carried("pdName", Kind::String),
        carried("readOnly", Kind::Bool),
    ],
};

pub(super) static GIT_REPO_VOLUME_SOURCE: Object = Object {
    name: "GitRepoVolumeSource",
    fields: &[
        carried("directory", Kind::String),
        carried("repository", Kind::String),
        carried("revision", Kind::String),
    ],
};

pub(super) static GLUSTERFS_VOLUME_SOURCE: Object = Object {
    name: "GlusterfsVolumeSource",
    fields: &[carried("endpoints", Kind::String), carried("path", Kind::String), carried("readOnly", Kind::Bool)],
};

pub(super) static ISCSI_VOLUME_SOURCE: Object = Object {
    name: "ISCSIVolumeSource",
    fields: &[
        carried("chapAuthDiscovery", Kind::Bool),
        carried("chapAuthSession", Kind::Bool),
        carried("fsType", Kind::String),
        carried("initiatorName", Kind::String),
        carried("iqn", Kind::String),
        carried("iscsiInterface", Kind::String),
        carried("lun", Kind::Int32),
        carried("portals", STRINGS),
        carried("readOnly", Kind::Bool),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("targetPortal", Kind::String),
    ],
};

pub(super) static PHOTON_PERSISTENT_DISK_VOLUME_SOURCE: Object = Object {
    name: "PhotonPersistentDiskVolumeSource",
    fields: &[carried("fsType", Kind::String), carried("pdID", Kind::String)],
};

pub(super) static PORTWORX_VOLUME_SOURCE: Object = Object {
    name: "PortworxVolumeSource",
    fields: &[carried("fsType", Kind::String), carried("readOnly", Kind::Bool), carried("volumeID", Kind::String)],
};

pub(super) static QUOBYTE_VOLUME_SOURCE: Object = Object {
    name: "QuobyteVolumeSource",
    fields: &[
        carried("group", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("registry", Kind::String),
        carried("tenant", Kind::String),
        carried("user", Kind::String),
        carried("volume", Kind::String),
    ],
};

pub(super) static RBD_VOLUME_SOURCE: Object = Object {
    name: "RBDVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("image", Kind::String),
        carried("keyring", Kind::String),
        carried("monitors", STRINGS),
        carried("pool", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("user", Kind::String),
    ],
};

pub(super) static SCALE_IO_VOLUME_SOURCE: Object = Object {
    name: "ScaleIOVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("gateway", Kind::String),
        carried("protectionDomain", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("sslEnabled", Kind::Bool),
        carried("storageMode", Kind::String),
        carried("storagePool", Kind::String),
        carried("system", Kind::String),
        carried("volumeName", Kind::String),
    ],
};

pub(super) static STORAGE_OS_VOLUME_SOURCE: Object = Object {
    name: "StorageOSVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("readOnly", Kind::Bool),
        carried("secretRef", Kind::Object(&LOCAL_OBJECT_REFERENCE)),
        carried("volumeName", Kind::String),
        carried("volumeNamespace", Kind::String),
    ],
};

pub(super) static VSPHERE_VIRTUAL_DISK_VOLUME_SOURCE: Object = Object {
    name: "VsphereVirtualDiskVolumeSource",
    fields: &[
        carried("fsType", Kind::String),
        carried("storagePolicyID", Kind::String),
        carried("storagePolicyName", Kind::String),
        carried("volumePath", Kind::String),
    ],
};
