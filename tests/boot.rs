//! The role `boot`: the real binary, as root, in private namespaces on this machine's kernel. What needs a machine of its own (the
//! initramfs, modules, growing a partition) is in `tests/vm.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "boot/gateway.rs"]
mod gateway;

use gateway::{Disk, Gateway, stage};

const MIB: u64 = 1 << 20;
/// No disks, no network.
const BARE: &str = "dataPartition: ''\nflashPartition: ''\nnetwork: {dhcp: false}\n";

fn with_data(disk: &Disk, more: &str) -> String {
    format!("dataPartition: {}\nflashPartition: ''\nnetwork: {{dhcp: false}}\n{more}", disk.device)
}

/// Pseudo-random, the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

#[test]
fn each_stage_says_in_a_line_what_it_did_and_the_chart_has_it() {
    let gateway = Gateway::new(&format!(
        "{BARE}hostname: gw-7\nsysctls: {{net.ipv4.conf.default.rp_filter: 1, net.ipv4.ip_forward: 0}}\n"
    ));
    let said = gateway.with_cgroups().boot_then(
        "echo host $(hostname); echo filter $(cat /proc/sys/net/ipv4/conf/default/rp_filter) forward $(cat /proc/sys/net/ipv4/ip_forward)\n\
         ip -o addr show lo; cat /run/gatepost/boot-chart.tsv; ls -l /run/gatepost/setup.json\n",
    );
    assert!(said.contains("boot ended with 0"), "{said}");
    assert_eq!(stage(&said, "configuration"), "/etc/gatepost/config.yaml");
    assert_eq!(stage(&said, "host name"), "gw-7");
    assert_eq!(stage(&said, "loopback"), "up");
    assert!(stage(&said, "node").starts_with("gw-7, runtime runc version"), "{said}");
    assert!(said.contains("host gw-7\nfilter 1 forward 0\n"), "{said}");
    assert!(said.contains("inet 127.0.0.1/8"), "{said}");
    for name in ["kernel\tkernel", "boot\tconfiguration", "boot\tnode", "runtime\tversion"] {
        let line = said.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        let times: Vec<u64> = line.split('\t').take(2).map(|us| us.parse().unwrap()).collect();
        assert!(times[0] <= times[1], "{line}");
    }
    assert!(said.contains("setup.json"), "{said}");
}

#[test]
fn manifest_directories_on_data_are_made_and_others_are_not() {
    let disk = Disk::with_ext4(64 * MIB, 64 * MIB);
    let config = with_data(&disk, "staticPodPath: [/flash/manifests, /var/lib/gatepost/manifests]\n");
    let said = Gateway::new(&config).with_cgroups().boot_then(
        "stat -c 'mode %a' /var/lib/gatepost/manifests; ls -d /flash/manifests || true; cat /run/gatepost/setup.json\n",
    );
    assert_eq!(stage(&said, "manifests"), "made /var/lib/gatepost/manifests");
    assert!(said.contains("mode 700\n"), "{said}");
    assert!(said.contains("cannot access '/flash/manifests'"), "{said}");
}

#[test]
fn a_broken_configuration_is_told_and_the_rest_of_it_counts() {
    let config =
        format!("{BARE}hostname: good-name\nrunTime: crun\npodPidsLimit: many\nsysctls: {{net.ipv4.ip_forward: 0}}\n");
    let gateway = Gateway::new(&config).with_cgroups().command_line(
        "quiet gatepost.runtime=runc gatepost.containerLogMaxFiles=0 gatepost.nonsense=1 gatepost.hostname=\"two words\"",
    );
    let said = gateway.boot_then("echo forward $(cat /proc/sys/net/ipv4/ip_forward); cat /run/gatepost/setup.json");
    assert!(said.contains("boot ended with 0"), "{said}");
    for problem in [
        "config.yaml:5: runTime: unknown key",
        "config.yaml:6: podPidsLimit: ",
        "containerLogMaxFiles: must be at least 2",
        "\"nonsense=1\": unknown key",
        "hostname: must be at most 64 letters",
    ] {
        let told = said.lines().any(|line| line.contains("boot: configuration: warning: ") && line.contains(problem));
        assert!(told, "{problem} is not told:\n{said}");
        let setup = said.lines().last().unwrap();
        let kept: serde_json::Value = gatepost::json::from_str(setup).unwrap();
        let kept = kept["body"]["warnings"].as_array().unwrap();
        assert!(kept.iter().any(|warning| warning.as_str().unwrap().contains(problem)), "{kept:?}");
    }
    assert_eq!(stage(&said, "host name"), "good-name");
    assert!(said.contains("\nforward 0\n"), "{said}");
}

