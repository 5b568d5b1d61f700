//! A pod's identity: its uid from the document as written, and the names made from it.

use sha2::{Digest, Sha256};

use crate::document::canonical_json;

/// kubernetes: apimachinery util/rand, letters and digits that form no words and are not mistaken for each other.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The uid: 32 hex digits over the node's name and the document as written. Never over defaults or structs of ours, or an
/// upgrade would restart every pod.
pub fn uid(node_name: &str, document: &serde_json::Value) -> String {
    hex(&hash(node_name, document)).chars().take(32).collect()
}

/// Five characters for a `generateName`, the same at every boot.
pub fn name_suffix(node_name: &str, document: &serde_json::Value) -> String {
    let hash = hash(node_name, document);
    // The last bytes: the first are in the uid already.
    hash.iter()
        .rev()
        .take(5)
        .filter_map(|byte| SAFE.get(usize::from(*byte) % SAFE.len()))
        .map(|b| char::from(*b))
        .collect()
}

/// The name that a pod has on this node. kubelet: `<name>-<node name in lower case>`.
pub fn full_name(name: &str, node_name: &str) -> String {
    if node_name.is_empty() { name.to_owned() } else { format!("{name}-{}", node_name.to_ascii_lowercase()) }
}

fn hash(node_name: &str, document: &serde_json::Value) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(b"gatepost/v1\n");
    hasher.update(node_name.as_bytes());
    hasher.update(b"\n");
    hasher.update(canonical_json(document).as_bytes());
    hasher.finalize().to_vec()
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .map(|digit| char::from(*digit))
        .collect()
}

/// sha256 of a file's bytes, as hex.
pub(super) fn content_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
