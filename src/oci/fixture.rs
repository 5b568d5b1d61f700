//! What the tests of this room are built on: [`Fixture`], all of a bundle's input, owned.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};

use super::{
    Bundle, BundleInput, CgroupVersion, ConfigError, GeneratedFiles, HostDevice, HostVolume, NodeFacts, PodNamespaces,
    bundle,
};
use crate::manifest::v1;
use crate::sorted::BTreeMap;
use crate::spec::image::ImageConfiguration;
use crate::spec::runtime::LinuxSeccomp;

#[path = "../../tests/oci_schema/mod.rs"]
mod schema;

/// A pod `web-gw1` with one container `app`, and a node that can do everything.
pub(super) struct Fixture {
    pub(super) pod: v1::Pod,
    pub(super) image: ImageConfiguration,
    pub(super) config_maps: BTreeMap<String, Rc<v1::ConfigMap>>,
    pub(super) secrets: BTreeMap<String, Rc<v1::Secret>>,
    pub(super) namespaces: PodNamespaces,
    pub(super) pod_ips: Vec<String>,
    pub(super) service_links: Vec<(String, String)>,
    pub(super) volumes: BTreeMap<String, HostVolume>,
    pub(super) sources: BTreeMap<usize, PathBuf>,
    pub(super) env_files: BTreeMap<(String, String), String>,
    pub(super) files: GeneratedFiles,
    pub(super) host_devices: Vec<HostDevice>,
    pub(super) localhost_seccomp: Option<Result<LinuxSeccomp, String>>,
    pub(super) node: NodeFacts,
}

impl Fixture {
    /// `container`: fields of the container beside its name; `image`: the image's `config`.
    pub(super) fn new(container: Value, image: &Value) -> Self {
        let mut app: v1::Container = crate::json::from_value(container).unwrap();
        "app".clone_into(&mut app.name);
        let mut pod = v1::Pod::default();
        "web-gw1".clone_into(&mut pod.metadata.name);
        "default".clone_into(&mut pod.metadata.namespace);
        "0123456789abcdef0123456789abcdef".clone_into(&mut pod.metadata.uid);
        pod.metadata.labels.insert("app".to_owned(), "web".to_owned());
        pod.spec.containers = vec![app];
        Self::of_pod(pod, image)
    }

    pub(super) fn of_pod(pod: v1::Pod, image: &Value) -> Self {
        let generated = |name: &str| Some(Path::new("/run/gatepost/pods/u").join(name));
        Self {
            pod,
            image: crate::json::from_value(json!({
                "architecture": "arm64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] }, "config": image
            }))
            .unwrap(),
            config_maps: BTreeMap::new(),
            secrets: BTreeMap::new(),
            namespaces: PodNamespaces {
                net: generated("ns/net"),
                ipc: generated("ns/ipc"),
                uts: generated("ns/uts"),
                ..PodNamespaces::default()
            },
            pod_ips: vec!["10.0.0.2".to_owned(), "fd00::2".to_owned()],
            service_links: Vec::new(),
            volumes: BTreeMap::new(),
            sources: BTreeMap::new(),
            env_files: BTreeMap::new(),
            files: GeneratedFiles {
                hosts: generated("hosts"),
                hostname: generated("hostname"),
                resolv_conf: generated("resolv.conf"),
                termination_log: generated("termination-log"),
                shm: generated("shm"),
            },
            host_devices: Vec::new(),
            localhost_seccomp: None,
            node: NodeFacts {
                node_name: "gw1".to_owned(),
                host_name: "gateway".to_owned(),
                host_ips: vec!["192.0.2.1".to_owned(), "2001:db8::1".to_owned()],
                memory_bytes: 1 << 30,
                cpus: 4,
                ephemeral_storage_bytes: 8 << 30,
                may_lower_oom_score: true,
                oom_score_adj: 0,
                available_capabilities: (1 << 41) - 1,
                seccomp: true,
                cgroups: CgroupVersion::V2,
                swap_accounting: true,
                page_sizes: Vec::new(),
                limits_huge_pages: true,
                single_process_oom_kill: false,
                app_armor: None,
                se_linux: false,
            },
        }
    }

    pub(super) fn input(&self) -> BundleInput<'_> {
        BundleInput {
            pod: &self.pod,
            container_name: "app",
            container_id: "app-01234567-7",
            rootfs: Path::new("rootfs"),
            image: &self.image,
            image_passwd: Some(
                "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34::/var/www:/bin/false\nbroken\n#:x\n1234:x:55:55::/:/bin/sh\n",
            ),
            image_group: Some("root:x:0:\nstaff:x:50:www-data,root\ndialout:x:20:www-data\nwww-data:x:34:\n"),
            config_maps: &self.config_maps,
            secrets: &self.secrets,
            namespaces: &self.namespaces,
            pod_ips: &self.pod_ips,
            service_links: &self.service_links,
            volumes: &self.volumes,
            sources: &self.sources,
            env_files: &self.env_files,
            files: &self.files,
            host_devices: &self.host_devices,
            localhost_seccomp: self.localhost_seccomp.as_ref(),
            node: &self.node,
        }
    }

    pub(super) fn bundle(&self) -> Result<Bundle, ConfigError> {
        bundle(&self.input())
    }

    /// The bundle as `config.json` holds it, valid by the specification's schema.
    pub(super) fn json(&self) -> Value {
        let config = crate::json::to_value(&self.bundle().unwrap().spec).unwrap();
        assert_eq!(schema::problems(&config), Vec::<String>::new());
        config
    }

    /// Reason and message of the refusal.
    pub(super) fn refusal(&self) -> (&'static str, String) {
        let error = self.bundle().unwrap_err();
        (error.reason.as_str(), error.message)
    }

    pub(super) fn app(&mut self) -> &mut v1::Container {
        &mut self.pod.spec.containers[0]
    }

    pub(super) fn with_volume(mut self, volume: Value, path: &str) -> Self {
        let volume: v1::Volume = crate::json::from_value(volume).unwrap();
        self.volumes.insert(volume.name.clone(), HostVolume { path: PathBuf::from(path), device: None });
        self.pod.spec.volumes.push(volume);
        self
    }
}
