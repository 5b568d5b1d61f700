//! [`load`] and [`parse`]: the configuration file and the settings from outside become a [`Config`]. All that is wrong is
//! found in one pass.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value as Json};

use super::settings::Reserved;
use super::table::CONFIG;
use super::{Config, ConsoleShell, WritableLayer};
use crate::document::{self, Entry, FindingKind, Kind, Node, Object, Quantity, Value, duration, nearest};
use crate::policy::Level;
use crate::sorted::BTreeMap;

/// Largest configuration file in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Smallest log file that makes sense to rotate.
const MIN_LOG_SIZE: u64 = 4096;
/// Longest crash-loop backoff. kubelet: 300 s; a node without anybody near it may want more.
const MAX_BACKOFF: Duration = Duration::from_hours(1);

/// What is wrong with the configuration: each line names the place, the key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, in order of the file.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// Reads a configuration file; `overrides` as in [`parse`].
pub fn load(path: &Path, overrides: &[String]) -> Result<Config, ConfigError> {
    let bytes = file_bytes(path)?;
    Ok(Config { modified: modified(path), ..parse(&path.display().to_string(), &bytes, overrides)? })
}

/// When a file was changed last, in seconds since 1970; 0 when that is not known.
pub(super) fn modified(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs())
}

pub(super) fn file_bytes(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let fail = |message: String| ConfigError { problems: vec![format!("{}: {message}", path.display())] };
    let metadata = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?;
    if metadata.len() > MAX_BYTES {
        return Err(fail(format!("larger than {MAX_BYTES} bytes; this is no configuration file")));
    }
    std::fs::read(path).map_err(|error| fail(error.to_string()))
}

/// Reads a configuration. `overrides`: `key=value` or `gatepost.key=value`, later ones count more. Empty bytes give the
/// defaults.
pub fn parse(file: &str, bytes: &[u8], overrides: &[String]) -> Result<Config, ConfigError> {
    let mut reading = Reading::default();
    match document::parse(bytes) {
        Ok(parsed) => {
            for oddity in &parsed.warnings {
                reading.problems.push(format!("{file}:{}: {}", oddity.line, oddity.message));
            }
            if let Some(second) = parsed.documents.get(1) {
                reading
                    .problems
                    .push(format!("{file}:{}: a second document; a configuration is one document", second.line));
            }
            if let Some(node) = parsed.documents.first() {
                reading.take(node, |line| format!("{file}:{line}"));
            }
        }
        Err(error) => reading.problems.push(format!("{file}: {error}")),
    }
    for text in overrides {
        reading.take_override(text);
    }
    let mut config = Config::default();
    reading.fill(&mut config);
    if reading.problems.is_empty() { Ok(config) } else { Err(ConfigError { problems: reading.problems }) }
}

/// host-local gives no address out of less than a `/30`.
fn is_subnet(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let (address, length) = (address.parse::<Ipv4Addr>().map(u32::from), length.parse::<u32>());
    matches!((address, length), (Ok(address), Ok(length @ 1..=30)) if address.checked_shl(length) == Some(0))
}

/// A configuration on its way from text to [`Config`].
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    settings: Map<String, Json>,
    /// Where each key was set last.
    places: BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
}

impl Reading {
    pub(super) fn take(&mut self, node: &Node, place: impl Fn(u32) -> String) {
        let decoded = document::decode(node, &CONFIG);
        for finding in decoded.findings {
            let what = match finding.kind {
                FindingKind::Unknown => {
                    finding.message.replace("field of Config", "key").replace("field of ", "key of ")
                }
                _ => finding.message,
            };
            self.problems.push(format!("{}: {}: {what}", place(finding.line), finding.field));
        }
        self.note_places(node, "", &place);
        if let Json::Object(settings) = decoded.value {
            merge(&mut self.settings, settings);
        }
    }

    fn note_places(&mut self, node: &Node, prefix: &str, place: &impl Fn(u32) -> String) {
        let Value::Map(entries) = &node.value else { return };
        for entry in entries {
            let key = format!("{prefix}{}", entry.key);
            self.note_places(&entry.node, &format!("{key}."), place);
            self.places.insert(key, place(entry.line));
        }
    }