#[test]
fn a_file_that_is_no_configuration_leaves_the_defaults_and_safe_mode_does_not_read_it() {
    let broken = Gateway::new("{{{ \0 no yaml")
        .command_line("gatepost.dataPartition= gatepost.flashPartition= gatepost.network.dhcp=false");
    let said = broken.boot();
    assert!(said.contains("configuration: warning: /etc/gatepost/config.yaml: line 1"), "{said}");
    assert!(stage(&said, "host name") == "gateway", "{said}");
    let safe = Gateway::new("hostname: from-file\n")
        .etc("hostname", "from-image\n")
        .command_line("gatepost.safe gatepost.dataPartition= gatepost.flashPartition= gatepost.network.dhcp=false");
    let said = safe.boot();
    assert_eq!(stage(&said, "configuration"), "safe mode, the file is not read, 3 from the command line");
    assert_eq!(stage(&said, "host name"), "from-image");
}

#[test]
fn a_data_partition_is_mounted_and_keeps_seed_and_name() {
    let disk = Disk::with_ext4(32 * MIB, 32 * MIB);
    let gateway = Gateway::new(&with_data(&disk, "hostname: first\n"));
    let look = "cat /var/lib/marker; ls -l /var/lib/gatepost/state; umount /var/lib\n";
    let said = gateway.boot_then(look);
    let mounted = format!("mounted /var/lib ({}, ext4, 32.0 MiB, clean)", disk.device);
    assert_eq!(stage(&said, "data"), mounted);
    assert_eq!(stage(&said, "seed"), "none yet, the next one is kept");
    assert_eq!(stage(&said, "last boot"), "none: this is the first boot with this data partition");
    assert!(said.contains("\nkept"), "{said}");
    assert!(said.contains("-rw-------") && said.contains("random-seed"), "{said}");
    let again = Gateway::new(&with_data(&disk, "hostname: second\n"));
    let said = again.boot_then(look);
    assert_eq!(stage(&said, "data"), mounted);
    assert_eq!(stage(&said, "seed"), "credited, the next one is kept");
    assert_eq!(stage(&said, "last boot"), "no orderly shutdown: a power cut, a reset or a crash");
    assert!(stage(&said, "node").starts_with("first, "), "a new host name must rename no pod: {said}");
}

#[test]
fn a_file_system_smaller_than_its_partition_grows_or_says_why_not() {
    let disk = Disk::with_ext4(96 * MIB, 32 * MIB);
    let said = Gateway::new(&with_data(&disk, "")).boot_then("cat /var/lib/marker; umount /var/lib\n");
    let grown = stage(&said, "data") == format!("mounted /var/lib ({}, ext4, 96.0 MiB, clean)", disk.device);
    // Growing needs CAP_SYS_RESOURCE, which PID 1 has on its own machine.
    let told = said.contains("cannot grow: Operation not permitted") && stage(&said, "data").contains("32.0 MiB");
    assert!(grown || told, "{said}");
    assert!(said.ends_with("kept"), "{said}");
}

#[test]
fn a_seed_is_never_used_twice() {
    let disk = Disk::with_ext4(32 * MIB, 32 * MIB);
    let gateway = Gateway::new(&with_data(&disk, ""));
    let look = "sha256sum < /var/lib/gatepost/state/random-seed; umount /var/lib\n";
    let seeds: Vec<String> = (0..3).map(|_| gateway.boot_then(look).lines().last().unwrap().to_owned()).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2], "{seeds:?}");
}

#[test]
fn a_damaged_data_partition_is_repaired_and_told() {
    let disk = Disk::with_ext4(32 * MIB, 32 * MIB);
    // The first superblock and group descriptors: e2fsck takes the copies.
    disk.damage(0, &[0; 8192]);
    let said = Gateway::new(&with_data(&disk, "")).boot_then("cat /var/lib/marker; umount /var/lib\n");
    assert_eq!(stage(&said, "data"), format!("mounted /var/lib ({}, ext4, 32.0 MiB, repaired)", disk.device));
    assert!(said.contains("was damaged and has been repaired"), "{said}");
    assert!(said.ends_with("kept"), "{said}");
}

