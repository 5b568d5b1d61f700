//! The sample pods, made of other people's programs, with their real manifests; among them the four this product began with.
//!
//! One test for all: some of them use fixed ports of the host.

use std::fs;
use std::path::Path;

use crate::gateway::pods::{container, text};
use crate::gateway::{Gateway, sample_images};

#[test]
fn the_sample_pods_run_and_do_their_work() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/manifests");
    let mut gateway = Gateway::without_images(&format!("imagePreloadPath: {}\n", sample_images().display()));
    for file in fs::read_dir(samples).unwrap().map(Result::unwrap) {
        gateway.write(file.file_name().to_str().unwrap(), fs::read(file.path()).unwrap());
    }
    gateway.run(true);
    for name in ["mosquitto", "publisher", "nginx", "redis", "nodejs", "nodejs-host", "offline"] {
        gateway.ready(name);
    }
    // Its name is generated.
    let registry = gateway.wait_for("the registry", |pods| {
        let pod = pods.items.iter().find(|pod| text(pod, "/metadata/name").starts_with("docker-registry-1-"))?;
        crate::gateway::pods::is_ready(pod).then(|| text(pod, "/metadata/name").to_owned())
    });
    // What has no effect here is told, and nothing else is odd.
    let warnings = gateway.pods().warnings;
    let quiet = ["spec.serviceAccount:", "spec.serviceAccountName"];
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert!(quiet.iter().all(|field| warnings.iter().any(|w| w.contains("80-registry.yaml:") && w.contains(field))));

    gateway.wait_for_log(&["publisher"], "published");
    gateway.wait_for_log(&["mosquitto"], "New client connected");
    assert_eq!(gateway.ok(&["logs", "publisher", "-c", "wait-for-broker"]).lines().last(), Some("broker is there"));
    let heard = gateway.exec("mosquitto", "mosquitto_sub -h 127.0.0.1 -t 'gateway/#' -C 1 -W 60");
    assert!(heard.starts_with("reading"), "{heard}");

    let page = gateway.exec("nginx", "wget -qO- http://127.0.0.1/");
    assert!(page.contains("served from a ConfigMap"), "{page}");
    gateway.wait_for_log(&["nginx"], "GET / HTTP/1.1");

    assert_eq!(gateway.exec("redis", "redis-cli set reading 42").trim(), "OK");
    gateway.ok(&["restart", "pod", "redis"]);
    gateway.until("redis again", |pods| {
        pods.ready("redis").is_some_and(|pod| container(pod, "redis")["restartCount"] == 1)
    });
    assert_eq!(
        gateway.exec("redis", "until redis-cli ping | grep -q PONG; do sleep 0.1; done; redis-cli get reading").trim(),
        "42"
    );
    assert_eq!(gateway.exec("redis", "id -u; ls /data").lines().next(), Some("102"));

    for name in ["nodejs", "nodejs-host"] {
        gateway.wait_for_log(&[name], "listening on 8080");
        let hello = gateway.exec(name, "wget -qO- http://127.0.0.1:8080/");
        assert!(hello.starts_with("hello from "), "{hello}");
    }
    gateway.wait_for_log(&[&registry], "listening on");
    // Its package asks for a password below /v2/.
    let script = "wget -qO /dev/null http://127.0.0.1:5000/ && echo it answers; cat /var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(gateway.exec(&registry, script), "it answers\nnot-a-real-token");

    gateway.until("the crash loop", |pods| {
        pods.get("crash")
            .is_some_and(|pod| text(container(pod, "crash"), "/state/waiting/reason") == "CrashLoopBackOff")
    });
    assert!(gateway.ok(&["logs", "crash", "--previous"]).contains("ouch"));
}
