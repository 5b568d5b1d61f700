//! Who a container runs as: [`user`] (semantics of kubelet `runAsUser` and of containerd's user look-up).

use oci_spec::runtime::User;

use super::{BundleInput, ConfigError};

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
    let (uid, entry) = match run_as_user {
        Some(uid) => by_uid(passwd, id(uid, "runAsUser")?),
        None if image_user.is_empty() => by_uid(passwd, 0),
        // Digits are an id, as every runtime takes them, even where passwd has a user of that name.
        None if image_user.bytes().all(|byte| byte.is_ascii_digit()) => match image_user.parse() {
            Ok(uid) => by_uid(passwd, uid),
            Err(_) => return Err(ConfigError::create(format!("the image's user {image_user} is not a valid user id"))),
        },
        None => {
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
    let image_uid = image_user.parse::<i64>();
    let problem = match run_as_user {
        Some(0) => "container's runAsUser breaks non-root policy".to_owned(),
        Some(_) => return Ok(()),
        None if image_user.is_empty() || image_uid == Ok(0) => {
            "container has runAsNonRoot and image will run as root".to_owned()
        }
        None if u32::try_from(*image_uid.as_ref().unwrap_or(&0)).is_err()
            || (image_uid.is_err() && image_user.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            format!("container has runAsNonRoot and image has an invalid user id ({image_user})")
        }
        None if image_uid.is_ok() => return Ok(()),
        None => format!(
            "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"
        ),
    };
    Err(ConfigError::config(format!("{problem} {subject}")))
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