#[test]
fn a_data_partition_beyond_repair_is_left_alone_or_formatted_as_the_configuration_says() {
    let disk = Disk::new(32 * MIB);
    disk.damage(0, &noise(usize::try_from(32 * MIB).unwrap()));
    let before = disk.first_bytes(65536);
    let said = Gateway::new(&with_data(&disk, "")).boot_then("stat -f -c 'now on %T' /var/lib\n");
    assert!(said.contains("boot: data: FAILED: "), "{said}");
    assert!(said.contains("NO DATA PARTITION: /var/lib is in memory"), "{said}");
    assert!(said.contains("boot ended with 0") && said.contains("now on tmpfs"), "{said}");
    assert_eq!(disk.first_bytes(65536), before, "what may be rescued by somebody must not be touched");

    let said = Gateway::new(&with_data(&disk, "dataOnFailure: format\n")).boot_then("umount /var/lib\n");
    assert_eq!(stage(&said, "data"), format!("mounted /var/lib ({}, ext4, 32.0 MiB, formatted)", disk.device));
    assert!(said.contains("all data is lost"), "{said}");
    let said = Gateway::new(&with_data(&disk, "")).boot_then("umount /var/lib\n");
    assert!(stage(&said, "data").ends_with("clean)"), "{said}");
}

#[test]
fn a_missing_partition_costs_five_seconds_and_a_warning() {
    let said = Gateway::new("network: {dhcp: false}\n").boot();
    assert!(said.contains("boot: data: FAILED: there is no partition PARTLABEL=data"), "{said}");
    assert!(said.contains("boot: data: warning: NO DATA PARTITION"), "{said}");
    assert_eq!(stage(&said, "flash"), "FAILED: there is no partition PARTLABEL=flash; the last good pods run");
    assert!(said.contains("boot ended with 0"), "{said}");
}

#[test]
fn the_flash_partition_is_mounted_read_only() {
    let disk = Disk::with_ext4(32 * MIB, 32 * MIB);
    let config = format!("dataPartition: ''\nflashPartition: {}\nnetwork: {{dhcp: false}}\n", disk.device);
    let said =
        Gateway::new(&config).boot_then("cat /flash/marker; echo; grep ' /flash ' /proc/mounts; umount /flash\n");
    assert_eq!(stage(&said, "flash"), format!("mounted /flash ({}, ext4, 32.0 MiB)", disk.device));
    assert!(said.contains("\nkept\n") && said.contains(" /flash ext4 ro,nosuid,nodev,noexec"), "{said}");
}

#[test]
fn why_the_machine_went_down_is_told_once() {
    let disk = Disk::with_ext4(32 * MIB, 32 * MIB);
    let gateway = Gateway::new(&with_data(&disk, ""));
    let farewell =
        r#"{"version":1,"action":"reboot","reason":"SIGTERM","wall_ms":1700000000000,"took_ms":1234,"killed":2}"#;
    gateway.boot_then(&format!("echo '{farewell}' > /var/lib/gatepost/state/last-boot; umount /var/lib\n"));
    let said = gateway.boot_then("gatepost last-boot; gatepost last-boot -o json; umount /var/lib\n");
    assert_eq!(stage(&said, "last boot"), "reboot: SIGTERM");
    assert!(said.contains("Shutdown:   1.234 s\nKilled:     2 "), "{said}");
    assert!(said.contains("\"took_ms\": 1234"), "{said}");
    let said = gateway.boot_then("gatepost last-boot; umount /var/lib\n");
    assert!(said.contains("Went down:  no orderly shutdown"), "{said}");
}

#[test]
fn a_fixed_address_a_route_and_name_servers_are_set() {
    let network = "network: {interface: eth7, address: 10.9.8.7/24, gateway: 10.9.8.1, dns: [10.9.8.1, 9.9.9.9]}\n";
    let gateway = Gateway::new(&format!("dataPartition: ''\nflashPartition: ''\n{network}"))
        .before("ip link add eth7 type veth peer name other; ip addr add 10.1.1.1/8 dev eth7\n");
    let said = gateway.boot_then("ip -o -4 addr show eth7; ip route; cat /run/resolv.conf\n");
    assert_eq!(stage(&said, "network"), "eth7 has 10.9.8.7/24");
    assert!(said.contains("inet 10.9.8.7/24 brd 10.9.8.255") && !said.contains("10.1.1.1"), "{said}");
    assert!(said.contains("default via 10.9.8.1 dev eth7"), "{said}");
    assert!(said.ends_with("nameserver 10.9.8.1\nnameserver 9.9.9.9\n"), "{said}");
}

