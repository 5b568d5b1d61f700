//! The built binary as people use it: help, exit statuses, output formats, against a control socket served by the library's own half.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "cli/node.rs"]
mod node;
#[path = "cli/watched.rs"]
mod watched;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use gatepost::control::Call;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{Value, json};

use node::{Node, pod};

fn gatepost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.env_remove("GATEPOST_RUN_DIR").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    gatepost().args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The names of all commands, as the overview lists them.
fn commands(overview: &str) -> Vec<&str> {
    let (_, list) = overview.split_once("\nCommands:\n").expect("a list of commands");
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.trim_start().split("  ").next().expect("a name")).collect()
}

#[test]
fn every_command_has_help() {
    let overview = out(&run(&["--help"]));
    let commands = commands(&overview);
    let reference = gatepost::cli::reference();
    let described: Vec<&str> = reference.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(commands, described);
    assert!(["run", "get", "image import", "version"].iter().all(|name| commands.contains(name)), "{commands:?}");
    for command in commands {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.push("--help");
        let output = run(&words);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(out(&output).contains(&format!("Usage: gatepost {command}")), "{}", out(&output));
        assert!(out(&output).contains("--help"), "{command}");
        words.pop();
        words.insert(0, "help");
        assert_eq!(out(&run(&words)), out(&output), "gatepost help {command}");
    }
    assert!(!overview.contains("supervise"), "internal roles are no commands");
    assert_eq!(out(&run(&["help"])), overview);
    assert!(out(&run(&["--version"])).starts_with("gatepost "));
}

#[test]
fn a_wrong_command_line_exits_with_2_and_says_what_was_meant() {
    let table: &[(&[&str], &str)] = &[
        (&[], "no command given"),
        (&["gte"], "did you mean \"get\"?"),
        (&["image", "lss"], "did you mean \"image ls\"?"),
        (&["get", "pods", "--selectr", "x"], "did you mean \"--selector\"?"),
        (&["get", "pods", "-Q"], "unknown flag \"-Q\""),
        (&["get"], "say what to get"),
        (&["get", "deployments"], "unknown resource \"deployments\""),
        (&["get", "nodes", "-w"], "--watch is for pods only"),
        (&["top"], "say of what"),
        (&["top", "services"], "unknown resource \"services\""),
        (&["top", "pods", "--sort-by", "name"], "unknown order"),
        (&["top", "pods", "web", "-A"], "cannot be named together with -A"),
        (&["get", "pods", "-o", "jsn"], "did you mean \"json\"?"),
        (&["get", "pods", "-o"], "needs a value"),
        (&["get", "pods", "-l", "a in"], "label selector"),
        (&["get", "pods", "web", "-A"], "cannot be named together with -A"),
        (&["get", "events", "-w"], "--watch is for pods only"),
        (&["describe"], "name a pod"),
        (&["logs"], "name a pod"),
        (&["logs", "web", "--tail", "many"], "expected a number of lines"),
        (&["logs", "web", "--since", "yesterday"], "is no duration"),
        (&["exec", "web"], "after `--`"),
        (&["exec", "web", "ls"], "after `--`"),
        (&["exec", "--", "ls"], "name a pod"),
        (&["delete", "pod", "web", "--grace-period", "-1"], "0 or more"),
        (&["run", "--set", "novalue"], "expected key=value"),
        (&["validate"], "name a file"),
        (&["validate", "-", "x.yaml"], "beside files"),
        (&["image", "import"], "name an archive"),
        (&["image", "import", "--name", "x", "a", "b"], "--name is for one file"),
        (&["image", "rm"], "name an image"),
        (&["completion", "tcsh"], "unknown shell"),
        (&["--frobnicate"], "unknown flag"),
    ];
    for (args, expected) in table {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).starts_with("error: ") && err(&output).contains(expected), "{args:?}: {}", err(&output));
        assert!(out(&output).is_empty());
    }
}

#[test]
fn without_a_supervisor_the_error_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&["get", "pods", "--run-dir", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("gatepost is not running here") && err(&output).contains("gatepost run"),
        "{}",
        err(&output)
    );
}

