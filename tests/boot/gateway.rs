//! [`Gateway`]: what a boot is given, and what came of it.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A gateway that has not booted yet.
pub struct Gateway {
    work: tempfile::TempDir,
}

impl Gateway {
    /// With this configuration. Neither disks nor cgroups.
    pub fn new(config: &str) -> Self {
        let work = tempfile::tempdir().unwrap();
        fs::create_dir_all(work.path().join("etc/gatepost")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_gatepost"), work.path().join("gatepost")).unwrap();
        let gateway = Self { work };
        gateway.file("etc/gatepost/config.yaml", config).file("cmdline", "quiet\n").file("before", "").file("after", "")
    }

    fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.work.path().join(name), content).unwrap();
        self
    }

    /// A file below `/etc`.
    pub fn etc(self, name: &str, content: &str) -> Self {
        self.file(&format!("etc/{name}"), content)
    }

    /// The kernel's command line.
    pub fn command_line(self, line: &str) -> Self {
        self.file("cmdline", &format!("{line}\n"))
    }

    /// It has this machine's cgroups.
    pub fn with_cgroups(self) -> Self {
        self.file("cgroups", "")
    }

    /// Shell commands in it before the boot.
    pub fn before(self, script: &str) -> Self {
        self.file("before", script)
    }

    /// Boots, runs a script in it, and gives what both said.
    pub fn boot_then(&self, script: &str) -> String {
        fs::write(self.work.path().join("after"), script).unwrap();
        let enter = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot/enter.sh");
        let output = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--net",
                "--uts",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                "exec sh \"$0\" \"$1\" 2>&1",
            ])
            .arg(enter)
            .arg(self.work.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}\n{said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Boots, and gives what it said.
    pub fn boot(&self) -> String {
        self.boot_then("")
    }
}

/// What the line of a stage says after the stage's name; the last one, if there are several.
pub fn stage<'a>(said: &'a str, name: &str) -> &'a str {
    let start = format!("] boot: {name}: ");
    let lines = said.lines().filter_map(|line| line.split_once(&start)).map(|(_, text)| text);
    lines.last().unwrap_or_else(|| panic!("no line of the stage {name}:\n{said}"))
}

/// A disk: a file behind a loop device.
pub struct Disk {
    pub device: String,
    image: PathBuf,
    _directory: tempfile::TempDir,
}

impl Disk {
    /// Of so many bytes, all zero.
    pub fn new(bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("disk");
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&image).output().unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Self { device: String::from_utf8(output.stdout).unwrap().trim().to_owned(), image, _directory: directory }
    }

    /// With an ext4 of so many bytes, which holds a file `marker`.
    pub fn with_ext4(bytes: u64, file_system: u64) -> Self {
        let disk = Self::new(bytes);
        let seed = tempfile::tempdir().unwrap();
        fs::write(seed.path().join("marker"), "kept").unwrap();
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-F", "-d"])
            .arg(seed.path())
            .arg(&disk.device)
            .arg(format!("{}k", file_system >> 10))
            .status()
            .unwrap();
        assert!(made.success());
        disk
    }

    /// Writes over what is there.
    pub fn damage(&self, offset: u64, bytes: &[u8]) {
        let device = fs::File::options().write(true).open(&self.device).unwrap();
        device.write_all_at(bytes, offset).unwrap();
        device.sync_all().unwrap();
    }

    /// The first bytes of it.
    pub fn first_bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        fs::File::open(&self.image).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}
