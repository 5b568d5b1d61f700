//! A gateway boots to all sample pods running, is what `docs/boards.md` and `docs/operations.md` say it is, and is so again after a
//! reboot.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::machine::{Disk, Machine, SUPERVISOR, Vm};

/// The sample pods that stay up; the one called `crash` does not, by design.
pub const STEADY: &[&str] =
    &["mosquitto-gateway", "publisher-gateway", "nginx-gateway", "redis-gateway", "offline-gateway"];

fn runs_its_pods_and_is_the_same_after_a_reboot(board: &'static str) {
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&Machine::new(board), &disk);
    vm.until_running(STEADY);

    // They do what they are for: the broker takes the publisher's readings, the web server serves its ConfigMap.
    vm.until("gatepost logs publisher", |log| log.contains("published 2"));
    let page = vm.until("gatepost exec nginx -- wget -qO- http://127.0.0.1/", |page| page.contains("ConfigMap"));
    assert!(page.contains("served from a ConfigMap"), "{page}");
    let pong = vm.ok("gatepost exec redis -- redis-cli ping");
    assert_eq!(pong.trim(), "PONG");

    the_root_is_read_only_and_data_fills_the_card(&mut vm);
    containers_have_the_limits_of_the_gateway(&mut vm);
    the_kernel_is_told_what_is_written(&mut vm);
    the_boot_can_be_drawn(&mut vm);
    a_dhcp_client_that_is_killed_is_back(&mut vm);
    // Counts that no crash brings back by itself.
    for times in ["1 (", "2 ("] {
        vm.ok("gatepost restart pod redis");
        vm.until("gatepost get pods", |table| {
            let redis = table.lines().find(|line| line.starts_with("redis-gateway")).unwrap_or_default();
            redis.contains("1/1     Running") && redis.contains(times)
        });
    }
    a_supervisor_killed_again_and_again_costs_no_container(&mut vm);

    // TERM is what busybox' `reboot` sends.
    vm.until("gatepost get pods", |table| {
        table.lines().any(|line| line.starts_with("crash-gateway") && line.split_whitespace().nth(3) != Some("0"))
    });
    let before = restarts(&mut vm);
    vm.run("kill -TERM 1");
    vm.console.wait_for("init: reboot (SIGTERM): within 147 s, of which the pods have 120 s", crate::machine::BOUND);
    assert_eq!(vm.reset(), "guest-reset");
    vm.until_running(STEADY);
    let after = restarts(&mut vm);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "the same pods");
    for (pod, count) in &before {
        assert!(after[pod] >= *count, "restart counts are kept: {before:?}, then {after:?}");
    }
    let redis = after.iter().find(|((pod, _), _)| pod == "redis-gateway").unwrap();
    assert!(*redis.1 >= 2, "{after:?}");
    let report = vm.ok("gatepost last-boot");
    assert!(report.contains("reboot: SIGTERM"), "{report}");

    // The machine can tell that its power is to go.
    vm.run("kill -PWR 1");
    vm.console.wait_for("init: poweroff (power failure)", crate::machine::BOUND);
    assert_eq!(vm.off(), "guest-shutdown");
}

/// Name and UID of each pod, and how often its container was restarted.
fn restarts(vm: &mut Vm<'_>) -> BTreeMap<(String, String), u64> {
    let text = vm.ok("gatepost get pods -o json");
    let list: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let pods = list["items"].as_array().unwrap().iter().map(|pod| {
        let count = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap();
        ((word(&pod["metadata"]["name"]), word(&pod["metadata"]["uid"])), count)
    });
    pods.collect()
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
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>().join(":")
    };
    assert_eq!(limit("Max open files"), "1024:524288", "{limits}");
    assert_eq!(limit("Max processes"), "unlimited:unlimited", "{limits}");
    assert_eq!(limit("Max core file size"), "0:unlimited", "{limits}");
}

/// A few of the table in `docs/boot.md`: kubelet's, ours, and one of the network.
fn the_kernel_is_told_what_is_written(vm: &mut Vm<'_>) {
    for (parameter, value) in [
        ("kernel/panic", "10"),
        ("kernel/panic_on_oops", "1"),
        ("vm/overcommit_memory", "1"),
        ("kernel/keys/root_maxkeys", "1000000"),
        ("net/ipv4/ip_forward", "1"),
    ] {
        assert_eq!(vm.ok(&format!("cat /proc/sys/{parameter}")).trim(), value, "{parameter}");
    }
}

