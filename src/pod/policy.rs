//! [`After`]: what follows the end of a container by policy: semantics 3.1. Its own policy, if it has one, replaces the pod's; the
//! rules beside it come first.

use super::backoff::BackoffRule;
use super::container::{Container, Kind};
use super::turn::Scope;
use crate::manifest::v1::{self, RestartPolicy};

/// The action of a rule that restarts all containers of the pod.
pub(crate) const RESTART_ALL: &str = "RestartAllContainers";

/// What follows the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Nothing.
    Stays,
    /// It starts again.
    Restarts,
    /// All containers of the pod do, init containers first.
    RestartsAll,
}

impl<'a> Scope<'a> {
    /// The container's manifest.
    pub(crate) fn spec(&self, container: &str) -> Option<&'a v1::Container> {
        let spec = &self.pod.spec;
        spec.init_containers.iter().chain(&spec.containers).find(|c| c.name == container)
    }

    /// The policy that holds for a container.
    pub(crate) fn policy_of(&self, name: &str, kind: Kind) -> RestartPolicy {
        let own = self.spec(name).and_then(|spec| spec.restart_policy);
        if kind == Kind::Sidecar { RestartPolicy::Always } else { own.unwrap_or(self.pod.spec.restart_policy) }
    }

    /// Whether the container may run at most once, so that a mark on disk must say that it has.
    ///
    /// An init container of a pod that as a whole may run again does so from its first one on.
    pub(crate) fn never(&self, name: &str, kind: Kind) -> bool {
        let pod = self.pod.spec.restart_policy == RestartPolicy::Never;
        self.policy_of(name, kind) == RestartPolicy::Never && (pod || kind == Kind::App)
    }

    /// What follows when `container` ends with `code`; `doomed`: it was made to, by a probe or hook.
    pub(crate) fn after(&self, container: &Container, code: i32, doomed: bool) -> After {
        let policy = self.policy_of(&container.name, container.kind);
        let rules = self.spec(&container.name).map(|spec| spec.restart_policy_rules.as_slice()).unwrap_or_default();
        let rule = if doomed { None } else { rules.iter().find(|rule| fits(rule, code)) };
        match (rule, policy) {
            (Some(rule), _) if rule.action == RESTART_ALL => After::RestartsAll,
            (Some(_), _) | (None, RestartPolicy::Always) => After::Restarts,
            (None, RestartPolicy::OnFailure) if doomed || code != 0 => After::Restarts,
            (None, RestartPolicy::OnFailure | RestartPolicy::Never) => After::Stays,
        }
    }

    /// semantics 3.1: whether an app container that ended with `code` by itself is not to run again, whatever becomes of the pod.
    pub(crate) fn is_done_by(&self, container: &Container, code: i32) -> bool {
        let on_failure = self.policy_of(&container.name, container.kind) == RestartPolicy::OnFailure;
        container.kind == Kind::App && on_failure && code == 0 && self.after(container, code, false) == After::Stays
    }

    pub(crate) fn backoff_rule(&self, container: &str, node: BackoffRule) -> BackoffRule {
        let own = self.policy.container_backoff.get(container).copied().unwrap_or_default();
        node.with(self.policy.backoff).with(own)
    }

    pub(crate) fn image_of(&self, container: &str) -> &str {
        self.spec(container).map_or("", |spec| &spec.image)
    }
}

fn fits(rule: &v1::ContainerRestartRule, code: i32) -> bool {
    rule.exit_codes.as_ref().is_some_and(|codes| match codes.operator.as_str() {
        "In" => codes.values.contains(&code),
        "NotIn" => !codes.values.contains(&code),
        _ => false,
    })
}

/// A signal as manifests and images write it: a name with or without `SIG`, or a number.
pub fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    // SIGRTMIN and SIGRTMAX as programs see them with glibc and musl.
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return 34_i32.checked_add(offset.parse().ok()?);
    }
    if let Some(offset) = name.strip_prefix("RTMAX-") {
        return 64_i32.checked_sub(offset.parse().ok()?);
    }
    let known = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let also = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("RTMIN", 34), ("RTMAX", 64)];
    let number = known.iter().position(|other| *other == name).and_then(|at| i32::try_from(at).ok()?.checked_add(1));
    number.or_else(|| also.iter().find(|(other, _)| *other == name).map(|(_, number)| *number))
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn signals_are_names_with_or_without_sig_or_numbers() {
        let known = [
            ("SIGTERM", 15),
            ("QUIT", 3),
            ("28", 28),
            ("SIGSYS", 31),
            ("SIGRTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("SIGRTMAX-14", 50),
            ("SIGPOLL", 29),
        ];
        for (text, number) in known {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        assert_eq!(signal_number("NONSENSE"), None);
    }
}