    pub(super) fn take_override(&mut self, text: &str) {
        let Some((key, value)) = text.split_once('=') else {
            self.problems.push(format!("{text:?}: no setting; write KEY=VALUE"));
            return;
        };
        let key = key.strip_prefix("gatepost.").unwrap_or(key);
        let Some(kind) = kind_of(key) else {
            let hint = nearest(key, CONFIG.fields.iter().map(|field| field.name));
            let hint = hint.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default();
            self.problems.push(format!("{text:?}: unknown key{hint}"));
            return;
        };
        let node = |value| Node { value, line: 1, column: 1 };
        let string = |text: &str| node(Value::String(text.trim().to_owned()));
        let value = match kind {
            Kind::OneOrList(_) | Kind::List(_) => {
                node(Value::List(value.split(',').filter(|item| !item.trim().is_empty()).map(string).collect()))
            }
            Kind::Int32 | Kind::Int64 => {
                value.trim().parse::<i64>().map_or_else(|_| string(value), |n| node(Value::Number(n.into())))
            }
            Kind::Bool => match value.trim() {
                "true" => node(Value::Bool(true)),
                "false" => node(Value::Bool(false)),
                _ => string(value),
            },
            _ => string(value),
        };
        let tree = names_of(key).into_iter().rev().fold(value, |inner, name| {
            node(Value::Map(vec![Entry { key: name.to_owned(), line: 1, column: 1, node: inner }]))
        });
        self.take(&tree, |_| format!("{text:?}"));
    }

