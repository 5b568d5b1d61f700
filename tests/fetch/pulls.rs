//! Pulls from Debian's docker-registry.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::gateway::pods::text;
use crate::gateway::{Gateway, eventually, fetching};
use crate::registry::{
    Certificate, Kind, OCI_INDEX, OCI_MANIFEST, Registry, assert_store_is_valid, busybox, empty, failure, free_port,
    join, of_image, received, source,
};

#[test]
fn an_image_is_pulled_from_the_first_mirror_that_has_it_and_the_event_says_which() {
    let registry = Registry::start();
    let without = Registry::empty();
    let nobody = free_port();
    let gateway = empty(&format!(
        "registries:\n  site.example: {{mirrors: [{{url: 'http://127.0.0.1:{nobody}'}}, {{url: 'http://{}'}}, {{url: 'http://{}'}}]}}",
        without.address, registry.address
    ));
    gateway.apply(&of_image("web", "site.example/sample/busybox:1"));
    gateway.ready("web");
    gateway.event("web", "Pulling image \"site.example/sample/busybox:1\"");
    assert_eq!(source(&gateway, "web"), format!("http://{}", registry.address));
    let events = gateway.events();
    let about_image = |event: &serde_json::Value| text(event, "/message").contains("image");
    assert!(events.iter().filter(|event| about_image(event)).all(|event| event["type"] == "Normal"), "{events:#?}");
    assert!(!events.iter().any(|event| text(event, "/message").contains("already present")), "{events:#?}");
    // Nothing of the pull is left beside the store, and what is in the store is root's.
    assert_eq!(std::fs::read_dir(gateway.path("data/images/.pull")).unwrap().count(), 0);
    let blobs = std::fs::read_dir(gateway.path("data/images/blobs/sha256")).unwrap();
    for blob in blobs {
        let metadata = blob.unwrap().metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.nlink(), metadata.mode() & 0o777), (0, 1, 0o644));
    }
    assert_store_is_valid(&gateway);
    // A second pod finds it there.
    gateway.apply(&of_image("again", "site.example/sample/busybox:1"));
    gateway.ready("again");
    gateway.event("again", "already present on machine");
}

