//! The serial console on a real pseudo-terminal, with the real gatepost running pods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gateway;
mod pty;

use std::process::Command;
use std::time::{Duration, Instant};

use gateway::manifest::{WAIT, pod, run_once};
use gateway::{GATEPOST, Gateway};
use pty::Terminal;
use rustix::process::{Pid, Signal, kill_process};

/// The console as init starts it.
fn console(gateway: &Gateway, terminal: &mut Terminal) {
    let mut command = gateway.command(&["console"]);
    terminal.start_beside(command.arg(terminal.path.clone()));
}

fn started(gateway: &Gateway) -> Terminal {
    let mut terminal = Terminal::new();
    console(gateway, &mut terminal);
    terminal.wait_for("is there");
    terminal
}

/// `printf 'secret' | openssl passwd -6 -salt saltsalt -stdin`
const PASSWORD: &str = "consoleShell: password\nconsoleShellPassword: $6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1\n";

#[test]
fn lines_with_times_tell_how_pods_start_crash_and_go() {
    let gateway = Gateway::start("");
    let mut terminal = started(&gateway);
    gateway.apply(&pod("web", WAIT));
    let name = format!("pods: default/web-{}: ", gateway.node);
    terminal.wait_for(&format!("{name}new, "));
    terminal.wait_for(&format!("{name}Running 1/1"));
    gateway.apply(&pod("crash", "exit 3"));
    let crash = terminal.wait_for("app ended with exit code 3");
    assert!(crash.contains("CrashLoopBackOff 0/1") || crash.contains("Error 0/1"), "{crash}");
    terminal.wait_for("next try after 10s");
    gateway.remove("web.yaml");
    terminal.wait_for(&format!("{name}gone"));
    gateway.write("broken.yaml", "kind: Pod\nspec: [");
    terminal.wait_for("warning: ");
    let all = terminal.all();
    for line in all.lines() {
        assert!(line.len() <= 80, "{line:?}");
        let stamp = line.get(..15).is_some_and(|stamp| stamp.starts_with('[') && stamp.ends_with("] "));
        assert!(stamp || line.starts_with("    "), "{line:?}");
    }
}

#[test]
fn keys_show_status_events_and_logs() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", &format!("printf 'one\\033[2J\\nlast line\\n'; {WAIT}")));
    gateway.ready("web");
    gateway.wait_for_log(&["web"], "last line");
    let mut terminal = started(&gateway);
    terminal.wait_for("Running 1/1");
    terminal.send("\r");
    let keys = terminal.wait_for("h help");
    assert!(keys.contains("s status  e events  l logs  h help"), "{keys}");
    terminal.send("s");
    terminal.wait_for("NAMESPACE   NAME");
    terminal.wait_for("Running   0");
    terminal.send("e");
    terminal.wait_for("LAST SEEN");
    terminal.wait_for("Container started");
    terminal.send("l");
    terminal.wait_for("  1  default/web");
    terminal.wait_for("Log of which number? ");
    terminal.send("1\r");
    terminal.wait_for("the last lines of default/web");
    // What a container prints does not steer the terminal.
    terminal.wait_for("one\\u{1b}[2J\r\nlast line\r\n");
    terminal.send("l9\r");
    terminal.wait_for("no such number");
    terminal.send(b"\x00\xff\xfe\x1b[A\xc3\x28!");
    terminal.wait_for("the configuration allows no shell");
    // Next to a host's init nobody reboots.
    terminal.send("rreboot\rs");
    terminal.wait_for("NAMESPACE");
    assert!(!terminal.all().contains("Type reboot"));
    assert!(terminal.runs());
}

#[test]
fn a_supervisor_that_is_killed_is_told_and_so_is_the_next_one() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let mut terminal = started(&gateway);
    terminal.wait_for("Running 1/1");
    for _ in 0..3 {
        let pid = gateway.supervisor_pid();
        kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        terminal.wait_for("no supervisor: its connection has ended");
        terminal.wait_for("is there");
        gateway.ready("web");
    }
    gateway.apply(&run_once("other", "true"));
    terminal.wait_for(&format!("default/other-{}: new", gateway.node));
    terminal.wait_for("Completed");
    // Nothing was new after the first time.
    assert!(!terminal.all().contains(&format!("default/web-{}: new", gateway.node)), "{}", terminal.all());
}

