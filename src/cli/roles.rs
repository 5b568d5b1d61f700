//! The roles a process of this binary can have besides that of a command: one line each.

use std::path::Path;
use std::process::ExitCode;

use super::host;
use crate::manifest::source;
use crate::sys::confine;
use crate::sys::helper::Helper;

/// What runs a role.
pub(super) type Entry = fn() -> ExitCode;

/// Internal roles: the first argument names one, and it takes no others. Not commands for people, so no help lists them.
pub(super) const ROLES: &[(&str, Entry)] = &[
    ("init", host::init),
    ("farewell", farewell),
    ("rescue", crate::init::rescue::main),
    ("supervise", host::supervise),
    ("boot", host::boot),
    ("dhcp", crate::boot::dhcp::main),
    ("read-manifests", read_manifests),
    ("sandbox", crate::runtime::sandbox::main),
    ("launch", crate::runtime::launch::main),
    ("cleanup", crate::runtime::cleanup::main),
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

/// Confines itself, then reads.
fn read_manifests() -> ExitCode {
    let mut helper = match Helper::start("read-manifests") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    for warning in confine::reader() {
        log::debug!("read-manifests: {warning}");
    }
    let report = match helper.request(source::VERSION) {
        Ok(request) => source::read_manifests(&request),
        Err(error) => source::Report::refused(error),
    };
    helper.report(&report, report.ok)
}
