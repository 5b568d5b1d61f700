//! Manifests and images that must be signed, by the tools that people have.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{Gateway, Pods, put};

/// Runs a line of shell.
fn shell(directory: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A node that takes what the key of `host/key` has signed; nothing runs yet.
fn prepare() -> Gateway {
    let gateway =
        Gateway::prepare("staticPodPath: [BASE/manifests, BASE/data/manifests]\nmanifestKeys: BASE/host/pub\n");
    fs::create_dir(gateway.path("data/manifests")).unwrap();
    shell(&gateway.path("host"), "openssl genpkey -algorithm ed25519 -out key; openssl pkey -in key -pubout -out pub");
    gateway
}

const SIGN: &str = "openssl pkeyutl -sign -rawin -inkey ../host/key";

/// Signs what is in the manifest directory now.
fn sign(gateway: &Gateway) {
    let script =
        format!("sha256sum *.yaml >.list; {SIGN} -in .list -out .sig; mv .sig SHA256SUMS.sig; mv .list SHA256SUMS");
    shell(&gateway.path("manifests"), &script);
}

fn says(gateway: &Gateway, words: &str) {
    gateway.until(words, |pods| pods.warnings.iter().any(|line| line.contains(words)));
}

fn quiet(gateway: &Gateway) {
    gateway.until("no warning", |pods| pods.warnings.is_empty());
}

fn version(pods: &Pods, name: &str) -> Option<String> {
    pods.ready(name).map(|pod| text(pod, "/metadata/labels/version").to_owned())
}

fn labelled(name: &str, version: &str) -> serde_json::Value {
    let mut pod = pod(name, WAIT);
    pod["metadata"]["labels"] = json!({"version": version});
    pod
}

#[test]
fn only_a_signed_directory_counts_and_what_is_altered_keeps_its_last_good_version() {
    let mut gateway = prepare();
    gateway.apply(&labelled("web", "1"));
    gateway.run(true);
    says(&gateway, "SHA256SUMS: No such file");
    gateway.until("the refusal", |pods| {
        pods.get("web").is_some_and(|pod| text(pod, "/status/message").contains("not signed as this node wants it"))
    });
    sign(&gateway);
    gateway.ready("web");
    quiet(&gateway);
    let uid = gateway.ready("web")["metadata"]["uid"].clone();

    // Another content, without a signature of it.
    gateway.apply(&labelled("web", "2"));
    says(&gateway, "web.yaml:1: Forbidden: its content is not the one that the signed SHA256SUMS lists");
    let pod = gateway.ready("web");
    assert_eq!(pod["metadata"]["uid"], uid);
    assert!(text(&pod, "/metadata/annotations/gatepost.io~1manifest-error").contains("SHA256SUMS"), "{pod:#}");
    assert!(gateway.ok(&["describe", "pod", "web"]).contains("SHA256SUMS"));
    assert!(gateway.ok(&["get", "manifests"]).contains("LastGood"));
    gateway.event("web", "SHA256SUMS");
    sign(&gateway);
    gateway.until("the new version", |pods| version(pods, "web").as_deref() == Some("2"));
    quiet(&gateway);

    // One more, and one less.
    gateway.apply(&labelled("more", "1"));
    says(&gateway, "more.yaml:1: Forbidden: the signed SHA256SUMS does not list it");
    gateway.remove("more.yaml");
    quiet(&gateway);
    gateway.remove("web.yaml");
    says(&gateway, "web.yaml: the signed SHA256SUMS lists it, but it is not there; what it last held keeps running");
    gateway.ready("web");

    // Without the list, and with one of somebody else's.
    gateway.remove("SHA256SUMS");
    says(&gateway, "SHA256SUMS: No such file");
    shell(
        &gateway.path("manifests"),
        "openssl genpkey -algorithm ed25519 -out .key; sha256sum .key >.list; openssl pkeyutl -sign -rawin -inkey .key -in .list -out SHA256SUMS.sig; mv .list SHA256SUMS",
    );
    says(&gateway, "SHA256SUMS.sig: the signature is none by a key that this node trusts");
    gateway.ready("web");

    // A list without it that is signed takes the pod away.
    shell(&gateway.path("manifests"), &format!("{SIGN} -in SHA256SUMS -out SHA256SUMS.sig"));
    gateway.gone("web");
    quiet(&gateway);
}

#[test]
fn without_the_key_nothing_new_counts_and_what_ran_runs_on() {
    let mut gateway = prepare();
    gateway.apply(&labelled("web", "1"));
    sign(&gateway);
    gateway.run(true);
    gateway.ready("web");
    quiet(&gateway);
    let key = gateway.path("host").join("pub");
    fs::rename(&key, gateway.path("host").join("away")).unwrap();
    gateway.apply(&labelled("web", "2"));
    sign(&gateway);
    says(&gateway, "host/pub: No such file");
    gateway.until("the first version", |pods| version(pods, "web").as_deref() == Some("1"));
    fs::rename(gateway.path("host").join("away"), key).unwrap();
    gateway.ok(&["reload"]);
    gateway.until("the second version", |pods| version(pods, "web").as_deref() == Some("2"));
    quiet(&gateway);
}

#[test]
fn what_is_applied_needs_a_signature_and_rollback_needs_none() {
    let mut gateway = prepare();
    gateway.run(true);
    let host = gateway.path("host");
    let file = |name: &str| host.join(name).to_str().unwrap().to_owned();
    for version in ["1", "2"] {
        let both = format!("{}\n---\n{}\n", labelled("web", version), labelled("other", version));
        put(&host, &format!("{version}.yaml"), both);
        shell(&host, &format!("{SIGN} -in {version}.yaml -out {version}.sig"));
    }
    let (first, second) = (file("1.yaml"), file("2.yaml"));
    let apply = ["apply", "-f", &first];
    assert!(gateway.fails(&apply).contains("name a --signature for each file"));
    let wrong = gateway.fails(&["apply", "-f", &first, "--signature", &file("2.sig")]);
    assert!(wrong.contains("none by a key that this node trusts") && wrong.contains("nothing was applied"), "{wrong}");
    assert!(!gateway.path("data/manifests/applied.yaml").exists());

    let signed =
        |gateway: &Gateway, file: &str, signature: &str| gateway.ok(&["apply", "-f", file, "--signature", signature]);
    assert_eq!(signed(&gateway, &first, &file("1.sig")), "pod/other created\npod/web created\n");
    gateway.until("both", |pods| version(pods, "web").is_some() && version(pods, "other").is_some());
    quiet(&gateway);
    assert_eq!(signed(&gateway, &second, &file("2.sig")), "pod/other configured\npod/web configured\n");
    gateway.until("the second version", |pods| version(pods, "web").as_deref() == Some("2"));
    assert_eq!(gateway.ok(&["rollback"]), "pod/other configured\npod/web configured\n");
    gateway.until("the first version", |pods| version(pods, "web").as_deref() == Some("1"));

    // One of the two documents of a signed file goes, the other stays signed.
    put(&host, "web.yaml", labelled("web", "1").to_string());
    assert_eq!(gateway.ok(&["delete", "-f", &file("web.yaml")]), "pod/web deleted\n");
    gateway.gone("web");
    gateway.ready("other");
    quiet(&gateway);

    // Somebody writes there by hand.
    let applied = gateway.path("data/manifests/applied.yaml");
    let stored = fs::read_to_string(&applied).unwrap();
    put(&gateway.path("data/manifests"), "applied.yaml", format!("{stored}---\n{}\n", labelled("bad", "1")));
    says(&gateway, "Pod default/bad was applied without a signature");
    gateway.ready("other");
    put(&gateway.path("data/manifests"), "applied.yaml", stored.replace("sleep", "slepp"));
    says(&gateway, "none by a key that this node trusts");
    gateway.ready("other");
}

/// Waits until a pod's image is refused for this.
fn refused(gateway: &Gateway, name: &str, why: &str) {
    gateway.until(why, |pods| {
        pods.get(name).is_some_and(|pod| {
            waits(pod) == "SignatureValidationFailed"
                && text(container(pod, "app"), "/state/waiting/message").contains(why)
        })
    });
}

#[test]
fn an_image_runs_when_a_signed_list_has_its_digest_and_not_before() {
    let mut gateway = Gateway::prepare(
        "imagePolicy:\n- {match: docker.io/sample/busybox, require: signature, keys: [BASE/host/pub], digests: [BASE/host/images]}\n\
         - {match: '*', require: digest}\n",
    );
    let host = gateway.path("host");
    shell(&host, "openssl genpkey -algorithm ed25519 -out key; openssl pkey -in key -pubout -out pub");
    gateway.apply(&pod("web", WAIT));
    let mut other = pod("other", WAIT);
    other["spec"]["containers"][0]["image"] = json!("sample/redis:7");
    gateway.apply(&other);
    gateway.run(true);
    refused(&gateway, "web", "host/images: No such file");
    refused(&gateway, "other", "write docker.io/sample/redis@sha256:...");
    assert!(gateway.ok(&["describe", "pod", "web"]).contains("is in no signed list"));
    gateway.event("web", "is in no signed list, as imagePolicy wants for \"docker.io/sample/busybox\"");

    // A list of another image, then one that nobody has signed.
    let sign = "openssl pkeyutl -sign -rawin -inkey key -in images -out images.sig";
    let digest = |digest: &str| put(&host, "images", format!("{}  sample/busybox:1\n", digest.replace("sha256:", "")));
    digest(&"0".repeat(64));
    shell(&host, sign);
    gateway.ok(&["reload"]);
    gateway.until("the list", |pods| {
        pods.get("web").is_some_and(|pod| {
            let message = text(container(pod, "app"), "/state/waiting/message");
            waits(pod) == "SignatureValidationFailed"
                && message.contains("docker.io")
                && !message.contains("No such file")
        })
    });
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(gateway.path("data/images/index.json")).unwrap()).unwrap();
    let is_busybox = |entry: &&serde_json::Value| {
        text(entry, "/annotations/org.opencontainers.image.ref.name") == "docker.io/sample/busybox:1"
    };
    let image = index["manifests"].as_array().unwrap().iter().find(is_busybox).unwrap();
    digest(text(image, "/digest"));
    gateway.ok(&["reload"]);
    refused(&gateway, "web", "images.sig: the signature is none by a key");

    shell(&host, sign);
    gateway.ok(&["reload"]);
    gateway.ready("web");
    refused(&gateway, "other", "not named by its digest");
}
