//! Role `volumes`: the volumes of running pods, brought up to date ([`Work::Refresh`]) and measured ([`Work::Measure`]).

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use crate::json::{Deserialize, Serialize};

use super::{Failure, protocol};
use crate::config::Layout;
use crate::manifest::v1::Pod;
use crate::oci::{self, NodeFacts};
use crate::volume::{self, Objects, Site, Usage};

/// What the role is asked to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumesRequest {
    /// [`protocol::VERSION`].
    pub version: u32,
    /// Where things lie.
    pub layout: Layout,
    /// What to do.
    pub work: Work,
}

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Work {
    /// Documents have changed, or may have.
    Refresh(Box<Refresh>),
    /// The pods whose emptyDirs on disk have a limit.
    Measure(Vec<Rc<Pod>>),
}

/// Pods, and what their volumes show.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refresh {
    /// Facts of the node, for the resources that downwardAPI volumes show.
    pub node: NodeFacts,
    /// Each with its own documents.
    pub pods: Vec<(Rc<Pod>, Objects)>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Volumes that keep what they had.
    pub failures: Vec<PodFailure>,
    /// Pods of which an emptyDir is larger than it may be, and the message for that.
    pub over: Vec<(String, String)>,
    /// Pods whose emptyDirs nobody needs to look at again, since their file system bounds them.
    pub bounded: Vec<String>,
    /// Milliseconds that it took.
    pub took_ms: u64,
}

/// A volume that could not be brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFailure {
    /// The pod.
    pub uid: String,
    /// Why.
    pub failure: volume::Failure,
}

/// The role's entry: request on descriptor 0, report on descriptor 3.
pub fn main() -> ExitCode {
    protocol::serve("volumes", |request: VolumesRequest| {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let began = crate::sys::clock::boottime_ms();
        let mut told = match &request.work {
            Work::Refresh(refresh) => refresh_all(&request.layout, refresh),
            Work::Measure(pods) => measure_all(&request.layout, pods),
        };
        told.took_ms = crate::sys::clock::boottime_ms().saturating_sub(began);
        Ok::<_, Failure>((told, Vec::new()))
    })
}

fn refresh_all(layout: &Layout, refresh: &Refresh) -> Told {
    let mut told = Told::default();
    for (pod, objects) in &refresh.pods {
        let uid = &pod.metadata.uid;
        // It may be on its way out: nothing is to be made anew then.
        if !layout.pod(uid).join("volumes").is_dir() {
            continue;
        }
        let field = |item: &_| oci::downward_item(pod, &refresh.node, item).map_err(|error| error.message);
        let site = Site { layout, pod, objects, field: &field, memory_bytes: None };
        let failures = volume::refresh(site);
        told.failures.extend(failures.into_iter().map(|failure| PodFailure { uid: uid.clone(), failure }));
    }
    told
}

fn measure_all(layout: &Layout, pods: &[Rc<Pod>]) -> Told {
    let mut told = Told::default();
    for pod in pods {
        let uid = &pod.metadata.uid;
        let mut bounded = true;
        for volume in pod.spec.volumes.iter().filter(|volume| volume::is_measured(volume)) {
            let Some(limit) = volume::size_limit(volume) else { continue };
            let written = volume.empty_dir.as_ref().and_then(|source| source.size_limit.as_deref()).unwrap_or_default();
            let path: PathBuf = volume::path(layout, uid, volume);
            let name = &volume.name;
            match volume::measure(&path) {
                Ok(Usage::Bounded(_)) if !ignores_quotas(pod) => continue,
                // The blank at the end is Kubernetes'.
                Ok(Usage::Bytes(bytes) | Usage::Bounded(bytes)) if bytes > limit => {
                    told.over.push((
                        uid.clone(),
                        format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{written}\". "),
                    ));
                }
                Ok(Usage::TooDeep) => told.over.push((
                    uid.clone(),
                    format!(
                        "Usage of EmptyDir volume \"{name}\" cannot be measured: its directories are nested too deep. "
                    ),
                )),
                Ok(Usage::Bytes(_) | Usage::Bounded(_)) => {}
                Err(error) => log::debug!("{} is not measured: {error}", path.display()),
            }
            bounded = false;
        }
        if bounded {
            told.bounded.push(uid.clone());
        }
    }
    told
}

/// A quota does not hold a process with CAP_SYS_RESOURCE back.
fn ignores_quotas(pod: &Pod) -> bool {
    let all = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    all.filter_map(|container| container.security_context.as_ref()).any(|context| {
        let added = context.capabilities.iter().flat_map(|capabilities| &capabilities.add);
        context.privileged == Some(true)
            || added.map(|name| name.to_ascii_uppercase()).any(|name| name == "ALL" || name.ends_with("SYS_RESOURCE"))
    })
}
