//! What the kernel is told besides: [`sysctls`] and [`host_name`]. The limits of processes are PID 1's own matter.

use std::fs;
use std::path::{Path, PathBuf};

use super::Boot;
use crate::sys::process;

/// Kernel parameters, unless the settings say otherwise. kubelet's, for pods that rely on them (kubelet: `setupKernelTunables`), and
/// what a machine without a person needs: a panic ends in a reboot.
const SYSCTLS: &[(&str, &str)] = &[
    ("kernel.panic", "10"),
    ("kernel.panic_on_oops", "1"),
    ("vm.overcommit_memory", "1"),
    ("vm.panic_on_oom", "0"),
    ("kernel.keys.root_maxkeys", "1000000"),
    ("kernel.keys.root_maxbytes", "25000000"),
    ("kernel.dmesg_restrict", "1"),
    ("kernel.kptr_restrict", "1"),
    ("fs.protected_hardlinks", "1"),
    ("fs.protected_symlinks", "1"),
    ("fs.inotify.max_user_instances", "1024"),
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.default.rp_filter", "2"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// The host name where nothing gives one.
const NAME: &str = "gateway";

/// The stage `sysctls`. A parameter of the table that this kernel lacks is none to miss; one that a person asked for is told. In a
/// container only the network's are ours: the others are the machine's.
pub(super) fn sysctls(boot: &Boot) -> Result<String, String> {
    let asked = &boot.config().gateway.sysctls;
    let whole_machine = process::sees_whole_machine();
    let table =
        SYSCTLS.iter().filter(|(name, _)| !asked.contains_key(*name)).map(|(name, value)| (*name, *value, false));
    let all = table.chain(asked.iter().map(|(name, value)| (name.as_str(), value.as_str(), true)));
    let (mut count, mut left, mut failures) = (0_usize, 0_usize, Vec::new());
    for (name, value, wanted) in all {
        if !whole_machine && !name.starts_with("net") {
            left = left.saturating_add(1);
            continue;
        }
        match fs::write(path_of(name), value) {
            Ok(()) => count = count.saturating_add(1),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !wanted => {}
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    match (failures.is_empty(), left) {
        (false, _) => Err(failures.join("; ")),
        (true, 0) => Ok(format!("{count} set")),
        (true, left) => Ok(format!("{count} set, {left} left to the machine this is a part of")),
    }
}

/// As sysctl(8): with a slash first, dots belong to the names (`net/ipv4/conf/eth0.5/forwarding`).
fn path_of(name: &str) -> PathBuf {
    let slash_first = name.find(['.', '/']).is_some_and(|at| name.as_bytes().get(at) == Some(&b'/'));
    let relative = if slash_first {
        name.to_owned()
    } else {
        name.chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    };
    Path::new("/proc/sys").join(relative)
}

/// The stage `host name`.
pub(super) fn host_name(boot: &Boot) -> Result<String, String> {
    let configured = boot.config().gateway.hostname.clone();
    let name = if configured.is_empty() { image_name() } else { configured };
    rustix::system::sethostname(name.as_bytes()).map_err(|e| format!("{name:?}: {e}"))?;
    Ok(name)
}

fn image_name() -> String {
    let text = fs::read_to_string("/etc/hostname").unwrap_or_default();
    let name = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    name.unwrap_or(NAME).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parameters_become_paths_as_sysctl_does() {
        assert_eq!(path_of("net.ipv4.ip_forward"), Path::new("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(path_of("net/ipv4/conf/eth0.5/forwarding"), Path::new("/proc/sys/net/ipv4/conf/eth0.5/forwarding"));
        assert_eq!(path_of("net.ipv4.conf.eth0/5.forwarding"), Path::new("/proc/sys/net/ipv4/conf/eth0.5/forwarding"));
    }

    #[test]
    fn the_table_has_each_parameter_once_and_the_kernel_knows_their_names() {
        for (index, (name, _)) in SYSCTLS.iter().enumerate() {
            assert!(SYSCTLS.iter().skip(index + 1).all(|(other, _)| other != name), "{name}");
            assert!(path_of(name).parent().unwrap().is_dir(), "{name}");
        }
    }
}
