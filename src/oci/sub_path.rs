//! `subPath` and `subPathExpr`: [`sub_paths`] (kubelet `pkg/kubelet/kubelet_pods.go`).

use crate::sorted::BTreeSet;
use std::cell::RefCell;

use super::{BundleInput, ConfigError, environment, expansion};

/// The path within its volume that each of the container's `volumeMounts` shows; `None`: the volume itself.
pub fn sub_paths(input: &BundleInput) -> Result<Vec<Option<String>>, ConfigError> {
    let container = input.container()?;
    let mut environment = None;
    let mut paths = Vec::with_capacity(container.volume_mounts.len());
    for mount in &container.volume_mounts {
        if mount.sub_path_expr.is_empty() {
            paths.push(Some(mount.sub_path.clone()).filter(|path| !path.is_empty()));
            continue;
        }
        if environment.is_none() {
            environment = Some(environment::of_manifest(input)?);
        }
        let missing = RefCell::new(BTreeSet::new());
        let lookup = |name: &str| {
            let value = environment.as_ref().and_then(|known| known.get(name)).filter(|value| !value.is_empty());
            if value.is_none() {
                missing.borrow_mut().insert(name.to_owned());
            }
            value
        };
        let path = expansion::expand(&mount.sub_path_expr, lookup)
            .map_err(|problem| ConfigError::config(format!("subPathExpr of volume {} is {problem}", mount.name)))?;
        let missing = missing.into_inner();
        if !missing.is_empty() {
            let names: Vec<String> = missing.into_iter().collect();
            return Err(ConfigError::config(format!("missing value for {}", names.join(", "))));
        }
        paths.push(Some(path).filter(|path| !path.is_empty()));
    }
    Ok(paths)
}
