//! `get pods -w` where nobody looks at a terminal: each change once, and nothing but text.

use serde_json::{Value, json};

use super::node::{Node, pod};
use super::{err, out};

/// One pod; a second one comes; nothing changes; the first is restarted and the second goes.
fn story() -> Node {
    let mut node = Node::new();
    let (web, new) = (pod("default", "web"), pod("default", "new"));
    let mut restarted = web.clone();
    restarted["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    let two = vec![web.clone(), new];
    node.pods = vec![web];
    node.later = vec![two.clone(), two, vec![restarted]];
    node
}

/// What is printed of the story; the command fails in the end, since it lost its gatepost.
fn watched(arguments: &[&str]) -> String {
    let mut node = story();
    let output = node.run(&[&["get", "pods", "-w"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    assert!(!text.contains('\x1b') && !err(&output).contains('\x1b'), "an escape sequence in {text:?}");
    text
}

#[test]
fn a_watched_table_through_a_pipe_is_one_line_a_change() {
    let text = watched(&[]);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    assert_eq!(
        rows,
        [
            ["NAME", "READY", "STATUS", "RESTARTS"],
            ["web-gw", "1/1", "Running", "0"],
            ["new-gw", "1/1", "Running", "0"],
            ["new-gw", "1/1", "Running", "0"],
            ["web-gw", "1/1", "Running", "1"],
        ]
    );
    assert_eq!(watched(&["-o", "name"]), "pod/web-gw\npod/new-gw\npod/new-gw\npod/web-gw\n");
}

#[test]
fn watched_objects_are_one_document_a_change() {
    let names_and_restarts = |pod: &Value| {
        let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap();
        (pod["metadata"]["name"].as_str().unwrap().to_owned(), restarts)
    };
    let wanted = [("web-gw", 0), ("new-gw", 0), ("new-gw", 0), ("web-gw", 1)].map(|(n, r)| (n.to_owned(), r));
    let json = watched(&["-o", "json"]);
    let documents: Vec<Value> = serde_json::Deserializer::from_str(&json).into_iter().map(Result::unwrap).collect();
    assert_eq!(documents.iter().map(names_and_restarts).collect::<Vec<_>>(), wanted);
    let yaml = gatepost::document::parse(watched(&["-o", "yaml"]).as_bytes()).unwrap();
    let documents: Vec<Value> = yaml.documents.iter().map(gatepost::document::Node::to_json).collect();
    assert_eq!(documents.iter().map(names_and_restarts).collect::<Vec<_>>(), wanted);
}
