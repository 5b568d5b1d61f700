//! [`Catalogue`]: the kernel's modules with what they need, and [`load`], which loads a list of them in order.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::command_line::CommandLine;

/// `MODULE_INIT_COMPRESSED_FILE` of linux/module.h.
const COMPRESSED: i32 = 4;

/// The modules below `/lib/modules/<release>`, as depmod(8) lists them.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalogue {
    directory: PathBuf,
    /// By name: the module's file, then the files it needs, the ones needed last first.
    files: BTreeMap<String, Vec<String>>,
    builtin: BTreeSet<String>,
}

impl Catalogue {
    /// The catalogue of the running kernel. Without `modules.dep` only files can be named.
    pub(super) fn of_this_kernel() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let directory = Path::new("/lib/modules").join(release);
        let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        Self::parse(&directory, &text("modules.dep"), &text("modules.builtin"))
    }

    fn parse(directory: &Path, dep: &str, builtin: &str) -> Self {
        let files = dep.lines().filter_map(|line| {
            let (file, needed) = line.split_once(':')?;
            let all = std::iter::once(file).chain(needed.split_ascii_whitespace());
            Some((name_of(file), all.map(str::to_owned).collect()))
        });
        Self {
            directory: directory.to_owned(),
            files: files.collect(),
            builtin: builtin.lines().map(name_of).collect(),
        }
    }

    /// The files to load for a module, in order, given by name or by a path (absolute, or below the directory). Empty: it is
    /// part of the kernel.
    fn order(&self, module: &str) -> Result<Vec<PathBuf>, String> {
        if module.contains('/') {
            return Ok(vec![self.directory.join(module)]);
        }
        let name = name_of(module);
        match self.files.get(&name) {
            Some(files) => Ok(files.iter().rev().map(|file| self.directory.join(file)).collect()),
            None if self.builtin.contains(&name) => Ok(Vec::new()),
            None => Err(format!("{module}: no such module below {}", self.directory.display())),
        }
    }
}

/// A module's name: that of its file, without what stands for its compression, `-` written as `_`.
fn name_of(file: &str) -> String {
    let file = file.rsplit('/').next().unwrap_or_default().trim();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// The lines of a list of modules that count: blanks and `#` comments go.
pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What came of a list of modules.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    /// Files that were not loaded before.
    pub(super) count: usize,
    /// Modules that found none of their hardware here: an image may serve several boards, so this is no fault.
    pub(super) without_hardware: Vec<String>,
    /// What failed, a sentence each.
    pub(super) failures: Vec<String>,
}

/// Loads modules in order, each after what it needs; a line is a module and its parameters.
pub(super) fn load(catalogue: &Catalogue, lines: &[String], command_line: &CommandLine) -> Loaded {
    load_with(catalogue, lines, command_line, load_file)
}

fn load_with(
    catalogue: &Catalogue,
    lines: &[String],
    command_line: &CommandLine,
    load_file: impl Fn(&Path, &str) -> std::io::Result<bool>,
) -> Loaded {
    let mut loaded = Loaded::default();
    for line in lines {
        let (module, parameters) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let files = match catalogue.order(module) {
            Ok(files) => files,
            Err(error) => {
                loaded.failures.push(error);
                continue;
            }
        };
        for (index, file) in files.iter().enumerate() {
            let wanted = if index.saturating_add(1) == files.len() { parameters.trim() } else { "" };
            let mut all = vec![wanted];
            let name = name_of(&file.to_string_lossy());
            all.extend(command_line.module_parameters(&name));
            match load_file(file, &all.join(" ")) {
                Ok(true) => loaded.count = loaded.count.saturating_add(1),
                Ok(false) => {}
                // Whoever cannot do without it fails next, and says so.
                Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
                    if !loaded.without_hardware.contains(&name) {
                        loaded.without_hardware.push(name);
                    }
                }
                Err(error) => {
                    loaded.failures.push(format!("{}: {error}", file.display()));
                    break;
                }
            }
        }
    }
    loaded
}

/// Whether it was not there before.
fn load_file(file: &Path, parameters: &str) -> std::io::Result<bool> {
    let parameters = CString::new(parameters.trim())?;
    let flags = if file.extension().is_some_and(|extension| extension == "ko") { 0 } else { COMPRESSED };
    match rustix::system::finit_module(File::open(file)?, &parameters, flags) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko\n\
        kernel/fs/jbd2/jbd2.ko:\nkernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-mod.ko.xz\nbroken line\n";

    fn order(module: &str) -> Result<Vec<String>, String> {
        let catalogue = Catalogue::parse(Path::new("/m"), DEP, "kernel/fs/overlayfs/overlay.ko\n");
        Ok(catalogue.order(module)?.iter().map(|file| file.display().to_string()).collect())
    }

    #[test]
    fn what_a_module_needs_comes_before_it() {
        let expected = ["/m/kernel/fs/jbd2/jbd2.ko", "/m/kernel/fs/mbcache.ko", "/m/kernel/lib/crc16.ko"];
        assert_eq!(order("ext4").unwrap()[..3], expected);
        assert_eq!(order("ext4").unwrap()[3], "/m/kernel/fs/ext4/ext4.ko");
    }

    #[test]
    fn names_are_the_same_with_either_dash_and_with_compression() {
        let expected = ["/m/kernel/drivers/md/dm-mod.ko.xz", "/m/kernel/drivers/md/dm-verity.ko.xz"];
        assert_eq!(order("dm_verity").unwrap(), expected);
        assert_eq!(order("dm-verity").unwrap(), expected);
    }

    #[test]
    fn a_path_is_taken_as_it_is_and_a_built_in_module_needs_nothing() {
        assert_eq!(order("/x/y.ko").unwrap(), ["/x/y.ko"]);
        assert_eq!(order("kernel/z.ko").unwrap(), ["/m/kernel/z.ko"]);
        assert!(order("overlay").unwrap().is_empty());
        assert_eq!(order("nothing").unwrap_err(), "nothing: no such module below /m");
    }

    #[test]
    fn a_module_without_its_hardware_is_no_failure_but_a_missing_one_is() {
        let catalogue =
            Catalogue::parse(Path::new("/m"), "k/ext4.ko: k/crc32-arm-ce.ko\nk/crc32-arm-ce.ko:\nk/last.ko:\n", "");
        let lines = ["ext4", "crc32-arm-ce", "nothing", "last", "broken.ko/x"].map(str::to_owned);
        let loaded = load_with(&catalogue, &lines, &CommandLine::default(), |file, _| match file.to_str().unwrap() {
            "/m/k/crc32-arm-ce.ko" => Err(Errno::NODEV.into()),
            "/m/k/ext4.ko" | "/m/k/last.ko" => Ok(true),
            _ => Err(Errno::NOEXEC.into()),
        });
        assert_eq!((loaded.count, loaded.without_hardware), (2, vec!["crc32_arm_ce".to_owned()]));
        assert_eq!(loaded.failures.len(), 2, "{:?}", loaded.failures);
        assert!(loaded.failures[0].starts_with("nothing: no such module"));
        assert!(loaded.failures[1].starts_with("/m/broken.ko/x: "));
    }

    #[test]
    fn comments_and_blank_lines_are_no_modules() {
        assert_eq!(lines("# list\n\n ext4 \ni6300esb heartbeat=30 # dog\n"), ["ext4", "i6300esb heartbeat=30"]);
    }
}