#[test]
fn a_terminal_that_nobody_reads_hurts_nobody_and_shows_the_newest_in_the_end() {
    let gateway = Gateway::start("");
    let mut terminal = Terminal::unread();
    console(&gateway, &mut terminal);
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    // Far more than the terminal and the console take.
    let memory = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    for _ in 0..20 {
        terminal.send("sh".repeat(25));
        // It takes keys although nobody reads what it answers.
        terminal.wait_until_taken();
    }
    assert!(terminal.runs());
    assert!(memory(terminal.pid()) < 32 << 10, "{} KiB", memory(terminal.pid()));
    gateway.apply(&pod("late", WAIT));
    gateway.ready("late");
    terminal.begin_to_read();
    terminal.wait_for("older lines are left out: nobody read them)");
    terminal.wait_for(&format!("default/late-{}: ", gateway.node));
    terminal.send("s");
    terminal.wait_for(&format!("late-{}", gateway.node));
}

#[test]
fn the_shell_wants_its_password_and_a_wrong_one_costs_time() {
    let gateway = Gateway::start(PASSWORD);
    let mut terminal = started(&gateway);
    terminal.send("h");
    terminal.wait_for("! shell");
    terminal.send("!");
    terminal.wait_for("Password: ");
    terminal.send("Secret\r");
    terminal.wait_for("wrong password");
    // Lost: nothing is taken now.
    terminal.send("ss!!secret\r");
    std::thread::sleep(Duration::from_millis(2100));
    assert!(!terminal.rest().contains("no pods"), "{}", terminal.all());
    terminal.send("!");
    terminal.wait_for("Password: ");
    terminal.send("secret\r");
    terminal.wait_for("a shell");
    terminal.send("stty size; tty; echo $((6*7))\r");
    terminal.wait_for("24 80");
    terminal.wait_for("/dev/pts/");
    terminal.wait_for("42");
    // An interrupt reaches what runs in the shell, not the console.
    terminal.send("trap 'echo interrupted' INT; sleep 1000\r");
    terminal.wait_for("sleep 1000");
    std::thread::sleep(Duration::from_millis(300));
    terminal.send("\x03");
    terminal.wait_for("interrupted");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    terminal.send("exit\r");
    terminal.wait_for("the shell has ended");
    // What happened meanwhile.
    terminal.send("s");
    terminal.wait_for("Running");
    assert!(!terminal.all().contains("secret"), "a password was shown: {}", terminal.all());
    no_child_is_left(&terminal);
}

#[test]
fn a_shell_that_is_left_alone_ends() {
    let gateway = Gateway::start("consoleShell: open\nconsoleShellTimeout: 1s\n");
    let mut terminal = started(&gateway);
    terminal.send("!");
    terminal.wait_for("a shell");
    // Deaf to the hang-up: it is killed.
    terminal.send("trap '' HUP; echo rea''dy\r");
    terminal.wait_for("ready");
    terminal.wait_for("nothing was typed for too long");
    terminal.wait_for("the shell has ended");
    terminal.send("s");
    terminal.wait_for("no pods");
    no_child_is_left(&terminal);
}

#[test]
fn by_hand_it_is_left_with_q_and_the_terminal_is_as_before() {
    let gateway = Gateway::start("");
    let mut terminal = Terminal::new();
    let before = terminal.modes();
    terminal.start_on(&gateway.command(&["console"]));
    terminal.wait_for("q quit");
    assert_ne!(format!("{:?}", terminal.modes()), format!("{before:?}"));
    terminal.send("q");
    assert!(terminal.end().success());
    assert_eq!(format!("{:?}", terminal.modes()), format!("{before:?}"));
}

#[test]
fn it_waits_for_a_supervisor_that_is_not_there_yet() {
    let mut gateway = Gateway::prepare("");
    let mut terminal = Terminal::new();
    console(&gateway, &mut terminal);
    terminal.wait_for("no supervisor: waiting for it to start");
    gateway.apply(&pod("web", WAIT));
    gateway.run(true);
    terminal.wait_for(&format!("of node {} is there", gateway.node));
    terminal.wait_for("Running 1/1");
}

#[test]
fn a_confirmed_reboot_is_a_signal_to_the_init_that_is_ours() {
    // The console is PID 1 of a namespace of its own here, so that it asks itself.
    let directory = tempfile::tempdir().unwrap();
    let mut terminal = Terminal::new();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", GATEPOST, "console"]).arg(&terminal.path);
    terminal.start_beside(command.arg("--run-dir").arg(directory.path()));
    terminal.wait_for("r reboot  p poweroff");
    terminal.send("r");
    terminal.wait_for("Type reboot and Enter to do so: ");
    terminal.send("reboo\r");
    terminal.wait_for("not confirmed");
    terminal.send("r");
    terminal.send("reboot");
    terminal.wait_for("to do so: reboot");
    assert!(terminal.runs());
    terminal.send("\r");
    assert!(terminal.end().success());
}

