//! Bad manifests: each is told by file, line and field, and the pod beside it keeps running.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::gateway::manifest::{WAIT, container, pod};
use crate::gateway::pods::text;

/// A gateway with a good pod; at the end that pod must still be the same.
struct Beside {
    gateway: Gateway,
    good: Value,
}

impl Beside {
    fn new() -> Self {
        let gateway = Gateway::start("");
        gateway.apply(&pod("good", WAIT));
        let good = gateway.ready("good");
        Self { gateway, good }
    }

    /// Writes a bad file and waits for a warning with all the words.
    fn refuses(&self, content: impl AsRef<[u8]>, words: &[&str]) {
        self.gateway.write("bad.yaml", content);
        self.gateway.until(&format!("a warning with {words:?}"), |pods| {
            pods.warnings
                .iter()
                .any(|warning| warning.contains("bad.yaml") && words.iter().all(|word| warning.contains(word)))
        });
        let told = self.gateway.gatepost(&["get", "pods"]);
        assert!(String::from_utf8_lossy(&told.stderr).contains("bad.yaml"));
        let warnings = self.gateway.pods().warnings;
        assert!(warnings.iter().all(|warning| warning.len() < 4096), "a warning is too long to read");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let good = self.gateway.pods().ready("good").cloned().expect("the pod beside it runs");
            assert_eq!(good["status"]["containerStatuses"], self.good["status"]["containerStatuses"]);
        }
    }
}

#[test]
fn binary_garbage_is_refused() {
    let garbage: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    Beside::new().refuses(garbage, &["bad.yaml:1: ", "not text in UTF-8"]);
}

#[test]
fn a_manifest_beyond_the_limit_of_size_is_refused() {
    let mut large = pod("large", WAIT);
    large["metadata"]["annotations"] = json!({"filler": "x".repeat(11 << 20)});
    Beside::new().refuses(large.to_string(), &["bad.yaml", "larger than the limit of 10485760 bytes", "split it"]);
}

#[test]
fn a_manifest_of_ten_mebibytes_is_read_and_one_of_a_byte_more_is_refused() {
    const LIMIT: usize = 10 << 20;
    let filled = |name: &str, size: usize| {
        let mut text = format!("---\n{}\n", pod(name, WAIT));
        text.push_str(&"# filler\n".repeat((size - text.len()) / 9));
        text.push_str(&"#".repeat(size - text.len()));
        text
    };
    let beside = Beside::new();
    beside.gateway.write("large.yaml", filled("large", LIMIT));
    let large = beside.gateway.ready("large");
    assert_eq!(beside.gateway.pods().warnings, Vec::<String>::new());
    beside.refuses(filled("larger", LIMIT + 1), &["bad.yaml", "larger than the limit of 10485760 bytes", "split it"]);
    let pods = beside.gateway.pods();
    assert!(pods.get("larger").is_none(), "{:#?}", pods.summary());
    assert_eq!(pods.ready("large").unwrap()["status"]["containerStatuses"], large["status"]["containerStatuses"]);
}

#[test]
fn a_yaml_bomb_is_refused() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, before) in
        ["b", "c", "d", "e", "f", "g", "h", "i"].into_iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"])
    {
        let list = vec![format!("*{before}"); 9].join(", ");
        bomb = [bomb, format!("{this}: &{this} [{list}]\n")].concat();
    }
    Beside::new().refuses(bomb, &["bad.yaml:6: ", "anchors and aliases expand to more than"]);
}

#[test]
fn deep_nesting_is_refused() {
    let beside = Beside::new();
    beside.refuses("[".repeat(200_000), &["bad.yaml:1: ", "nested deeper than 64 levels", "must be JSON"]);
    let levels: String = (0..100).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    beside.refuses(levels, &["bad.yaml:65: ", "nested deeper than 64 levels", "no field of any object"]);
}

#[test]
fn ten_thousand_containers_are_refused() {
    let mut many = pod("many", WAIT);
    many["spec"]["containers"] = (0..10_000).map(|n| container(&format!("c{n}"), WAIT)).collect();
    Beside::new().refuses(many.to_string(), &["bad.yaml:1", "spec.containers"]);
}

#[test]
fn keys_given_twice_are_told_with_their_lines_and_the_last_counts() {
    let beside = Beside::new();
    let mut manifest = pod("repeated", WAIT).to_string();
    manifest.insert_str(1, "\n\"metadata\": {\"name\": \"first\"},\n");
    beside.gateway.write("bad.yaml", manifest);
    beside.gateway.ready("repeated");
    let warnings = beside.gateway.pods().warnings;
    assert!(
        warnings.iter().any(|w| w.contains("bad.yaml:3") && w.contains("\"metadata\" is repeated (first at line 2)")),
        "{warnings:?}"
    );
}

#[test]
fn duplicate_names_of_containers_are_refused_with_line_and_field() {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: twins\nspec:\n  containers:\n  - name: a\n    image: x\n  - name: a\n    image: x\n";
    let beside = Beside::new();
    beside.refuses(manifest, &["bad.yaml:9", "spec.containers[1].name", "Duplicate value"]);
    // What never had a good version is in the list all the same, and says why.
    let table = beside.gateway.ok(&["get", "pods"]);
    let row = table.lines().find(|line| line.starts_with("twins")).unwrap_or_else(|| panic!("no row in\n{table}"));
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[1..4], ["0/0", "InvalidManifest", "0"], "{row}");
    let pods = beside.gateway.pods();
    let refused = pods.get("twins").expect("it is among the pods");
    assert!(text(refused, "/status/message").contains("Duplicate value"), "{refused:#}");
    beside.gateway.remove("bad.yaml");
    beside.gateway.gone("twins");
}

#[test]
fn the_same_pod_in_two_files_is_told_and_the_later_one_counts() {
    let beside = Beside::new();
    let mut first = pod("twin", WAIT);
    first["metadata"]["labels"] = json!({"from": "first"});
    let mut second = first.clone();
    second["metadata"]["labels"] = json!({"from": "second"});
    beside.gateway.write("1.yaml", first.to_string());
    beside.gateway.write("2.yaml", second.to_string());
    beside.gateway.until("the later one", |pods| {
        pods.ready("twin").is_some_and(|pod| text(pod, "/metadata/labels/from") == "second")
            && pods.warnings.iter().any(|warning| warning.contains("1.yaml") && warning.contains("2.yaml"))
    });
}

#[test]
fn a_field_that_is_not_carried_out_yet_is_refused_by_its_path_and_line() {
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: named\nspec:\n  containers:\n  - name: a\n    image: x\n  setHostnameAsFQDN: true\n";
    Beside::new().refuses(manifest, &["bad.yaml:9", "spec.setHostnameAsFQDN"]);
}

#[test]
fn a_misspelt_field_is_a_warning_and_the_pod_runs() {
    let beside = Beside::new();
    let mut pod = pod("typo", WAIT);
    pod["spec"]["hostnetwork"] = json!(true);
    beside.gateway.write("bad.yaml", pod.to_string());
    beside.gateway.ready("typo");
    let warnings = beside.gateway.pods().warnings;
    assert!(warnings.iter().any(|w| w.contains("spec.hostnetwork") && w.contains("hostNetwork")), "{warnings:?}");
}
