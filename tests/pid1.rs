//! PID 1 of a gateway: the real binary as the first process of a pid namespace. As root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "pid1/machine.rs"]
mod machine;
#[path = "pid1/transcript.rs"]
mod transcript;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use machine::{CONFIG, Machine, children_of, pid, zombies};
use rustix::process::{Signal, kill_process};
use serde_json::json;

/// Ends only by SIGKILL.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 1000; done";

fn pod(name: &str, priority: i32, grace: i64, script: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "hostNetwork": true, "priority": priority, "terminationGracePeriodSeconds": grace,
            "containers": [{"name": "app", "image": "sample/busybox:1", "command": ["sh", "-c", script]}],
        },
    })
}

fn running(machine: &Machine, count: usize) {
    machine.wait_for("running pods", |machine| {
        (machine.pods().iter().filter(|pod| pod["status"]["phase"] == "Running").count() == count).then_some(())
    });
}

#[test]
fn it_boots_mounts_and_runs_from_memory() {
    let machine = Machine::boot();
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", machine.init)).unwrap();
    for (target, kind) in [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/run", "tmpfs"),
        ("/tmp", "tmpfs"),
        ("/run/gatepost", "tmpfs"),
    ] {
        let found = mounts.lines().filter(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[1] == target && words[2] == kind
        });
        assert_eq!(found.count(), 1, "{target} in\n{mounts}");
    }
    assert!(!machine.said().contains("cannot mount"), "{}", machine.said());
    let root = fs::read_to_string(format!("/proc/{}/mountinfo", machine.init)).unwrap();
    assert!(root.lines().any(|line| line.split(' ').nth(4) == Some("/") && line.contains("shared:")), "{root}");
    let supervisor = machine.child("supervise").unwrap();
    for process in [machine.init, supervisor] {
        let program = fs::read_link(format!("/proc/{process}/exe")).unwrap();
        assert_eq!(program, Path::new("/memfd:gatepost (deleted)"));
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let size = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        // All but what the kernel itself maps; more than the few pages that a start of this program reads.
        assert!(2 * size("VmLck:") > size("VmSize:"), "it is not locked in memory: {status}");
    }
    let limits = fs::read_to_string(format!("/proc/{supervisor}/limits")).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max core file size        0 ")), "{limits}");
    if machine::may_raise_limits() {
        assert!(limits.contains("524288"), "{limits}");
    }
}

/// Whether a line is of the one form that all lines of a gateway have.
fn is_stamped(line: &str) -> bool {
    let stamp = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    stamp.is_some_and(|(time, text)| time.trim().parse::<f64>().is_ok() && text.contains(": "))
}

#[test]
fn what_gatepost_says_is_kept_in_memory_and_the_console_has_one_voice() {
    let mut machine = Machine::boot();
    machine.wait_for("the supervisor's line", |machine| {
        machine.logged().contains("] supervisor: supervising gw").then_some(())
    });
    let log = machine.logged();
    for part in ["] boot: host name: ", "] init: "] {
        assert!(log.contains(part) || part.contains("init"), "{log}");
    }
    assert!(log.lines().all(is_stamped), "{log}");
    let supervisor = machine.child("supervise").unwrap();
    let path = "/var/log/gatepost/host.log";
    for descriptor in [1, 2] {
        assert_eq!(fs::read_link(format!("/proc/{supervisor}/fd/{descriptor}")).unwrap(), Path::new(path));
    }
    let kind = machine.shell("stat -f -c %T /var/log/gatepost; stat -c %a /var/log/gatepost/host.log");
    assert_eq!(kind, "tmpfs\n640\n");
    // Far beyond its bound: the next line shortens it.
    machine.shell(&format!("yes '[    1.000000] x: y' | head -c 400000 >> {path}"));
    machine.signal(Signal::HUP);
    kill_process(pid(supervisor), Signal::KILL).unwrap();
    machine.wait_for("a shorter log", |machine| {
        let log = machine.logged();
        (log.len() < 262_144 && log.contains("was killed by signal 9")).then_some(())
    });
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    let said = machine.on_the_console();
    assert!(!said.contains("supervisor: "), "{said}");
    assert!(said.lines().all(is_stamped), "{said}");
    assert!(said.trim_end().ends_with("init: reboot now"), "{said}");
}