#[test]
fn a_registry_that_asks_who_one_is_gets_the_pull_secret_that_fits_and_without_one_says_so() {
    let registry = Registry::of(&Kind { who: "user:secret", ..Kind::default() });
    registry.push("sample/busybox:1", &[]);
    let gateway = empty("");
    gateway.apply(&of_image("nobody", &registry.image()));
    let why = failure(&gateway, "nobody");
    assert!(why.contains("authorization failed") && why.contains("imagePullSecrets"), "{why}");
    gateway.event("nobody", "Back-off pulling image");
    // The first one fits better, but the registry does not like it.
    let config = json!({"auths": {
        &registry.address: {"username": "user", "password": "secret"},
        format!("{}/sample", registry.address): {"username": "user", "password": "old"},
    }});
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
fn a_mirror_gets_what_its_own_auth_file_says_and_an_unreadable_one_is_passed_over() {
    let registry = Registry::of(&Kind { who: "user:secret", ..Kind::default() });
    registry.push("sample/busybox:1", &[]);
    let url = format!("http://{}", registry.address);
    let mut gateway = Gateway::without_images(&fetching(&format!(
        "registries: {{site.example: {{mirrors: [{{url: '{url}', auth: /nonexistent}}, {{url: '{url}', auth: BASE/auth.json}}]}}}}"
    )));
    let auths = json!({"auths": {&registry.address: {"auth": "dXNlcjpzZWNyZXQ="}}});
    std::fs::write(gateway.path("auth.json"), auths.to_string()).unwrap();
    gateway.run(true);
    gateway.apply(&of_image("web", "site.example/sample/busybox:1"));
    gateway.ready("web");
}

#[test]
fn always_asks_the_registry_and_takes_what_is_here_when_nobody_answers_unless_that_is_forbidden() {
    let registry = Registry::start();
    let mut gateway = empty("");
    let mut always = of_image("web", &registry.image());
    always["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    gateway.apply(&always);
    gateway.ready("web");
    always["metadata"]["name"] = json!("current");
    gateway.apply(&always);
    gateway.ready("current");
    gateway.event("current", "is up to date");
    // The name stands for another image now.
    registry.push("sample/busybox:1", &["--format", "v2s2"]);
    always["metadata"]["name"] = json!("newer");
    gateway.apply(&always);
    gateway.ready("newer");
    gateway.event("newer", "Successfully pulled image");
    drop(registry);
    always["metadata"]["name"] = json!("later");
    gateway.apply(&always);
    gateway.ready("later");
    let told = gateway.event("later", "No registry can be reached");
    assert_eq!((text(&told, "/reason"), text(&told, "/type")), ("PullFallback", "Warning"));
    gateway.stop();
    let file = gateway.path("config.yaml");
    let config = std::fs::read_to_string(&file).unwrap() + "imagePullFallback: false\n";
    std::fs::write(&file, config).unwrap();
    gateway.run(true);
    assert!(failure(&gateway, "later").contains("connection refused"));
}

#[test]
fn a_registry_with_a_certificate_of_the_site_is_trusted_by_its_file_and_one_of_another_time_is_not() {
    let made = Certificate::usual();
    let registry = Registry::of(&Kind { tls: Some(&made), ..Kind::default() });
    registry.push("sample/busybox:1", &[]);
    let early = Certificate::valid("20900101000000Z", "20910101000000Z");
    let too_early = Registry::of(&Kind { tls: Some(&early), ..Kind::default() });
    let late = Certificate::valid("20100101000000Z", "20110101000000Z");
    let too_late = Registry::of(&Kind { tls: Some(&late), ..Kind::default() });
    let one = |name: &str, registry: &Registry, more: &str| {
        format!("  {name}: {{mirrorsOnly: true, mirrors: [{{url: 'https://{}'{more}}}]}}\n", registry.address)
    };
    let gateway = empty(&format!(
        "registries:\n{}{}{}{}{}",
        one("a.example", &registry, &format!(", ca: {}", made.file())),
        one("b.example", &registry, ", skipVerify: true"),
        one("c.example", &registry, ""),
        one("early.example", &too_early, &format!(", ca: {}", early.file())),
        one("late.example", &too_late, &format!(", ca: {}", late.file())),
    ));
    for name in ["a", "b"] {
        gateway.apply(&of_image(name, &format!("{name}.example/sample/busybox:1")));
        gateway.ready(name);
    }
    for (name, why) in [
        ("c", "`ca` in the setting registries"),
        ("early", "is this node's clock right?"),
        ("late", "is this node's clock right?"),
    ] {
        gateway.apply(&of_image(name, &format!("{name}.example/sample/busybox:1")));
        let told = failure(&gateway, name);
        assert!(told.contains("tls: failed to verify certificate") && told.contains(why), "{told}");
    }
    assert_store_is_valid(&gateway);
}

#[test]
fn layers_by_zstd_and_by_gzip_are_pulled() {
    let registry = Registry::empty();
    // skopeo compresses anew only what is of no other kind.
    let layout = tempfile::tempdir().unwrap();
    let [plain, zstd] = ["plain", "zstd"].map(|name| format!("oci:{}:1", layout.path().join(name).display()));
    for (from, to, more) in [(&busybox(), &plain, "gzip"), (&plain, &zstd, "zstd")] {
        let compress = ["--dest-compress", "--dest-compress-format", more];
        let mut skopeo = Command::new("skopeo");
        assert!(skopeo.args(["copy", "--quiet"]).args(compress).args([from, to]).status().unwrap().success());
    }
    registry.copy(&zstd, "sample/busybox:zstd", &[]);
    registry.push("sample/busybox:gzip", &["--format", "v2s2"]);
    let of = |tag: &str| text(&registry.manifest("sample/busybox", tag), "/layers/0/mediaType").to_owned();
    assert!(of("zstd").ends_with("+zstd"), "{}", of("zstd"));
    let gateway = empty("");
    for tag in ["zstd", "gzip"] {
        gateway.apply(&of_image(tag, &format!("{}/sample/busybox:{tag}", registry.address)));
        gateway.ready(tag);
    }
    assert_store_is_valid(&gateway);
}

#[test]
fn of_nested_indexes_the_image_of_this_platform_is_pulled_and_nothing_else() {
    let registry = Registry::start();
    let name = "sample/busybox";
    let whole = registry.manifest(name, "1");
    let variant = |annotation: &str| {
        let mut manifest = whole.clone();
        manifest["annotations"] = json!({"variant": annotation});
        registry.put(name, OCI_MANIFEST, &manifest, None)
    };
    let entry = |(digest, size): &(String, usize), architecture: &str, variant: &str| {
        json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size,
            "platform": {"os": if architecture == "unknown" { "unknown" } else { "linux" }, "architecture": architecture, "variant": variant}})
    };
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => panic!("write down what OCI calls {other}"),
    };
    let (ours, foreign, attestation) = (variant("ours"), variant("foreign"), variant("attestation"));
    let index = |entries: serde_json::Value| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let others = index(json!([entry(&foreign, "s390x", ""), entry(&foreign, "arm", "v6")]));
    let inner = index(json!([entry(&attestation, "unknown", ""), entry(&ours, own, "")]));
    let nested = |(digest, size): (String, usize)| json!({"mediaType": OCI_INDEX, "digest": digest, "size": size});
    let (others, inner) = (registry.put(name, OCI_INDEX, &others, None), registry.put(name, OCI_INDEX, &inner, None));
    let outer = index(json!([nested(others.clone()), nested(inner)]));
    let (top, _) = registry.put(name, OCI_INDEX, &outer, Some("many"));
    registry.put(name, OCI_INDEX, &index(json!([nested(others)])), Some("foreign"));
    let gateway = empty("");
    gateway.apply(&of_image("web", &format!("{}/{name}:many", registry.address)));
    let web = gateway.ready("web");
    assert_eq!(text(&web, "/status/containerStatuses/0/imageID"), ours.0);
    // By the digest of the index it is the same, and is not pulled again.
    gateway.apply(&of_image("pinned", &format!("{}/{name}@{top}", registry.address)));
    gateway.ready("pinned");
    gateway.event("pinned", "already present on machine");
    gateway.apply(&of_image("foreign", &format!("{}/{name}:foreign", registry.address)));
    let why = failure(&gateway, "foreign");
    assert!(why.contains("no image for this node") && why.contains("there are: linux/s390x, linux/arm/v6"), "{why}");
}

