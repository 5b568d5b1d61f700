//! What people type, on a real pseudo-terminal, and what their shells complete.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod gateway;
mod pty;

use std::fs;
use std::process::Command;

use gateway::manifest::{WAIT, pod};
use gateway::{GATEPOST, Gateway};
use pty::Terminal;

/// What a terminal shows of what was written to it: of escape sequences only those that `get -w` uses.
fn screen(written: &str) -> Vec<String> {
    let mut rows: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0, 0);
    let mut text = written.chars();
    while let Some(character) = text.next() {
        match character {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                if row == rows.len() {
                    rows.push(Vec::new());
                }
            }
            '\x1b' => {
                assert_eq!(text.next(), Some('['), "an escape sequence that is not expected in {written:?}");
                let mut number = String::new();
                let command = loop {
                    match text.next().expect("an escape sequence ends") {
                        digit if digit.is_ascii_digit() || "?;".contains(digit) => number.push(digit),
                        command => break command,
                    }
                };
                match command {
                    'A' => row -= number.parse::<usize>().unwrap_or(1),
                    'K' => rows[row].truncate(column),
                    'J' => {
                        rows[row].truncate(column);
                        rows.truncate(row + 1);
                    }
                    'm' => {}
                    other => panic!("an escape sequence that is not expected: {other}"),
                }
            }
            character => {
                let width = column.max(rows[row].len());
                rows[row].resize(width, ' ');
                if column < rows[row].len() {
                    rows[row][column] = character;
                } else {
                    rows[row].push(character);
                }
                column += 1;
            }
        }
    }
    let rows = rows.into_iter().map(|row| row.into_iter().collect::<String>().trim_end().to_owned());
    rows.filter(|row| !row.is_empty()).collect()
}

/// Whole frames only: each ends with this.
fn frames(written: &str) -> String {
    let (whole, _) = written.rsplit_once("\x1b[J").unwrap();
    format!("{whole}\x1b[J")
}

#[test]
fn watched_pods_are_one_table_that_redraws_itself_in_place() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let mut terminal = Terminal::new();
    let mut command = gateway.command(&["get", "pods", "-w"]);
    terminal.start_on(command.env_remove("NO_COLOR"));
    terminal.wait_for("\x1b[32mRunning\x1b[0m");
    gateway.apply(&pod("crash", "exit 3"));
    terminal.wait_for("crash-");
    terminal.wait_for("\x1b[31mCrashLoopBackOff\x1b[0m");
    // Ages go on without a change.
    terminal.wait_for("\x1b[J");
    terminal.wait_for("\x1b[J");
    let shown = screen(&frames(&terminal.all()));
    assert_eq!(shown.len(), 3, "{shown:#?}");
    assert!(shown[0].starts_with("NAME") && shown[0].ends_with("AGE"), "{shown:#?}");
    assert!(shown[1].starts_with("crash-") && shown[1].contains("CrashLoopBackOff"), "{shown:#?}");
    assert!(shown[2].starts_with("web-") && shown[2].contains("Running"), "{shown:#?}");
    gateway.remove("crash.yaml");
    gateway.gone("crash");
    terminal.wait_until("the table to be two rows", |all| screen(&frames(all)).len() == 2);
    // A smaller window gets what fits, and Ctrl-C ends it.
    terminal.resize(2, 20);
    terminal.wait_for("… and 2 more lines");
    terminal.send("\x03");
    assert!(!terminal.end().success());
}

#[test]
fn what_pods_use_is_redrawn_in_place_as_well() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    for (what, row) in [("pods", "web-"), ("node", &*gateway.node)] {
        let mut terminal = Terminal::new();
        terminal.start_on(&gateway.command(&["top", what, "-w"]));
        terminal.wait_for(row);
        terminal.wait_for("\x1b[J");
        terminal.wait_for("\x1b[J");
        let shown = screen(&frames(&terminal.all()));
        assert_eq!(shown.len(), 2, "{shown:#?}");
        assert!(shown[0].contains("CPU(cores)") && shown[1].starts_with(row), "{shown:#?}");
        terminal.send("\x03");
        assert!(!terminal.end().success());
    }
}

#[test]
fn a_terminal_that_knows_no_size_is_taken_for_one_of_the_usual_size() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let mut terminal = Terminal::new();
    terminal.resize(0, 0);
    terminal.start_on(&gateway.command(&["get", "pods", "-w"]));
    terminal.wait_for("Running");
}