#[test]
fn run_is_refused_where_pid_1_is_gateposts() {
    let machine = Machine::boot();
    let output = machine.run(&["/init-binary", "run"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("this is a gateway: its PID 1 is gatepost already"), "{words}");
    machine.until_supervised();
}

#[test]
fn an_orphan_storm_leaves_no_zombie() {
    let machine = Machine::boot();
    machine.shell("i=0; while [ $i -lt 3000 ]; do ( : & ); i=$((i+1)); done");
    machine.wait_for("the end of the last zombie", |machine| (zombies(machine.init) == 0).then_some(()));
    machine.until_supervised();
}

#[test]
fn each_signal_has_its_way_out() {
    for (signal, action, reason, ends_by) in [
        (Signal::TERM, "reboot", "SIGTERM", Signal::HUP),
        (Signal::INT, "reboot", "ctrl-alt-del", Signal::HUP),
        (Signal::USR1, "halt", "SIGUSR1", Signal::INT),
        (Signal::USR2, "poweroff", "SIGUSR2", Signal::INT),
        (Signal::POWER, "poweroff", "power failure", Signal::INT),
    ] {
        let mut machine = Machine::boot();
        machine.signal(signal);
        assert_eq!(machine.ended_by(), Some(ends_by.as_raw()), "{signal:?}: {}", machine.said());
        let report = machine.report();
        assert_eq!((&report["action"], &report["reason"]), (&json!(action), &json!(reason)));
        assert!(machine.said().contains(&format!("init: {action} now")), "{}", machine.said());
    }
}

#[test]
fn the_commands_do_what_the_signals_do() {
    for (command, ends_by) in [("reboot", Signal::HUP), ("poweroff", Signal::INT), ("halt", Signal::INT)] {
        let mut machine = Machine::boot();
        assert!(machine.run(&["/init-binary", command]).status.success());
        assert_eq!(machine.ended_by(), Some(ends_by.as_raw()), "{command}");
        assert_eq!(machine.report()["action"], command);
    }
    let elsewhere = Command::new(machine::GATEPOST).arg("poweroff").output().unwrap();
    assert!(!elsewhere.status.success(), "the machine around has another PID 1: {elsewhere:?}");
}

#[test]
fn processes_that_ignore_sigterm_and_stopped_ones_hold_nothing_up() {
    let mut machine = Machine::boot();
    // Orphans, so that they are PID 1's.
    machine.shell(&format!(
        "(sh -c \"{STUBBORN}\" >/dev/null 2>&1 &) ; (sh -c 'kill -STOP $$; exit 7' >/dev/null 2>&1 &)"
    ));
    let in_state = |state| {
        move |machine: &Machine| {
            let children = children_of(machine.init).into_iter();
            let mut shells =
                children.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "sh\n"));
            shells.find(|pid| gatepost::sys::process::stat(*pid).is_ok_and(|stat| stat.state == state))
        }
    };
    let processes = ['S', 'T'].map(|state| machine.wait_for("a shell inside", in_state(state)));
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    let report = machine.report();
    assert!(report["killed"].as_u64().unwrap() >= 1, "{report}");
    assert!(report["took_ms"].as_u64().unwrap() < 10_000, "5 s after SIGTERM, 2 s after SIGKILL: {report}");
    for process in processes {
        assert!(!Path::new(&format!("/proc/{process}")).exists());
    }
}

/// Two pods that tell when they are asked to end; something happens, and the machine goes down.
fn stops_in_order(what_happens: impl FnOnce(&Machine)) {
    let says = |name: &str| {
        format!("trap 'echo {name} >> /host/order; exit 0' TERM; echo ready >> /host/ready; sleep 1000000 & wait")
    };
    let mut pods = [pod("low", 0, 30, &says("low")), pod("high", 10, 30, &says("high"))];
    for pod in &mut pods {
        pod["spec"]["volumes"] =
            json!([{"name": "host", "hostPath": {"path": "/var/lib/told", "type": "DirectoryOrCreate"}}]);
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "host", "mountPath": "/host"}]);
    }
    let mut machine = Machine::for_pods(&pods);
    machine.start();
    running(&machine, 2);
    // A shell that has not come to its trap yet would not hear the signal.
    let ready = |machine: &Machine| fs::read_to_string(machine.path("data/told/ready")).ok();
    machine.wait_for("both shells", |machine| ready(machine).filter(|lines| lines.lines().count() == 2));
    what_happens(&machine);
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    assert_eq!(fs::read_to_string(machine.path("data/told/order")).unwrap(), "low\nhigh\n");
    assert_eq!(machine.report()["killed"], 0);
    // Neither waits for all the 120 s.
    assert!(machine.report()["took_ms"].as_u64().unwrap() < 60_000, "{}", machine.report());
}

#[test]
fn pods_stop_in_the_order_of_their_priority_and_without_a_runtime_too() {
    stops_in_order(|_| {});
    stops_in_order(|machine| drop(machine.shell("mount --bind /dev/null $(readlink -f $(command -v runc))")));
}

