//! What the kernel is told about processes as a whole: [`limits`], [`sysctls`], [`host_name`].

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::Boot;

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

/// The stage `limits`. They are set for PID 1, from which every process has them: the kernel's are too low for containers.
pub(super) fn limits(_: &Boot) -> Result<String, String> {
    let limit = |soft, hard| Rlimit { current: soft, maximum: hard };
    let mut failures = Vec::new();
    for (name, resource, wanted) in [
        ("nofile", Resource::Nofile, limit(Some(1024), Some(524_288))),
        // Processes are bounded by cgroups.
        ("nproc", Resource::Nproc, limit(None, None)),
        ("core", Resource::Core, limit(Some(0), None)),
    ] {
        if let Err(error) = prlimit(Pid::from_raw(1), resource, wanted) {
            failures.push(format!("{name} of PID 1: {error}"));
        }
    }
    // As systemd has it: what is mounted for a pod reaches the namespaces of those that ask for it.
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    if let Err(error) = rustix::mount::mount_change("/", shared) {
        failures.push(format!("cannot make / shared: {error}"));
    }
    if failures.is_empty() {
        Ok("nofile 1024:524288, nproc unlimited, core 0, / shared".to_owned())
    } else {
        Err(failures.join("; "))
    }
}

/// The stage `sysctls`. A parameter of the table that this kernel lacks is none to miss; one that a person asked for is told.
pub(super) fn sysctls(boot: &Boot) -> Result<String, String> {
    let asked = &boot.config().gateway.sysctls;
    let (mut count, mut failures) = (0_usize, Vec::new());
    let table = SYSCTLS.iter().filter(|(name, _)| !asked.contains_key(*name));
    for (name, value) in table {
        match fs::write(path_of(name), value) {
            Ok(()) => count = count.saturating_add(1),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    for (name, value) in asked {
        match fs::write(path_of(name), value) {
            Ok(()) => count = count.saturating_add(1),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    if failures.is_empty() { Ok(format!("{count} set")) } else { Err(failures.join("; ")) }
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
