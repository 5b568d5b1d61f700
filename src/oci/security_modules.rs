//! AppArmor and SELinux: what the kernel is told to confine a container to, where it has them. [`app_armor`], [`se_linux`].

use super::{BundleInput, ConfigError};
use crate::manifest::v1;

/// Profiles that are taken for `RuntimeDefault`, the first that is loaded: one of the node's own, and those that other engines load.
const DEFAULT_PROFILES: [&str; 3] = ["gatepost-default", "cri-containerd.apparmor.d", "docker-default"];

/// The AppArmor profile of the container's process; `None`: that of gatepost itself.
pub(crate) fn app_armor(
    input: &BundleInput,
    container: &v1::Container,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, ConfigError> {
    let context = container.security_context.as_ref();
    if context.and_then(|c| c.privileged) == Some(true) {
        return Ok(None);
    }
    let of_pod = input.pod.spec.security_context.app_armor_profile.as_ref();
    let asked = context.and_then(|c| c.app_armor_profile.as_ref()).or(of_pod);
    let kind = asked.map_or("RuntimeDefault", |profile| profile.kind.as_str());
    let wanted = asked.and_then(|profile| profile.localhost_profile.as_deref()).unwrap_or_default();
    let name = &container.name;
    match (kind, &input.node.app_armor) {
        ("Unconfined", Some(_)) => Ok(Some("unconfined".to_owned())),
        ("Localhost", None) => Err(ConfigError::create(format!(
            "AppArmor profile {wanted} cannot be enforced: AppArmor is not enabled on this node; remove appArmorProfile, or boot with \
             a kernel that has it"
        ))),
        ("Localhost", Some(loaded)) if loaded.iter().any(|profile| profile == wanted) => Ok(Some(wanted.to_owned())),
        ("Localhost", Some(_)) => Err(ConfigError::create(format!(
            "AppArmor profile {wanted} is not loaded on this node; load it with apparmor_parser"
        ))),
        ("RuntimeDefault", Some(loaded)) => {
            let found = DEFAULT_PROFILES.iter().find(|known| loaded.iter().any(|profile| profile == *known));
            if found.is_none() && asked.is_some() {
                warnings.push(format!(
                    "container {name}: no AppArmor profile {} is loaded; it runs without one",
                    DEFAULT_PROFILES.join(", ")
                ));
            }
            Ok(found.map(|&profile| profile.to_owned()))
        }
        ("RuntimeDefault", None) if asked.is_some() => {
            warnings.push(format!("container {name}: AppArmor is not enabled on this node; it runs without a profile"));
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// SELinux labels of the process and of what is mounted for it, where the manifest asks for one.
pub(crate) fn se_linux(
    input: &BundleInput,
    container: &v1::Container,
    warnings: &mut Vec<String>,
) -> Option<(String, String)> {
    let context = container.security_context.as_ref();
    let of_pod = input.pod.spec.security_context.se_linux_options.as_ref();
    let asked = context.and_then(|c| c.se_linux_options.as_ref()).or(of_pod)?;
    if context.and_then(|c| c.privileged) == Some(true) {
        return None;
    }
    if !input.node.se_linux {
        warnings.push(format!(
            "container {}: SELinux is not enabled on this node; its label has no effect",
            container.name
        ));
        return None;
    }
    let or = |text: &str, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text.to_owned() };
    let (user, level) = (or(&asked.user, "system_u"), or(&asked.level, "s0"));
    let (role, kind) = (or(&asked.role, "system_r"), or(&asked.kind, "container_t"));
    Some((format!("{user}:{role}:{kind}:{level}"), format!("{user}:object_r:container_file_t:{level}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
    use serde_json::{Value, json};

    use super::super::fixture::Fixture;

    fn fixture(security_context: Value) -> Fixture {
        Fixture::new(json!({ "command": ["/app"], "securityContext": security_context }), &json!({}))
    }

    fn localhost() -> Value {
        json!({ "appArmorProfile": { "type": "Localhost", "localhostProfile": "mine" } })
    }

    #[test]
    fn a_local_profile_is_refused_where_it_could_not_be_enforced() {
        let mut of = fixture(localhost());
        assert!(of.refusal().1.contains("not enabled on this node"));
        of.node.app_armor = Some(vec!["other".to_owned()]);
        assert!(of.refusal().1.contains("is not loaded"));
        of.node.app_armor = Some(vec!["mine".to_owned()]);
        assert_eq!(of.json()["process"]["apparmorProfile"], "mine");
    }

    #[test]
    fn the_default_profile_is_a_loaded_one_and_its_absence_is_said_only_to_those_who_asked() {
        let mut unset = fixture(json!({}));
        assert!(unset.bundle().unwrap().warnings.is_empty());
        unset.node.app_armor = Some(vec!["docker-default".to_owned()]);
        assert_eq!(unset.json()["process"]["apparmorProfile"], "docker-default");
        let asked = fixture(json!({ "appArmorProfile": { "type": "RuntimeDefault" } }));
        assert_eq!(asked.bundle().unwrap().warnings.len(), 1);
    }

    #[test]
    fn a_label_is_completed_and_warned_of_where_selinux_is_off() {
        let mut of = fixture(json!({ "seLinuxOptions": { "level": "s0:c1,c2" } }));
        assert_eq!(of.bundle().unwrap().warnings.len(), 1);
        assert_eq!(of.json()["process"]["selinuxLabel"], Value::Null);
        of.node.se_linux = true;
        assert_eq!(of.json()["process"]["selinuxLabel"], "system_u:system_r:container_t:s0:c1,c2");
        assert_eq!(of.json()["linux"]["mountLabel"], "system_u:object_r:container_file_t:s0:c1,c2");
    }
}
