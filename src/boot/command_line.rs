//! [`CommandLine`]: the kernel's command line, taken apart as the kernel does.

use std::path::Path;

/// Words of our own that are no keys of the configuration.
const NOT_SETTINGS: &[&str] = &["root", "safe"];

/// The kernel's command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    /// The one this kernel was started with. Needs `/proc`.
    pub(super) fn of_this_boot() -> std::io::Result<Self> {
        Ok(Self::parse(&String::from_utf8_lossy(&std::fs::read(Path::new("/proc/cmdline"))?)))
    }

    /// Words are separated by blanks. Double quotes hold a word together, and vanish where they surround a whole word or a whole
    /// value (`next_arg` of the kernel's lib/cmdline.c). What follows `--` is not for the kernel.
    pub(super) fn parse(text: &str) -> Self {
        let mut quoted = false;
        let words = text.split(|c: char| {
            quoted ^= c == '"';
            c.is_ascii_whitespace() && !quoted
        });
        let words = words.filter(|word| !word.is_empty()).take_while(|word| *word != "--");
        Self { words: words.map(unquoted).collect() }
    }

    /// The last value of `name=value`.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether the word stands there, alone or as `word=1`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name) || self.value(name) == Some("1")
    }

    /// The settings `gatepost.key=value`, in order, without the prefix.
    pub(super) fn settings(&self) -> Vec<String> {
        let ours = self.words.iter().filter_map(|word| word.strip_prefix("gatepost."));
        ours.filter(|word| !NOT_SETTINGS.contains(&word.split('=').next().unwrap_or_default()))
            .map(str::to_owned)
            .collect()
    }

    /// The parameters `module.parameter=value` of a module, without the prefix. `-` and `_` are the same in a module's name.
    pub(super) fn module_parameters(&self, module: &str) -> Vec<&str> {
        let parameter = |word: &'_ String| {
            let (name, _) = word.split_once('.')?;
            (name.replace('-', "_") == module).then_some(name.len())
        };
        self.words.iter().filter_map(|word| word.get(parameter(word)?.saturating_add(1)..)).collect()
    }
}

fn unquoted(word: &str) -> String {
    let inside = |text: &str| -> Option<String> {
        let text = text.strip_prefix('"')?;
        Some(text.strip_suffix('"').unwrap_or(text).to_owned())
    };
    if let Some(word) = inside(word) {
        return word;
    }
    match word.split_once('=') {
        Some((name, value)) => format!("{name}={}", inside(value).unwrap_or_else(|| value.to_owned())),
        None => word.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together_as_in_the_kernel() {
        let line = CommandLine::parse(
            "quiet gatepost.modules=\"i6300esb heartbeat=30\" \"gatepost.nodeName=a b\" a=\"unfinished here\n",
        );
        assert_eq!(line.settings(), ["modules=i6300esb heartbeat=30", "nodeName=a b"]);
        assert_eq!(line.value("a"), Some("unfinished here\n"));
        assert!(line.has("quiet") && !line.has("a"));
    }

    #[test]
    fn the_last_value_counts_and_words_for_init_do_not() {
        let line = CommandLine::parse("gatepost.root=PARTLABEL=rootA x=1 gatepost.root=/dev/vda2 -- x=2 gatepost.safe");
        assert_eq!(line.value("gatepost.root"), Some("/dev/vda2"));
        assert_eq!(line.value("x"), Some("1"));
        assert!(!line.has("gatepost.safe"));
        assert!(line.settings().is_empty());
    }

    #[test]
    fn our_own_words_are_no_settings() {
        let line = CommandLine::parse("gatepost.safe gatepost.root=/dev/sda gatepost.runtime=crun gatepost.rootless=1");
        assert!(line.has("gatepost.safe"));
        assert_eq!(line.settings(), ["runtime=crun", "rootless=1"]);
    }

    #[test]
    fn a_module_finds_its_parameters_under_both_spellings() {
        let line = CommandLine::parse("dm-verity.x=1 dm_verity.y=2 dm_verityx.z=3 softdog.soft_margin=4");
        assert_eq!(line.module_parameters("dm_verity"), ["x=1", "y=2"]);
    }
}
