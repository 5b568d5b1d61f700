//! A supervisor that stands still, a PID 1 that stands still, a kernel that has crashed: who notices, and what the next boot says.

use serde_json::json;

use crate::machine::{BOUND, Disk, Machine, SUPERVISOR, Vm};

/// Three feeds in 20 s. Init takes a supervisor for wedged 10 s after its deadline, so it is faster than the watchdog.
fn machine(board: &'static str) -> Machine {
    Machine::bare(board).with("gatepost.watchdogTimeout=20s")
}

/// One that is probed each second: the supervisor always has a deadline, and it is near.
fn probed() -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "steady"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": "sample/busybox:1", "command": ["sleep", "1000000"],
                "livenessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1_000_000},
            }],
        },
    })
}

/// PID 1 becomes it in one execve(2), with the watchdog open and running.
fn a_new_binary_takes_the_watchdog_over(vm: &mut Vm<'_>) {
    vm.until_up();
    let before = vm.ok(&format!("echo {SUPERVISOR}"));
    vm.ok("gatepost reexec");
    vm.console.wait_for("init: the hardware watchdog resets this board 20 s after its last feed", BOUND);
    vm.until(&format!("echo {SUPERVISOR}"), |after| !after.trim().is_empty() && after != before);
    vm.until_up();
}

/// One with something to do lets its deadline pass, and init starts another one.
fn a_wedged_supervisor_is_replaced_and_no_container_notices(vm: &mut Vm<'_>) {
    vm.apply("steady", &probed());
    vm.until_running(&["steady-gateway"]);
    vm.until("gatepost get events", |events| events.contains("Unhealthy"));
    let before = (vm.ok("pidof sleep"), vm.ok(&format!("echo {SUPERVISOR}")));
    vm.ok(&format!("kill -STOP {SUPERVISOR}"));
    vm.console.wait_for("init: the supervisor is wedged", BOUND);
    vm.until_up();
    assert_eq!(vm.ok("pidof sleep"), before.0);
    assert_ne!(vm.ok(&format!("echo {SUPERVISOR}")), before.1);
    vm.ok("rm /var/lib/gatepost/manifests/*");
    vm.until("gatepost get pods 2>&1", |table| table.contains("No resources"));
}

/// One without anything to do has no deadline; it owes only the watchdog an answer.
fn an_idle_supervisor_that_is_stopped(vm: &mut Vm<'_>) {
    // What it does behind its last pod has deadlines of a few seconds.
    vm.ok("sleep 5");
    vm.ok(&format!("kill -STOP {SUPERVISOR}"));
    vm.console.wait_for("init: the supervisor does not answer: the hardware watchdog is not fed until it does", BOUND);
}

#[test]
fn the_emulated_watchdog_bites_when_supervisor_or_init_stand_still() {
    let disk = Disk::fresh("qemu-aarch64");
    let mut vm = Vm::boot(&machine("qemu-aarch64"), &disk);
    a_new_binary_takes_the_watchdog_over(&mut vm);
    a_wedged_supervisor_is_replaced_and_no_container_notices(&mut vm);
    assert!(vm.monitor.events().iter().all(|event| event.name != "WATCHDOG"), "init was first");

    an_idle_supervisor_that_is_stopped(&mut vm);
    assert_eq!(vm.event("WATCHDOG")["action"], "reset");
    vm.reset();
    vm.until_up();
    let report = vm.ok("gatepost last-boot");
    assert!(report.contains("the hardware watchdog reset the board"), "{report}");

    // Nobody can stop PID 1 by a signal; a cgroup is frozen with it.
    vm.run("ice=/sys/fs/cgroup/ice; mkdir $ice && echo 1 > $ice/cgroup.procs && echo 1 > $ice/cgroup.freeze");
    assert_eq!(vm.event("WATCHDOG")["action"], "reset");
    vm.reset();
    vm.until_up();

    a_crash_of_the_kernel_leaves_its_last_words(&mut vm);
    a_pid_1_that_fails_is_fed_until_it_reboots_and_leaves_its_last_words(&mut vm);
}

/// softdog, which is the kernel's own timer, sees a supervisor that stands still, and nothing more.
#[test]
fn softdog_bites_when_the_supervisor_stands_still() {
    let disk = Disk::fresh("qemu-armv7");
    let mut vm = Vm::boot(&machine("qemu-armv7"), &disk);
    a_wedged_supervisor_is_replaced_and_no_container_notices(&mut vm);
    an_idle_supervisor_that_is_stopped(&mut vm);
    assert_eq!(vm.reset(), "guest-reset");
    vm.until_up();
}

/// In memory that a reset leaves alone, which the board gives to ramoops.
fn a_crash_of_the_kernel_leaves_its_last_words(vm: &mut Vm<'_>) {
    vm.ok("sync; (sleep 1; echo c > /proc/sysrq-trigger) >/dev/null 2>&1 &");
    vm.console.wait_for("Kernel panic - not syncing: sysrq triggered crash", BOUND);
    vm.reset();
    vm.until_up();
    let report = vm.ok("gatepost last-boot");
    assert!(report.contains("the kernel crashed (its last words are kept)"), "{report}");
    assert!(report.contains("sysrq triggered crash"), "{report}");
    assert!(vm.ok("ls /var/lib/gatepost/state/pstore").contains("dmesg-ramoops"));
}

/// It waits 5 s for the agent, which ignores SIGTERM, and 20 s for a file system that takes nothing any more: longer than the watchdog
/// does. So no report of the shutdown is written either.
fn a_pid_1_that_fails_is_fed_until_it_reboots_and_leaves_its_last_words(vm: &mut Vm<'_>) {
    let bites = |vm: &Vm<'_>| vm.monitor.events().iter().filter(|event| event.name == "WATCHDOG").count();
    let before = bites(vm);
    let (output, status) = vm.apart("sync; $b fsfreeze --freeze /proc/1/root/var/lib");
    assert_eq!(status, 0, "{output}");
    vm.apart("kill -SEGV 1");
    vm.console.wait_for("init: PID 1 failed with signal 11: this board is rebooted", BOUND);
    assert_eq!(vm.reset(), "guest-reset");
    assert_eq!(bites(vm), before, "it was the watchdog that ended it");
    vm.until_up();
    let report = vm.ok("gatepost last-boot");
    assert!(report.contains("PID 1 failed with signal 11 (its last words are kept)"), "{report}");
}