#[test]
fn with_healthy_pods_it_sleeps() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let mut terminal = started(&gateway);
    terminal.wait_for("Running 1/1");
    let switches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", terminal.pid())).unwrap();
        status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned).collect::<Vec<_>>()
    };
    // The last of what came with the connection.
    std::thread::sleep(Duration::from_secs(1));
    let before = switches();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(switches(), before);
}

#[test]
fn when_the_terminal_hangs_up_it_ends() {
    let gateway = Gateway::start("");
    let mut terminal = started(&gateway);
    let pid = terminal.pid();
    // Its own session leads the terminal here, so that its end hangs the terminal up.
    let mut leader = Terminal::unread();
    let mut command = Command::new("sh");
    command.args(["-c", "exec sleep 1000"]);
    leader.start_on(&command);
    let mut other = Command::new(GATEPOST);
    other.args(["console"]).arg(&leader.path).env("GATEPOST_RUN_DIR", gateway.run_dir());
    let mut second = other.stdin(std::process::Stdio::null()).spawn().unwrap();
    drop(leader);
    assert!(!second.wait().unwrap().success());
    assert!(terminal.runs());
    assert_eq!(terminal.pid(), pid);
}

/// Waits until the console has no child, dead or alive.
fn no_child_is_left(console: &Terminal) {
    let pid = console.pid();
    let start = Instant::now();
    while !std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(30), "the console keeps a child");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pod_below_the_nodes_standard_is_refused_wherever_a_person_looks() {
    let gateway = Gateway::start("podSecurity: restricted\n");
    let mut terminal = started(&gateway);
    gateway.apply(&pod("web", WAIT));
    let event = gateway.event("web", "FailedValidation");
    let violation = "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false";
    assert!(gateway::pods::text(&event, "/message").contains(violation), "{event}");
    gateway.until("the refused pod", |pods| {
        let is_it = |pod| {
            gateway::pods::text(pod, "/status/reason") == "InvalidManifest"
                && gateway::pods::text(pod, "/status/message").contains(violation)
        };
        pods.get("web").is_some_and(is_it)
    });
    assert!(gateway.ok(&["get", "pods"]).contains("InvalidManifest"));
    assert!(gateway.ok(&["get", "events"]).contains("violates PodSecurity"));
    terminal.wait_for("violates PodSecurity");
}

/// A node that takes what is pasted, with a second directory for it.
fn pasting(settings: &str) -> Gateway {
    let mut gateway = Gateway::prepare(&format!(
        "consoleApply: true\nstaticPodPath: [BASE/manifests, BASE/data/manifests]\n{settings}"
    ));
    std::fs::create_dir(gateway.path("data/manifests")).unwrap();
    gateway.run(true);
    gateway
}

#[test]
fn manifests_are_pasted_where_the_configuration_allows_it() {
    let gateway = Gateway::start("");
    let mut terminal = started(&gateway);
    terminal.send("a");
    terminal.wait_for("allows no manifests from here");

    let gateway = pasting("");
    let mut terminal = started(&gateway);
    terminal.send("\r");
    terminal.wait_for("a apply");
    terminal.send("a");
    terminal.wait_for("Paste, then a line # END");
    terminal.send(format!("{}\r# END\r", pod("web", WAIT)));
    terminal.wait_for("pod/web created");
    gateway.ready("web");
    terminal.send("a");
    terminal.wait_for("Paste, then a line # END");
    terminal.send("kind: Pod\r\x03");
    terminal.wait_for("cancelled");
    terminal.send("akind: Pod\r# END\r");
    terminal.wait_for("nothing was changed");
}

#[test]
fn what_is_pasted_carries_its_signature_where_the_node_wants_one() {
    let gateway = pasting("manifestKeys: BASE/host/pub\n");
    let host = gateway.path("host");
    gateway::put(&host, "web.yaml", format!("{}\n", pod("web", WAIT)));
    let script = "openssl genpkey -algorithm ed25519 -out key; openssl pkey -in key -pubout -out pub
        openssl pkeyutl -sign -rawin -inkey key -in web.yaml -out sig; printf '# signature: %s' $(base64 -w0 sig) >>web.yaml";
    assert!(Command::new("sh").args(["-ec", script]).current_dir(&host).status().unwrap().success());
    let signed = std::fs::read_to_string(host.join("web.yaml")).unwrap();
    let mut terminal = started(&gateway);
    terminal.send(format!("a{}\r# END\r", pod("web", WAIT)));
    terminal.wait_for("takes signed manifests only");
    terminal.send(format!("a{}\r# END\r", signed.replace('\n', "\r")));
    terminal.wait_for("pod/web created");
    gateway.ready("web");
}
