//! Preparing a node for its supervisors: [`run_directory`], then [`node`]. Next to a host's init what is missing ends the start
//! ([`OnFailure::Stop`]), and a person reads why; on a gateway the node comes up as far as it can ([`OnFailure::Warn`]).

use std::fs;
use std::os::unix::fs::DirBuilderExt;

use crate::boot::{Prepared, Warning, clock};
use crate::config::{Config, Layout};
use crate::runtime::{self, Runtime};
use crate::state::durable;
use crate::supervisor::Setup;
use crate::sys::cgroup::Cgroups;
use crate::sys::clock::boottime_us;
use crate::sys::mount;

/// Bytes that `/run/gatepost` may take at most: bundles, states, secrets.
const RUN_SIZE: u64 = 128 << 20;
/// The same on a machine with little memory, of which it takes a tenth.
const RUN_SIZE_OF_SMALL: u64 = 24 << 20;

/// Name of the file that keeps the node's name.
const NODE_NAME: &str = "node-name";

/// What becomes of a step that fails.
pub(super) enum OnFailure<'a> {
    /// Nothing more is done.
    Stop,
    /// It is told here, and something else stands in.
    Warn(&'a mut Vec<Warning>),
}

impl OnFailure<'_> {
    /// The result of a step, or what stands in for it.
    pub(super) fn or<T>(
        &mut self,
        step: &str,
        result: Result<T, String>,
        otherwise: impl FnOnce() -> T,
    ) -> Result<T, String> {
        match (result, self) {
            (Ok(value), _) => Ok(value),
            (Err(error), Self::Stop) => Err(error),
            (Err(message), Self::Warn(warnings)) => {
                warnings.push(Warning { stage: step.to_owned(), message });
                Ok(otherwise())
            }
        }
    }
}

/// A tmpfs of its own, private: what is mounted below it in a helper's namespace stays there.
pub(super) fn run_directory(layout: &Layout) -> Result<(), String> {
    let run = &layout.run;
    let failed = |what: &str| {
        let what = format!("cannot {what} {}", run.display());
        move |error: std::io::Error| format!("{what}: {error}")
    };
    fs::create_dir_all(run).map_err(failed("create"))?;
    if !mount::is_mount_point(run).map_err(failed("look at"))? {
        let (memory, _) = runtime::usage::capacity();
        let size = (memory / 10).clamp(RUN_SIZE_OF_SMALL, RUN_SIZE);
        mount::tmpfs(run, Some(size), 0o700, false).map_err(failed("mount a tmpfs on"))?;
    }
    mount::make_private(run).map_err(failed("make a private mount of"))
}

/// Finds what the node has and leaves it for its supervisors ([`Setup`]). Says in a line what was found.
pub(super) fn node(mut config: Config, stop_pods: bool, on_failure: &mut OnFailure<'_>) -> Result<Prepared, String> {
    let begin_us = boottime_us();
    let found = Runtime::find(&config.runtime).map_err(|e| e.to_string());
    let usable = found.is_ok();
    let runtime = on_failure.or("runtime", found, || Runtime::missing(&config.runtime))?;
    if usable {
        for finding in runtime::probe(&runtime) {
            match on_failure {
                OnFailure::Stop => log::warn!("{}: {}", finding.concerns, finding.message),
                OnFailure::Warn(warnings) => {
                    warnings.push(Warning { stage: finding.concerns.to_owned(), message: finding.message });
                }
            }
        }
    }
    let runtime_calls = (begin_us, boottime_us());
    on_failure.or("cgroups", leave_root_cgroup(), || ())?;
    for directory in [&config.layout.data, &config.layout.logs] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
        let made = made.map_err(|e| format!("cannot create {}: {e}", directory.display()));
        on_failure.or("directories", made, || ())?;
    }
    config.node_name = on_failure.or("node name", kept_name(&config), host_name)?;
    let summary = format!("{}, runtime {}", config.node_name, runtime.version);
    let (save_clock, warnings) = match on_failure {
        // A host's init keeps the clock.
        OnFailure::Stop => (false, Vec::new()),
        OnFailure::Warn(warnings) => {
            let warnings = warnings.iter().map(|w| format!("{}: {}", w.stage, w.message)).collect();
            (!clock::hardware_keeps_time(), warnings)
        }
    };
    Setup { config, runtime, stop_pods, save_clock, warnings }.begin().map_err(|e| e.to_string())?;
    Ok(Prepared { summary, runtime_calls })
}

fn leave_root_cgroup() -> Result<(), String> {
    let cgroups = Cgroups::detect().map_err(|e| format!("no usable cgroups: {e}"))?;
    cgroups.move_root_into_leaf("gatepost/init").map_err(|e| format!("cannot leave the root cgroup: {e}"))
}

/// The configured name; else the name of the first start, which is kept: pods' names and UIDs hang on it.
fn kept_name(config: &Config) -> Result<String, String> {
    if !config.node_name.is_empty() {
        return Ok(config.node_name.clone());
    }
    let directory = config.layout.state();
    let file = |write| durable::Request {
        version: durable::VERSION,
        directory: directory.clone(),
        write,
        read: vec![NODE_NAME.to_owned()],
        seal: Vec::new(),
        key: String::new(),
    };
    let report = durable::carry_out(&file(Vec::new()));
    if let Some((_, name)) = report.files.first() {
        return Ok(name.trim().to_owned());
    }
    if let Some(error) = report.error {
        return Err(format!("the node's name is not known: {error}"));
    }
    let name = host_name();
    match durable::carry_out(&file(vec![(NODE_NAME.to_owned(), format!("{name}\n"))])).error {
        None => Ok(name),
        Some(error) => Err(format!("the node's name cannot be kept: {error}")),
    }
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let name = name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    if name.is_empty() { "gateway".to_owned() } else { name }
}
