//! Linux capabilities of a container: [`capabilities`].

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

use super::{BundleInput, ConfigError};

/// containerd's default set.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// In the kernel's order: the index is the bit (linux/capability.h).
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// Bounding, permitted and effective set; inheritable and ambient stay empty, so a user other than root keeps none of
/// them over `execve` unless the file carries them.
pub(crate) fn capabilities(input: &BundleInput, warnings: &mut Vec<String>) -> Result<LinuxCapabilities, ConfigError> {
    let context = input.container()?.security_context.as_ref();
    let available = |capability: Capability| {
        ALL.iter()
            .position(|known| *known == capability)
            .is_some_and(|bit| input.node.available_capabilities >> bit & 1 == 1)
    };
    // `ALL` means all this node can give; a name that it cannot give is said.
    let mut set: Capabilities = if context.and_then(|c| c.privileged) == Some(true) {
        ALL.iter().copied().filter(|&capability| available(capability)).collect()
    } else {
        let change = context.and_then(|c| c.capabilities.clone()).unwrap_or_default();
        let mut set: Capabilities = DEFAULT.into_iter().collect();
        if change.add.iter().any(|name| is_all(name)) {
            set.extend(ALL.iter().copied().filter(|&capability| available(capability)));
        }
        if change.drop.iter().any(|name| is_all(name)) {
            set.clear();
        }
        set.extend(named(&change.add, warnings, &input.container_name));
        for capability in named(&change.drop, warnings, &input.container_name) {
            set.remove(&capability);
        }
        set
    };
    let mut unavailable: Vec<_> =
        set.iter().filter(|&&capability| !available(capability)).map(ToString::to_string).collect();
    if !unavailable.is_empty() {
        unavailable.sort();
        warnings.push(format!(
            "container {}: this node cannot give the capabilities {}; they are left out",
            input.container_name,
            unavailable.join(", ")
        ));
        set.retain(|&capability| available(capability));
    }
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(set.clone()))
        .set_permitted(Some(set.clone()))
        .set_effective(Some(set))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    Ok(capabilities)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

fn named(names: &[String], warnings: &mut Vec<String>, container: &str) -> Vec<Capability> {
    let mut known = Vec::new();
    for name in names.iter().filter(|name| !is_all(name)) {
        let upper = name.to_ascii_uppercase();
        match upper.strip_prefix("CAP_").unwrap_or(&upper).parse() {
            Ok(capability) => known.push(capability),
            Err(_) => warnings.push(format!("container {container}: unknown capability {name} has no effect")),
        }
    }
    known
}
