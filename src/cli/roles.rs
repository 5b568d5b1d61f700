//! The roles a process of this binary can have besides that of a command: one line each.

use std::path::Path;
use std::process::ExitCode;

use super::host;

/// What runs a role.
pub(super) type Entry = fn() -> ExitCode;

/// A role: its name and what runs it.
pub(super) type Role = (&'static str, Entry);

/// Internal roles: the first argument names one, and it takes no others. Not commands for people, so no help lists them.
pub(super) const ROLES: &[Role] = &[
    ("init", host::init),
    ("farewell", farewell),
    ("rescue", crate::init::rescue::main),
    ("renew", crate::init::renewal::main),
    ("supervise", host::supervise),
    ("boot", host::boot),
    ("dhcp", crate::boot::dhcp::main),
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
