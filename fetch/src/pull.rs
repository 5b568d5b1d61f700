//! The task `pull`: an image from the first endpoint that has it into an OCI layout (OCI distribution specification v2). A blob that was
//! cut off goes on where it ended, also from another endpoint and after a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gatepost::image::Reference;
use gatepost::image::limits::MAX_LAYERS;
use gatepost::image::pull::{DIRECTORY, Endpoint, Report, Request, VERSION, best_of, directory_of};
use gatepost::json;
use gatepost::probe::words;
use gatepost::spec::image::{Descriptor, ImageIndex, ImageManifest, MANIFEST};
use gatepost::sys::confine;
use gatepost::sys::helper::Helper;
use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};

use crate::auth::{Credentials, Tokens};
use crate::http::{Client, Failed, Proxies, Response};
use crate::resolve::Resolver;
use crate::tls;
use crate::url::Url;

/// Largest manifest, index or configuration in bytes: what registries take.
const DOCUMENT: usize = 4 << 20;
/// How often in a row a blob may be cut off without any progress.
const FRUITLESS: u32 = 2;
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// So long what was half pulled is kept for another try.
const FORGOTTEN: Duration = Duration::from_hours(7 * 24);

/// The task's entry.
pub(crate) fn main() -> ExitCode {
    let mut helper = match Helper::start("gatepost-fetch pull") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = helper.request::<Request>(VERSION).and_then(|request| prepare(&request));
    let report = report.unwrap_or_else(|error| Report { error, ..Report::default() });
    helper.report(&Report { version: VERSION, ..report }, true)
}

/// An endpoint, ready to be asked.
struct Source {
    url: Url,
    upstream: bool,
    tls: Arc<ClientConfig>,
    credentials: Credentials,
}

/// Reads what lies outside, gives up everything else, and begins.
fn prepare(request: &Request) -> Result<Report, String> {
    let reference: Reference = request.image.parse().map_err(|error| format!("{error}"))?;
    let mut sources = Vec::new();
    for endpoint in &request.endpoints {
        sources.push(source(endpoint, &reference, &request.secrets)?);
    }
    let common = tls::verified(None).map_err(|error| format!("TLS: {error}"))?;
    let stall = Duration::from_millis(request.stall_ms.max(1));
    let client = Client { resolver: Resolver::read(), stall, proxies: Proxies::read() };
    let place = staging(request, &reference)?;
    let mut pull = Pull { client, common, reference, place, present: &request.present, received: 0 };
    Ok(pull.from_any(&sources))
}

/// Makes the image's own directory and gives up all others: what another pull has left is out of reach.
fn staging(request: &Request, reference: &Reference) -> Result<Place, String> {
    let all = request.images.join(DIRECTORY);
    let own = all.join(directory_of(reference));
    let stored = request.images.join("blobs/sha256");
    let failed = |error: io::Error| format!("{}: {}", own.display(), words(&error));
    let blobs = own.join("blobs/sha256");
    fs::create_dir_all(&blobs).and_then(|()| fs::create_dir_all(&stored)).map_err(failed)?;
    fs::set_permissions(&all, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    remove_old(&all, &own);
    let user = Some(confine::FETCH_USER);
    for directory in [own.as_path(), &own.join("blobs"), &blobs] {
        lchown(directory, user, user).map_err(failed)?;
    }
    let confined = confine::client(&all, &[(&own, "pull"), (&stored, "stored")]);
    Ok(match confined.rooted {
        true => Place { directory: "/pull".into(), stored: "/stored".into() },
        false => Place { directory: own, stored },
    })
}

/// Removes what nobody has asked for in [`FORGOTTEN`].
fn remove_old(all: &Path, own: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    // Each try marks its own as used.
    let now = std::time::SystemTime::now();
    let _ = File::open(own).and_then(|directory| directory.set_modified(now));
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
        if modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > FORGOTTEN)) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn source(endpoint: &Endpoint, reference: &Reference, secrets: &[String]) -> Result<Source, String> {
    let url = Url::parse(&endpoint.url).ok_or_else(|| format!("endpoint {:?} is no address", endpoint.url))?;
    let mut documents: Vec<String> = if endpoint.upstream { secrets.to_vec() } else { Vec::new() };
    let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("{}: {}", path.display(), words(&error)));
    if let Some(path) = &endpoint.auth {
        documents.push(String::from_utf8_lossy(&read(path)?).into_owned());
    }
    let registry = if endpoint.upstream { reference.domain().to_owned() } else { url.authority() };
    let credentials = Credentials::find(&documents, &registry, reference.path());
    let ca = endpoint.ca.as_ref().map(read).transpose()?;
    let tls = if endpoint.skip_verify { tls::unverified() } else { tls::verified(ca.as_deref()) };
    let tls = tls.map_err(|error| format!("{}: {error}", endpoint.url))?;
    Ok(Source { url, upstream: endpoint.upstream, tls, credentials })
}

/// Where blobs go, and where those are that need not be pulled.
struct Place {
    directory: PathBuf,
    stored: PathBuf,
}

