//! A virtual gateway boots, on both architectures, to all sample pods running, and is what `docs/boards.md` and
//! `docs/operations.md` say it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod vm;

use vm::{BOUND, Disk, Machine, Vm};

/// The sample pods that stay up; the one called `crash` does not, by design.
const STEADY: &[&str] =
    &["mosquitto-gateway", "publisher-gateway", "nginx-gateway", "redis-gateway", "offline-gateway"];

/// Waits until all sample pods run; the table that says so.
fn all_sample_pods_run(vm: &mut Vm<'_>) -> String {
    vm.until("gatepost get pods", |table| {
        let runs = |pod: &&str| table.lines().any(|line| line.starts_with(*pod) && line.contains("1/1     Running"));
        STEADY.iter().all(runs) && table.contains("crash-gateway")
    })
}

fn boots_to_all_sample_pods_running(board: &'static str) {
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&Machine::new(board), &disk);
    all_sample_pods_run(&mut vm);

    // They do what they are for: the broker takes the publisher's readings, the web server serves its ConfigMap.
    vm.until("gatepost logs publisher", |log| log.contains("published 2"));
    let page = vm.until("gatepost exec nginx -- wget -qO- http://127.0.0.1/", |page| page.contains("ConfigMap"));
    assert!(page.contains("served from a ConfigMap"), "{page}");
    let pong = vm.ok("gatepost exec redis -- redis-cli ping");
    assert_eq!(pong.trim(), "PONG");

    the_root_is_read_only_and_data_fills_the_card(&mut vm);
    containers_have_the_limits_of_the_gateway(&mut vm);
}

fn the_root_is_read_only_and_data_fills_the_card(vm: &mut Vm<'_>) {
    let mounts = vm.ok("cat /proc/mounts");
    let mount = |target: &str| {
        let line = mounts.lines().rfind(|line| line.split(' ').nth(1) == Some(target));
        line.unwrap_or_else(|| panic!("nothing is mounted on {target}:\n{mounts}")).to_owned()
    };
    assert!(mount("/").contains(" squashfs ro"), "{}", mount("/"));
    assert!(mount("/flash").contains(" squashfs ro,nosuid,nodev"), "{}", mount("/flash"));
    assert!(mount("/var/lib").contains(" ext4 rw"), "{}", mount("/var/lib"));
    assert!(mount("/sys/fs/cgroup").contains(" cgroup2 "), "{}", mount("/sys/fs/cgroup"));
    for target in ["/run", "/tmp", "/var/log"] {
        let line = mount(target);
        assert!(line.contains(" tmpfs ") && line.contains("size="), "a tmpfs with a bound: {line}");
    }
    // The image's data partition has 16 MiB, the card 512.
    let size: u64 = vm.ok("df -k /var/lib | tail -1 | tr -s ' ' | cut -d' ' -f2").trim().parse().unwrap();
    assert!(size > 300 << 10, "{size} KiB");
}

fn containers_have_the_limits_of_the_gateway(vm: &mut Vm<'_>) {
    let limits = vm.ok("gatepost exec offline -- cat /proc/1/limits");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(limit("Max open files"), ["1024", "524288"], "{limits}");
    assert_eq!(limit("Max processes"), ["unlimited", "unlimited"], "{limits}");
    assert_eq!(limit("Max core file size")[0], "0", "{limits}");
}

#[test]
fn an_aarch64_gateway_boots_to_all_sample_pods_running() {
    boots_to_all_sample_pods_running("qemu-aarch64");
}

#[test]
fn an_armv7_gateway_boots_to_all_sample_pods_running() {
    boots_to_all_sample_pods_running("qemu-armv7");
}

/// Without the agent the initramfs is the image's alone.
#[test]
fn the_image_as_it_is_shipped_says_what_it_does_on_its_console() {
    let disk = Disk::fresh("qemu-aarch64");
    let mut vm = Vm::boot(&Machine { agent: false, ..Machine::new("qemu-aarch64") }, &disk);
    vm.console.wait_for("initramfs: root: /dev/vda2 (PARTLABEL=rootA)", BOUND);
    vm.console.wait_for("the hardware watchdog resets this board", BOUND);
    vm.console.wait_for("supervising gateway", BOUND);
}
