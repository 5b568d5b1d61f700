//! The system call filter of a container: [`filter`].

mod syscalls;

use super::{BundleInput, ConfigError};
use crate::spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator as Op, LinuxSyscall,
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// `CLONE_NEW*` flags of clone(2): NS, CGROUP, UTS, IPC, USER, PID, NET.
const CLONE_NEW_FLAGS: u64 = 0x7e02_0000;

/// The filter that the manifest asks for, `RuntimeDefault` when it says nothing. `bounding`: the container's capabilities.
pub(crate) fn filter(
    input: &BundleInput,
    bounding: Capabilities,
    warnings: &mut Vec<String>,
) -> Result<Option<LinuxSeccomp>, ConfigError> {
    let context = input.container()?.security_context.as_ref();
    if context.and_then(|c| c.privileged) == Some(true) {
        return Ok(None);
    }
    let asked =
        context.and_then(|c| c.seccomp_profile.as_ref()).or(input.pod.spec.security_context.seccomp_profile.as_ref());
    let kind = asked.map_or("RuntimeDefault", |profile| profile.kind.as_str());
    if kind == "Unconfined" {
        return Ok(None);
    }
    if !input.node.seccomp {
        if asked.is_some() {
            return Err(ConfigError::create(format!(
                "seccomp profile {kind} is asked for, but this kernel has no seccomp filter; \
                 set seccompProfile.type: Unconfined to run without one"
            )));
        }
        warnings.push(format!(
            "container {}: this kernel has no seccomp filter; it runs without the default one",
            input.container_name
        ));
        return Ok(None);
    }
    match kind {
        "RuntimeDefault" => Ok(Some(default_profile(std::env::consts::ARCH, bounding))),
        "Localhost" => match input.localhost_seccomp {
            Some(Ok(profile)) => Ok(Some(profile.clone())),
            Some(Err(problem)) => Err(ConfigError::create(problem.clone())),
            None => Err(ConfigError::create("seccompProfile.localhostProfile is not set".to_owned())),
        },
        other => Err(ConfigError::create(format!(
            "unknown seccomp profile type {other}; it is RuntimeDefault, Unconfined or Localhost"
        ))),
    }
}

/// What is not listed fails with EPERM. `arch` as in [`std::env::consts::ARCH`].
fn default_profile(arch: &str, bounding: Capabilities) -> LinuxSeccomp {
    let mut rules = vec![allow(syscalls::ALWAYS)];
    rules.extend(syscalls::SOCKET_FAMILIES.iter().map(|&family| allow_if("socket", Op::ScmpCmpEq, family)));
    rules.push(allow_if("socket", Op::ScmpCmpLt, syscalls::FIRST_SOCKET_FAMILY_NOT_ALLOWED));
    rules.extend(syscalls::PERSONALITIES.iter().map(|&persona| allow_if("personality", Op::ScmpCmpEq, persona)));

    let architectures = match arch {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "x86" => vec![Arch::ScmpArchX86],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        "arm" => vec![Arch::ScmpArchArm],
        "riscv64" => vec![Arch::ScmpArchRiscv64],
        _ => Vec::new(),
    };
    let of_arch = match arch {
        "x86_64" | "x86" => syscalls::X86,
        "aarch64" | "arm" => syscalls::ARM,
        "riscv64" => syscalls::RISCV,
        _ => "",
    };
    if !of_arch.is_empty() {
        rules.push(allow(of_arch));
    }

    for (capability, names) in &syscalls::BY_CAPABILITY {
        if bounding.contains(*capability) {
            rules.push(allow(names));
        }
    }
    if !bounding.contains(crate::spec::runtime::Capability::SysAdmin) {
        rules.push(allow_if("clone", Op::ScmpCmpMaskedEq, CLONE_NEW_FLAGS));
        // Its flags lie in memory, where no filter sees them. ENOSYS makes the C library fall back to clone.
        let mut clone3 = rule("clone3", LinuxSeccompAction::ScmpActErrno);
        clone3.set_errno_ret(Some(ENOSYS));
        rules.push(clone3);
    }

    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_default_errno_ret(Some(EPERM))
        .set_architectures(Some(architectures))
        .set_syscalls(Some(rules));
    profile
}