#[test]
fn completions_are_scripts_their_shell_accepts() {
    let script = out(&run(&["completion", "bash"]));
    let check = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(check.status.success(), "{}", err(&check));
    let ask = format!("{script}\nCOMP_WORDS=(gatepost get pods --se); COMP_CWORD=3; _gatepost; echo ${{COMPREPLY[@]}}");
    let reply = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(out(&reply).trim(), "--selector", "{}", err(&reply));
    let ask = format!("{script}\nCOMP_WORDS=(gatepost image i); COMP_CWORD=2; _gatepost; echo ${{COMPREPLY[@]}}");
    assert_eq!(out(&Command::new("bash").args(["-c", &ask]).output().unwrap()).trim(), "import");
    assert!(out(&run(&["completion", "zsh"])).starts_with("#compdef gatepost"));
    assert!(out(&run(&["completion", "fish"])).contains("complete -c gatepost"));
}

#[test]
fn the_reference_is_what_the_command_table_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let wanted = gatepost::cli::reference();
    if std::env::var_os("GATEPOST_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(is == wanted, "docs/cli.md is out of date: run GATEPOST_WRITE_DOCS=1 cargo test --test cli the_reference");
}

#[test]
fn get_pods_prints_kubectls_table() {
    let mut node = Node::new();
    let output = node.run(&["get", "pods"]);
    let text = out(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "NAME     READY   STATUS    RESTARTS   AGE");
    assert!(lines[1].starts_with("web-gw   1/1     Running   0          "), "{text}");
    assert_eq!(lines.len(), 2);
    let all = out(&node.run(&["get", "po", "-A", "--no-headers", "-o", "wide", "--show-labels"]));
    assert!(all.lines().nth(1).unwrap().starts_with("iot       broker-gw   1/1   Running   0     "), "{all}");
    assert!(all.contains("10.1.2.3   gw    <none>   <none>   app=broker"), "{all}");
    let selected = out(&node.run(&["get", "pods", "-A", "-l", "app in (broker)", "-o", "name"]));
    assert_eq!(selected, "pod/broker-gw\n");
}

