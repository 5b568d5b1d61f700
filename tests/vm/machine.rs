//! A virtual gateway: [`Vm`] boots an image of `make image` in QEMU and drives it as a person would, over its serial console,
//! its power plug, and (for looking inside) commands carried out by a small agent.
//!
//! The image is used as it is shipped. The agent comes in a second initramfs behind the image's own (`tests/vm/agent.sh`); it
//! runs as a child of PID 1 in a mount namespace of its own. A test of the boot itself can do without ([`Machine::agent`]).
//!
//! Bounds are generous: they end a test that would hang, and say nothing about speed. As many machines run at a time as the test
//! harness has threads; QEMU ends with the test, however that ends.

mod agent;
mod console;
mod qmp;

use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

pub use agent::Agent;
pub use console::Console;
pub use qmp::Monitor;

/// Long enough for whatever an emulated gateway does on a busy machine.
pub const BOUND: Duration = Duration::from_mins(6);

/// A shell's word for the pid of the supervisor.
pub const SUPERVISOR: &str = "$(ps | grep '[s]upervise /' | sed 's/^ *//' | cut -d' ' -f1)";

/// What is booted.
#[derive(Clone)]
pub struct Machine {
    /// Name of an image: that of a file in `board/`, or `qemu-aarch64-crun`.
    pub board: &'static str,
    /// Put behind the image's kernel command line.
    pub append: String,
    /// The kernel finds no console.
    pub without_console: bool,
    /// More arguments for QEMU.
    pub devices: Vec<String>,
    /// Whether the agent is there.
    pub agent: bool,
    /// Whether a reset starts the machine again; else QEMU ends at the first one.
    pub resets: bool,
    /// Whether a reset leaves the memory as it is. Else it is another QEMU: one that resets an armv7 keeps what it has translated, and a
    /// kernel that unpacks itself over its old code then takes minutes.
    pub keeps_memory: bool,
}

impl Machine {
    /// The board as it is, with the agent.
    pub fn new(board: &'static str) -> Self {
        let keeps_memory = board != "qemu-armv7";
        let (append, devices) = (String::new(), Vec::new());
        Self { board, append, without_console: false, devices, agent: true, resets: true, keeps_memory }
    }

    /// With no pods but those a test gives it, see [`Vm::apply`].
    pub fn bare(board: &'static str) -> Self {
        Self::new(board).with("gatepost.staticPodPath=/var/lib/gatepost/manifests")
    }

    /// With more words on its kernel command line.
    pub fn with(mut self, words: &str) -> Self {
        self.append = format!("{} {words}", self.append);
        self
    }

    /// With more arguments for QEMU.
    pub fn and(mut self, device: &[&str]) -> Self {
        self.devices.extend(device.iter().map(|word| (*word).to_owned()));
        self
    }

    /// With the image's initramfs only, looked at over its serial console.
    pub fn untouched(self) -> Self {
        Self { agent: false, ..self }
    }
}

/// A card with a fresh copy of a board's image; it keeps what one machine wrote for the next.
pub struct Disk {
    pub path: PathBuf,
    _directory: TempDir,
}

impl Disk {
    /// A card larger than the image, as cards are.
    pub fn fresh(board: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("disk");
        image(board);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs/card.sh");
        let copied = Command::new(script).arg(board).arg(&path).status().unwrap();
        assert!(copied.success(), "cannot copy the image of {board}");
        Self { path, _directory: directory }
    }

    /// Where a partition lies: first byte and length.
    pub fn partition(&self, name: &str) -> (u64, u64) {
        let table = Command::new("sfdisk").arg("-d").arg(&self.path).output().unwrap();
        let table = String::from_utf8(table.stdout).unwrap();
        let line = table.lines().find(|line| line.contains(&format!("name=\"{name}\""))).unwrap();
        let number = |key: &str| -> u64 {
            let rest = line.split(key).nth(1).unwrap();
            rest.split(',').next().unwrap().trim().parse::<u64>().unwrap() * 512
        };
        (number("start="), number("size="))
    }
}

/// The files `make image` made for a board.
pub fn image(board: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(".build/image").join(board);
    assert!(directory.join("disk.img").exists(), "no image of {board}: run `make image BOARD={board}` first");
    directory
}

