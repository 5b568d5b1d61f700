//! [`SignedList`]: the files of a manifest directory that somebody vouches for: `SHA256SUMS`, as sha256sum(1) writes it, with a signature
//! of its bytes beside it. Whole directories are signed, not files, so that none can be taken away or put beside another version's.

use std::path::{Path, PathBuf};

use super::applied;
use super::source::read_file;
use crate::policy::{ImageRule, Require, Vouched};
use crate::sorted::BTreeMap;
use crate::trust::{self, Keys};

/// The list's name within the directory. It is never read as a manifest.
pub(super) const LIST: &str = "SHA256SUMS";
/// The name of its signature.
pub(super) const SIGNATURE: &str = "SHA256SUMS.sig";
/// Bytes of a list: more than the most files of a directory need.
const LONGEST: usize = 1 << 20;

/// Digests (hex) by file name.
#[derive(Debug)]
pub(super) struct SignedList(BTreeMap<String, String>);

impl SignedList {
    /// Reads and checks the list of a directory.
    ///
    /// # Errors
    /// Why no file in it counts, with what to do.
    pub(super) fn read(directory: &Path, keys: &Keys) -> Result<Self, String> {
        let failed = |name: &'static str| {
            move |why: String| format!("{name}: {why}; this node takes signed manifests only (manifestKeys)")
        };
        let list = read_file(&directory.join(LIST), LONGEST).map_err(failed(LIST))?;
        let signature = trust::read_file(&directory.join(SIGNATURE)).map_err(failed(SIGNATURE))?;
        keys.verify(&list, &signature).map_err(failed(SIGNATURE))?;
        Self::parse(&list).map_err(failed(LIST))
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        // It lists itself where the shell has made it before. What lies in directories and what is hidden is never read.
        let read = |name: &str| {
            let plain = !name.contains('/') && !name.starts_with('.');
            plain && ![LIST, SIGNATURE, applied::FILE].contains(&name)
        };
        let entries = entries(bytes)?.into_iter().filter(|(_, name)| read(name));
        Ok(Self(entries.map(|(digest, name)| (name.to_owned(), digest)).collect()))
    }

    /// Whether a file of this content (sha256 as hex) is in the list.
    ///
    /// # Errors
    /// Why it does not count.
    pub(super) fn check(&self, name: &str, sha256: &str) -> Result<(), String> {
        match self.0.get(name) {
            Some(listed) if listed == sha256 => Ok(()),
            Some(_) => Err(format!("its content is not the one that the signed {LIST} lists")),
            None => Err(format!("the signed {LIST} does not list it")),
        }
    }

    /// The files that should be there.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// Digests in lower case, and names.
fn entries(bytes: &[u8]) -> Result<Vec<(String, &str)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for (number, line) in (1_usize..).zip(text.lines()) {
        let entry = line.split_at_checked(64).and_then(|(digest, rest)| {
            // Two blanks, or one and a `*` for a binary file, which is the same here.
            Some((digest, rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?))
        });
        let Some((digest, name)) = entry.filter(|(digest, _)| digest.bytes().all(|b| b.is_ascii_hexdigit())) else {
            return Err(format!("line {number} is none of sha256sum(1)"));
        };
        found.push((digest.to_ascii_lowercase(), name.strip_prefix("./").unwrap_or(name)));
    }
    Ok(found)
}

/// The digests that the keys of a rule vouch for.
pub(super) fn vouched(rule: &ImageRule) -> Vouched {
    let mut vouched = Vouched::default();
    if rule.require != Require::Signature {
        return vouched;
    }
    let keys = Keys::read(&rule.keys);
    for path in &rule.digests {
        match keys.as_ref().map_err(Clone::clone).and_then(|keys| digests(path, keys)) {
            Ok(digests) => vouched.digests.extend(digests),
            Err(why) => drop(vouched.error.get_or_insert(why)),
        }
    }
    if rule.digests.is_empty() {
        vouched.error = Some("the setting imagePolicy could not be used".to_owned());
    }
    vouched
}

fn digests(path: &Path, keys: &Keys) -> Result<Vec<String>, String> {
    let mut signature = path.to_owned().into_os_string();
    signature.push(".sig");
    let signature = PathBuf::from(signature);
    let failed = |path: &Path, why: String| format!("{}: {why}", path.display());
    let list = read_file(path, LONGEST).map_err(|why| failed(path, why))?;
    let signed = trust::read_file(&signature).map_err(|why| failed(&signature, why))?;
    keys.verify(&list, &signed).map_err(|why| failed(&signature, why))?;
    let entries = entries(&list).map_err(|why| failed(path, why))?;
    Ok(entries.into_iter().map(|(digest, _)| format!("sha256:{digest}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_what_sha256sum_writes() {
        let digest = "A".repeat(64);
        let text = format!("{digest}  web.yaml\n{digest} *./b.yaml\n{digest}  SHA256SUMS\n{digest}  deep/x.yaml\n");
        let list = SignedList::parse(text.as_bytes()).unwrap();
        assert_eq!(list.names().collect::<Vec<_>>(), ["b.yaml", "web.yaml"]);
        assert_eq!(list.check("web.yaml", &"a".repeat(64)), Ok(()));
        assert!(list.check("web.yaml", &"b".repeat(64)).unwrap_err().contains("not the one"));
        assert!(list.check("other.yaml", &"a".repeat(64)).unwrap_err().contains("does not list it"));
        for (bad, line) in [("web.yaml\n", 1), (&format!("{text}\n"), 5), (&format!("{digest} web.yaml"), 1)] {
            assert_eq!(SignedList::parse(bad.as_bytes()).unwrap_err(), format!("line {line} is none of sha256sum(1)"));
        }
    }
}