#[test]
fn a_second_signal_shortens_the_grace_of_pods() {
    let mut machine = Machine::for_pods(&[pod("stubborn", 0, 600, STUBBORN)]);
    machine.start();
    running(&machine, 1);
    machine.signal(Signal::TERM);
    machine.until("within 147 s, of which the pods have 120 s");
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    assert!(machine.report()["took_ms"].as_u64().unwrap() < 20_000, "{}", machine.report());
}

#[test]
fn the_way_out_keeps_its_bound_whatever_grace_a_pod_has() {
    let config = format!("{CONFIG}shutdownBound: 3s\n");
    let mut machine = Machine::configured_for_pods(&config, &[pod("stubborn", 0, 600, STUBBORN)]);
    machine.start();
    running(&machine, 1);
    machine.signal(Signal::TERM);
    machine.until("within 30 s, of which the pods have 3 s");
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    let took_ms = machine.report()["took_ms"].as_u64().unwrap();
    // And then 5 s after SIGTERM and 2 s after SIGKILL; the rest is for a busy machine.
    assert!((3_000..30_000).contains(&took_ms), "{took_ms}");
}

#[test]
fn a_supervisor_killed_again_and_again_is_back_and_its_container_lives() {
    let mut machine = Machine::for_pods(&[pod("lives", 0, 1, "sleep 1000000")]);
    machine.start();
    running(&machine, 1);
    let container = |machine: &Machine| machine.pods()[0]["status"]["containerStatuses"][0]["containerID"].clone();
    let before = container(&machine);
    for _ in 0..20 {
        let supervisor = machine.wait_for("a supervisor", |machine| machine.child("supervise"));
        let _ = kill_process(pid(supervisor), Signal::KILL);
        machine.wait_for("another one", |machine| machine.child("supervise").filter(|pid| *pid != supervisor));
        // One that is killed before it is ready has to wait.
        machine.until_supervised();
    }
    running(&machine, 1);
    assert_eq!(container(&machine), before);
    machine.signal(Signal::USR2);
    assert_eq!(machine.ended_by(), Some(Signal::INT.as_raw()));
}

#[test]
fn a_new_binary_takes_over_and_containers_notice_nothing() {
    let script = "trap 'exit 3' USR1; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done";
    let mut machine = Machine::for_pods(&[pod("lives", 0, 1, script)]);
    machine.start();
    running(&machine, 1);
    let state = |machine: &Machine| machine.pods()[0]["status"]["containerStatuses"][0].clone();
    let program = |machine: &Machine| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(format!("/proc/{}/exe", machine.init)).unwrap().ino()
    };
    let (before, old) = (state(&machine), program(&machine));
    for _ in 0..3 {
        let supervisor = machine.child("supervise").unwrap();
        let running_program = program(&machine);
        assert!(machine.run(&["/init-binary", "reexec"]).status.success());
        machine.wait_for("the new program", |machine| (program(machine) != running_program).then_some(()));
        machine.wait_for("its supervisor", |machine| machine.child("supervise").filter(|pid| *pid != supervisor));
        machine.until_supervised();
    }
    assert_ne!(program(&machine), old);
    let limits = fs::read_to_string(format!("/proc/{}/limits", machine.child("supervise").unwrap())).unwrap();
    assert!(limits.lines().any(|line| line.starts_with("Max open files            1024 ")), "{limits}");
    let after = state(&machine);
    assert_eq!((&after["containerID"], &after["restartCount"]), (&before["containerID"], &json!(0)));

    // No line was lost or doubled, and the end of the container is still known.
    let container = machine.child("trap 'exit 3' USR1; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done");
    kill_process(pid(container.unwrap()), Signal::USR1).unwrap();
    machine.wait_for("a restart", |machine| (state(machine)["restartCount"] == 1).then_some(()));
    assert_eq!(state(&machine)["lastState"]["terminated"]["exitCode"], 3);
    let logs = machine.run(&["/init-binary", "logs", "lives", "--previous"]);
    let numbers: Vec<usize> = String::from_utf8(logs.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("line ")?.parse().ok())
        .collect();
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
}

#[test]
fn a_new_binary_that_does_not_run_takes_nothing_over() {
    let machine = Machine::boot();
    machine.shell("rm /sbin/init && echo nonsense > /sbin/init && chmod 755 /sbin/init");
    machine.signal(Signal::QUIT);
    machine.until("/sbin/init cannot take over");
    machine.until_supervised();
}

