//! Who a container runs as: [`user`] (semantics of kubelet `runAsUser` and of containerd's user look-up).

use super::{BundleInput, ConfigError};
use crate::spec::runtime::User;

/// A line of `/etc/passwd`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// User, group and further groups of the container's process, after the `runAsNonRoot` check.
pub(crate) fn user(input: &BundleInput) -> Result<User, ConfigError> {
    let container = input.container()?.security_context.as_ref();
    let pod = &input.pod.spec.security_context;
    let run_as_user = container.and_then(|c| c.run_as_user).or(pod.run_as_user);
    let run_as_group = container.and_then(|c| c.run_as_group).or(pod.run_as_group);
    let image_user = input.image_config().and_then(|config| config.user().as_deref()).unwrap_or_default();
    let (image_user, image_group) = match image_user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (image_user, None),
    };

    if container.and_then(|c| c.run_as_non_root).or(pod.run_as_non_root) == Some(true) {
        check_non_root(input, run_as_user, image_user)?;
    }

    let passwd = input.image_passwd.unwrap_or_default();
    let groups = input.image_group.unwrap_or_default();
    let (uid, entry) = match (run_as_user, image_id(image_user)) {
        (Some(uid), _) => by_uid(passwd, id(uid, "runAsUser")?),
        (None, Some(Ok(uid))) => by_uid(passwd, uid),
        (None, Some(Err(()))) => {
            return Err(ConfigError::create(format!("the image's user {image_user} is not a valid user id")));
        }
        (None, None) => {
            let entry = entries(passwd).find(|entry| entry.name == image_user).ok_or_else(|| {
                ConfigError::create(format!("unable to find user {image_user}: no matching entries in passwd file"))
            })?;
            (entry.uid, Some(entry))
        }
    };
    let gid = match (run_as_group, image_group) {
        (Some(gid), _) => id(gid, "runAsGroup")?,
        // The image's group belongs to the image's user.
        (None, Some(group)) if run_as_user.is_none() => group_id(groups, group)?,
        _ => entry.as_ref().map_or(0, |entry| entry.gid),
    };

    let mut additional = vec![gid];
    if pod.supplemental_groups_policy.as_deref() != Some("Strict")
        && let Some(entry) = &entry
    {
        additional.extend(groups_of(groups, entry.name));
    }
    for &gid in pod.supplemental_groups.iter().chain(&pod.fs_group) {
        additional.push(id(gid, "supplementalGroups or fsGroup")?);
    }
    let mut seen = Vec::with_capacity(additional.len());
    for gid in additional {
        if !seen.contains(&gid) {
            seen.push(gid);
        }
    }

    let mut user = User::default();
    user.set_uid(uid).set_gid(gid).set_additional_gids(Some(seen));
    Ok(user)
}

fn check_non_root(input: &BundleInput, run_as_user: Option<i64>, image_user: &str) -> Result<(), ConfigError> {
    let metadata = &input.pod.metadata;
    let subject = format!(
        "(pod: \"{}_{}({})\", container: {})",
        metadata.name, metadata.namespace, metadata.uid, input.container_name
    );
    let problem = match (run_as_user, image_id(image_user)) {
        (Some(0), _) => "container's runAsUser breaks non-root policy".to_owned(),
        (None, Some(Ok(0))) => "container has runAsNonRoot and image will run as root".to_owned(),
        (Some(_), _) | (None, Some(Ok(_))) => return Ok(()),
        (None, Some(Err(()))) => {
            format!("container has runAsNonRoot and image has an invalid user id ({image_user})")
        }
        (None, None) => format!(
            "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"
        ),
    };
    Err(ConfigError::config(format!("{problem} {subject}")))
}

/// The image's user as a number: root where it names none; `None` for a name. Digits are an id, as every runtime takes
/// them, even where passwd has a user of that name.
fn image_id(user: &str) -> Option<Result<u32, ()>> {
    if user.is_empty() {
        return Some(Ok(0));
    }
    user.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| user.parse().ok().filter(|id| i32::try_from(*id).is_ok()).ok_or(()))
}

fn id(value: i64, field: &str) -> Result<u32, ConfigError> {
    u32::try_from(value)
        .ok()
        .filter(|id| i32::try_from(*id).is_ok())
        .ok_or_else(|| ConfigError::config(format!("{field}: {value} must be between 0 and 2147483647")))
}

fn by_uid(passwd: &str, uid: u32) -> (u32, Option<PasswdEntry<'_>>) {
    (uid, entries(passwd).find(|entry| entry.uid == uid))
}

fn entries(passwd: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdEntry { name, uid, gid })
    })
}

fn group_id(groups: &str, wanted: &str) -> Result<u32, ConfigError> {
    if let Ok(gid) = wanted.parse() {
        return Ok(gid);
    }
    group_entries(groups)
        .find(|(name, ..)| *name == wanted)
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| ConfigError::create(format!("unable to find group {wanted}: no matching entries in group file")))
}

fn groups_of<'a>(groups: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    group_entries(groups)
        .filter(move |(_, _, members)| members.split(',').any(|member| member.trim() == user))
        .map(|(_, gid, _)| gid)
}

