//! [`ImageRule`]: what must vouch for the images of a registry, or of names that begin alike.

use std::path::PathBuf;

use crate::json::{Deserialize, Serialize};

/// What is asked of the images whose names it covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRule {
    /// A registry or the beginning of a repository, up to a `/`; a `*` at its end stands for any rest.
    pub pattern: String,
    /// What is asked.
    pub require: Require,
    /// Public keys of which each suffices.
    pub keys: Vec<PathBuf>,
    /// Lists of digests as sha256sum(1) writes them, each with a signature beside it, `.sig`.
    pub digests: Vec<PathBuf>,
}

/// What is asked of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Require {
    /// Nothing.
    #[default]
    Nothing,
    /// Its name in the manifest holds a digest.
    Digest,
    /// One of the keys has signed a list with its digest.
    Signature,
}

impl Require {
    /// What the configuration calls it.
    pub fn named(name: &str) -> Option<Self> {
        [("nothing", Self::Nothing), ("digest", Self::Digest), ("signature", Self::Signature)]
            .into_iter()
            .find_map(|(known, require)| (known == name).then_some(require))
    }
}

impl ImageRule {
    /// Whether it is about images of this repository: host and path, complete.
    pub fn covers(&self, repository: &str) -> bool {
        if let Some(begin) = self.pattern.strip_suffix('*') {
            return repository.starts_with(begin);
        }
        let rest = repository.strip_prefix(self.pattern.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The digests (`sha256:<hex>`) that the keys of a rule vouch for, or why that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// The digests.
    pub digests: Vec<String>,
    /// Why they are not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_covers_whole_parts_of_a_name() {
        let covers = |pattern: &str, repository: &str| {
            ImageRule { pattern: pattern.to_owned(), ..ImageRule::default() }.covers(repository)
        };
        for pattern in ["site.example:5000", "site.example:5000/", "site.example:5000/team", "*", "site.example*"] {
            assert!(covers(pattern, "site.example:5000/team/app"), "{pattern}");
        }
        for pattern in ["site.example", "site.example:5000/te", "docker.io", ""] {
            assert!(!covers(pattern, "site.example:5000/team/app"), "{pattern}");
        }
        assert!(covers("docker.io/library/nginx", "docker.io/library/nginx"));
        assert!(covers("site.example:5000/te*", "site.example:5000/team/app"));
    }
}