fn rule(names: &str, action: LinuxSeccompAction) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.split_ascii_whitespace().map(str::to_owned).collect()).set_action(action);
    rule
}

fn allow(names: &str) -> LinuxSyscall {
    rule(names, LinuxSeccompAction::ScmpActAllow)
}

/// Allows `name` where its first argument compares so. `value_two` is 0 but for masked comparison, where it is the mask's
/// expected value, 0 as well.
fn allow_if(name: &str, op: Op, value: u64) -> LinuxSyscall {
    let mut arg = LinuxSeccompArg::default();
    arg.set_op(op).set_value(value).set_value_two(Some(0));
    let mut rule = allow(name);
    rule.set_args(Some(vec![arg]));
    rule
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::spec::runtime::Capability;

    fn allowed(profile: &LinuxSeccomp, name: &str) -> bool {
        profile.syscalls().as_ref().unwrap().iter().any(|rule| {
            rule.names().iter().any(|known| known == name)
                && rule.args().is_none()
                && rule.action() == LinuxSeccompAction::ScmpActAllow
        })
    }

    #[test]
    fn dangerous_calls_need_their_capability() {
        let plain = default_profile("x86_64", Capabilities::default());
        for (name, capability) in [
            ("mount", Capability::SysAdmin),
            ("unshare", Capability::SysAdmin),
            ("clone3", Capability::SysAdmin),
            ("bpf", Capability::Bpf),
            ("chroot", Capability::SysChroot),
            ("clock_settime", Capability::SysTime),
            ("init_module", Capability::SysModule),
            ("reboot", Capability::SysBoot),
            ("syslog", Capability::Syslog),
        ] {
            assert!(!allowed(&plain, name), "{name}");
            assert!(allowed(&default_profile("x86_64", Capabilities::of(&[capability])), name), "{name}");
        }
    }

    #[test]
    fn some_calls_are_never_allowed() {
        let all = Capabilities::ALL;
        let profile = default_profile("x86_64", all);
        for name in
            ["keyctl", "add_key", "request_key", "kexec_load", "userfaultfd", "io_uring_setup", "swapon", "pivot_root"]
        {
            assert!(!allowed(&profile, name), "{name}");
        }
        assert!(allowed(&profile, "execve"));
    }

    #[test]
    fn clone_may_not_make_namespaces_and_clone3_looks_absent() {
        let profile = default_profile("aarch64", Capabilities::default());
        let rules = profile.syscalls().as_ref().unwrap();
        let clone = rules.iter().find(|rule| rule.names() == &["clone"]).unwrap();
        let arg = clone.args().as_ref().unwrap()[0];
        assert_eq!((arg.value(), arg.value_two(), arg.op()), (0x7e02_0000, Some(0), Op::ScmpCmpMaskedEq));
        let clone3 = rules.iter().find(|rule| rule.names() == &["clone3"]).unwrap();
        assert_eq!((clone3.action(), clone3.errno_ret()), (LinuxSeccompAction::ScmpActErrno, Some(38)));
    }

    #[test]
    fn sub_architectures_are_covered() {
        let of = |arch| default_profile(arch, Capabilities::default()).architectures().clone().unwrap();
        assert_eq!(of("x86_64"), [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]);
        assert_eq!(of("aarch64"), [Arch::ScmpArchAarch64, Arch::ScmpArchArm]);
        assert_eq!(of("arm"), [Arch::ScmpArchArm]);
    }

    #[test]
    fn no_system_call_is_listed_twice() {
        let mut names: Vec<_> = syscalls::ALWAYS.split_ascii_whitespace().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