fn group_entries(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::super::fixture::Fixture;

    fn fixture(pod: Value, container: Value, image_user: &str) -> Fixture {
        let mut fixture = Fixture::new(json!({ "command": ["/app"] }), &json!({ "User": image_user }));
        fixture.pod.spec.security_context = crate::json::from_value(pod).unwrap();
        fixture.app().security_context = Some(crate::json::from_value(container).unwrap());
        fixture
    }

    /// Uid, gid and further gids.
    fn ids(pod: Value, container: Value, image_user: &str) -> Value {
        let user = fixture(pod, container, image_user).json()["process"]["user"].take();
        json!([user["uid"], user["gid"], user["additionalGids"]])
    }

    #[test]
    fn the_images_user_is_looked_up_by_name_or_number() {
        for (image_user, expected) in [
            ("", json!([0, 0, [0, 50]])),
            ("root", json!([0, 0, [0, 50]])),
            ("www-data", json!([33, 34, [34, 50, 20]])),
            ("33", json!([33, 34, [34, 50, 20]])),
            ("www-data:staff", json!([33, 50, [50, 20]])),
            ("33:20", json!([33, 20, [20, 50]])),
            ("4000", json!([4000, 0, [0]])),
            ("4000:4001", json!([4000, 4001, [4001]])),
            ("1234", json!([1234, 0, [0]])),
        ] {
            assert_eq!(ids(json!({}), json!({}), image_user), expected, "{image_user}");
        }
    }

    #[test]
    fn names_that_the_image_does_not_know_are_refused() {
        assert_eq!(
            fixture(json!({}), json!({}), "nobody").refusal(),
            ("CreateContainerError", "unable to find user nobody: no matching entries in passwd file".to_owned())
        );
        assert_eq!(
            fixture(json!({}), json!({}), "root:nobody").refusal().1,
            "unable to find group nobody: no matching entries in group file"
        );
    }

    #[test]
    fn the_container_overrides_the_pod_and_both_the_image() {
        assert_eq!(ids(json!({ "runAsUser": 33 }), json!({}), "4000:4001"), json!([33, 34, [34, 50, 20]]));
        assert_eq!(ids(json!({ "runAsUser": 33 }), json!({ "runAsUser": 5 }), ""), json!([5, 0, [0]]));
        assert_eq!(ids(json!({ "runAsGroup": 7 }), json!({}), "www-data:staff"), json!([33, 7, [7, 50, 20]]));
        assert_eq!(ids(json!({ "runAsGroup": 7 }), json!({ "runAsGroup": 8 }), ""), json!([0, 8, [8, 50]]));
    }

    #[test]
    fn supplemental_groups_and_fs_group_are_added_and_strict_leaves_the_images_out() {
        let groups = json!({ "supplementalGroups": [100, 34], "fsGroup": 200 });
        assert_eq!(ids(groups, json!({}), "www-data"), json!([33, 34, [34, 50, 20, 100, 200]]));
        let strict = json!({ "supplementalGroups": [100], "supplementalGroupsPolicy": "Strict" });
        assert_eq!(ids(strict, json!({}), "www-data"), json!([33, 34, [34, 100]]));
    }

    #[test]
    fn run_as_non_root_refuses_root_in_kubernetes_words() {
        const SUBJECT: &str = "(pod: \"web-gw1_default(0123456789abcdef0123456789abcdef)\", container: app)";
        for (run_as_user, image_user, problem) in [
            (Some(0), "33", "container's runAsUser breaks non-root policy"),
            (None, "", "container has runAsNonRoot and image will run as root"),
            (None, "0:0", "container has runAsNonRoot and image will run as root"),
            (
                None,
                "www-data",
                "container has runAsNonRoot and image has non-numeric user (www-data), cannot verify user is non-root",
            ),
            (
                None,
                "+0",
                "container has runAsNonRoot and image has non-numeric user (+0), cannot verify user is non-root",
            ),
            (None, "99999999999", "container has runAsNonRoot and image has an invalid user id (99999999999)"),
            (
                None,
                "999999999999999999999",
                "container has runAsNonRoot and image has an invalid user id (999999999999999999999)",
            ),
        ] {
            let pod = json!({ "runAsNonRoot": true });
            assert_eq!(
                fixture(pod, json!({ "runAsUser": run_as_user }), image_user).refusal(),
                ("CreateContainerConfigError", format!("{problem} {SUBJECT}"))
            );
        }
    }

    #[test]
    fn run_as_non_root_lets_others_run_and_the_container_can_lift_it() {
        let non_root = || json!({ "runAsNonRoot": true });
        assert_eq!(ids(non_root(), json!({}), "33")[0], 33);
        assert_eq!(ids(non_root(), json!({ "runAsUser": 7 }), "root")[0], 7);
        assert_eq!(ids(non_root(), json!({ "runAsNonRoot": false }), "root")[0], 0);
    }

    #[test]
    fn ids_out_of_range_are_refused() {
        for id in [-1_i64, 2_147_483_648, i64::MAX] {
            assert_eq!(fixture(json!({ "runAsUser": id }), json!({}), "").refusal().0, "CreateContainerConfigError");
            assert_eq!(fixture(json!({ "fsGroup": id }), json!({}), "").refusal().0, "CreateContainerConfigError");
        }
    }
}
