//! The settings `manifestKeys`, `imagePolicy`, `stateKey` and `offlineMode`, read. What cannot be used of them refuses, and never admits: [`Config::trust_nothing`].

use std::path::PathBuf;

use serde_json::Value as Json;

use super::read::Reading;
use super::settings::Config;
use crate::policy::{ImageRule, Require};

/// The settings of this file.
pub(super) const KEYS: [&str; 3] = ["manifestKeys", "imagePolicy", "stateKey"];

impl Reading {
    pub(super) fn fill_trust(&mut self, config: &mut Config) {
        self.paths(KEYS[0], &mut config.manifest_keys);
        config.forgetful = self.get("offlineMode").and_then(Json::as_bool) == Some(false);
        if let Some(key) = self.text(KEYS[2]) {
            if !key.starts_with('/') && key.strip_prefix("keyring:").is_none_or(str::is_empty) {
                self.wrong(KEYS[2], "is neither an absolute path nor keyring:NAME");
            }
            config.state_key = key;
        }
        for (at, item) in self.get(KEYS[1]).and_then(Json::as_array).cloned().into_iter().flatten().enumerate() {
            let text = |key| item.get(key).and_then(Json::as_str).unwrap_or_default();
            let paths = |key| -> Vec<PathBuf> {
                let items = item.get(key).and_then(Json::as_array).into_iter().flatten();
                items.filter_map(Json::as_str).map(PathBuf::from).collect()
            };
            let (pattern, keys, digests) = (text("match").to_owned(), paths("keys"), paths("digests"));
            let mut wrong = |why: &str| self.wrong(KEYS[1], &format!("item {at}: {why}"));
            if pattern.is_empty() {
                wrong("match is missing; write * for all images");
            }
            let Some(require) = Require::named(text("require")) else {
                wrong("require is neither nothing, digest nor signature");
                continue;
            };
            let bare = [keys.is_empty(), digests.is_empty()];
            if bare != [require != Require::Signature; 2] {
                wrong("require: signature needs keys and digests, and nothing else has them");
            }
            if keys.iter().chain(&digests).any(|path| !path.is_absolute()) {
                wrong("keys and digests are absolute paths");
            }
            config.image_policy.push(ImageRule { pattern, require, keys, digests });
        }
    }
}

impl Config {
    /// The rule that counts for images of a repository, and its number.
    pub fn image_rule(&self, repository: &str) -> Option<(usize, &ImageRule)> {
        self.image_policy.iter().enumerate().find(|(_, rule)| rule.covers(repository))
    }

    /// One of [`KEYS`] could not be used: who has asked for signatures shall not go without.
    pub(super) fn trust_nothing(&mut self, setting: &str) {
        if setting == KEYS[0] {
            self.manifest_keys = vec![PathBuf::new()];
        } else if setting == KEYS[1] {
            let require = Require::Signature;
            self.image_policy = vec![ImageRule { pattern: "*".to_owned(), require, ..ImageRule::default() }];
        } else {
            // A file that is not there: nothing is written in clear.
            "/".clone_into(&mut self.state_key);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{lenient, parse};
    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let text = "imagePolicy:\n- {match: site:5000/open, require: nothing}\n- {match: 'site:5000', require: signature, keys: [/k], digests: /d}\n\
                    - {match: '*', require: digest}\nmanifestKeys: /k\n";
        let config = parse("f", text.as_bytes(), &[]).unwrap();
        let rule = |name: &str| config.image_rule(name).map(|(at, rule)| (at, rule.require));
        assert_eq!(rule("site:5000/open/a"), Some((0, Require::Nothing)));
        assert_eq!(rule("site:5000/a"), Some((1, Require::Signature)));
        assert_eq!(rule("docker.io/library/a"), Some((2, Require::Digest)));
        assert_eq!(config.manifest_keys, [PathBuf::from("/k")]);
        assert_eq!(parse("f", b"", &[]).unwrap().image_rule("a"), None);
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused_and_on_a_gateway_it_refuses() {
        for (item, said) in [
            ("{require: digest}", "match is missing"),
            ("{match: a}", "require is neither"),
            ("{match: a, require: signature, keys: [/k]}", "needs keys and digests"),
            ("{match: a, require: digest, keys: [/k]}", "nothing else has them"),
            ("{match: a, require: signature, keys: [k], digests: [/d]}", "absolute paths"),
        ] {
            let text = format!("imagePolicy: [{item}]\n");
            let error = parse("f", text.as_bytes(), &[]).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), format!("{text}manifestKeys: relative\n")).unwrap();
            let (config, problems) = lenient(Some(file.path()), &[]);
            assert!(problems.iter().any(|problem| problem.contains(said)), "{problems:?}");
            assert_eq!(config.image_rule("x").unwrap().1.require, Require::Signature);
            assert_eq!(config.manifest_keys, [PathBuf::new()]);
        }
    }
}
