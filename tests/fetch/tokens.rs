//! Pulls from a docker-registry that sends its clients to a token server of ours.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost::manifest::base64;
use serde_json::json;

use crate::gateway::{Gateway, fetching};
use crate::registry::{Certificate, Kind, Registry, busybox, failure, of_image, received, send, serve};

/// A token as the registry's documentation has them (JWT), signed by this certificate's key.
fn token(made: &Path, scope: &str, seconds: u64) -> String {
    let plain = |bytes: &[u8]| base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_");
    let pem = fs::read_to_string(made.join("c.pem")).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (kind, rest) = scope.split_once(':').unwrap_or_default();
    let (name, actions) = rest.rsplit_once(':').unwrap_or_default();
    let actions: Vec<&str> = actions.split(',').collect();
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [der]});
    let claims = json!({"iss": "site", "sub": "", "aud": "registry", "nbf": now - 60, "iat": now, "jti": "1",
        // The registry allows for a minute of difference between clocks.
        "exp": now - 60 + seconds, "access": [{"type": kind, "name": name, "actions": actions}]});
    let body = [header, claims].map(|part| plain(part.to_string().as_bytes())).join(".");
    let file = made.join("body");
    fs::write(&file, &body).unwrap();
    let signed =
        Command::new("openssl").args(["dgst", "-sha256", "-sign"]).arg(made.join("k.pem")).arg(&file).output().unwrap();
    assert!(signed.status.success());
    format!("{body}.{}", plain(&signed.stdout))
}

/// The busybox image with one more layer, as an OCI layout.
fn two_layers() -> tempfile::TempDir {
    let layout = tempfile::tempdir().unwrap();
    let path = layout.path().to_str().unwrap();
    assert!(
        Command::new("skopeo")
            .args(["copy", "--quiet", &busybox(), &format!("oci:{path}:1")])
            .status()
            .unwrap()
            .success()
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    let insert = ["insert", "--image", &format!("{path}:1"), file.path().to_str().unwrap(), "/more"].map(str::to_owned);
    assert!(Command::new("umoci").args(insert).status().unwrap().success());
    layout
}

#[test]
fn a_token_is_got_with_a_password_or_an_identity_token_and_again_when_it_is_too_old() {
    let made = Arc::new(Certificate::rsa());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (ears, maker) = (Arc::clone(&asked), Arc::clone(&made));
    // One at a time, since they are signed through files.
    let server = serve(Box::new(move |asked, stream| {
        let mut ears = ears.lock().unwrap();
        let query = asked.path.split_once('?').map_or("", |(_, query)| query);
        let form = if asked.method == "POST" { asked.body.clone() } else { query.to_owned() };
        let who = asked.header("Authorization");
        ears.push(format!("{} {who} {form}", asked.method));
        let scope = form
            .split('&')
            .find_map(|part| part.strip_prefix("scope="))
            .unwrap_or_default()
            .replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%2C", ",");
        let known = ["Basic dXNlcjpzZWNyZXQ=", "Basic c2hvcnQ6c2VjcmV0"].contains(&who)
            || form.contains("refresh_token=idtoken");
        if !known {
            return send(stream, "401 No", b"{}");
        }
        // Tokens for `short` are good for some seconds only.
        let seconds = if who.ends_with("c2hvcnQ6c2VjcmV0") { 3 } else { 600 };
        let token = token(maker.0.path(), &scope, seconds);
        send(
            stream,
            "200 OK\r\nContent-Type: application/json",
            json!({"token": token, "access_token": token}).to_string().as_bytes(),
        );
    }));
    let more = format!(
        "auth: {{token: {{realm: 'http://{server}/token', service: registry, issuer: site, rootcertbundle: {}}}}}\n",
        made.file()
    );
    let registry = Registry::of(&Kind { more, ..Kind::default() });
    let layers = two_layers();
    registry.copy(&format!("oci:{}:1", layers.path().display()), "sample/busybox:1", &["--dest-creds", "user:secret"]);
    let gateway = |account: &serde_json::Value, settings: &str| {
        let settings = format!("{settings}\nregistries: {{'{}': {{auth: BASE/auth.json}}}}", registry.address);
        let mut gateway = Gateway::without_images(&fetching(&settings));
        let auths = json!({"auths": {&registry.address: account}}).to_string();
        fs::write(gateway.path("auth.json"), auths).unwrap();
        gateway.run(true);
        gateway.apply(&of_image("web", &registry.image()));
        gateway
    };
    let heard = || std::mem::take(&mut *asked.lock().unwrap());
    heard();
    let scope = "service=registry&scope=repository:sample/busybox:pull";
    gateway(&json!({"username": "user", "password": "secret"}), "").ready("web");
    assert_eq!(heard(), [format!("GET Basic dXNlcjpzZWNyZXQ= {scope}")]);
    gateway(&json!({"identitytoken": "idtoken"}), "").ready("web");
    let form = format!("POST  grant_type=refresh_token&client_id=gatepost&refresh_token=idtoken&{scope}");
    assert_eq!(heard(), [form]);
    let refused = gateway(&json!({"username": "user", "password": "wrong"}), "");
    assert!(failure(&refused, "web").contains("authorization failed"));
    // It would try again.
    drop(refused);
    heard();
    // The first layer takes longer than the token is good for.
    let slow = gateway(&json!({"username": "short", "password": "secret"}), "imagePullBandwidth: 150Ki");
    slow.ready("web");
    assert!(received(&slow.event("web", "Successfully pulled")) > 1 << 20);
    assert_eq!(heard(), vec![format!("GET Basic c2hvcnQ6c2VjcmV0 {scope}"); 2]);
}