#[test]
fn a_dhcp_server_gives_address_route_and_name_servers() {
    let gateway = Gateway::new("dataPartition: ''\nflashPartition: ''\nnetwork: {interface: eth7}\n")
        .etc("udhcpd.conf", "start 10.7.7.20\nend 10.7.7.20\ninterface server\nlease_file /run/leases\noption subnet 255.255.255.0\noption router 10.7.7.1\noption dns 10.7.7.1\noption domain lan\n")
        .before("ip link add eth7 type veth peer name server; ip addr add 10.7.7.1/24 dev server; ip link set server up\n");
    let said = gateway.boot_then(
        "touch /run/leases; busybox udhcpd -f /etc/udhcpd.conf >/run/udhcpd.log 2>&1 & server=$!\n\
         gatepost dhcp >/run/client.log 2>&1 & client=$!\n\
         tries=0; until grep -q 'from DHCP' /run/client.log; do\n\
         tries=$((tries+1)); [ $tries -lt 300 ] || { cat /run/udhcpd.log; break; }; sleep 0.1; done; cat /run/client.log\n\
         ip -o -4 addr show eth7; ip route; cat /run/resolv.conf; kill $client $server\n",
    );
    assert_eq!(stage(&said, "network"), "DHCP");
    assert!(said.contains("inet 10.7.7.20/24 brd 10.7.7.255"), "{said}");
    assert!(said.contains("default via 10.7.7.1 dev eth7"), "{said}");
    assert!(said.contains("search lan\nnameserver 10.7.7.1\n"), "{said}");
    assert!(said.contains("network: eth7 has 10.7.7.20/24 from DHCP"), "{said}");
}

#[test]
fn a_dhcp_client_that_is_started_again_leaves_the_address_until_a_server_or_its_end_says_otherwise() {
    let gateway = Gateway::new("dataPartition: ''\nflashPartition: ''\nnetwork: {interface: eth7}\n")
        .etc("udhcpd.conf", "start 10.7.7.20\nend 10.7.7.20\ninterface server\nlease_file /run/leases\noption subnet 255.255.255.0\noption router 10.7.7.1\n")
        .before("ip link add eth7 type veth peer name server; ip addr add 10.7.7.1/24 dev server; ip link set server up\n");
    let said = gateway.boot_then(
        "until_said() { tries=0; until grep -q \"$1\" /run/client.log; do tries=$((tries+1)); [ $tries -lt 600 ] || break; sleep 0.1; done; }\n\
         touch /run/leases; busybox udhcpd -f /etc/udhcpd.conf >/run/udhcpd.log 2>&1 & server=$!\n\
         gatepost dhcp >/run/client.log 2>&1 & client=$!\n\
         until_said 'from DHCP'; kill -9 $client $server; wait $client $server || true\n\
         gatepost dhcp >/run/client.log 2>&1 & client=$!\n\
         until_said 'no DHCP server answers'; cat /run/client.log\n\
         ip -o -4 addr show eth7 | sed 's/^/kept: /'; ip route | sed 's/^/kept: /'\n\
         kill -USR2 $client; tries=0; while ip -o -4 addr show eth7 | grep -q inet; do\n\
         tries=$((tries+1)); [ $tries -lt 100 ] || break; sleep 0.1; done\n\
         ip -o -4 addr show eth7 | sed 's/^/released: /'; kill $client\n",
    );
    assert!(said.contains("no DHCP server answers"), "{said}");
    let kept: Vec<&str> = said.lines().filter(|line| line.starts_with("kept: ")).collect();
    assert!(kept.iter().any(|line| line.contains("inet 10.7.7.20/24")), "{said}");
    assert!(kept.iter().any(|line| line.contains("default via 10.7.7.1")), "{said}");
    assert!(!said.contains("released: "), "{said}");
}

#[test]
fn without_a_runtime_or_cgroups_the_node_comes_up_and_get_pods_says_why() {
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},"spec":{"hostNetwork":true,"containers":[{"name":"app","image":"none:1","imagePullPolicy":"Never"}]}}"#;
    let gateway = Gateway::new(&format!("{BARE}hostname: gw\nruntime: no-such-runtime\nstaticPodPath: /etc/pods\n"))
        .before("mkdir -p /etc/pods /sys/fs/cgroup\n");
    let said = gateway.boot_then(&format!(
        "echo '{pod}' > /etc/pods/web.json; gatepost init /run/gatepost 5000 & init=$!\n\
         tries=0; until gatepost get pods 2>/dev/null | grep -q web-gw; do\n\
         tries=$((tries+1)); [ $tries -lt 300 ] || break; sleep 0.1; done\n\
         gatepost get pods 2>&1; gatepost get events 2>&1; kill -TERM $init; wait $init || true\n"
    ));
    let shown = said.split("boot ended with 0").nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(shown.contains("web-gw"), "{said}");
    for why in ["runtime: no OCI runtime \"no-such-runtime\" in PATH", "cgroups: no usable cgroups"] {
        assert!(shown.matches(why).count() >= 2, "get pods and get events must say {why:?}:\n{said}");
    }
}