#[test]
fn half_a_blob_is_gone_on_with_and_not_begun_anew() {
    let registry = Registry::start();
    let image = registry.image();
    let manifest = registry.manifest("sample/busybox", "1");
    let (digest, size) = (text(&manifest, "/layers/0/digest"), manifest["layers"][0]["size"].as_u64().unwrap());
    let mut gateway = Gateway::without_images(&fetching(""));
    // As pulls that were interrupted leave it; the other was so long ago that nobody waits for it.
    let reference: gatepost::image::Reference = image.parse().unwrap();
    let all = gateway.path("data/images/.pull");
    let own = all.join(gatepost::image::pull::directory_of(&reference));
    for directory in [own.join("blobs/sha256"), all.join("old/blobs")] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let aged = Command::new("touch").args(["-d", "8 days ago"]).args([&own, &all.join("old")]).status().unwrap();
    assert!(aged.success());
    let part = own.join("blobs/sha256").join(format!("{}.part", digest.trim_start_matches("sha256:")));
    let blob = std::fs::read(registry.blob(digest)).unwrap();
    std::fs::write(&part, &blob[..blob.len() / 2]).unwrap();
    assert!(Command::new("chown").args(["-R", "65531:65531"]).arg(&own).status().unwrap().success());
    gateway.run(true);
    gateway.apply(&of_image("web", &image));
    gateway.ready("web");
    let told = gateway.event("web", "Successfully pulled image");
    assert!(received(&told) < size * 3 / 4, "{told}");
    assert_eq!(std::fs::read_dir(all).unwrap().count(), 0);
}

