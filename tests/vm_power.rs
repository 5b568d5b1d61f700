//! Ways down and up again, in a virtual gateway: signals to PID 1, power cuts, the hardware watchdog, and data or settings that
//! are not as they should be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod vm;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use vm::{BOUND, Disk, Machine, SUPERVISOR, Vm};

const BOARD: &str = "qemu-aarch64";

/// Waits until the broker and its client run.
fn pods_run(vm: &mut Vm<'_>) {
    vm.until("gatepost get pods", |table| {
        let runs = |pod: &str| table.lines().any(|line| line.starts_with(pod) && line.contains("Running"));
        runs("mosquitto-gateway") && runs("publisher-gateway") && runs("offline-gateway")
    });
}

/// The restart count of the sample pod that crashes.
fn crashes(table: &str) -> u32 {
    let line = table.lines().find(|line| line.starts_with("crash-gateway"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
}

/// A gateway with only its own initramfs, looked at over its serial console.
fn console_only(append: &str) -> Machine {
    Machine { agent: false, append: append.to_owned(), ..Machine::new(BOARD) }
}

#[test]
fn a_reboot_brings_the_same_pods_back() {
    let disk = Disk::fresh(BOARD);
    let mut vm = Vm::boot(&Machine::new(BOARD), &disk);
    pods_run(&mut vm);

    // A supervisor that is killed again and again costs no container.
    let broker = vm.ok("pidof mosquitto");
    for _ in 0..3 {
        vm.ok(&format!("kill -9 {SUPERVISOR}"));
        pods_run(&mut vm);
    }
    assert_eq!(vm.ok("pidof mosquitto"), broker);
    let before = crashes(&vm.until("gatepost get pods", |table| crashes(table) > 0));

    // TERM is what busybox' `reboot` sends.
    vm.run("kill -TERM 1");
    assert_eq!(vm.reset(), "guest-reset");
    pods_run(&mut vm);
    let after = crashes(&vm.ok("gatepost get pods"));
    assert!(after >= before, "restart counts are kept: {before}, then {after}");
    let report = vm.ok("gatepost last-boot");
    assert!(report.contains("reboot"), "{report}");

    // USR2 is `poweroff`, and the machine can tell.
    vm.run("kill -USR2 1");
    assert_eq!(vm.off(), "guest-shutdown");
}

#[test]
fn after_a_power_cut_the_same_pods_run() {
    let disk = Disk::fresh(BOARD);
    let machine = Machine::new(BOARD);
    let mut vm = Vm::boot(&machine, &disk);
    // In the middle of the imports …
    vm.console.wait_for("imported docker.io/sample/busybox:1", BOUND);
    vm.cut_power();
    // … and with everything running.
    let mut vm = Vm::boot(&machine, &disk);
    pods_run(&mut vm);
    vm.cut_power();
    let mut vm = Vm::boot(&machine, &disk);
    pods_run(&mut vm);
    assert!(vm.ok("gatepost last-boot").contains("power cut"));
}

/// The emulated hardware watchdog bites when PID 1 stands still.
#[test]
fn the_watchdog_bites_for_a_stopped_init() {
    let disk = Disk::fresh(BOARD);
    let append = "gatepost.watchdogTimeout=10s gatepost.staticPodPath=/var/lib/gatepost/manifests".to_owned();
    let mut vm = Vm::boot(&Machine { append, ..Machine::new(BOARD) }, &disk);
    vm.until("gatepost get pods >/dev/null 2>&1 && echo there", |said| said.contains("there"));
    // Nobody can stop PID 1 by a signal; a cgroup is frozen with it.
    vm.run("ice=/sys/fs/cgroup/ice; mkdir $ice && echo 1 > $ice/cgroup.procs && echo 1 > $ice/cgroup.freeze");
    assert_eq!(vm.event("WATCHDOG")["action"], "reset");
    vm.reset();
    vm.until("gatepost get pods >/dev/null 2>&1 && echo there", |said| said.contains("there"));
}

#[test]
fn without_its_data_partition_a_gateway_runs_from_memory_and_says_so() {
    let disk = Disk::fresh(BOARD);
    let deleted = Command::new("sfdisk").args(["-q", "--delete"]).arg(&disk.path).arg("4").status().unwrap();
    assert!(deleted.success());
    let mut vm = Vm::boot(&console_only(""), &disk);
    vm.console.wait_for("data: FAILED: there is no partition PARTLABEL=data", BOUND);
    vm.console.wait_for("NO DATA PARTITION", BOUND);
    vm.console.wait_for("pods: default/offline-gateway: Running", BOUND);
}

#[test]
fn a_data_partition_beyond_repair_is_left_alone_unless_it_may_be_formatted() {
    let disk = Disk::fresh(BOARD);
    let card = File::options().write(true).open(&disk.path).unwrap();
    card.write_all_at(&vec![0xa5; 8 << 20], disk.partition("data").0).unwrap();
    let mut vm = Vm::boot(&console_only(""), &disk);
    vm.console.wait_for("NO DATA PARTITION", BOUND);
    vm.console.wait_for("supervising gateway", BOUND);
    vm.cut_power();

    let mut vm = Vm::boot(&console_only("gatepost.dataOnFailure=format"), &disk);
    vm.console.wait_for("was formatted, as dataOnFailure says", BOUND);
    vm.console.wait_for("supervising gateway", BOUND);
}

#[test]
fn a_broken_setting_on_the_command_line_is_told_and_the_pods_run() {
    let disk = Disk::fresh(BOARD);
    let append = "gatepost.logsMaxTotal=plenty gatepost.noSuchKey=1";
    let mut vm = Vm::boot(&console_only(append), &disk);
    vm.console.wait_for("configuration: warning:", BOUND);
    vm.console.wait_for("2 problems, defaults in their place", BOUND);
    vm.console.wait_for("supervising gateway", BOUND);
}