#[test]
fn a_boot_that_is_killed_is_followed_by_one_with_the_defaults() {
    // Waiting for a partition that never comes gives the time to hit it.
    let mut machine =
        Machine::prepare(&CONFIG.replace("flashPartition: ''", "flashPartition: PARTLABEL=none")).without_cgroups();
    machine.start();
    let boot = machine.wait_for("boot", |machine| machine.child("boot"));
    machine.until("boot: host name");
    kill_process(pid(boot), Signal::KILL).unwrap();
    machine.until("boot was killed by signal 9");
    machine.until("boot failed: once more, with the defaults");
    machine.until_tried();
}

#[test]
fn a_boot_that_is_stopped_is_killed_at_its_deadline() {
    let mut machine =
        Machine::prepare(&CONFIG.replace("flashPartition: ''", "flashPartition: PARTLABEL=none")).without_cgroups();
    machine.start();
    let boot = machine.wait_for("boot", |machine| machine.child("boot"));
    // The stages before may take minutes where there is a partition to check; the next waits for the flash.
    machine.until("boot: data");
    kill_process(pid(boot), Signal::STOP).unwrap();
    machine.until("a stage of boot takes longer than it said");
    machine.until_tried();
}

#[test]
fn a_broken_configuration_is_told_and_the_defaults_hold() {
    let mut machine = Machine::prepare("nodeName: [\n").without_cgroups();
    machine.start();
    machine.until_tried();
    assert!(machine.said().contains("config.yaml"), "{}", machine.said());
}

#[test]
fn a_fault_of_its_own_leads_to_the_rescue_which_reboots() {
    for signal in [Signal::SEGV, Signal::BUS, Signal::ABORT] {
        let mut machine = Machine::boot();
        machine.signal(signal);
        assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()), "{}", machine.said());
        let why = format!("PID 1 failed with signal {}", signal.as_raw());
        assert!(machine.said().contains(&why), "{}", machine.said());
        assert_eq!(machine.report()["reason"], why);
    }
}

/// A machine whose supervisor crashes although it has left everything alone.
fn at_its_wits_end(before: impl FnOnce(&Machine)) -> Machine {
    let machine = Machine::boot();
    before(&machine);
    let now = gatepost::sys::clock::boottime_ms();
    let crashes: Vec<u64> = (0..6).map(|ago| now - ago).collect();
    let record = json!({"version": 1, "body": {"pods": {}, "unexplained": crashes}});
    fs::write(format!("/proc/{}/root/run/gatepost/crashes.json", machine.init), record.to_string()).unwrap();
    let first = machine.child("supervise").unwrap();
    kill_process(pid(first), Signal::ABORT).unwrap();
    let next = machine.wait_for("the next one", |machine| machine.child("supervise").filter(|pid| *pid != first));
    machine.until_supervised();
    kill_process(pid(next), Signal::ABORT).unwrap();
    machine
}

#[test]
fn a_supervisor_with_nothing_left_to_spare_reboots_the_board_three_times_an_hour() {
    let mut machine = at_its_wits_end(|_| {});
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()), "{}", machine.said());
    assert_eq!(machine.report()["reason"], "the supervisor fails in safe mode too");
    let counted = fs::read_to_string(machine.path("data/gatepost/state/reboots")).unwrap();
    assert_eq!(counted.lines().count(), 2, "a version and this reboot: {counted}");

    let mut machine = at_its_wits_end(|machine| {
        let now = gatepost::sys::clock::wall_ms();
        let often = format!("1\n{}\n{}\n{}\n", now - 30_000, now - 20_000, now - 10_000);
        fs::create_dir_all(machine.path("data/gatepost/state")).unwrap();
        fs::write(machine.path("data/gatepost/state/reboots"), often).unwrap();
    });
    machine.until("this board was rebooted three times within an hour: the next try is in six hours");
    assert_eq!(machine.child("supervise"), None);
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));

    // What is in memory counts nothing; the machine around has run for longer than the 20 minutes that are waited then.
    let mut machine = at_its_wits_end(|machine| drop(machine.shell("mount -t tmpfs tmpfs /var/lib")));
    machine.until("this reboot cannot be counted on data: /var/lib/gatepost/state/reboots: it lies in memory");
    let _ = machine.ended_by();
}

#[test]
fn with_its_own_file_gone_it_restarts_the_supervisor_and_reboots() {
    let mut machine = Machine::boot();
    // Whoever runs from a file cannot have it emptied. (The libraries must stay: only the gateway's binary is static.)
    machine.shell(": > /init-binary");
    let supervisor = machine.child("supervise").unwrap();
    kill_process(pid(supervisor), Signal::KILL).unwrap();
    machine.wait_for("a supervisor", |machine| machine.child("supervise").filter(|pid| *pid != supervisor));
    machine.signal(Signal::SEGV);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()), "{}", machine.said());
}

