//! Ways down and up again, in a virtual gateway: signals to PID 1, power cuts, and the hardware watchdog.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod vm;

use vm::{BOUND, Disk, Machine, Vm};

/// Waits until the broker and its client run.
fn pods_run(vm: &mut Vm<'_>) {
    vm.until("gatepost get pods", |table| {
        let runs = |pod: &str| table.lines().any(|line| line.starts_with(pod) && line.contains("Running"));
        runs("mosquitto-gateway") && runs("publisher-gateway") && runs("offline-gateway")
    });
}

/// The restart count of the sample pod that crashes.
fn crashes(vm: &mut Vm<'_>) -> u32 {
    let table = vm.ok("gatepost get pods");
    let line = table.lines().find(|line| line.starts_with("crash-gateway")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

fn a_reboot_brings_the_same_pods_back(board: &'static str) {
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&Machine::new(board), &disk);
    pods_run(&mut vm);
    vm.until("gatepost get pods", |table| {
        table.lines().any(|line| line.starts_with("crash-gateway") && line.split_whitespace().nth(3) != Some("0"))
    });
    let before = crashes(&mut vm);

    // TERM is busybox' `reboot`.
    vm.run("kill -TERM 1");
    assert_eq!(vm.reset(), "guest-reset");
    pods_run(&mut vm);
    assert!(crashes(&mut vm) >= before, "restart counts are kept");
    let report = vm.ok("gatepost last-boot");
    assert!(report.contains("reboot"), "{report}");

    // USR2 is `poweroff`, and the machine can tell.
    vm.run("kill -USR2 1");
    assert_eq!(vm.off(), "guest-shutdown");
}

#[test]
fn a_reboot_brings_the_same_pods_back_on_aarch64() {
    a_reboot_brings_the_same_pods_back("qemu-aarch64");
}

#[test]
fn a_reboot_brings_the_same_pods_back_on_armv7() {
    a_reboot_brings_the_same_pods_back("qemu-armv7");
}

#[test]
fn after_a_power_cut_the_same_pods_run() {
    let disk = Disk::fresh("qemu-aarch64");
    let machine = Machine::new("qemu-aarch64");
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
}

#[test]
fn a_killed_supervisor_costs_no_container() {
    let disk = Disk::fresh("qemu-aarch64");
    let mut vm = Vm::boot(&Machine::new("qemu-aarch64"), &disk);
    pods_run(&mut vm);
    let broker = vm.ok("pidof mosquitto");
    for _ in 0..5 {
        vm.ok("kill -9 $(ps | grep '[s]upervise' | sed 's/^ *//' | cut -d' ' -f1)");
        pods_run(&mut vm);
    }
    assert_eq!(vm.ok("pidof mosquitto"), broker);
}

/// The emulated hardware watchdog bites when PID 1 itself stands still.
#[test]
fn a_stopped_init_is_bitten_by_the_watchdog() {
    let disk = Disk::fresh("qemu-aarch64");
    let machine = Machine { append: "gatepost.watchdogTimeout=10s".to_owned(), ..Machine::new("qemu-aarch64") };
    let mut vm = Vm::boot(&machine, &disk);
    pods_run(&mut vm);
    // A stop that PID 1's own namespace cannot send: its scheduling is taken away instead.
    vm.run("echo 1 > /sys/fs/cgroup/cgroup.freeze 2>/dev/null; mkdir -p /sys/fs/cgroup/ice && echo 1 > /sys/fs/cgroup/ice/cgroup.procs && echo 1 > /sys/fs/cgroup/ice/cgroup.freeze");
    let event = vm.event("WATCHDOG");
    assert_eq!(event["action"], "reset");
    vm.reset();
    pods_run(&mut vm);
}
