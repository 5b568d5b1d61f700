//! The roles a process of this binary can have besides that of a command: one line each.

use std::path::Path;
use std::process::ExitCode;

use super::host;
use std::os::fd::AsFd as _;

use crate::manifest::{source, watch};
use crate::sys::helper::{Helper, PASSED};
use crate::sys::{confine, inherited};

/// What runs a role.
pub(super) type Entry = fn() -> ExitCode;

/// Internal roles: the first argument names one, and it takes no others. Not commands for people, so no help lists them.
pub(super) const ROLES: &[(&str, Entry)] = &[
    ("init", host::init),
    ("farewell", farewell),
    ("rescue", crate::init::rescue::main),
    ("renew", crate::init::renewal::main),
    ("supervise", host::supervise),
    ("boot", host::boot),
    ("dhcp", crate::boot::dhcp::main),
    ("read-manifests", read_manifests),
    ("look", crate::supervisor::look::main),
    ("find-devices", crate::supervisor::find_devices::main),
    ("sandbox", crate::runtime::sandbox::main),
    ("launch", crate::runtime::launch::main),
    ("container-exec", crate::probe::exec::main),
    ("features", crate::runtime::features::main),
    ("pause", crate::runtime::pause::main),
    ("cleanup", crate::runtime::cleanup::main),
    ("volumes", crate::runtime::volumes::main),
    ("leftovers", crate::runtime::leftovers::main),
    ("image-worker", crate::image::worker::main),
    ("state-writer", crate::state::durable::main),
    ("log-writer", crate::log::writer::main),
    ("log-tail", crate::log::last_words::main),
];

/// The role of a process that somebody else started, who chose its name and not its first argument: the kernel, for which the
/// arguments are words of its command line, or udhcpc.
pub(super) fn of_name() -> Option<Entry> {
    if crate::boot::initramfs::is_asked_for() {
        return Some(crate::boot::initramfs::main);
    }
    if crate::boot::dhcp::event_is_asked_for() {
        return Some(crate::boot::dhcp::event);
    }
    crate::init::pid1::is_asked_for().then_some(crate::init::pid1::main as Entry)
}

/// The clock is saved while data is still mounted.
fn farewell() -> ExitCode {
    // Nothing of this may keep a machine from going down.
    let _ = crate::boot::clock::save(Path::new(crate::init::farewell::STATE));
    crate::init::farewell::main()
}

/// Confines itself, watches what it is about to read, so that no change falls between, then reads.
fn read_manifests() -> ExitCode {
    let mut helper = match Helper::start("read-manifests") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let changes = inherited::take(PASSED).ok();
    for warning in confine::reader() {
        log::debug!("read-manifests: {warning}");
    }
    let report = match helper.request::<source::Request>(source::VERSION) {
        Ok(request) => {
            let watched = |changes| watch::watch(changes, &request.directories, &request.watched);
            let watches = changes.as_ref().map(|changes| watched(changes.as_fd())).unwrap_or_default();
            source::Report { watches, ..source::read_manifests(&request) }
        }
        Err(error) => source::Report::refused(error),
    };
    helper.report(&report, report.ok)
}
