//! What a gateway may meet, and boots all the same: power cuts, partitions that are gone or garbage, no console, no cgroup
//! controllers, no runtime, settings that are wrong, and a disk that answers nothing any more.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use crate::boot::STEADY;
use crate::machine::{BOUND, Disk, Machine, SUPERVISOR, Vm};

const BOARD: &str = "qemu-aarch64";

/// Writes garbage over the beginning of a partition.
fn spoil(disk: &Disk, partition: &str) {
    let card = File::options().write(true).open(&disk.path).unwrap();
    card.write_all_at(&vec![0xa5; 8 << 20], disk.partition(partition).0).unwrap();
}

/// In the middle of the imports, and with everything running; the second time the flash is gone too, and nobody names it.
#[test]
fn after_power_cuts_and_without_its_flash_the_same_pods_run() {
    let disk = Disk::fresh(BOARD);
    let machine = Machine::new(BOARD);
    let mut vm = Vm::boot(&machine, &disk);
    vm.until("gatepost image ls 2>/dev/null", |images| images.contains("sample/"));
    // As if the machine's clock forgot the time: it goes on where it was.
    vm.ok("echo $(($(date +%s) + 100000)) > /var/lib/gatepost/state/clock; sync");
    vm.cut_power();
    let mut vm = Vm::boot(&machine, &disk);
    let line = vm.console.wait_for("boot: saved clock: set forward by ", BOUND);
    let seconds: u32 = line.split_once("forward by ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!((90_000..=100_000).contains(&seconds), "{line}");
    vm.until_running(STEADY);
    vm.cut_power();
    spoil(&disk, "flash");
    let mut vm = Vm::boot(&Machine::new(BOARD).with("gatepost.safe"), &disk);
    vm.console.wait_for("boot: configuration: safe mode", BOUND);
    vm.console.wait_for("boot: flash: FAILED", BOUND);
    vm.until_running(STEADY);
    assert!(vm.ok("gatepost last-boot").contains("power cut"));
    let events = vm.ok("gatepost get events");
    assert!(events.contains("BootProblem") && events.contains("flash"), "{events}");
}

/// The image as it is shipped, without the agent.
fn without_its_data_partition_and_with_wrong_settings_a_gateway_runs_from_memory_and_says_so(board: &'static str) {
    let disk = Disk::fresh(board);
    let deleted = Command::new("sfdisk").args(["-q", "--delete"]).arg(&disk.path).arg("4").status().unwrap();
    assert!(deleted.success());
    let machine = Machine::new(board).with("gatepost.logsMaxTotal=plenty gatepost.noSuchKey=1").untouched();
    let mut vm = Vm::boot(&machine, &disk);
    vm.console.wait_for("pods: default/offline-gateway: Running", BOUND);
    let said = vm.console.transcript();
    for line in [
        "initramfs: root: /dev/vda2 (PARTLABEL=rootA)",
        "the hardware watchdog resets this board",
        "configuration: warning:",
        "2 problems, defaults in their place",
        "data: FAILED: there is no partition PARTLABEL=data",
        "NO DATA PARTITION",
        "supervisor: supervising gateway",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    // The console's keys work, and what ends everything wants a word.
    vm.console.send("s");
    vm.console.wait_for("offline-gateway", BOUND);
    vm.console.send("r");
    vm.console.wait_for("reboot", BOUND);
    vm.console.send("reboot\r");
    vm.console.wait_for("init: reboot (SIGTERM): within", BOUND);
    assert_eq!(vm.reset(), "guest-reset");
}

#[test]
fn an_aarch64_gateway_without_its_data_partition_and_with_wrong_settings_runs_from_memory_and_says_so() {
    without_its_data_partition_and_with_wrong_settings_a_gateway_runs_from_memory_and_says_so("qemu-aarch64");
}

#[test]
fn an_armv7_gateway_without_its_data_partition_and_with_wrong_settings_runs_from_memory_and_says_so() {
    without_its_data_partition_and_with_wrong_settings_a_gateway_runs_from_memory_and_says_so("qemu-armv7");
}

/// With a clock that begins in another century at first, which no board's may.
fn a_data_partition_beyond_repair_is_left_alone_unless_it_may_be_formatted(board: &'static str) {
    let disk = Disk::fresh(board);
    spoil(&disk, "data");
    let machine = Machine::new(board).and(&["-rtc", "base=2000-01-01"]).untouched();
    let mut vm = Vm::boot(&machine, &disk);
    vm.console.wait_for("boot: clock: set forward by", BOUND);
    vm.console.wait_for("to when the image was built", BOUND);
    vm.console.wait_for("NO DATA PARTITION", BOUND);
    vm.console.wait_for("supervisor: supervising gateway", BOUND);
    vm.cut_power();

    // Two checks of 8 s each are longer than the watchdog waits.
    let words = "gatepost.dataOnFailure=format gatepost.watchdogTimeout=10s agent_slows_e2fsck=8";
    let mut vm = Vm::boot(&Machine::new(board).with(words), &disk);
    vm.console.wait_for("was formatted, as dataOnFailure says", BOUND);
    vm.console.wait_for("pods: default/offline-gateway: Running", BOUND);
    let chart: serde_json::Value = serde_json::from_str(&vm.ok("gatepost boot-chart --json")).unwrap();
    let data = chart["parts"].as_array().unwrap().iter().find(|part| part["name"] == "data").unwrap();
    let micros = |key: &str| data[key].as_u64().unwrap();
    assert!(micros("endMicros") - micros("beginMicros") >= 16_000_000, "the checks were not slow: {data}");
    assert!(vm.monitor.events().iter().all(|event| event.name != "WATCHDOG"), "it was not fed meanwhile");
}

#[test]
fn an_aarch64_gateways_data_beyond_repair_is_left_alone_unless_it_may_be_formatted() {
    a_data_partition_beyond_repair_is_left_alone_unless_it_may_be_formatted("qemu-aarch64");
}

#[test]
fn an_armv7_gateways_data_beyond_repair_is_left_alone_unless_it_may_be_formatted() {
    a_data_partition_beyond_repair_is_left_alone_unless_it_may_be_formatted("qemu-armv7");
}

/// Nothing to say things to, nothing to bound pods with, nothing to run them with: it is up, and says that there is no runtime.
#[test]
fn without_console_cgroup_controllers_and_runtime_it_is_up() {
    let disk = Disk::fresh(BOARD);
    let mut machine = Machine::new(BOARD).with("agent_takes_cgroups=1 gatepost.runtime=nowhere");
    machine.without_console = true;
    let mut vm = Vm::boot(&machine, &disk);
    vm.until_up();
    let controllers = vm.ok("cat /sys/fs/cgroup/cgroup.controllers");
    assert!(!controllers.contains("memory"), "{controllers}");
    let said = vm.ok("gatepost get pods 2>&1; gatepost get events 2>&1");
    assert!(said.contains("no OCI runtime \"nowhere\""), "{said}");
    assert!(!vm.console.transcript().contains("gatepost"), "{}", vm.console.tail());
    vm.run("kill -TERM 1");
    assert_eq!(vm.reset(), "guest-reset");
}

/// From now on every read and every write of the card fails.
fn the_disk_dies(vm: &mut Vm<'_>) {
    vm.at_the_monitor("drive_del disk");
    vm.apart("echo 3 > /proc/sys/vm/drop_caches");
    let (output, status) =
        vm.apart("$b cat /proc/1/root/usr/lib/modules/*/modules.dep /proc/1/root/usr/sbin/sfdisk >/dev/null");
    assert_ne!(status, 0, "the disk still answers: {output}");
}

/// Init and supervisor run from memory: without a disk they reap, are replaced, and the board goes down as it should.
#[test]
fn with_a_disk_that_answers_nothing_init_reaps_says_why_and_reboots() {
    let disk = Disk::fresh(BOARD);
    // Pods whose files cannot be read are not stopped in order, and take all the time they have.
    let machine = Machine { resets: false, ..Machine::new(BOARD).with("gatepost.shutdownBound=10s") };
    let supervisor = SUPERVISOR.replace("ps |", "$b ps |").replace("grep", "$b grep");
    let supervisor = supervisor.replace("sed", "$b sed").replace("cut", "$b cut");

    let mut vm = Vm::boot(&machine, &disk);
    vm.until_running(&["offline-gateway"]);
    the_disk_dies(&mut vm);
    vm.apart("i=0; while [ $i -lt 300 ]; do ( : & ); i=$((i+1)); done");
    let zombies = "@$b grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | $b wc -l";
    vm.until(zombies, |count| count.trim() == "0");
    let (before, _) = vm.apart(&format!("echo {supervisor}"));
    vm.apart(&format!("kill -9 {supervisor}"));
    vm.until(&format!("@echo {supervisor}"), |after| !after.trim().is_empty() && after != before);
    vm.apart("kill -TERM 1");
    vm.console.wait_for("init: reboot (SIGTERM): within", BOUND);
    vm.console.wait_for("ms after it was asked for", BOUND);
    vm.console.wait_for("farewell: the report of this shutdown cannot be kept", BOUND);
    assert_eq!(vm.off(), "guest-reset");

    // The same when PID 1 itself fails.
    let mut vm = Vm::boot(&machine, &disk);
    vm.until_up();
    the_disk_dies(&mut vm);
    vm.apart("kill -SEGV 1");
    vm.console.wait_for("init: PID 1 failed with signal 11: this board is rebooted", BOUND);
    assert_eq!(vm.off(), "guest-reset");
}
