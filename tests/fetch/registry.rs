//! Debian's docker-registry, filled by skopeo: [`Registry`]; and servers of our own for what no good registry does: [`serve`].
#![allow(unreachable_pub)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gatepost::config::Layout;
use gatepost::image::{command, worker};
use serde_json::{Value, json};

use crate::gateway::manifest::{WAIT, pod};
use crate::gateway::pods::{container, text, waits};
use crate::gateway::{GATEPOST, Gateway, eventually, fetching, sample_images};

/// A docker-registry, which ends with it.
pub struct Registry {
    process: Child,
    pub address: String,
    pub directory: tempfile::TempDir,
    /// What skopeo is told to come in, and where it runs.
    login: Vec<String>,
    network: Option<String>,
}

/// How a registry is to be.
#[derive(Default)]
pub struct Kind<'a> {
    /// `user:password` of the only one who may come in; empty: anybody.
    pub who: &'a str,
    /// Certificate and key.
    pub tls: Option<&'a Certificate>,
    /// More lines of its configuration.
    pub more: String,
    /// The network namespace it is in, and its address there.
    pub network: Option<(&'a str, &'a str)>,
}

impl Registry {
    /// Empty, for anybody, without TLS.
    pub fn empty() -> Self {
        Self::of(&Kind::default())
    }

    /// The same with `sample/busybox:1` in it.
    pub fn start() -> Self {
        let registry = Self::empty();
        registry.push("sample/busybox:1", &[]);
        registry
    }

    pub fn of(kind: &Kind<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = kind.network.map_or_else(|| format!("127.0.0.1:{}", free_port()), |(_, a)| format!("{a}:5000"));
        let base = directory.path().display();
        let tls = kind.tls.map(|made| {
            let [certificate, key] = ["c.pem", "k.pem"].map(|file| made.0.path().join(file).display().to_string());
            format!(", tls: {{certificate: {certificate}, key: {key}}}")
        });
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {base}/data}}}}\n\
             http: {{addr: '{address}'{}}}\n{}",
            tls.unwrap_or_default(),
            kind.more
        );
        let mut login = vec!["--dest-tls-verify=false".to_owned()];
        if let Some((user, password)) = kind.who.split_once(':') {
            let made = Command::new("htpasswd").args(["-Bbn", user, password]).output().unwrap();
            fs::write(directory.path().join("htpasswd"), made.stdout).unwrap();
            config += &format!("auth: {{htpasswd: {{realm: test, path: {base}/htpasswd}}}}\n");
            login.extend(["--dest-creds".to_owned(), kind.who.to_owned()]);
        }
        let file = directory.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut command = inside(kind.network.map(|(name, _)| name), "docker-registry");
        let process = command.arg("serve").arg(file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let network = kind.network.map(|(name, _)| name.to_owned());
        let registry = Self { process, address, directory, login, network };
        eventually("the registry", || answers(registry.network.as_deref(), &registry.address).then_some(()));
        registry
    }

    /// Puts the busybox image there under a name; with these arguments of skopeo.
    pub fn push(&self, name: &str, arguments: &[&str]) {
        self.copy(&busybox(), name, arguments);
    }

    /// The same with another image, as skopeo names it.
    pub fn copy(&self, from: &str, name: &str, arguments: &[&str]) {
        let arguments: Vec<&str> = self.login.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        copy(self.network.as_deref(), from, &format!("{}/{name}", self.address), &arguments);
    }

    pub fn image(&self) -> String {
        format!("{}/sample/busybox:1", self.address)
    }

    /// Where its disk has a blob.
    pub fn blob(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.directory.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// A manifest as it has it.
    pub fn manifest(&self, name: &str, tag: &str) -> Value {
        let (_, body) = self.ask("GET", &format!("/v2/{name}/manifests/{tag}"), &[("Accept", OCI_MANIFEST)], b"");
        serde_json::from_slice(&body).unwrap()
    }

    /// Puts a manifest there, and gives its digest and size.
    pub fn put(&self, name: &str, media_type: &str, manifest: &Value, tag: Option<&str>) -> (String, usize) {
        let bytes = manifest.to_string();
        let digest = digest_of(bytes.as_bytes());
        let path = format!("/v2/{name}/manifests/{}", tag.unwrap_or(&digest));
        let (status, body) = self.ask("PUT", &path, &[("Content-Type", media_type)], bytes.as_bytes());
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
        (digest, bytes.len())
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The busybox image, as skopeo names it.
pub fn busybox() -> String {
    format!("oci-archive:{}", sample_images().join("busybox.tar").display())
}

/// Puts an image into a registry.
pub fn copy(network: Option<&str>, from: &str, image: &str, arguments: &[&str]) {
    let mut copy = inside(network, "skopeo");
    copy.args(["copy", "--quiet"]).args(arguments).args([from, &format!("docker://{image}")]);
    assert!(copy.status().unwrap().success(), "{image} is not pushed");
}

/// Whether somebody takes connections there.
pub fn answers(network: Option<&str>, address: &str) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}", address.replace(':', "/"));
    inside(network, "bash").args(["-c", &script]).stderr(Stdio::null()).status().unwrap().success()
}

