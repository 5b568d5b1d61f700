//! `tests/setup.sh` says plainly what it cannot do. It finds no program here but those it is given, so it can change nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A machine as the script sees it: the programs in its PATH.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// A Debian with nothing installed and a fitting toolchain, but without apt-get.
    fn new() -> Self {
        // Not below this checkout: others than root look at it, too.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let machine = Self { dir };
        for part in ["bin", "tests"] {
            fs::create_dir(machine.path(part)).unwrap();
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["Cargo.toml", "tests/setup.sh"] {
            fs::copy(own.join(file), machine.path(file)).unwrap();
        }
        for tool in ["sh", "id", "grep", "tr", "sed", "cut", "sort", "head", "dirname", "awk", "xargs", "echo"] {
            let found = std::env::split_paths("/usr/bin:/bin").map(|dir| dir.join(tool)).find(|file| file.exists());
            symlink(found.unwrap_or_else(|| panic!("there is no {tool}")), machine.path("bin").join(tool)).unwrap();
        }
        machine.with("dpkg-query", "exit 1").with("cargo", "exit 0").with("rustc", "echo rustc 99.0.0 '(of a test)'")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn with(self, program: &str, script: &str) -> Self {
        let file = self.path("bin").join(program);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn without(self, program: &str) -> Self {
        fs::remove_file(self.path("bin").join(program)).unwrap();
        self
    }

    /// What the script says, in one line, when it fails.
    fn refuses(&self, user: u32, words: &[&str]) -> String {
        let user = user.to_string();
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", "/bin/sh"])
            .arg(self.path("tests/setup.sh"));
        command.args(words).current_dir("/").env("PATH", self.path("bin")).stdin(Stdio::null());
        let output = command.output().expect("setpriv is needed");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default().to_owned();
        assert!(last.starts_with("setup: ") && !said.contains("not found\n"), "{said}");
        last
    }
}

const ROOT: u32 = 0;
const NOBODY: u32 = 65_534;

#[test]
fn without_root_it_says_so_and_how_to_get_it() {
    let machine = Machine::new();
    for words in [&[][..], &["test"]] {
        let said = machine.refuses(NOBODY, words);
        assert!(said.contains("must be run as root") && said.contains("sudo make"), "{said}");
    }
    // Images are built by anybody, if everything is there.
    let said = machine.refuses(NOBODY, &["image"]);
    assert!(said.contains("missing: skopeo") && said.contains("needs root: sudo tests/setup.sh image"), "{said}");
}

#[test]
fn without_apt_it_names_what_is_missing() {
    let said = Machine::new().refuses(ROOT, &[]);
    assert!(said.contains("missing: runc crun") && said.contains("There is no apt-get here"), "{said}");
}

#[test]
fn without_a_mirror_it_says_that_nothing_can_be_installed() {
    let machine = Machine::new().with("apt-get", "echo 'E: no network' >&2; exit 100");
    let said = machine.refuses(ROOT, &[]);
    assert!(said.contains("apt-get update failed") && said.contains("without a package mirror"), "{said}");
    let machine = machine.with("apt-get", "[ \"$1\" = update ]").with("apt-cache", "echo '  Candidate: 1'");
    let said = machine.refuses(ROOT, &[]);
    assert!(said.contains("could not install runc crun"), "{said}");
}

#[test]
fn without_a_toolchain_it_says_where_to_get_one() {
    let said = Machine::new().without("cargo").refuses(ROOT, &[]);
    assert!(said.contains("no Rust toolchain found") && said.contains("https://rustup.rs"), "{said}");
    let said = Machine::new().without("rustc").refuses(ROOT, &[]);
    assert!(said.contains("no rustc that works") && said.contains("https://rustup.rs"), "{said}");
}

#[test]
fn an_old_toolchain_is_told_with_the_version_that_is_needed() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let needed = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let said = Machine::new().with("rustc", "echo rustc 1.9.0 '(old)'").refuses(ROOT, &[]);
    assert!(said.contains(&format!("Rust 1.9.0 is too old, gatepost needs {needed}")), "{said}");
    assert!(said.contains("rustup update"), "{said}");
    // The one that is needed is enough.
    let said = Machine::new().with("rustc", &format!("echo rustc {needed}.0 '(just)'")).refuses(ROOT, &[]);
    assert!(said.contains("There is no apt-get here"), "{said}");
}

#[test]
fn the_tests_need_the_formatter_and_the_lints() {
    for tool in ["fmt", "clippy"] {
        let machine = Machine::new().with("cargo", &format!("[ \"$1\" != {tool} ]"));
        let said = machine.refuses(ROOT, &["test"]);
        assert!(said.contains(&format!("cargo {tool} is missing")), "{said}");
        assert!(said.contains("rustup component add rustfmt clippy"), "{said}");
        // To run pods they are not needed.
        assert!(machine.refuses(ROOT, &[]).contains("There is no apt-get here"));
    }
}