impl Place {
    fn blob(&self, digest: &str) -> Result<PathBuf, Failed> {
        Ok(self.directory.join("blobs/sha256").join(hex_of(digest)?))
    }

    fn has(&self, path: &Path, digest: &str, size: u64) -> Result<bool, Failed> {
        let there = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size);
        Ok(there(path) || there(&self.stored.join(hex_of(digest)?)))
    }
}

fn hex_of(digest: &str) -> Result<&str, Failed> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64);
    hex.filter(|hex| hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or_else(|| Failed::Other(format!("digest {digest:?} is not supported; images here are named by sha256")))
}

fn digest_of(bytes: &[u8]) -> String {
    text_of(Sha256::digest(bytes).as_slice())
}

fn text_of(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn on_disk(path: &Path) -> impl Fn(io::Error) -> Failed {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    move |error| Failed::Other(format!("storing {name}: {}", words(&error)))
}

struct Pull<'a> {
    client: Client,
    /// For redirects to other servers.
    common: Arc<ClientConfig>,
    reference: Reference,
    place: Place,
    present: &'a [String],
    received: u64,
}

impl Pull<'_> {
    fn from_any(&mut self, sources: &[Source]) -> Report {
        let (mut errors, mut unreachable) = (Vec::new(), true);
        for source in sources {
            match self.from_one(source) {
                Ok(report) => {
                    return Report { ok: true, endpoint: source.url.to_string(), received: self.received, ..report };
                }
                Err(failed) => {
                    unreachable &= matches!(failed, Failed::Unreachable(_));
                    errors.push(format!("{}: {}", source.url.to_string().trim_end_matches('/'), failed.text()));
                }
            }
        }
        let error = format!("failed to pull {}: {}", self.reference, errors.join("; "));
        Report { error, unreachable, ..Report::default() }
    }

    fn from_one(&mut self, source: &Source) -> Result<Report, Failed> {
        let mut tokens = Tokens::default();
        let wanted = self.reference.digest().map(str::to_owned);
        let name = wanted.as_deref().or(self.reference.tag()).unwrap_or("latest").to_owned();
        let (document, media_type) = self.document(source, &mut tokens, &name, wanted.as_deref())?;
        let top = digest_of(&document);
        if self.present.contains(&top) {
            return Ok(Report { unchanged: true, ..Report::default() });
        }
        let mut entry = Descriptor::default();
        entry.set_media_type(media_type).set_digest(top.clone()).set_size(document.len() as u64);
        self.write(&top, &document)?;
        let manifest = match parse::<ImageIndex>(&document).ok().filter(|index| !index.manifests().is_empty()) {
            Some(index) => {
                let chosen = best_of(&index).map_err(Failed::Other)?;
                let (manifest, _) = self.document(source, &mut tokens, chosen.digest(), Some(chosen.digest()))?;
                self.write(chosen.digest(), &manifest)?;
                manifest
            }
            None => document,
        };
        let manifest: ImageManifest = parse(&manifest)?;
        if manifest.layers().len() > MAX_LAYERS {
            return Err(Failed::Other(format!(
                "the image has {} layers; the limit is {MAX_LAYERS}",
                manifest.layers().len()
            )));
        }
        if manifest.config().size() > DOCUMENT as u64 {
            return Err(Failed::Other(format!("its configuration is longer than {DOCUMENT} bytes")));
        }
        let mut size = entry.size();
        for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
            size = size.saturating_add(blob.size());
            self.blob(source, &mut tokens, blob, blob.digest() != manifest.config().digest())?;
        }
        let mut index = ImageIndex::default();
        index.set_schema_version(2).set_manifests(vec![entry]);
        let index = json::to_vec(&index).map_err(|error| Failed::Other(error.to_string()))?;
        let path = self.place.directory.join("index.json");
        fs::write(&path, index).map_err(on_disk(&path))?;
        Ok(Report { size, ..Report::default() })
    }

    fn get(
        &self,
        source: &Source,
        tokens: &mut Tokens,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response, Failed> {
        let root = source.url.path.trim_end_matches('/');
        // Mirrors are told whose images these are, as containerd does.
        let space = if source.upstream { String::new() } else { format!("?ns={}", self.reference.domain()) };
        let url = source.url.at(&format!("{root}/v2/{}/{path}{space}", self.reference.path()));
        for _ in 0..2 {
            let secret = tokens.authorization();
            let response = self.client.get(&url, headers, secret.as_deref(), &source.tls, &self.common)?;
            match response.status {
                200 | 206 | 416 => return Ok(response),
                401 if secret.is_none() => {
                    let asked: Vec<String> = response.headers("www-authenticate").map(str::to_owned).collect();
                    tokens.obtain(
                        &asked,
                        &self.client,
                        &source.credentials,
                        (&source.url, &source.tls, &self.common),
                        self.reference.path(),
                    )?;
                }
                status => return Err(refused(&url, status)),
            }
        }
        Err(refused(&url, 401))
    }

    /// A manifest or index by tag or digest, which is checked.
    fn document(
        &mut self,
        source: &Source,
        tokens: &mut Tokens,
        name: &str,
        digest: Option<&str>,
    ) -> Result<(Vec<u8>, String), Failed> {
        let mut response = self.get(source, tokens, &format!("manifests/{name}"), &[("Accept", ACCEPT)])?;
        let media_type = response.header("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        if !ACCEPT.contains(media_type.as_str()) || media_type.is_empty() {
            return Err(Failed::Other(format!("manifest {name} is of media type {media_type:?}, which is no image")));
        }
        let document = response.document(DOCUMENT)?;
        self.received = self.received.saturating_add(document.len() as u64);
        let found = digest_of(&document);
        if digest.is_some_and(|digest| digest != found) {
            return Err(Failed::Other(format!("manifest {name} has the wrong digest: its content is {found}")));
        }
        Ok((document, if media_type.is_empty() { MANIFEST.to_owned() } else { media_type }))
    }

    fn write(&self, digest: &str, bytes: &[u8]) -> Result<(), Failed> {
        let path = self.place.blob(digest)?;
        fs::write(&path, bytes).map_err(on_disk(&path))
    }

    /// A blob, unless it is there (`shared`: or in the store).
    fn blob(&mut self, source: &Source, tokens: &mut Tokens, blob: &Descriptor, shared: bool) -> Result<(), Failed> {
        let (digest, size) = (blob.digest(), blob.size());
        let path = self.place.blob(digest)?;
        if shared && self.place.has(&path, digest, size)? {
            return Ok(());
        }
        let part = path.with_extension("part");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&part).map_err(on_disk(&part))?;
        let mut hash = Sha256::new();
        let mut have = io::copy(&mut file, &mut Hashing(&mut hash)).map_err(on_disk(&part))?;
        let mut fruitless = 0;
        while have < size {
            let before = have;
            let tried = self.piece(source, tokens, digest, (&mut have, size), (&mut file, &mut hash));
            fruitless = if have > before { 0 } else { fruitless + 1 };
            match tried {
                Ok(()) => {}
                Err(Failed::Other(why)) => return Err(Failed::Other(why)),
                Err(failed) if fruitless >= FRUITLESS => return Err(failed),
                Err(_) => {}
            }
        }
        let found = text_of(hash.finalize().as_slice());
        if found != *digest || have != size {
            fs::remove_file(&part).map_err(on_disk(&part))?;
            return Err(Failed::Other(format!("blob {digest} has the wrong digest: its {have} bytes are {found}")));
        }
        fs::rename(&part, &path).map_err(on_disk(&path))
    }

    /// As much of a blob as comes. An error of the connection is `Unreachable`: it may be tried again.
    fn piece(
        &mut self,
        source: &Source,
        tokens: &mut Tokens,
        digest: &str,
        (have, size): (&mut u64, u64),
        (file, hash): (&mut File, &mut Sha256),
    ) -> Result<(), Failed> {
        let range = format!("bytes={have}-");
        let headers = if *have > 0 { vec![("Range", range.as_str())] } else { Vec::new() };
        let mut response = self.get(source, tokens, &format!("blobs/{digest}"), &headers)?;
        let from = response
            .header("content-range")
            .and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if response.status != 206 || from != Some(*have) {
            // It does not do ranges: from the beginning.
            file.set_len(0).map_err(|error| Failed::Other(words(&error)))?;
            (*have, *hash) = (0, Sha256::new());
            if response.status != 200 {
                return Err(Failed::Unreachable(format!("blob {digest}: the server cannot go on in the middle")));
            }
        }
        let mut buffer = vec![0; 128 << 10];
        loop {
            let count = match response.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(Failed::Unreachable(format!("blob {digest}: {}", words(&error)))),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            *have = have.saturating_add(count as u64);
            if *have > size {
                file.set_len(0).map_err(|error| Failed::Other(words(&error)))?;
                return Err(Failed::Other(format!(
                    "blob {digest} is longer than the {size} bytes that the manifest says"
                )));
            }
            self.received = self.received.saturating_add(count as u64);
            hash.update(bytes);
            file.write_all(bytes)
                .map_err(|error| Failed::Other(format!("storing blob {digest}: {}", words(&error))))?;
        }
        if *have < size { Err(Failed::Unreachable(format!("blob {digest}: unexpected EOF"))) } else { Ok(()) }
    }
}

struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn parse<T: json::Deserialize>(document: &[u8]) -> Result<T, Failed> {
    json::from_slice(document).map_err(|error| Failed::Other(format!("a manifest that cannot be read: {error}")))
}

fn refused(url: &Url, status: u16) -> Failed {
    let what = match status {
        401 => {
            "authorization failed: no basic auth credentials, or they are refused (imagePullSecrets, or auth of the setting registries)"
        }
        403 => "forbidden",
        404 => "not found",
        429 => "too many requests",
        _ => "unexpected status",
    };
    let text = format!("{url}: {what} ({status})");
    // A server that is in trouble is as good as none.
    if status >= 500 { Failed::Unreachable(text) } else { Failed::Other(text) }
}