/// A running virtual gateway. Dropped, its plug is pulled.
pub struct Vm<'disk> {
    pub console: Console,
    pub monitor: Monitor,
    qemu: Child,
    agent: Option<Agent>,
    began: Instant,
    /// The last command: a test that fails shows what it did, and when.
    told: String,
    // Sockets and initramfs.
    _directory: TempDir,
    machine: Machine,
    disk: &'disk Disk,
}

impl<'disk> Vm<'disk> {
    /// Plugs it in.
    pub fn boot(machine: &Machine, disk: &'disk Disk) -> Self {
        let directory = TempDir::new().unwrap();
        let image = image(machine.board);
        let read = |name: &str| fs::read_to_string(image.join(name)).unwrap().trim().to_owned();
        let mut command_line = read("cmdline");
        if machine.without_console {
            let words = command_line.split(' ').filter(|word| !word.starts_with("console="));
            command_line = words.chain(["console=null"]).collect::<Vec<_>>().join(" ");
        }
        command_line = format!("{command_line} {} {}", read("qemu-cmdline"), machine.append);

        let listen = |name: &str| UnixListener::bind(directory.path().join(name)).unwrap();
        let (console, monitor, agent) = (listen("console"), listen("monitor"), listen("agent"));
        let socket = |name: &str| format!("socket,id={name},path={}", directory.path().join(name).display());

        let template = read("qemu").replace("DISK", &disk.path.display().to_string());
        let words = template.split_whitespace();
        // A test that is killed takes its machine along.
        let mut qemu = Command::new("setpriv");
        qemu.args(["--pdeathsig", "KILL", "--"]).args(words);
        qemu.args(["-nodefaults", "-display", "none", "-chardev", &socket("console"), "-serial", "chardev:console"]);
        qemu.arg("-qmp").arg(format!("unix:{}", directory.path().join("monitor").display()));
        if !machine.resets || !machine.keeps_memory {
            qemu.arg("-no-reboot");
        }
        // With a boot chain of its own the machine reads everything from its card.
        let chain = image.join("u-boot").exists();
        assert!(!(chain && machine.agent), "a machine with a bootloader loads its own initramfs, without the agent");
        if !chain {
            let mut initramfs = fs::read(image.join("initramfs")).unwrap();
            if machine.agent {
                initramfs.extend(fs::read(image.join("agent")).expect("no agent: run tests/vm/agent.sh BOARD"));
                command_line.push_str(" rdinit=/agent/start");
                qemu.args(["-chardev", &socket("agent"), "-device", "virtio-serial-device"]);
                qemu.args(["-device", "virtserialport,chardev=agent,name=agent"]);
            }
            fs::write(directory.path().join("initramfs"), initramfs).unwrap();
            qemu.arg("-kernel").arg(image.join("kernel")).arg("-initrd").arg(directory.path().join("initramfs"));
            qemu.args(["-append", &command_line]);
            // A machine that QEMU makes up itself has a device tree from QEMU.
            if image.join("dtb").exists() {
                qemu.arg("-dtb").arg(image.join("dtb"));
            }
        }
        qemu.args(&machine.devices);

        let mut qemu = qemu.stdin(Stdio::null()).spawn().expect("QEMU: run tests/setup.sh image");
        let console = Console::new(accept(&console, &mut qemu));
        let monitor = Monitor::new(accept(&monitor, &mut qemu));
        let agent = machine.agent.then(|| Agent::new(accept(&agent, &mut qemu)));
        let (began, told) = (Instant::now(), String::new());
        Self { console, monitor, qemu, agent, began, told, _directory: directory, machine: machine.clone(), disk }
    }

    /// Carries out a shell command inside, in PID 1's mount namespace: its output and its exit status.
    pub fn run(&mut self, command: &str) -> (String, i32) {
        if self.told != command {
            command.clone_into(&mut self.told);
            eprintln!("{:7.1} s: {command}", self.began.elapsed().as_secs_f32());
        }
        let agent = self.agent.as_mut().expect("a machine without the agent");
        agent.run(command, BOUND).unwrap_or_else(|error| panic!("{command}: {error}\n{}", self.console.tail()))
    }

