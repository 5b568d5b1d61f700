//! Containers under cgroup v2, in a virtual gateway: limits as the container and the kernel see them, an OOM kill, a container
//! that forks for ever, and gatepost's own place.

use serde_json::{Value, json};

use crate::machine::{Disk, Machine, SUPERVISOR, Vm};

fn pod(name: &str, script: &str, limits: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main",
                "image": "sample/busybox:1",
                "command": ["sh", "-c", script],
                "resources": {"limits": limits},
            }],
        },
    })
}

/// The status of a pod's only container, once it has ended.
fn ended(vm: &mut Vm<'_>, pod: &str) -> Value {
    let table = vm.until(&format!("gatepost get pod {pod} -o json"), |text| text.contains("\"terminated\""));
    let object: Value = serde_json::from_str(&table).unwrap_or_else(|error| panic!("{error}: {table}"));
    object["status"]["containerStatuses"][0]["state"]["terminated"].clone()
}

fn limits_hold(board: &'static str) {
    let disk = Disk::fresh(board);
    let mut vm = Vm::boot(&Machine::bare(board).with("gatepost.podPidsLimit=200"), &disk);

    let limits = json!({"memory": "48Mi", "cpu": "250m"});
    vm.apply("limited", &pod("limited", "trap 'exit 0' TERM; sleep 100000 & wait", &limits));
    vm.until("gatepost get pod limited", |table| table.contains("Running"));

    // As the container sees them, in its own view of the hierarchy …
    for (file, value) in [
        ("/sys/fs/cgroup/memory.max", "50331648"),
        ("/sys/fs/cgroup/memory.swap.max", "0"),
        ("/sys/fs/cgroup/memory.oom.group", "1"),
        ("/sys/fs/cgroup/cpu.max", "25000 100000"),
        // A limit is the request too: 256 shares.
        ("/sys/fs/cgroup/cpu.weight", "10"),
        // Guaranteed.
        ("/proc/1/oom_score_adj", "-997"),
    ] {
        let seen = vm.ok(&format!("gatepost exec limited -- cat {file}"));
        assert_eq!(seen.trim(), value, "{file}");
    }
    // … and as the kernel does, at the container's own cgroup and the pod's.
    let cgroup = vm.ok("find /sys/fs/cgroup/kubepods -name memory.max | xargs grep -l 50331648");
    assert!(cgroup.lines().count() >= 1, "{cgroup}");
    let tasks = vm.ok("find /sys/fs/cgroup/kubepods -name pids.max | xargs grep -lx 200");
    assert!(!tasks.is_empty(), "every pod has a bound of processes");
    the_pods_leave_the_rest_its_memory(&mut vm);
    let top = vm.ok("gatepost top pods");
    let row = top.lines().find(|line| line.starts_with("limited-gateway")).unwrap_or_else(|| panic!("{top}"));
    let [_, cpu, memory] = row.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{row}") };
    let number = |text: &str, unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    assert!(number(cpu, "m").is_some_and(|cpu| cpu < 250) && number(memory, "Mi").is_some_and(|mib| mib < 48), "{row}");

    // Beyond its memory a container is killed by the kernel, and `get pods` says so.
    vm.apply("eater", &pod("eater", "x=a; while :; do x=$x$x; done", &json!({"memory": "24Mi"})));
    let end = ended(&mut vm, "eater");
    assert_eq!((&end["reason"], &end["exitCode"]), (&json!("OOMKilled"), &json!(137)), "{end}");
    assert!(vm.ok("gatepost get pod eater").contains("OOMKilled"));

    // What it leaves behind is killed with it, however fast it forks: none of it is there when the pod is gone.
    vm.apply(
        "forker",
        &pod(
            "forker",
            "while :; do sh -c 'while :; do setsid sleep 4242 & done'; done 2>/dev/null & exec sleep 2",
            &json!({}),
        ),
    );
    ended(&mut vm, "forker");
    let left = vm.until("ps | grep -c '[s]leep 424' || true", |count| count.trim() == "0");
    assert_eq!(left.trim(), "0");

    gatepost_is_in_a_leaf(&mut vm);

    // A pod that is gone leaves no cgroup.
    vm.ok("rm /var/lib/gatepost/manifests/*.json");
    vm.until("gatepost get pods 2>&1", |table| !table.contains("limited") && !table.contains("eater"));
    vm.until("find /sys/fs/cgroup/kubepods -name 'pod*' -type d", str::is_empty);
}

/// The machine's memory less a tenth, at least 24 MiB, and less what the node's own file systems in memory may hold.
fn the_pods_leave_the_rest_its_memory(vm: &mut Vm<'_>) {
    let sum = |text: &str, column: usize| -> u64 {
        text.lines().map(|line| line.split_whitespace().nth(column).unwrap().parse::<u64>().unwrap() << 10).sum()
    };
    let memory = sum(&vm.ok("grep MemTotal: /proc/meminfo"), 1);
    let files = sum(&vm.ok("df -k /run /run/gatepost /tmp /dev/shm /var/log | tail -n +2"), 1);
    let pods: u64 = vm.ok("cat /sys/fs/cgroup/kubepods/memory.max").trim().parse().unwrap();
    let left = memory - (memory / 10).max(24 << 20) - files;
    assert!(files > 32 << 20 && pods > memory / 4, "the formula is what counts here: {memory}, {files}, {pods}");
    // Of whole pages.
    assert_eq!(pods >> 12, left >> 12);
}

/// Controllers can only be handed down from a cgroup without processes of its own, so gatepost must not sit in the root
/// it gives them out from.
fn gatepost_is_in_a_leaf(vm: &mut Vm<'_>) {
    for process in ["1", SUPERVISOR] {
        let own = vm.ok(&format!("cat /proc/{process}/cgroup"));
        let own = own.trim().strip_prefix("0::").unwrap().to_owned();
        assert!(own.starts_with("/gatepost/"), "{own}");
        let controllers = vm.ok(&format!("cat /sys/fs/cgroup{own}/cgroup.subtree_control"));
        assert_eq!(controllers.trim(), "", "{own} hands out controllers");
    }
    let enabled = vm.ok("cat /sys/fs/cgroup/kubepods/cgroup.subtree_control");
    for controller in ["cpu", "memory", "pids"] {
        assert!(enabled.split_whitespace().any(|name| name == controller), "{controller} is not in {enabled}");
    }
}

#[test]
fn limits_hold_under_cgroup_v2_on_aarch64() {
    limits_hold("qemu-aarch64");
}
