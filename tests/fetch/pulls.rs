//! Pulls from Debian's docker-registry, and from servers that are not what they should be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{Gateway, fetching, sample_images};

/// A docker-registry with the busybox image in it, which ends with it.
struct Registry {
    process: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl Registry {
    /// `user:password` of the only one who may come in; empty: anybody.
    fn start(who: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let base = directory.path().display();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {base}/data}}}}\nhttp: {{addr: '{address}'}}\n"
        );
        if let Some((user, password)) = who.split_once(':') {
            let made = Command::new("htpasswd").args(["-Bbn", user, password]).output().unwrap();
            std::fs::write(directory.path().join("htpasswd"), made.stdout).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {base}/htpasswd}}}}\n");
        }
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        let process = command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(&address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let archive = format!("oci-archive:{}", sample_images().join("busybox.tar").display());
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--quiet", "--dest-tls-verify=false"]);
        if !who.is_empty() {
            copy.args(["--dest-creds", who]);
        }
        assert!(copy.arg(archive).arg(format!("docker://{address}/sample/busybox:1")).status().unwrap().success());
        Self { process, address, directory: directory }
    }

    fn image(&self) -> String {
        format!("{}/sample/busybox:1", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn of_image(name: &str, image: &str) -> Value {
    let mut pod = pod(name, WAIT);
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod
}

fn empty(settings: &str) -> Gateway {
    let mut gateway = Gateway::without_images(&fetching(settings));
    gateway.run(true);
    gateway
}

/// What the pod's container waits for, once its image could not be had.
fn failure(gateway: &Gateway, name: &str) -> String {
    gateway.wait_for("ErrImagePull", |pods| {
        let pod = pods.get(name).filter(|pod| ["ErrImagePull", "ImagePullBackOff"].contains(&waits(pod)))?;
        Some(text(container(pod, "app"), "/state/waiting/message").to_owned())
    })
}

#[test]
fn an_image_is_pulled_from_the_first_mirror_that_has_it_and_the_event_says_which() {
    let registry = Registry::start("");
    let nobody = free_port();
    let gateway = empty(&format!(
        "registries:\n  site.example: {{mirrors: [{{url: 'http://127.0.0.1:{nobody}'}}, {{url: 'http://{}'}}]}}",
        registry.address
    ));
    gateway.apply(&of_image("web", "site.example/sample/busybox:1"));
    gateway.ready("web");
    gateway.event("web", "Pulling image \"site.example/sample/busybox:1\"");
    let told = gateway.event("web", "Successfully pulled image");
    assert!(text(&told, "/message").contains(&format!("came from http://{}", registry.address)), "{told}");
    let events = gateway.events();
    assert!(events.iter().all(|event| event["type"] == "Normal"), "{events:#?}");
    assert!(!text(&told, "/message").contains("already present"));
    // Nothing of the pull is left beside the store, and what is in the store is root's.
    assert_eq!(std::fs::read_dir(gateway.path("data/images/.pull")).unwrap().count(), 0);
    let blobs = std::fs::read_dir(gateway.path("data/images/blobs/sha256")).unwrap();
    for blob in blobs {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = blob.unwrap().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.nlink(), metadata.mode() & 0o777), (0, 1, 0o644));
    }
    // A second pod finds it there.
    gateway.apply(&of_image("again", "site.example/sample/busybox:1"));
    gateway.ready("again");
    gateway.event("again", "already present on machine");
}

#[test]
fn a_registry_that_asks_who_one_is_gets_the_pull_secret_and_without_one_says_so() {
    let registry = Registry::start("user:secret");
    let gateway = empty("");
    gateway.apply(&of_image("nobody", &registry.image()));
    let why = failure(&gateway, "nobody");
    assert!(why.contains("authorization failed") && why.contains("imagePullSecrets"), "{why}");
    let config = json!({"auths": {&registry.address: {"username": "user", "password": "secret"}}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "site"},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config.to_string()}});
    gateway.write("secret.yaml", secret.to_string());
    let mut known = of_image("known", &registry.image());
    known["spec"]["imagePullSecrets"] = json!([{"name": "site"}]);
    gateway.apply(&known);
    gateway.ready("known");
    assert!(!gateway.events().iter().any(|event| text(event, "/message").contains("secret\"")));
}

#[test]
fn always_asks_the_registry_and_takes_what_is_here_when_nobody_answers() {
    let registry = Registry::start("");
    let gateway = empty("");
    let mut always = of_image("web", &registry.image());
    always["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    gateway.apply(&always);
    gateway.ready("web");
    drop(registry);
    always["metadata"]["name"] = json!("later");
    gateway.apply(&always);
    gateway.ready("later");
    let told = gateway.event("later", "No registry can be reached");
    assert_eq!((text(&told, "/reason"), text(&told, "/type")), ("PullFallback", "Warning"));
}

/// What a server does with a request: its path and the header Authorization.
type Answer = Box<dyn Fn(&str, &str, &mut TcpStream) + Send + Sync>;

/// A server of our own, for as long as the test runs.
fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
                let headers: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let who = headers.iter().find_map(|line| line.strip_prefix("Authorization: "));
                answer(&path, who.unwrap_or_default(), &mut stream);
            });
        }
    });
    address
}

fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let length = body.len();
    let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    let _ = stream.write_all(body);
}

/// Goes on until the other side has had enough.
fn send_for_ever(stream: &mut TcpStream, head: &str, piece: &[u8], pause: Duration) {
    let mut sent = stream.write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes());
    while sent.is_ok() {
        std::thread::sleep(pause);
        sent = stream.write_all(piece);
    }
}

const MANIFEST: &str = "200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json";

fn manifest() -> Vec<u8> {
    let blob = |digit: &str, kind: &str| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{}", digit.repeat(64)), "size": 10});
    json!({"schemaVersion": 2, "config": blob("1", "config.v1+json"), "layers": [blob("2", "layer.v1.tar")]})
        .to_string()
        .into()
}

#[test]
fn hostile_registries_end_in_a_clear_reason_and_leave_the_store_as_it_was() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let elsewhere = serve(Box::new(move |path, who, stream| {
        ears.lock().unwrap().push(format!("{path} {who}"));
        send(stream, "404 Not Found", b"");
    }));
    let server = serve(Box::new(move |path, who, stream| {
        let kind = path.split('/').nth(2).unwrap_or_default();
        match (kind, path.contains("/manifests/")) {
            ("huge", _) => send_for_ever(stream, MANIFEST, &[b' '; 65536], Duration::ZERO),
            ("drip", _) => send_for_ever(stream, MANIFEST, b" ", Duration::from_millis(100)),
            ("type", _) => send(stream, "200 OK\r\nContent-Type: text/html", b"<html>"),
            ("away", _) if who.is_empty() => send(stream, "401 No\r\nWWW-Authenticate: Basic realm=\"x\"", b""),
            ("away", _) => send(stream, &format!("307 There\r\nLocation: http://{elsewhere}/stolen"), b""),
            (_, true) => send(stream, MANIFEST, &manifest()),
            ("endless", _) => send_for_ever(stream, "200 OK", &[0; 65536], Duration::ZERO),
            _ => send(stream, "200 OK", b"0123456789"),
        }
    }));
    let auths = json!({"auths": {&server: {"username": "user", "password": "secret"}}}).to_string();
    let mut gateway = Gateway::prepare(&fetching(&format!(
        "imagePullProgressDeadline: 2s\nregistries: {{'{server}': {{auth: BASE/auth.json}}}}"
    )));
    std::fs::write(gateway.path("auth.json"), auths).unwrap();
    gateway.run(true);
    gateway.apply(&pod("runs", WAIT));
    gateway.ready("runs");
    for (name, why) in [
        ("huge", "the answer is longer than 4194304 bytes"),
        ("drip", "no progress for 2 s"),
        ("type", "media type \"text/html\", which is no image"),
        ("wrong", "has the wrong digest"),
        ("endless", "is longer than the 10 bytes that the manifest says"),
        ("away", "not found (404)"),
    ] {
        gateway.apply(&of_image(name, &format!("{server}/{name}/image:1")));
        let told = failure(&gateway, name);
        assert!(told.contains(why), "{name}: {told}");
    }
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty() && heard.iter().all(|request| request == "/stolen "), "{heard:?}");
    assert_eq!(gateway.ok(&["image", "ls"]).lines().count(), 2);
    gateway.ready("runs");
}

#[test]
fn half_a_blob_is_gone_on_with_and_not_begun_anew() {
    let registry = Registry::start("");
    let image = registry.image();
    let inspected =
        Command::new("skopeo").args(["inspect", "--tls-verify=false", &format!("docker://{image}")]).output();
    let inspected: Value = serde_json::from_slice(&inspected.unwrap().stdout).unwrap();
    let (digest, size) =
        (text(&inspected, "/LayersData/0/Digest"), inspected["LayersData"][0]["Size"].as_u64().unwrap());
    let gateway = Gateway::without_images(&fetching(""));
    // As a pull that was interrupted leaves it.
    let reference: gatepost::image::Reference = image.parse().unwrap();
    let pull = gateway.path("data/images/.pull").join(gatepost::image::pull::directory_of(&reference));
    std::fs::create_dir_all(pull.join("blobs/sha256")).unwrap();
    let part = pull.join("blobs/sha256").join(format!("{}.part", digest.trim_start_matches("sha256:")));
    let blob = format!(
        "{}/data/docker/registry/v2/blobs/sha256/{}/{}/data",
        registry.directory.path().display(),
        &digest[7..9],
        &digest[7..]
    );
    let blob = std::fs::read(blob).unwrap();
    std::fs::write(&part, &blob[..blob.len() / 2]).unwrap();
    let chown = Command::new("chown").args(["-R", "65531:65531"]).arg(&pull).status();
    assert!(chown.unwrap().success());
    let mut gateway = gateway;
    gateway.run(true);
    gateway.apply(&of_image("web", &image));
    gateway.ready("web");
    let told = gateway.event("web", "Successfully pulled image");
    let received =
        text(&told, "/message").split("bytes. ").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(received < size * 3 / 4, "{received} of {size}: {told}");
}