    /// As [`Vm::run`], for a command that must succeed.
    pub fn ok(&mut self, command: &str) -> String {
        let (output, status) = self.run(command);
        assert_eq!(status, 0, "{command}: {output}\n{}", self.console.tail());
        output
    }

    /// Carries out a command with nothing of the gateway's root, for when that cannot be read. `$b` is a busybox.
    pub fn apart(&mut self, command: &str) -> (String, i32) {
        self.run(&format!("@{command}"))
    }

    /// Waits until the supervisor answers.
    pub fn until_up(&mut self) {
        self.until("gatepost get pods >/dev/null 2>&1 && echo there", |said| said.contains("there"));
    }

    /// Waits until each of these pods runs.
    pub fn until_running(&mut self, pods: &[&str]) -> String {
        self.until("gatepost get pods", |table| {
            let runs = |pod: &str| table.lines().any(|line| line.starts_with(pod) && line.contains("1/1     Running"));
            pods.iter().all(|pod| runs(pod))
        })
    }

    /// Repeats a command until its output satisfies; the last output, if it never does, is told.
    pub fn until(&mut self, command: &str, satisfied: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + BOUND;
        loop {
            let (output, _) = self.run(command);
            if satisfied(&output) {
                return output;
            }
            let late = Instant::now() > end;
            assert!(!late, "{command} still says:\n{output}\n{}", self.console.tail());
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Waits until the machine has switched itself off: the reason QEMU saw (`guest-shutdown`; `guest-reset` where
    /// [`Machine::resets`] is off).
    pub fn off(&mut self) -> String {
        self.event("SHUTDOWN")["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the machine has reset itself. It starts again; the agent there is a new one.
    pub fn reset(&mut self) -> String {
        if !self.machine.keeps_memory {
            let reason = self.off();
            self.qemu.wait().unwrap();
            let machine = self.machine.clone();
            *self = Self::boot(&machine, self.disk);
            return reason;
        }
        let reason = self.event("RESET")["reason"].as_str().unwrap_or_default().to_owned();
        self.starts_anew();
        reason
    }

    /// Another kernel has started without a reset: the agent there is a new one.
    pub fn starts_anew(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.starts_anew();
        }
    }

    /// The machine's command as a person at its monitor types it. What it says is an error.
    pub fn at_the_monitor(&mut self, line: &str) {
        let said = self.monitor.execute("human-monitor-command", &json!({"command-line": line}));
        assert_eq!(said, "", "{line}");
    }

    /// Waits for an event of the machine.
    pub fn event(&mut self, name: &str) -> serde_json::Value {
        let event = self.monitor.wait_for(name, BOUND);
        event.unwrap_or_else(|| panic!("no {name}\n{}", self.console.tail())).data
    }

    /// Gives gatepost a manifest, on the data partition: replaced whole, as any file should be.
    pub fn apply(&mut self, name: &str, manifest: &serde_json::Value) {
        self.until("cat /proc/mounts", |mounts| mounts.contains(" /var/lib "));
        let text = manifest.to_string().replace('\'', "'\\''");
        self.ok(&format!(
            "d=/var/lib/gatepost/manifests; mkdir -p $d && printf %s '{text}' > $d/.{name} && mv $d/.{name} $d/{name}.json"
        ));
    }

    /// Pulls the plug: QEMU is gone at once, and with it everything that was not on the card.
    pub fn cut_power(mut self) {
        self.qemu.kill().unwrap();
        self.qemu.wait().unwrap();
    }

    /// Whether QEMU still runs.
    pub fn is_on(&mut self) -> bool {
        self.qemu.try_wait().unwrap().is_none()
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if std::thread::panicking() {
            eprintln!("--- the console's last lines ---\n{}", self.console.tail());
        }
    }
}

/// QEMU's connection, or what QEMU died of.
fn accept(listener: &UnixListener, qemu: &mut Child) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let end = Instant::now() + BOUND;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("accept: {error}"),
        }
        if let Some(status) = qemu.try_wait().unwrap() {
            panic!("QEMU ended: {status}");
        }
        assert!(Instant::now() < end, "QEMU does not connect");
        std::thread::sleep(Duration::from_millis(10));
    }
}
