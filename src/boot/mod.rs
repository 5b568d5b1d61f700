//! Everything of a gateway's start that reads something, so that PID 1 need not: [`initramfs`], and the role `boot` ([`main`]).
//!
//! The role is a table of stages ([`stages`]) and what they share ([`Boot`]). Its rules:
//! * Each stage has a bound. One that fails or takes longer is told, on the console and to `get events`, and the next one begins.
//! * Nothing waits for the network or for a person.
//! * Init knows until when the stage under way may take, and ends this role if even that is not kept; then it starts it again
//!   with the defaults: it reads nothing, and prepares the node ([`wire::boot`](crate::wire::boot)).
//!
//! | file | what |
//! | --- | --- |
//! | `stages` | the table, and how a stage is run |
//! | `command_line`, `modules`, `partition` | what the initramfs and the role both need |
//! | `data`, `check` | the data and flash partitions |
//! | `clock`, `seed` | what the machine must not begin without |
//! | `network`, `dhcp` | addresses |
//! | `kernel` | sysctls, host name |
//! | `last_boot` | why the machine went down |

mod chart;
mod check;
pub mod clock;
mod command_line;
mod data;
pub mod dhcp;
pub mod initramfs;
mod kernel;
pub mod last_boot;
mod link;
mod modules;
mod network;
mod partition;
mod say;
mod seed;
mod stages;
mod tool;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{self, Config};
use crate::json::{Deserialize, Serialize};
use crate::wire::boot::{DEFAULTS, Service};
use chart::Chart;
use command_line::CommandLine;
use link::Link;

/// Something that people should know of the boot: told on the console, by `get pods` and in `get events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The stage, for example `data`.
    pub stage: String,
    /// One sentence.
    pub message: String,
}

/// What came of preparing the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What was found, in words.
    pub summary: String,
    /// Begin and end of what the OCI runtime was asked, CLOCK_BOOTTIME in microseconds.
    pub runtime_calls: (u64, u64),
}

/// Prepares the node and leaves the supervisor's setup. What is not as it should be goes into the list.
pub type Prepare = fn(Config, &mut Vec<Warning>) -> Result<Prepared, String>;

/// What the stages share.
pub(crate) struct Boot {
    /// The boot before this one failed: read nothing.
    defaults: bool,
    prepare: Prepare,
    command_line: OnceLock<CommandLine>,
    config: OnceLock<Config>,
    link: Link,
    warnings: Mutex<Vec<Warning>>,
    disks: Disks,
    ended: OnceLock<last_boot::LastBoot>,
    chart: Mutex<Chart>,
}

/// How long disks are waited for: the root file system is there already, most often on the same one.
const DISKS: Duration = Duration::from_secs(5);

/// Until when a partition may appear that is not there yet: [`DISKS`] from the first time that one is asked for.
#[derive(Debug, Default)]
struct Disks(OnceLock<Instant>);

impl Disks {
    fn until(&self) -> Instant {
        *self.0.get_or_init(|| Instant::now().checked_add(DISKS).unwrap_or_else(Instant::now))
    }
}

