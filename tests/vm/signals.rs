//! Ways down and up again: each signal to PID 1 with what the machine then sees, and what stands in the way of a shutdown.
//! SIGTERM and SIGPWR are in `boot`.

use std::time::Duration;

use serde_json::json;

use crate::machine::{BOUND, Disk, Machine, SUPERVISOR, Vm};

/// Processes that have ended and that nobody has reaped.
const ZOMBIES: &str = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";

/// With a keyboard, which is to be had on the present form of the bus only.
fn machine(board: &'static str) -> Machine {
    Machine::bare(board)
        .and(&["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-keyboard-device"])
        .with("gatepost.watchdogTimeout=20s gatepost.watchdogMaximum=20s")
}

fn a_signal_to_pid_1_does_what_is_written(board: &'static str) {
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&machine(board), &disk);
    vm.until_up();

    hup_reads_the_manifests_again(&mut vm);

    // PID 1 is everybody's last parent.
    vm.ok("i=0; while [ $i -lt 3000 ]; do ( : & ); i=$((i+1)); done");
    vm.until(ZOMBIES, |count| count.trim() == "0");

    // What stands in the way of a shutdown: a process that ignores SIGTERM, a stopped one, and a file system that stays busy when
    // no process is left, by a loop device on one of its files.
    vm.ok(
        "(trap '' TERM; exec setsid sleep 424242) >/dev/null 2>&1 & (sleep 434343 & kill -STOP $!) >/dev/null 2>&1 &",
    );
    vm.ok("truncate -s 1M /var/lib/loop && losetup /dev/loop0 /var/lib/loop");
    vm.until("ps | grep -c '[s]leep 4[23]4'", |count| count.trim() == "2");
    // A kernel that kexec(8) has loaded is started directly; here none is, although it is said, and that is no reason to stay.
    vm.ok("mount --bind /proc/sys/net/ipv4/tcp_sack /sys/kernel/kexec_loaded");
    vm.monitor.press(&["ctrl", "alt", "delete"]);
    vm.console.wait_for("init: reboot (ctrl-alt-del): within", BOUND);
    vm.console.wait_for("/var/lib is busy: it is read-only now and detached", BOUND);
    vm.console.wait_for("the loaded kernel cannot be started", BOUND);
    assert_eq!(vm.reset(), "guest-reset");
    // What was busy was left whole.
    vm.console.wait_for("data: mounted /var/lib", BOUND);
    let (clean, line) = vm.console.wait_for_any(&[", clean)", "manifests:"], BOUND);
    assert_eq!(clean, 0, "{line}");
    vm.until_up();
    let report = vm.ok("gatepost last-boot -o json");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["farewell"]["reason"], "ctrl-alt-del", "{report}");
    // One of them; and the agent, which ignores SIGTERM as well.
    assert!(report["farewell"]["killed"].as_u64().unwrap() >= 2, "{report}");
    assert!(report["farewell"]["took_ms"].as_u64().unwrap() < 15_000, "{report}");

    // An orderly poweroff …
    vm.run("kill -USR2 1");
    vm.console.wait_for("init: poweroff (SIGUSR2)", BOUND);
    assert_eq!(vm.off(), "guest-shutdown");

    // … is not what `halt` is: the machine stays on and does nothing.
    let mut vm = Vm::boot(&machine(board), &disk);
    vm.until_up();
    vm.run("kill -USR1 1");
    vm.console.wait_for("init: halt (SIGUSR1)", BOUND);
    vm.console.wait_for("reboot: System halted", BOUND);
    // Longer than the longest time-out that the watchdog could have been left with.
    assert!(vm.monitor.wait_for("RESET", Duration::from_secs(25)).is_none(), "the watchdog was left armed");
    assert!(vm.is_on());
    assert!(vm.monitor.events().iter().all(|event| event.name != "SHUTDOWN"));
}

/// Where changes cannot be noticed a manifest is seen only then.
fn hup_reads_the_manifests_again(vm: &mut Vm<'_>) {
    let instances = "/proc/sys/fs/inotify/max_user_instances";
    vm.ok(&format!("echo 0 > {instances}; kill -9 {SUPERVISOR}"));
    vm.until_up();
    vm.apply(
        "seen",
        &json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "seen"},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "sample/busybox:1", "command": ["sleep", "1000000"]}],
            },
        }),
    );
    vm.run("kill -HUP 1");
    vm.until_running(&["seen-gateway"]);
    vm.ok(&format!("echo 1024 > {instances}; rm /var/lib/gatepost/manifests/seen.json; kill -9 {SUPERVISOR}"));
    vm.until("gatepost get pods 2>&1", |table| table.contains("No resources"));
}

#[test]
fn a_signal_to_pid_1_does_what_is_written_on_aarch64() {
    a_signal_to_pid_1_does_what_is_written("qemu-aarch64");
}

#[test]
fn a_signal_to_pid_1_does_what_is_written_on_armv7() {
    a_signal_to_pid_1_does_what_is_written("qemu-armv7");
}