/// A program, perhaps in a network namespace.
pub fn inside(network: Option<&str>, program: &str) -> Command {
    match network {
        None => Command::new(program),
        Some(name) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/run/netns/{name}")).arg(program);
            command
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// A certificate that vouches for itself, with its key, for 127.0.0.1 and `registry.test`.
pub struct Certificate(pub tempfile::TempDir);

impl Certificate {
    /// As openssl makes it without being asked for more: it says to be an authority.
    pub fn usual() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        made.openssl(&["req", "-x509", "-days", "30", "-subj", "/CN=site", "-addext", NAMES, "-out", "c.pem"], true);
        made
    }

    /// Valid between these times only (`YYYYMMDDHHMMSSZ`).
    pub fn valid(from: &str, to: &str) -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nnew_certs_dir=.\nserial=serial\ndefault_md=sha256\npolicy=p\n\
                      x509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=IP:127.0.0.1,DNS:registry.test\n";
        for (file, content) in [("ca.cnf", config), ("index", ""), ("serial", "01")] {
            fs::write(made.0.path().join(file), content).unwrap();
        }
        made.openssl(&["req", "-new", "-subj", "/CN=site", "-out", "r.pem"], true);
        let sign = ["ca", "-batch", "-notext", "-config", "ca.cnf", "-selfsign", "-keyfile", "k.pem", "-in", "r.pem"];
        made.openssl(&[&sign[..], &["-out", "c.pem", "-startdate", from, "-enddate", to]].concat(), false);
        made
    }

    /// With a key that docker-registry takes for tokens.
    pub fn rsa() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let key = ["-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem"];
        made.openssl(&[&["req", "-x509", "-days", "30", "-subj", "/CN=site"][..], &key].concat(), false);
        made
    }

    pub fn file(&self) -> String {
        self.0.path().join("c.pem").display().to_string()
    }

    fn openssl(&self, arguments: &[&str], new_key: bool) {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem"];
        let mut openssl = Command::new("openssl");
        openssl.current_dir(self.0.path()).args(arguments).args(key.iter().filter(|_| new_key));
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const NAMES: &str = "subjectAltName=IP:127.0.0.1,DNS:registry.test";

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub fn of_image(name: &str, image: &str) -> Value {
    let mut pod = pod(name, WAIT);
    pod["spec"]["containers"][0]["image"] = json!(image);
    pod
}

/// A gateway without any image that can pull.
pub fn empty(settings: &str) -> Gateway {
    let mut gateway = Gateway::without_images(&fetching(settings));
    gateway.run(true);
    gateway
}

/// What the pod's container waits for, once its image could not be had.
pub fn failure(gateway: &Gateway, name: &str) -> String {
    gateway.wait_for("ErrImagePull", |pods| {
        let pod = pods.get(name).filter(|pod| ["ErrImagePull", "ImagePullBackOff"].contains(&waits(pod)))?;
        Some(text(container(pod, "app"), "/state/waiting/message").to_owned())
    })
}

/// How many bytes came, by the event of a pull.
pub fn received(event: &Value) -> u64 {
    text(event, "/message").split("bytes. ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Where an image came from, by the event of its pull.
pub fn source(gateway: &Gateway, pod: &str) -> String {
    let told = gateway.event(pod, "Successfully pulled image");
    text(&told, "/message").rsplit(' ').next().unwrap().to_owned()
}

/// A request to a server of ours.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub headers: Vec<String>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        let prefix = format!("{name}: ");
        self.headers.iter().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    }
}

/// What a server does with each request.
pub type Answer = Box<dyn Fn(&Asked, &mut TcpStream) + Send + Sync>;

/// A server of our own, for as long as the test runs; each connection is closed after its first answer.
pub fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                if let Some(asked) = read(&stream) {
                    answer(&asked, &mut stream);
                }
            });
        }
    });
    address
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    while let Some(header) = line().filter(|header| !header.is_empty()) {
        headers.push(header);
    }
    let mut asked = Asked { method, path, headers, body: String::new() };
    let length = asked.header("Content-Length").parse().unwrap_or(0);
    reader.take(length).read_to_string(&mut asked.body).ok()?;
    Some(asked)
}

pub fn send(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// Goes on until the other side has had enough.
pub fn send_for_ever(stream: &mut TcpStream, head: &str, piece: &[u8], pause: Duration) {
    flood(stream, &format!("HTTP/1.1 {head}\r\n\r\n"), piece, pause);
}

/// The same without an end of the head.
pub fn flood(stream: &mut TcpStream, first: &str, piece: &[u8], pause: Duration) {
    let mut sent = stream.write_all(first.as_bytes());
    while sent.is_ok() {
        std::thread::sleep(pause);
        sent = stream.write_all(piece);
    }
}

/// Sends what comes from each to the other until one has ended.
pub fn join(one: &TcpStream, other: &TcpStream) {
    let copy = |from: &TcpStream, to: &TcpStream| {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        })
    };
    let (there, back) = (copy(one, other), copy(other, one));
    let _ = (there.join(), back.join());
}

/// Every blob and layer of the store is what its name says.
pub fn assert_store_is_valid(gateway: &Gateway) {
    let data = gateway.path("data");
    let layout = Layout { data, ..Layout::default() };
    let verified = command::call(Path::new(GATEPOST), &layout, worker::Command::Verify, |_| ()).unwrap();
    assert!(verified.ok && verified.warnings.is_empty(), "{verified:?}");
}
