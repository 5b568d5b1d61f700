//! [`forget_former`]: what the plugin host-local has on disk outlives the pods it was for when the power goes. Then nobody gives the
//! addresses back, and after some cuts there would be none left.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::attachment;
use super::conf::NetworkList;
use crate::config::Layout;

/// Names our pods among those of other runtimes on this machine.
const PREFIX: &str = "gatepost-";
/// host-local's default.
const STORE: &str = "/var/lib/cni/networks";

/// The id of a pod for plugins.
pub(super) fn id_of(uid: &str) -> String {
    format!("{PREFIX}{uid}")
}

/// Gives back, at the first attachment after a boot, the addresses of pods that are not attached.
pub(super) fn forget_former(list: &NetworkList, layout: &Layout) {
    let done = layout.run.join(format!("network-{}", list.name));
    if done.exists() {
        return;
    }
    for store in list.plugins.iter().filter_map(|plugin| store(&plugin["ipam"], &list.name)) {
        for entry in fs::read_dir(&store).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_address = entry.file_name().to_str().is_some_and(|name| name.parse::<IpAddr>().is_ok());
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let former = holder.lines().next().and_then(former).filter(|_| is_address);
            if former.is_some_and(|uid| !attachment::path(layout, uid).exists())
                && let Err(error) = fs::remove_file(&path)
            {
                log::warn!("cannot give back an address of a former pod: {}: {error}", path.display());
            }
        }
    }
    if let Err(error) = fs::write(&done, "") {
        log::warn!("{}: {error}", done.display());
    }
}

/// The pod of an id of ours.
fn former(id: &str) -> Option<&str> {
    id.trim().strip_prefix(PREFIX).filter(|uid| uid.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The directory of the addresses that host-local has given away for a network.
fn store(ipam: &serde_json::Value, network: &str) -> Option<PathBuf> {
    if ipam["type"] != "host-local" {
        return None;
    }
    let root = ipam["dataDir"].as_str().filter(|path| !path.is_empty()).unwrap_or(STORE);
    Some(Path::new(root).join(network))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::network::conf;

    #[test]
    fn addresses_of_pods_that_are_gone_are_given_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout { run: dir.path().join("run"), ..Layout::default() };
        let list = conf::bridge("10.0.0.0/24", &dir.path().join("store"));
        let store = dir.path().join("store/gatepost");
        fs::create_dir_all(&store).unwrap();
        fs::create_dir_all(layout.pod("bb")).unwrap();
        fs::write(attachment::path(&layout, "bb"), "").unwrap();
        let put = |name: &str, id: &str| fs::write(store.join(name), format!("{id}\r\neth0")).unwrap();
        put("10.0.0.2", "gatepost-aa");
        put("10.0.0.3", "gatepost-bb");
        put("10.0.0.4", "of-another-runtime");
        put("last_reserved_ip.0", "gatepost-aa");
        forget_former(&list, &layout);
        let there = |name: &str| store.join(name).exists();
        assert!(!there("10.0.0.2") && there("10.0.0.3") && there("10.0.0.4") && there("last_reserved_ip.0"));
        put("10.0.0.2", "gatepost-aa");
        forget_former(&list, &layout);
        assert!(there("10.0.0.2"), "what came after the first look is no leftover");
    }
}
