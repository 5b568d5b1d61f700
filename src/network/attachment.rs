//! [`attach`] and [`detach`]: a pod joins a network and leaves it. What is needed to leave is kept below `/run` before anything is
//! done, so that whoever comes later can undo it, with the configuration that it was done with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::conf::{self, NetworkList};
use super::plugin::{self, Call};
use super::reservations;
use super::result::{self, Address};
use super::subnet::{self, PodSubnet};
use crate::config::Layout;
use crate::json::{self, Deserialize, Serialize};
use crate::manifest::v1::Pod;
use crate::sys::namespace;
use crate::sys::replace::replace;

/// The pod's interface.
pub(super) const INTERFACE: &str = "eth0";
const VERSION: u32 = 1;

/// What the node's settings say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Where CNI configurations lie.
    pub conf_dir: PathBuf,
    /// Where plugins lie, in the order in which they are looked for.
    pub bin_dirs: Vec<PathBuf>,
    /// Where there is no configuration: the subnet of the node's bridge; empty for none.
    pub pod_subnet: String,
}

/// How a pod is attached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Its addresses, the first is the primary one.
    pub ips: Vec<String>,
    /// Whom it reaches others through: on a bridge of the node, the node.
    pub gateways: Vec<String>,
    /// The subnets its addresses are from.
    pub subnets: Vec<PodSubnet>,
}

/// The record below `/run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attachment {
    version: u32,
    list: NetworkList,
    bin_dirs: Vec<PathBuf>,
    args: String,
    port_mappings: Vec<Value>,
    /// None: it was begun.
    result: Option<Value>,
}

/// Attaches a pod, whose network namespace is pinned. `None`: the node has no configuration. `said`: what people should know.
pub fn attach(
    setting: &Setting,
    pod: &Pod,
    layout: &Layout,
    said: &mut Vec<(String, String)>,
) -> Result<Option<Attached>, String> {
    let uid = &pod.metadata.uid;
    if let Some(record) = Attachment::load(layout, uid)? {
        if record.result.is_some() {
            return Ok(Some(record.attached()));
        }
        // Whoever was at it was killed.
        detach(layout, uid)?;
    }
    let store = layout.run.join("cni");
    let (list, wrong) = conf::choose(configurations(&setting.conf_dir));
    said.extend(wrong.into_iter().map(|why| ("InvalidNetworkConfiguration".to_owned(), why)));
    let bridge = || Some(conf::bridge(&setting.pod_subnet, &store)).filter(|_| !setting.pod_subnet.is_empty());
    let Some(list) = list.or_else(bridge) else { return Ok(None) };
    reservations::forget_former(&list, layout);
    let port_mappings = conf::port_mappings(pod);
    if !port_mappings.is_empty() && !list.publishes_ports() {
        let message = format!(
            "hostPort is without effect: no plugin of network {:?} ({}) has the capability portMappings",
            list.name,
            list.file.display()
        );
        said.push(("HostPortNotPublished".to_owned(), message));
    }
    let meta = &pod.metadata;
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={uid}",
        meta.namespace,
        meta.name,
        reservations::id_of(uid),
    );
    let mut record =
        Attachment { version: VERSION, list, bin_dirs: setting.bin_dirs.clone(), args, port_mappings, result: None };
    record.save(layout, uid)?;
    match record.add(layout, uid) {
        Ok(result) => {
            record.result = Some(result);
            record.save(layout, uid)?;
            Ok(Some(record.attached()))
        }
        Err(why) => {
            // What the plugins before it have done; what cannot be undone now is undone before the next try.
            let _ = detach(layout, uid);
            Err(format!("network {:?} ({}): {why}", record.list.name, record.list.file.display()))
        }
    }
}

/// Detaches a pod if it is attached, or half attached.
pub fn detach(layout: &Layout, uid: &str) -> Result<(), String> {
    let Some(record) = Attachment::load(layout, uid)? else { return Ok(()) };
    record.delete(layout, uid).map_err(|why| format!("network {:?}: {why}", record.list.name))?;
    let path = path(layout, uid);
    fs::remove_file(&path).map_err(|error| format!("removing {}: {error}", path.display()))
}

/// How a pod is attached, as a supervisor before this one may have left it.
pub fn attached(layout: &Layout, uid: &str) -> Option<Attached> {
    let record = Attachment::load(layout, uid).inspect_err(|error| log::error!("{error}")).ok()??;
    record.result.is_some().then(|| record.attached())
}

/// Where the record of a pod lies.
pub(super) fn path(layout: &Layout, uid: &str) -> PathBuf {
    layout.pod(uid).join("network.json")
}

fn configurations(directory: &Path) -> Vec<(PathBuf, io::Result<Vec<u8>>)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| conf::is_configuration(path)).map(|path| (path.clone(), fs::read(&path))).collect()
}

impl Attachment {
    fn load(layout: &Layout, uid: &str) -> Result<Option<Self>, String> {
        let path = path(layout, uid);
        let wrong = |why: String| format!("{}: {why}", path.display());
        match fs::read(&path) {
            Ok(text) => json::from_slice(&text).map(Some).map_err(|error| wrong(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    fn save(&self, layout: &Layout, uid: &str) -> Result<(), String> {
        let path = path(layout, uid);
        let text = json::to_vec(self).map_err(|error| error.to_string())?;
        replace(&path, &text, 0o600).map_err(|error| format!("writing {}: {error}", path.display()))
    }

    fn attached(&self) -> Attached {
        let mut attached = Attached { subnets: subnet::of(&self.list), ..Attached::default() };
        for Address { ip, gateway } in result::addresses(self.result.as_ref().unwrap_or(&Value::Null)) {
            attached.ips.push(ip);
            attached.gateways.extend(Some(gateway).filter(|gateway| !gateway.is_empty()));
        }
        attached
    }

    fn call<'a>(&'a self, command: &'static str, container_id: &'a str, netns: &'a Path) -> Call<'a> {
        Call { command, container_id, netns, args: &self.args, directories: &self.bin_dirs }
    }

    /// Each plugin in order gets the result of those before it; the last result is the network's.
    fn add(&self, layout: &Layout, uid: &str) -> Result<Value, String> {
        let (id, netns) = (reservations::id_of(uid), layout.pod_namespace(uid, "net"));
        let call = self.call("ADD", &id, &netns);
        let mut result = None;
        for plugin in &self.list.plugins {
            let kind = plugin["type"].as_str().unwrap_or_default();
            let request = self.list.request(plugin, &self.port_mappings, result.as_ref());
            let answer = plugin::call(kind, &call, &request)?;
            if answer.is_object() {
                result = Some(answer);
            }
        }
        result.filter(|result| !result::addresses(result).is_empty()).ok_or_else(|| "no plugin gives an address".into())
    }

    /// In reverse order; each plugin gets the result of the whole.
    fn delete(&self, layout: &Layout, uid: &str) -> Result<(), String> {
        let (id, netns) = (reservations::id_of(uid), layout.pod_namespace(uid, "net"));
        let there = namespace::is_pinned(&netns).unwrap_or(false);
        let call = self.call("DEL", &id, if there { &netns } else { Path::new("") });
        let previous = self.result.as_ref().filter(|_| self.list.cni_version != "0.3.1");
        for plugin in self.list.plugins.iter().rev() {
            let kind = plugin["type"].as_str().unwrap_or_default();
            plugin::call(kind, &call, &self.list.request(plugin, &self.port_mappings, previous))?;
        }
        Ok(())
    }
}