#[test]
fn an_empty_list_and_warnings_go_to_standard_error() {
    let mut node = Node::new();
    node.warnings = vec!["/etc/kubernetes/manifests/x.yaml:3: spec.containers: Required value".into()];
    let output = node.run(&["get", "pods", "-n", "empty"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(out(&output), "");
    assert_eq!(
        err(&output),
        "No resources found in empty namespace.\nwarning: /etc/kubernetes/manifests/x.yaml:3: spec.containers: Required value\n"
    );
}

#[test]
fn a_pod_that_is_not_there_is_a_failure_with_a_hint() {
    let mut node = Node::new();
    let output = node.run(&["get", "pods", "wbe", "web"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("pods \"wbe\" not found; did you mean \"web\"?"), "{}", err(&output));
    assert!(out(&output).contains("web-gw"));
    let output = node.run(&["describe", "pod", "broker"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("add -n iot"));
}

#[test]
fn json_and_yaml_are_v1_objects() {
    let mut node = Node::new();
    let list: Value = serde_json::from_str(&out(&node.run(&["get", "pods", "-A", "-o", "json"]))).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
    let pods: Vec<Pod> = serde_json::from_value(list["items"].clone()).unwrap();
    assert_eq!(pods.len(), 2);
    assert_eq!(pods[1].metadata.name.as_deref(), Some("broker-gw"));
    let one: Pod = serde_json::from_str(&out(&node.run(&["get", "pod/web", "-o", "json"]))).unwrap();
    assert_eq!(one.metadata.annotations.unwrap()["on"], "yes");
    let events: Value = serde_json::from_str(&out(&node.run(&["get", "events", "-o", "json"]))).unwrap();
    let events: Vec<Event> = serde_json::from_value(events["items"].clone()).unwrap();
    assert_eq!(events[0].reason.as_deref(), Some("Started"));
    let yaml = out(&node.run(&["get", "pod", "web", "-o", "yaml"]));
    assert!(yaml.starts_with("apiVersion: v1\nkind: Pod\nmetadata:\n") && yaml.contains("    'on': 'yes'\n"), "{yaml}");
    let read = gatepost::document::parse(yaml.as_bytes()).unwrap();
    assert_eq!(read.documents[0].to_json(), node.pods[0]);
    let one: Pod = serde_json::from_value(read.documents[0].to_json()).unwrap();
    assert_eq!(one.metadata.annotations.unwrap()["n"], "0644");
}

#[test]
fn describe_and_events_read_as_kubectls() {
    let mut node = Node::new();
    let text = out(&node.run(&["describe", "pod", "web"]));
    assert!(text.starts_with("Name:         web-gw\n"), "{text}");
    assert!(text.contains("spec.containers{app}: Container started"), "{text}");
    let events = out(&node.run(&["get", "events"]));
    assert!(events.starts_with("LAST SEEN   TYPE     REASON    OBJECT       MESSAGE\n"), "{events}");
    assert!(events.contains("pod/web-gw   Container started"));
}

#[test]
fn delete_and_restart_reach_the_supervisor_under_the_full_name() {
    let mut node = Node::new();
    let output = node.run(&["restart", "pod", "web", "-c", "app"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let container = Some("app".to_owned());
    assert!(node.calls.contains(&Call::Restart { namespace: "default".into(), name: "web-gw".into(), container }));
    let output = node.run(&["delete", "pod/web", "--grace-period=0"]);
    assert!(out(&output).contains("pod \"web-gw\" deleted"), "{}", err(&output));
    assert!(node.calls.contains(&Call::Delete { namespace: "default".into(), name: "web-gw".into(), grace: Some(0) }));
    let output = node.run(&["delete", "pod", "broker", "-n", "iot"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err(&output), "error: it is quarantined: restart gatepost\n");
    let output = node.run(&["restart", "pod", "web", "-c", "ap"]);
    assert!(err(&output).contains("did you mean \"app\"?"), "{}", err(&output));
}

#[test]
fn exec_becomes_the_runtime_and_passes_its_exit_status_on() {
    let mut node = Node::new();
    let script = node.directory.path().join("runtime.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"$@\"\ncat\nexit 42\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = node.run(&["exec", "web", "-c", "app", "--", "ls", "-l", "--", "x"]);
    assert_eq!(output.status.code(), Some(42), "{}", err(&output));
    let root = node.directory.path().join("state");
    assert_eq!(out(&output), format!("--root {} exec app-1 ls -l -- x\n", root.display()));
    // A terminal is not invented.
    let output = node.run(&["exec", "-it", "web", "--", "sh"]);
    assert!(!out(&output).contains("--tty") && err(&output).contains("not a terminal"));
}

#[test]
fn logs_are_read_from_their_files() {
    let mut node = Node::new();
    let directory = node.directory.path().join("logs/default_web-gw_0123456789abcdef0123456789abcdef/app");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(
        directory.join("0.log"),
        "2026-01-01T00:00:00.000000001Z stdout F one\n2026-01-01T00:00:01.000000001Z stderr F two\n",
    )
    .unwrap();
    let output = node.run(&["logs", "web"]);
    assert_eq!((out(&output).as_str(), output.status.code()), ("one\ntwo\n", Some(0)), "{}", err(&output));
    assert_eq!(out(&node.run(&["logs", "pod/web", "--tail", "1"])), "two\n");
    // Said ten minutes ago, and ten seconds ago.
    let line = |seconds: i64, text: &str| {
        let at = time::OffsetDateTime::now_utc() - time::Duration::seconds(seconds);
        format!("{} stdout F {text}\n", at.format(&time::format_description::well_known::Rfc3339).unwrap())
    };
    std::fs::write(directory.join("0.log"), line(600, "old") + &line(10, "new")).unwrap();
    for (since, said) in [("1m", "new\n"), ("1h", "old\nnew\n"), ("1s", "")] {
        assert_eq!(out(&node.run(&["logs", "web", "--since", since])), said, "{since}");
    }
    let output = node.run(&["logs", "web", "-p"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("no log of a previous instance"), "{}", err(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut node = Node::new();
    node.pods = (0..5000).map(|index| pod("default", &format!("web-{index}"))).collect();
    let mut command = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_gatepost");
    command.args(["-c", &format!("{{ {binary} get pods; echo status=$? >&2; }} | head -n 1")]);
    command.env("GATEPOST_RUN_DIR", node.directory.path());
    let output = node.serve(command);
    assert_eq!(out(&output).lines().count(), 1);
    assert_eq!(err(&output), "status=0\n");
}

#[test]
fn validate_names_file_line_and_field() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.yaml");
    let bad = directory.path().join("bad.yaml");
    std::fs::write(
        &good,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: app\n    image: x:1\n",
    )
    .unwrap();
    std::fs::write(&bad, "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: app\n")
        .unwrap();
    let output = run(&["validate", good.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("Pod/web is valid"), "{}", out(&output));
    let output = run(&["validate", good.to_str().unwrap(), bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let line = format!("{}:6: error: spec.containers[0].image: Required value", bad.display());
    assert!(out(&output).contains(&line), "{}", out(&output));
    let output = run(&["validate", "-o", "json", bad.to_str().unwrap()]);
    let verdict: Value = serde_json::from_str(out(&output).lines().next().unwrap()).unwrap();
    assert_eq!(verdict["ok"], false);
    let mut command = gatepost();
    let output = command.args(["validate", "-"]).stdin(std::fs::File::open(&bad).unwrap()).output().unwrap();
    assert!(out(&output).contains("<stdin>:6: error:"), "{}", out(&output));
    assert_eq!(run(&["validate", "/nowhere.yaml"]).status.code(), Some(1));
}

#[test]
fn validate_takes_an_unknown_field_for_an_error_when_it_is_strict() {
    let directory = tempfile::tempdir().unwrap();
    let typo = directory.path().join("typo.yaml");
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  hostnetwork: true\n  containers:\n  - {name: app, image: 'x:1'}\n";
    std::fs::write(&typo, manifest).unwrap();
    let typo = typo.to_str().unwrap();
    let lenient = run(&["validate", typo]);
    assert_eq!(lenient.status.code(), Some(0), "{}", out(&lenient));
    assert!(
        out(&lenient).contains(&format!("{typo}:5: warning: spec.hostnetwork: unknown field")),
        "{}",
        out(&lenient)
    );
    assert!(out(&lenient).contains("Pod/web is valid"), "{}", out(&lenient));
    let strict = run(&["validate", "--strict", typo]);
    assert_eq!(strict.status.code(), Some(1), "{}", out(&strict));
    assert!(out(&strict).contains(&format!("{typo}:5: error: spec.hostnetwork:")), "{}", out(&strict));
    assert!(!out(&strict).contains("is valid"), "{}", out(&strict));
}

#[test]
fn an_imported_image_is_listed_and_the_supervisor_told() {
    let mut node = Node::new();
    let root = node.directory.path().to_owned();
    let sh = |script: &str| {
        let status = Command::new("sh")
            .args(["-euc", script])
            .current_dir(&root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "{script}");
    };
    sh(
        "umoci init --layout l && umoci new --image l:1 && mkdir d && echo hello > d/file && umoci insert --image l:1 d /d && \
        skopeo copy oci:l:1 docker-archive:web.tar:docker.io/library/web:1",
    );
    let data = root.join("data");
    let data = data.to_str().unwrap();
    let archive = root.join("web.tar");
    let output = node.run(&["image", "import", "--data-dir", data, archive.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("importing "), "a line where there is no terminal: {}", err(&output));
    assert!(node.calls.contains(&Call::ImagesChanged));
    let text = out(&node.run(&["image", "ls", "--data-dir", data]));
    assert!(text.starts_with("IMAGE ") && text.contains("docker.io/library/web:1   "), "{text}");
    let output = node.run(&["image", "rm", "--data-dir", data, "web:1"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(out(&node.run(&["image", "ls", "--data-dir", data, "--no-headers"])), "");
    let output = node.run(&["image", "import", "--data-dir", data, "/nowhere.tar"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("error: "), "{}", err(&output));
}