#[test]
fn a_slow_pull_says_how_far_it_is_survives_an_interruption_and_keeps_to_its_bandwidth() {
    let registry = Registry::start();
    let manifest = registry.manifest("sample/busybox", "1");
    let size = manifest["layers"][0]["size"].as_u64().unwrap();
    let mut gateway = empty("imagePullBandwidth: 200Ki\nimagePullProgressDeadline: 2s");
    gateway.apply(&of_image("web", &registry.image()));
    gateway.wait_for("the pull", |pods| pods.get("web").map(drop));
    let far = format!(
        " of {}.{} MiB from http://{}",
        (size + 4000) >> 20,
        (((size + 4000) & 0xfffff) * 10) >> 20,
        registry.address
    );
    let shown = eventually("progress", || {
        let shown = gateway.ok(&["describe", "pod", "web"]);
        (shown.contains(&far) && !shown.contains(&format!(": 0.0{far}"))).then_some(shown)
    });
    assert!(shown.contains("ContainerCreating"), "{shown}");
    gateway.stop();
    gateway.run(true);
    gateway.ready("web");
    let told = gateway.event("web", "Successfully pulled image");
    assert!(received(&told) < size, "{told}");
    let took = text(&told, "/message").split(" in ").nth(1).unwrap().split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(took >= received(&told) / (200 << 10) - 1, "{told}");
}

#[test]
fn proxies_are_asked_for_what_is_not_spared_by_connect_for_tls() {
    let made = Certificate::usual();
    let secure = Registry::of(&Kind { tls: Some(&made), ..Kind::default() });
    secure.push("sample/busybox:1", &[]);
    let plain = Registry::start();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proxy = proxy(secure.address.clone(), plain.address.clone(), Arc::clone(&asked));
    let mut gateway = Gateway::without_images(&fetching(&format!(
        "registries:\n  registry.test: {{ca: {}}}\n  plain.test: {{plainHTTP: true}}\n  spared.test: {{plainHTTP: true}}\n",
        made.file()
    )));
    gateway.through =
        ["env", &format!("HTTPS_PROXY=http://me:pw@{proxy}"), &format!("http_proxy={proxy}"), "NO_PROXY=spared.test"]
            .map(str::to_owned)
            .to_vec();
    gateway.run(true);
    for name in ["registry", "plain"] {
        gateway.apply(&of_image(name, &format!("{name}.test/sample/busybox:1")));
        gateway.ready(name);
    }
    gateway.apply(&of_image("spared", "spared.test/sample/busybox:1"));
    assert!(failure(&gateway, "spared").contains("lookup spared.test"));
    let asked = asked.lock().unwrap();
    // One connection was enough for the manifest, the configuration and the layers.
    let connects: Vec<&String> = asked.iter().filter(|line| line.starts_with("CONNECT")).collect();
    assert_eq!(connects, ["CONNECT registry.test:443 HTTP/1.1 Basic bWU6cHc="], "{asked:?}");
    assert!(
        asked.iter().any(|line| line.starts_with("GET http://plain.test/v2/sample/busybox/manifests/1 ")),
        "{asked:?}"
    );
    assert!(!asked.iter().any(|line| line.contains("spared")), "{asked:?}");
}

/// A proxy that leads to `secure` by CONNECT, and to `plain` otherwise; tells what it was asked.
fn proxy(secure: String, plain: String, asked: Arc<Mutex<Vec<String>>>) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, asked, secure, plain) =
                (stream.unwrap(), Arc::clone(&asked), secure.clone(), plain.clone());
            std::thread::spawn(move || {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let who = head.iter().find_map(|line| line.strip_prefix("Proxy-Authorization: ")).unwrap_or_default();
                asked.lock().unwrap().push(format!("{} {who}", head[0]));
                if head[0].starts_with("CONNECT") {
                    let to = TcpStream::connect(secure).unwrap();
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                    join(&stream, &to);
                } else {
                    let mut to = TcpStream::connect(plain).unwrap();
                    let first = head[0].replace("http://plain.test", "");
                    to.write_all(
                        (first + "\r\nConnection: close\r\n" + &head[1..].join("\r\n") + "\r\n\r\n").as_bytes(),
                    )
                    .unwrap();
                    join(&stream, &to);
                }
            });
        }
    });
    address
}