/// The role `boot`, started by init.
pub fn main(prepare: Prepare) -> ExitCode {
    let defaults = std::env::args_os().nth(2).is_some_and(|word| word.as_encoded_bytes() == DEFAULTS.to_bytes());
    let boot = Arc::new(Boot {
        defaults,
        prepare,
        command_line: OnceLock::new(),
        config: OnceLock::new(),
        link: Link::open(),
        warnings: Mutex::new(Vec::new()),
        disks: Disks::default(),
        ended: OnceLock::new(),
        chart: Mutex::new(Chart::begin()),
    });
    let prepared = stages::run_all(&boot);
    // The run directory is a mount of its own only now.
    let run = &boot.config().layout.run;
    locked(&boot.chart).write(run);
    if let Some(Err(error)) = boot.ended.get().map(|report| report.write(run)) {
        say::say("boot", format_args!("last boot: {}: {error}", run.display()));
    }
    boot.link.service(Service::Console);
    // Without this word init starts this role once more, with the defaults.
    if prepared {
        boot.link.ready();
    }
    if prepared { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Boot {
    /// The settings; the defaults until they are read.
    fn config(&self) -> &Config {
        static DEFAULT: OnceLock<Config> = OnceLock::new();
        self.config.get().unwrap_or_else(|| DEFAULT.get_or_init(|| Config { stands_in: true, ..Config::default() }))
    }

    fn command_line(&self) -> &CommandLine {
        static EMPTY: OnceLock<CommandLine> = OnceLock::new();
        self.command_line.get().unwrap_or_else(|| EMPTY.get_or_init(CommandLine::default))
    }

    /// Tells something that is not as it should be.
    fn warn(&self, stage: &str, message: &str) {
        say::say("boot", format_args!("{stage}: warning: {message}"));
        self.keep(stage, message);
    }

    /// Keeps something for `get pods` and `get events` that the console has been told already.
    fn keep(&self, stage: &str, message: &str) {
        locked(&self.warnings).push(Warning { stage: stage.to_owned(), message: message.to_owned() });
    }
}

/// A stage that panicked has told what it had to tell.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stage `configuration`: the kernel's command line, then the file, which counts less.
fn configuration(boot: &Boot) -> Result<String, String> {
    let command_line = CommandLine::of_this_boot().map_err(|e| format!("/proc/cmdline: {e}"))?;
    let command_line = boot.command_line.get_or_init(|| command_line);
    let safe = command_line.has("gatepost.safe");
    let file = Path::new(config::DEFAULT_FILE);
    let (mut config, problems) = config::lenient((!safe && file.exists()).then_some(file), &command_line.settings());
    for problem in &problems {
        boot.warn("configuration", problem);
    }
    config.stands_in |= safe;
    let _ = boot.config.set(config);
    let milliseconds = |duration: Option<std::time::Duration>| duration.map_or(0, |d| d.as_secs());
    let gateway = &boot.config().gateway;
    boot.link.watchdog(milliseconds(gateway.watchdog_timeout), milliseconds(gateway.watchdog_maximum));
    boot.link.shutdown_bound(gateway.shutdown_bound.as_secs());
    let from = match (safe, file.exists()) {
        (true, _) => "safe mode, the file is not read",
        (false, true) => config::DEFAULT_FILE,
        (false, false) => "the defaults, since there is no file",
    };
    let overrides = command_line.settings().len();
    Ok(match (overrides, problems.len()) {
        (0, 0) => from.to_owned(),
        (n, 0) => format!("{from}, {n} from the command line"),
        (n, bad) => format!("{from}, {n} from the command line; {bad} problems, defaults in their place"),
    })
}

/// The stage `modules`.
fn load_modules(boot: &Boot) -> Result<String, String> {
    let mut lines = modules::lines(&std::fs::read_to_string("/etc/modules").unwrap_or_default());
    lines.extend(boot.config().gateway.modules.iter().cloned());
    if lines.is_empty() {
        return Ok("none listed".to_owned());
    }
    let loaded = modules::load(&modules::Catalogue::of_this_kernel(), &lines, boot.command_line());
    if !loaded.failures.is_empty() {
        return Err(loaded.failures.join("; "));
    }
    Ok(match &loaded.without_hardware[..] {
        [] => format!("{} loaded", loaded.count),
        without => format!("{} loaded; no hardware for {}", loaded.count, without.join(", ")),
    })
}

/// The stage `node`: as `gatepost run` prepares it.
fn prepare_node(boot: &Boot) -> Result<String, String> {
    let mut warnings = std::mem::take(&mut *locked(&boot.warnings));
    let told = warnings.len();
    let result = (boot.prepare)(boot.config().clone(), &mut warnings);
    for warning in warnings.iter().skip(told) {
        say::say("boot", format_args!("{}: warning: {}", warning.stage, warning.message));
    }
    let Prepared { summary, runtime_calls: (begin, end) } = result?;
    locked(&boot.chart).line(begin, end, "runtime", "version");
    Ok(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_before_a_partition_is_asked_for_takes_nothing_from_its_time() {
        let disks = Disks::default();
        let asked = Instant::now();
        assert!(disks.until().duration_since(asked) >= DISKS);
        assert_eq!(disks.until(), disks.until(), "and all have it together");
    }
}