#[test]
fn it_boots_without_a_console_and_with_one_that_nobody_reads() {
    let mut machine = Machine::prepare(CONFIG);
    fs::remove_file(machine.path("console")).unwrap();
    machine.start();
    machine.until_supervised();
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));

    let mut machine = Machine::prepare(CONFIG);
    let console = machine.path("console");
    fs::remove_file(&console).unwrap();
    assert!(Command::new("mkfifo").arg(&console).status().unwrap().success());
    let full = fs::File::options().read(true).write(true).open(&console).unwrap();
    let size = gatepost::sys::pipe::size(&full).unwrap();
    rustix::io::write(&full, &vec![b'.'; size]).unwrap();
    machine.start();
    machine.until_supervised();
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
}

#[test]
fn a_busy_mount_is_made_read_only_and_detached() {
    let mut machine = Machine::boot();
    // A process outside the namespaces keeps it busy beyond SIGKILL.
    machine.shell("mkdir -p /mnt && mount -t ramfs ramfs /mnt && : > /mnt/file");
    let busy = fs::File::open(format!("/proc/{}/root/mnt/file", machine.init)).unwrap();
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    assert!(machine.said().contains("/mnt is busy: it is read-only now and detached"), "{}", machine.said());
    drop(busy);
}

#[test]
fn what_gives_way_only_at_the_second_try_is_unmounted() {
    let mut machine = Machine::boot();
    // The newest mount is tried first, and another one stands on it.
    machine.shell(
        "mkdir /mnt && mount -t ramfs ramfs /mnt && mount --make-private /mnt && mkdir /mnt/old /mnt/new && \
         mount -t ramfs ramfs /mnt/old && mount -t ramfs ramfs /mnt/new && mkdir /mnt/new/on && \
         mount --make-private /mnt/old && mount --make-private /mnt/new && mount --move /mnt/old /mnt/new/on",
    );
    machine.signal(Signal::TERM);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
    // The machine around keeps others busy.
    let busy = machine.said().lines().any(|line| line.contains("/mnt") && line.contains("is busy"));
    assert!(!busy, "{}", machine.said());
}

/// A file system on which nothing that writes gets on. Thawed when dropped: nobody could end what waits for it.
struct Frozen(std::path::PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).status();
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_does_not_answer_does_not_keep_the_board_from_going_down() {
    // The supervisor has all the time it may have: it cannot store what is to outlive this boot.
    let mut machine = Machine::prepare(&format!("{CONFIG}shutdownBound: 1s\n"));
    let (data, disk) = (machine.path("data"), machine.path("disk"));
    fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    assert!(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).status().unwrap().success());
    assert!(Command::new("mount").args(["-o", "loop"]).arg(&disk).arg(&data).status().unwrap().success());
    let frozen = Frozen(data.clone());
    machine.start();
    machine.until_supervised();
    assert!(Command::new("fsfreeze").arg("-f").arg(&data).status().unwrap().success());
    machine.signal(Signal::TERM);
    machine.until("unmounting and syncing takes too long: going down without it");
    machine.until("init: reboot now");
    drop(frozen);
    assert_eq!(machine.ended_by(), Some(Signal::HUP.as_raw()));
}

#[test]
fn the_system_calls_of_a_boot_and_of_each_way_down_are_those_that_are_written_down() {
    transcript::compare("reboot", |machine| machine.signal(Signal::TERM));
    transcript::compare("poweroff", |machine| machine.signal(Signal::USR2));
    transcript::compare("halt", |machine| machine.signal(Signal::USR1));
    transcript::compare("power", |machine| machine.signal(Signal::POWER));
    transcript::compare("hurried", |machine| {
        machine.shell("trap '' TERM; sleep 1000000 >/dev/null 2>&1 &");
        // It has no chance to leave before the second signal, whose goal counts.
        kill_process(pid(machine.child("supervise").unwrap()), Signal::STOP).unwrap();
        machine.signal(Signal::TERM);
        machine.until("reboot (SIGTERM): within");
        machine.signal(Signal::USR2);
    });
    transcript::compare("rescue", |machine| machine.signal(Signal::SEGV));
    transcript::compare("argument", |machine| {
        let mut reboot = machine.enter(&["/init-binary", "reboot", "--argument", "tryboot"]);
        assert!(reboot.stdout(Stdio::null()).status().unwrap().success());
    });
}
