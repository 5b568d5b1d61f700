//! Documents of the OCI image specification: [`ImageIndex`], [`ImageManifest`], [`ImageConfiguration`].

use super::documents;
use crate::json::{Deserialize, Serialize, Value};
use crate::sorted::BTreeMap;

/// Media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media types of manifests, the one of OCI first.
pub const MANIFEST_TYPES: [&str; 2] = [MANIFEST, "application/vnd.docker.distribution.manifest.v2+json"];
/// Media types of indexes, the one of OCI first.
pub const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a gzip layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of a zstd layer.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

documents! {
    /// Names a blob by digest and size.
    #[serde(rename_all = "camelCase")]
    Descriptor {
        media_type / set_media_type: by String,
        digest / set_digest: by String,
        size / set_size: copy u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        urls / set_urls: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations / set_annotations: by Option<BTreeMap<String, String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        platform / set_platform: by Option<Platform>,
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_type / set_artifact_type: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        data / set_data: by Option<String>,
    }

    /// What an image runs on, in Go's words.
    Platform {
        architecture / set_architecture: by String,
        os / set_os: by String,
        #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
        os_version / set_os_version: by Option<String>,
        #[serde(rename = "os.features", skip_serializing_if = "Option::is_none")]
        os_features / set_os_features: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        variant / set_variant: by Option<String>,
    }

    /// A list of manifests.
    #[serde(rename_all = "camelCase")]
    ImageIndex {
        schema_version / set_schema_version: copy u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        media_type / set_media_type: by Option<String>,
        manifests / set_manifests: by Vec<Descriptor>,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations / set_annotations: by Option<BTreeMap<String, String>>,
    }

    /// What an image consists of.
    #[serde(rename_all = "camelCase")]
    ImageManifest {
        schema_version / set_schema_version: copy u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        media_type / set_media_type: by Option<String>,
        config / set_config: by Descriptor,
        layers / set_layers: by Vec<Descriptor>,
    }

    /// How an image is run.
    ImageConfiguration {
        #[serde(skip_serializing_if = "Option::is_none")]
        created / set_created: by Option<String>,
        architecture / set_architecture: by String,
        os / set_os: by String,
        #[serde(skip_serializing_if = "Option::is_none")]
        variant / set_variant: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        config / set_config: by Option<Config>,
        rootfs / set_rootfs: by RootFs,
    }

    /// What its containers run.
    #[serde(rename_all = "PascalCase", default)]
    Config {
        #[serde(skip_serializing_if = "Option::is_none")]
        user / set_user: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        env / set_env: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        entrypoint / set_entrypoint: by Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cmd / set_cmd: by Option<Vec<String>>,
        /// The paths are the keys.
        #[serde(skip_serializing_if = "Option::is_none")]
        volumes / set_volumes: by Option<BTreeMap<String, Value>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        working_dir / set_working_dir: by Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_signal / set_stop_signal: by Option<String>,
    }

    /// Its layers.
    RootFs {
        #[serde(rename = "type")]
        typ / set_typ: by String,
        diff_ids / set_diff_ids: by Vec<String>,
    }
}