    pub(super) fn wrong(&mut self, key: &str, message: &str) {
        let place = self.places.get(key).map(|place| format!("{place}: ")).unwrap_or_default();
        self.problems.push(format!("{place}{key}: {message}"));
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        let mut parts = key.split('.');
        let first = self.settings.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(Json::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn path(&mut self, key: &str, target: &mut PathBuf) {
        if let Some(text) = self.text(key) {
            self.check_absolute(key, &text);
            *target = text.into();
        }
    }

    /// The items of a list of texts.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        let items = self.get(key)?.as_array()?;
        Some(items.iter().filter_map(Json::as_str).map(str::to_owned).collect())
    }

    pub(super) fn paths(&mut self, key: &str, target: &mut Vec<PathBuf>) {
        let Some(texts) = self.texts(key) else { return };
        for text in &texts {
            self.check_absolute(key, text);
        }
        *target = texts.into_iter().map(PathBuf::from).collect();
    }

    fn check_absolute(&mut self, key: &str, text: &str) {
        if !text.starts_with('/') {
            self.wrong(key, &format!("{text:?} is not an absolute path; begin it with /"));
        }
    }

    pub(super) fn size(&self, key: &str) -> Option<u64> {
        self.text(key).and_then(|text| Quantity::parse(&text).ok()).and_then(|size| u64::try_from(size.whole()).ok())
    }

    pub(super) fn duration(&self, key: &str) -> Option<Duration> {
        self.text(key).and_then(|text| duration(&text).ok())
    }

    fn count(&mut self, key: &str, target: &mut u64) {
        match self.get(key).and_then(Json::as_i64) {
            Some(-1) => *target = 0,
            Some(count) => match u64::try_from(count) {
                Ok(count) => *target = count,
                Err(_) => self.wrong(key, "must be -1 or more"),
            },
            None => {}
        }
    }

    pub(super) fn fill(&mut self, config: &mut Config) {
        if let Some(name) = self.text("nodeName") {
            if name.len() > 253 || !is_dns_name(&name) {
                self.wrong("nodeName", "must consist of letters, digits, '-' and '.', each part beginning and ending with a letter or digit");
            }
            config.node_name = name;
        }
        self.paths("staticPodPath", &mut config.static_pod_path);
        if config.static_pod_path.is_empty() {
            self.wrong("staticPodPath", "names no directory; leave the key out for the default");
        }
        self.paths("imagePreloadPath", &mut config.layout.preload);
        if let Some(runtime) = self.text("runtime") {
            if runtime.contains('/') {
                self.check_absolute("runtime", &runtime);
            }
            config.runtime = runtime;
        }
        if let Some(level) = self.text("podSecurity") {
            match Level::named(&level) {
                Some(level) => config.pod_security = level,
                None => self.wrong("podSecurity", &format!("{level:?} is neither privileged, baseline nor restricted")),
            }
        }
        self.path("runDir", &mut config.layout.run);
        self.path("dataDir", &mut config.layout.data);
        self.path("logDir", &mut config.layout.logs);
        self.path("resolvConf", &mut config.resolv_conf);
        if let Some(domain) = self.text("clusterDomain") {
            if !domain.is_empty() && !is_dns_name(&domain) {
                self.wrong("clusterDomain", &format!("{domain:?} is no domain such as cluster.local"));
            }
            config.cluster_domain = domain;
        }
        self.path("cniConfDir", &mut config.cni_conf_dir);
        self.paths("cniBinDir", &mut config.cni_bin_dir);
        if let Some(subnet) = self.text("podSubnet") {
            if !is_subnet(&subnet) {
                self.wrong(
                    "podSubnet",
                    &format!("{subnet:?} is no IPv4 subnet such as 10.85.0.0/24, with room for two pods"),
                );
            }
            config.pod_subnet = subnet;
        }
        self.fill_backoff(config);
        self.fill_logs(config);
        self.fill_writable_layer(config);
        self.count("podPidsLimit", &mut config.pod_pids_limit);
        self.count("podsPidsLimit", &mut config.pods_pids_limit);
        config.pods_memory_limit = self.size("podsMemoryLimit").or(config.pods_memory_limit);
        self.fill_reserved(&mut config.reserved);
        if let Some(names) = self.texts("allowedUnsafeSysctls") {
            config.allowed_unsafe_sysctls = names.iter().map(|name| name.replace('/', ".")).collect();
        }
        self.fill_registries(config);
        self.fill_trust(config);
        self.path("fetchBinary", &mut config.fetch_binary);
        self.path("workerBinary", &mut config.worker_binary);
        self.path("seccompProfileRoot", &mut config.seccomp_profile_root);
        if let Some(single) = self.get("singleProcessOOMKill").and_then(Json::as_bool) {
            config.single_process_oom_kill = single;
        }
        if let Some(root) = self.get("cgroupRoot").and_then(Json::as_str).map(str::to_owned) {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if root.is_empty() || root.starts_with('.') || !root.chars().all(plain) {
                self.wrong("cgroupRoot", "is not the name of one cgroup; use letters, digits, `-`, `_` and `.`");
            } else {
                config.cgroup_root = root;
            }
        }
        if let Some(starts) = self.get("maxParallelStarts").and_then(Json::as_i64) {
            match usize::try_from(starts) {
                Ok(starts) => config.max_parallel_starts = starts,
                Err(_) => self.wrong("maxParallelStarts", "must be 0 or more"),
            }
        }
        self.fill_devices(&mut config.devices);
        self.fill_console(config);
        self.fill_gateway(&mut config.gateway);
    }

    fn fill_reserved(&mut self, reserved: &mut Reserved) {
        for key in ["systemReserved", "kubeReserved"] {
            let Some(Json::Object(amounts)) = self.get(key).cloned() else { continue };
            for (name, amount) in amounts {
                let amount = amount.as_str().and_then(|text| Quantity::parse(text).ok());
                let Some(amount) = amount.filter(|amount| amount.nanos() >= 0) else { continue };
                match name.as_str() {
                    "memory" => {
                        let bytes = u64::try_from(amount.whole()).unwrap_or(u64::MAX);
                        reserved.memory = reserved.memory.saturating_add(bytes);
                    }
                    "cpu" => {
                        let milli = u64::try_from(amount.nanos() / 1_000_000).unwrap_or(u64::MAX);
                        reserved.cpu_milli = reserved.cpu_milli.saturating_add(milli);
                    }
                    // Nothing is scheduled by them here.
                    "ephemeral-storage" | "pid" => {}
                    other => self.wrong(key, &format!("{other:?} cannot be reserved; write cpu or memory")),
                }
            }
        }
    }

    fn fill_console(&mut self, config: &mut Config) {
        if let Some(timeout) = self.duration("consoleShellTimeout") {
            config.console.timeout = timeout;
        }
        config.console.apply = self.get("consoleApply").and_then(Json::as_bool).unwrap_or_default();
        let hash = self.text("consoleShellPassword");
        if let Some(hash) = &hash
            && !((hash.starts_with("$5$") || hash.starts_with("$6$")) && hash.matches('$').count() >= 3)
        {
            self.wrong("consoleShellPassword", "is no hash of a password; make one with `mkpasswd -m sha-512`");
        }
        match (self.text("consoleShell").as_deref(), hash) {
            (None | Some("none"), _) => {}
            (Some("open"), _) => config.console.shell = ConsoleShell::Open,
            (Some("password"), Some(hash)) => config.console.shell = ConsoleShell::Password(hash),
            (Some("password"), None) => self.wrong("consoleShell", "needs a hash in consoleShellPassword"),
            (Some(other), _) => self.wrong("consoleShell", &format!("{other:?} is neither none, password nor open")),
        }
    }

    fn fill_backoff(&mut self, config: &mut Config) {
        const MAX: &str = "crashLoopBackOff.maxContainerRestartPeriod";
        const INITIAL: &str = "crashLoopBackOff.initialRestartPeriod";
        if let Some(max) = self.duration(MAX) {
            if max < Duration::from_secs(1) || max > MAX_BACKOFF {
                self.wrong(MAX, "must be between 1s and 1h");
            }
            config.backoff.max = max;
        }
        match self.duration(INITIAL) {
            Some(initial) => {
                if initial.is_zero() || initial > config.backoff.max {
                    self.wrong(INITIAL, "must be longer than 0 and not longer than maxContainerRestartPeriod");
                }
                config.backoff.initial = initial;
            }
            None => config.backoff.initial = config.backoff.initial.min(config.backoff.max),
        }
    }

    fn fill_logs(&mut self, config: &mut Config) {
        if let Some(size) = self.size("containerLogMaxSize") {
            if size < MIN_LOG_SIZE {
                self.wrong("containerLogMaxSize", "must be at least 4Ki");
            }
            config.logs.max_size = size;
        }
        if let Some(files) = self.get("containerLogMaxFiles").and_then(Json::as_i64) {
            match u32::try_from(files) {
                Ok(files) if files >= 2 => config.logs.max_files = files,
                _ => self.wrong("containerLogMaxFiles", "must be at least 2"),
            }
        }
        if let Some(total) = self.size("logsMaxTotal") {
            config.logs.total = total;
        }
        if config.logs.total < config.logs.max_size {
            self.wrong("logsMaxTotal", "must be at least containerLogMaxSize");
        }
    }

    fn fill_writable_layer(&mut self, config: &mut Config) {
        let size = self.size("writableLayer.size");
        match self.text("writableLayer.medium").as_deref() {
            None | Some("data") => {
                if size.is_some() {
                    self.wrong("writableLayer.size", "counts only with medium: memory; remove it or set that");
                }
            }
            Some("memory") => {
                let size = size.unwrap_or(16 << 20);
                if size == 0 {
                    self.wrong("writableLayer.size", "must be more than 0");
                }
                config.writable_layer = WritableLayer::Memory(size);
            }
            Some(other) => self.wrong("writableLayer.medium", &format!("{other:?} is neither data nor memory")),
        }
    }
}

pub(super) fn is_dns_name(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The names a dotted key goes through; the free keys of a map hold dots themselves.
fn names_of(key: &str) -> Vec<&str> {
    let Some((first, free)) = key.split_once('.') else { return vec![key] };
    match CONFIG.fields.iter().find(|field| field.name == first).map(|field| field.kind) {
        // Behind the free key there are those of the object.
        Some(Kind::Map(Kind::Object(inner))) => {
            let known = |(at, _): &(usize, &str)| free.get(at.saturating_add(1)..).is_some_and(|rest| inner.has(rest));
            match free.match_indices('.').find(known) {
                Some((at, _)) => {
                    let (name, rest) = free.split_at(at);
                    [first, name].into_iter().chain(rest.split('.').skip(1)).collect()
                }
                None => vec![first, free],
            }
        }
        Some(Kind::Map(_)) => vec![first, free],
        _ => key.split('.').collect(),
    }
}

/// The kind of a dotted key.
fn kind_of(key: &str) -> Option<Kind> {
    let mut object: &Object = &CONFIG;
    let mut parts = names_of(key).into_iter().peekable();
    while let Some(part) = parts.next() {
        let field = object.fields.iter().find(|field| field.name == part)?;
        match (&field.kind, parts.peek()) {
            (Kind::Map(Kind::Object(inner)), Some(_)) => {
                parts.next();
                parts.peek()?;
                object = inner;
            }
            (Kind::Map(inner), Some(_)) => return Some(**inner),
            (Kind::Object(inner), Some(_)) => object = inner,
            (Kind::Object(_), None) | (_, Some(_)) => return None,
            (kind, None) => return Some(*kind),
        }
    }
    None
}

/// Objects key by key, everything else as a whole.
fn merge(into: &mut Map<String, Json>, from: Map<String, Json>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Json::Object(old)), Json::Object(new)) => merge(old, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
