//! Linux capabilities of a container: [`capabilities`].

use super::{BundleInput, ConfigError};
use crate::spec::runtime::{Capabilities, Capability, LinuxCapabilities};

/// What names begin with.
const PREFIX: &str = "CAP_";

/// containerd's default set.
const DEFAULT: Capabilities = Capabilities::of(&[
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
]);

/// Bounding, permitted and effective set; inheritable and ambient stay empty, so a user other than root keeps none of
/// them over `execve` unless the file carries them.
pub(crate) fn capabilities(input: &BundleInput, warnings: &mut Vec<String>) -> Result<LinuxCapabilities, ConfigError> {
    let context = input.container()?.security_context.as_ref();
    let available = Capabilities::of_bits(input.node.available_capabilities);
    // `ALL` means all this node can give; a name that it cannot give is said.
    let mut set = if context.and_then(|c| c.privileged) == Some(true) {
        available
    } else {
        let change = context.and_then(|c| c.capabilities.clone()).unwrap_or_default();
        let mut set = DEFAULT;
        if change.add.iter().any(|name| is_all(name)) {
            set = set.with(available);
        }
        if change.drop.iter().any(|name| is_all(name)) {
            set = Capabilities::default();
        }
        set.with(named(&change.add, warnings, input.container_name)).without(named(
            &change.drop,
            warnings,
            input.container_name,
        ))
    };
    let unavailable = set.without(available);
    if unavailable != Capabilities::default() {
        let mut names: Vec<&str> = unavailable.names().map(|name| name.trim_start_matches(PREFIX)).collect();
        names.sort_unstable();
        warnings.push(format!(
            "container {}: this node cannot give the capabilities {}; they are left out",
            input.container_name,
            names.join(", ")
        ));
        set = set.without(unavailable);
    }
    let mut capabilities = LinuxCapabilities::default();
    capabilities.set_bounding(set).set_permitted(set).set_effective(set);
    Ok(capabilities)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

fn named(names: &[String], warnings: &mut Vec<String>, container: &str) -> Capabilities {
    let mut known = Capabilities::default();
    for name in names.iter().filter(|name| !is_all(name)) {
        let upper = name.to_ascii_uppercase();
        match Capabilities::named(&[PREFIX, upper.strip_prefix(PREFIX).unwrap_or(&upper)].concat()) {
            Some(capability) => known = known.with(capability),
            None => warnings.push(format!("container {container}: unknown capability {name} has no effect")),
        }
    }
    known
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::json;

    use super::super::fixture::Fixture;
    use super::{Capabilities, DEFAULT};

    /// Bounding set, sorted, without prefix; and warnings.
    fn of(add: &[&str], drop: &[&str], available: u64) -> (Vec<String>, Vec<String>) {
        let mut fixture = Fixture::new(
            json!({ "command": ["/app"], "securityContext": { "capabilities": { "add": add, "drop": drop } } }),
            &json!({}),
        );
        fixture.node.available_capabilities = available;
        let spec = fixture.json();
        let sets = &spec["process"]["capabilities"];
        let sorted = |name: &str| {
            let mut names: Vec<String> = sets[name]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c.as_str().unwrap().trim_start_matches("CAP_").to_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!((sorted("bounding"), sorted("bounding")), (sorted("permitted"), sorted("effective")));
        assert!(sorted("inheritable").is_empty() && sorted("ambient").is_empty());
        (sorted("bounding"), fixture.bundle().unwrap().warnings)
    }

    const EVERY: u64 = (1 << 41) - 1;

    #[test]
    fn the_default_set_is_containerds() {
        assert_eq!(of(&[], &[], EVERY).0.len(), DEFAULT.names().count());
        assert!(of(&[], &[], EVERY).0.contains(&"NET_RAW".to_owned()));
    }

    #[test]
    fn named_adds_come_after_drop_all_and_named_drops_last() {
        assert_eq!(of(&["NET_ADMIN"], &["ALL"], EVERY).0, ["NET_ADMIN"]);
        assert_eq!(of(&["all"], &["all"], EVERY).0, Vec::<String>::new());
        assert_eq!(of(&["ALL"], &["CHOWN"], EVERY).0.len(), 40);
        assert_eq!(of(&["SYS_TIME"], &["ALL", "SYS_TIME"], EVERY).0, Vec::<String>::new());
    }

    #[test]
    fn any_case_and_the_prefix_are_tolerated_and_unknown_names_are_said() {
        assert_eq!(of(&["cap_net_admin", "Sys_Time"], &["ALL"], EVERY).0, ["NET_ADMIN", "SYS_TIME"]);
        let (set, warnings) = of(&["FLY"], &["ALL"], EVERY);
        assert!(set.is_empty() && warnings == ["container app: unknown capability FLY has no effect"]);
    }

    #[test]
    fn what_the_node_cannot_give_is_left_out_with_a_warning() {
        let without = EVERY & !(1 << 24) & !1;
        let (set, warnings) = of(&["SYS_RESOURCE"], &[], without);
        assert!(!set.contains(&"SYS_RESOURCE".to_owned()) && !set.contains(&"CHOWN".to_owned()));
        assert_eq!(
            warnings,
            ["container app: this node cannot give the capabilities CHOWN, SYS_RESOURCE; they are left out"]
        );
        let (set, warnings) = of(&["ALL"], &["CHOWN"], without);
        assert_eq!((set.len(), warnings.len()), (39, 0), "ALL is what there is");
    }

    #[test]
    fn the_table_is_in_the_kernels_order() {
        for (bit, name) in [
            (0, "CHOWN"),
            (12, "NET_ADMIN"),
            (21, "SYS_ADMIN"),
            (24, "SYS_RESOURCE"),
            (34, "SYSLOG"),
            (40, "CHECKPOINT_RESTORE"),
        ] {
            assert_eq!(Capabilities::of_bits(1 << bit).names().collect::<Vec<_>>(), [format!("CAP_{name}")]);
        }
    }
}