#[test]
fn without_colours_and_through_a_pipe_there_are_no_escapes() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let mut terminal = Terminal::new();
    let mut command = gateway.command(&["get", "pods", "-w"]);
    terminal.start_on(command.env("NO_COLOR", "1"));
    terminal.wait_for("Running");
    terminal.wait_for("\x1b[J");
    assert!(!terminal.all().contains("\x1b[3"), "{:?}", terminal.all());
    assert!(!gateway.ok(&["get", "pods"]).contains('\x1b'));
}

#[test]
fn exec_with_a_terminal_is_a_session_at_it() {
    let gateway = Gateway::start("");
    gateway.apply(&pod("web", WAIT));
    gateway.ready("web");
    let mut terminal = Terminal::new();
    let before = terminal.modes();
    terminal.start_on(&gateway.command(&["exec", "-it", "web", "--", "sh"]));
    terminal.send("test -t 0 && test -t 1 && echo ter''minal; stty size\r");
    terminal.wait_for("terminal");
    terminal.wait_for("24 80");
    // The window's size follows.
    terminal.resize(30, 100);
    terminal.send("while [ \"$(stty size)\" != '30 100' ]; do :; done; echo res''ized\r");
    terminal.wait_for("resized");
    // Ctrl-C reaches what runs inside, not the command itself.
    terminal.send("echo sle''eping; sleep 1000\r");
    terminal.wait_for("sleeping");
    terminal.send("\x03");
    // The shell may discard what is typed before it is back.
    terminal.wait_for("# ");
    terminal.send("echo in''side\r");
    terminal.wait_for("inside");
    terminal.send("exit 7\r");
    assert_eq!(terminal.end().code(), Some(7));
    assert_eq!(format!("{:?}", terminal.modes()), format!("{before:?}"));
    // Without a terminal to hand on it says so and goes on.
    let output = gateway.gatepost(&["exec", "-t", "web", "--", "echo", "through"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("-t has no effect"));
}

/// A directory with the completion script of a shell, and `gatepost` in `PATH`.
struct Completing {
    directory: tempfile::TempDir,
    gateway: Gateway,
}

impl Completing {
    fn new(shell: &str) -> Self {
        let gateway = Gateway::start("");
        gateway.apply(&pod("web", WAIT));
        gateway.ready("web");
        let directory = tempfile::tempdir().unwrap();
        let name = if shell == "zsh" { "_gatepost" } else { "gatepost.fish" };
        fs::write(directory.path().join(name), gateway.ok(&["completion", shell])).unwrap();
        std::os::unix::fs::symlink(GATEPOST, directory.path().join("gatepost")).unwrap();
        Self { directory, gateway }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:{}", self.directory.path().display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("GATEPOST_RUN_DIR", self.gateway.run_dir()).env("TERM", "dumb");
        command.env("HOME", self.directory.path()).env("SCRIPTS", self.directory.path());
        command
    }
}

#[test]
fn fish_completes_commands_flags_values_and_pods() {
    let completing = Completing::new("fish");
    let complete = |line: &str| -> Vec<String> {
        let script = format!("source $SCRIPTS/gatepost.fish; complete -C '{line}'");
        let output = completing.command("fish").args(["--no-config", "-c", &script]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
    };
    let pod = format!("web-{}", completing.gateway.node);
    assert_eq!(complete("gatepost des"), ["describe"]);
    assert_eq!(complete("gatepost image "), ["build-flash", "df", "import", "ls", "prune", "rm", "save", "verify"]);
    assert_eq!(complete("gatepost image im"), ["import"]);
    assert_eq!(complete("gatepost get pods --sel"), ["--selector"]);
    assert_eq!(complete("gatepost get pods -o ya"), ["yaml"]);
    assert_eq!(complete("gatepost get "), ["events", "manifests", "nodes", "pod", "pods", "services"]);
    assert_eq!(complete("gatepost get pods "), [pod.as_str()]);
    assert_eq!(complete("gatepost logs we"), [pod.as_str()]);
    assert_eq!(complete("gatepost describe pod we"), [pod.as_str()]);
    assert_eq!(complete("gatepost completion f"), ["fish"]);
    assert_eq!(complete("gatepost image rm --sel"), [""; 0]);
    assert_eq!(complete("gatepost version "), [""; 0]);
}

#[test]
fn zsh_completes_commands_flags_values_and_pods() {
    let completing = Completing::new("zsh");
    let pod = format!("web-{}", completing.gateway.node);
    // As a person's shell loads it; what Tab makes of the line is then printed instead of run.
    let set_up = "PS1='%% '; fpath=($SCRIPTS $fpath); autoload -Uz compinit; compinit -u -d $SCRIPTS/dump\n\
                  show() { print -r -- \"<<$BUFFER>>\"; BUFFER=; zle redisplay }; zle -N show; bindkey '^O' show\n\
                  print loa''ded\n";
    let mut terminal = Terminal::new();
    terminal.start_on(completing.command("zsh").args(["-f", "-i"]));
    terminal.send(set_up);
    terminal.wait_for("loaded");
    for (line, completed) in [
        ("gatepost des", "gatepost describe "),
        ("gatepost image im", "gatepost image import "),
        ("gatepost get pods --sel", "gatepost get pods --selector "),
        ("gatepost get pods -o ya", "gatepost get pods -o yaml "),
        ("gatepost get ev", "gatepost get events "),
        ("gatepost get pods we", &format!("gatepost get pods {pod} ")),
        ("gatepost logs we", &format!("gatepost logs {pod} ")),
        ("gatepost completion f", "gatepost completion fish "),
        ("gatepost image rm --sel", "gatepost image rm --sel"),
    ] {
        terminal.send(format!("{line}\t"));
        // Tab is over when it has added something, or rung the bell.
        match completed.strip_prefix(line).map(str::trim_end) {
            Some("") | None => terminal.wait_for("\x07"),
            Some(added) => terminal.wait_for(added),
        };
        terminal.send("\x0f");
        let shown = terminal.wait_for(">>");
        let shown = shown.rsplit_once("<<").unwrap().1.trim_end_matches(">>");
        assert_eq!(shown, completed);
    }
    terminal.send("exit\r");
    assert!(terminal.end().success());
}

/// The sample image of a web server, 13 MB, which is many steps.
fn archive() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/.build/images/nginx.tar").to_owned()
}

#[test]
fn a_long_import_draws_a_bar_that_fills_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let archive = archive();
    let words = ["image", "import", "--data-dir", data.to_str().unwrap(), "--name", "bar/nginx:1", &archive];
    let mut terminal = Terminal::new();
    let mut command = Command::new(GATEPOST);
    terminal.resize(24, 132);
    terminal.start_on(command.args(words));
    assert!(terminal.end().success(), "{}", terminal.all());
    terminal.wait_for("bar/nginx:1");
    let written = terminal.all();
    let drawn: Vec<&str> = written.split('\r').filter(|line| line.contains(" % of ")).collect();
    assert!(!drawn.is_empty(), "{written:?}");
    for bar in &drawn {
        assert!(bar.starts_with(&archive) && bar.ends_with("\x1b[K"), "{bar:?}");
        let (_, rest) = bar.split_once('[').unwrap();
        let (filled, rest) = rest.split_once(']').unwrap();
        let percent: usize = rest.trim_start().split(' ').next().unwrap().parse().unwrap();
        let fill = filled.trim_end().len();
        // The percentage is cut off to a whole one, the bar is not.
        let (least, most) = (percent * 24 / 100, (percent + 1) * 24 / 100);
        assert!(filled.len() == 24 && (least..=most).contains(&fill), "{bar:?}");
    }
    // What is left is the result alone.
    let shown = screen(&written);
    assert!(shown.iter().all(|row| !row.contains(" % of ")), "{shown:#?}");
    assert!(shown.iter().any(|row| row.contains("bar/nginx:1")), "{shown:#?}");

    let again = dir.path().join("again");
    let words = ["image", "import", "--data-dir", again.to_str().unwrap(), "--name", "bar/nginx:1", &archive];
    let piped = Command::new(GATEPOST).args(words).output().unwrap();
    assert!(piped.status.success());
    let said = format!("{}{}", String::from_utf8(piped.stdout).unwrap(), String::from_utf8(piped.stderr).unwrap());
    assert!(!said.contains(['\r', '\x1b', '%']), "{said:?}");
}