/// From init's first mounts to the containers.
fn the_boot_can_be_drawn(vm: &mut Vm<'_>) {
    let text = vm.ok("gatepost boot-chart --json");
    let chart: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let parts = chart["parts"].as_array().unwrap();
    for room in ["kernel", "init", "boot", "runtime", "supervisor", "images", "container"] {
        assert!(parts.iter().any(|part| part["room"] == room), "nothing of {room} in {text}");
    }
    let first = &chart["firstContainer"];
    let micros = |key: &str| first[key].as_u64().unwrap();
    assert!(
        micros("ownMicros") > 0 && micros("ownMicros") + micros("runtimeMicros") == micros("totalMicros"),
        "{first}"
    );
    assert!(vm.ok("gatepost boot-chart").starts_with("<svg"), "a picture");
}

fn a_dhcp_client_that_is_killed_is_back(vm: &mut Vm<'_>) {
    let client = "ps | grep '[u]dhcpc' | sed 's/^ *//' | cut -d' ' -f1";
    vm.until("ip -4 addr show dev eth0", |said| said.contains("10.0.2.15/24"));
    let before = vm.ok(client);
    vm.ok(&format!("kill -9 $({client})"));
    vm.console.wait_for("init: dhcp was killed by signal 9; again in", crate::machine::BOUND);
    vm.until(client, |after| !after.trim().is_empty() && after != before);
    vm.console.wait_for("network: eth0 has 10.0.2.15/24 from DHCP", crate::machine::BOUND);
    assert!(vm.ok("ip -4 addr show dev eth0").contains("10.0.2.15/24"));
}

fn a_supervisor_killed_again_and_again_costs_no_container(vm: &mut Vm<'_>) {
    let processes = "pidof mosquitto nginx redis-server";
    let before = vm.ok(processes);
    for _ in 0..20 {
        vm.ok(&format!("kill -9 {SUPERVISOR}"));
        vm.until_up();
    }
    vm.until_running(STEADY);
    assert_eq!(vm.ok(processes), before);
}

/// The image with the other runtime, as it is shipped.
#[test]
fn a_gateway_with_crun_runs_its_pods_too() {
    let board = "qemu-aarch64-crun";
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&Machine::new(board).untouched(), &disk);
    vm.console.wait_for("boot: node: gateway, runtime crun version", crate::machine::BOUND);
    vm.console.wait_for("supervisor: supervising gateway with", crate::machine::BOUND);
    let mut left: Vec<String> = STEADY.iter().map(|pod| format!("pods: default/{pod}: Running 1/1")).collect();
    while !left.is_empty() {
        let wanted: Vec<&str> = left.iter().map(String::as_str).collect();
        let (found, _) = vm.console.wait_for_any(&wanted, crate::machine::BOUND);
        left.remove(found);
    }
}

/// Real boards, as QEMU has them. It makes so much slower machines of them that a stage may be left out for its bound.
fn starts_from_its_card(board: &'static str, said: &[&str]) {
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&Machine::new(board).untouched(), &disk);
    for said in said {
        vm.console.wait_for(said, crate::machine::BOUND);
    }
}

/// From the first instruction of the boot ROM: SPL, U-Boot, kernel, everything from the card.
#[test]
fn an_orange_pi_starts_through_its_whole_boot_chain() {
    starts_from_its_card(
        "orangepi-pc",
        &[
            "U-Boot SPL",
            "Retrieving file: /initramfs",
            "Starting kernel",
            "initramfs: root: /dev/mmcblk0p2 (PARTLABEL=rootA)",
            "boot: host name: gateway",
        ],
    );
}

/// Without its firmware, which QEMU stands in for.
#[test]
fn a_raspberry_pi_starts_up_to_its_supervisor() {
    starts_from_its_card(
        "raspberrypi",
        &[
            "initramfs: root: /dev/mmcblk0p2 (PARTLABEL=rootA)",
            "boot: host name: gateway",
            "boot: data: mounted /var/lib (/dev/mmcblk0p4, ext4",
            "supervisor: supervising gateway with",
        ],
    );
}

#[test]
fn an_aarch64_gateway_runs_its_pods_and_is_the_same_after_a_reboot() {
    runs_its_pods_and_is_the_same_after_a_reboot("qemu-aarch64");
}

#[test]
fn an_armv7_gateway_runs_its_pods_and_is_the_same_after_a_reboot() {
    runs_its_pods_and_is_the_same_after_a_reboot("qemu-armv7");
}
