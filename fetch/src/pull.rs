//! The task `pull`: an image from the first endpoint that has it into an OCI layout (OCI distribution specification v2). A blob that was
//! cut off goes on where it ended, also from another endpoint and after a restart.

use std::cell::RefCell;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gatepost::image::pull::{self, Endpoint, Offer, Report, Request, VERSION};
use gatepost::image::{Reference, sha256_of};
use gatepost::json;
use gatepost::probe::words;
use gatepost::spec::image::{Descriptor, INDEX_TYPES, ImageIndex, ImageManifest, MANIFEST_TYPES};
use gatepost::sys::helper::{Helper, PASSED};
use gatepost::sys::inherited;
use gatepost::sys::shared_memory::SharedWords;
use rustls::ClientConfig;

use crate::answer::Response;
use crate::auth::{Credentials, Party, Session};
use crate::http::{Ask, Client, Failed};
use crate::place::{Part, Place};
use crate::proxy::Proxies;
use crate::resolve::Resolver;
use crate::stream::Pace;
use crate::tls;
use crate::url::Url;

/// Largest manifest, index or configuration in bytes: what registries take.
const DOCUMENT: usize = 4 << 20;
/// Most indexes that one image may consist of.
const INDEXES: u32 = 16;
/// How often in a row a blob may be cut off without any progress.
const FRUITLESS: u32 = 2;
/// The task's entry.
pub(crate) fn main() -> ExitCode {
    let mut helper = match Helper::start("gatepost-fetch pull") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let passed = inherited::take(PASSED).ok();
    let told = passed.and_then(|memory| SharedWords::map(memory, pull::WORDS).ok());
    let report = helper.request::<Request>(VERSION).and_then(|request| prepare(&request, told));
    let report = report.unwrap_or_else(|error| Report { error, ..Report::default() });
    helper.report(&Report { version: VERSION, ..report }, true)
}

/// An endpoint, ready to be asked.
struct Source {
    url: Url,
    upstream: bool,
    tls: Arc<ClientConfig>,
    /// For token servers, and where it redirects to: what is not verified is the endpoint only.
    common: Arc<ClientConfig>,
    credentials: Credentials,
}

/// Reads what lies outside, gives up everything else, and begins.
fn prepare(request: &Request, told: Option<SharedWords>) -> Result<Report, String> {
    let reference: Reference = request.image.parse().map_err(|error| format!("{error}"))?;
    let sources: Vec<(&str, Result<Source, String>)> = request
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.url.as_str(), source(endpoint, &reference, &request.secrets)))
        .collect();
    let client = Client {
        resolver: Resolver::read(),
        stall: Duration::from_millis(request.stall_ms.max(1)),
        proxies: Proxies::read(),
        pace: Pace::new(request.bandwidth),
        idle: Rc::new(RefCell::default()),
    };
    let place = Place::enter(&request.images, &reference)?;
    let mut pull = Pull { client, reference, place, present: &request.present, received: 0, told };
    Ok(pull.try_all(&sources))
}

fn source(endpoint: &Endpoint, reference: &Reference, secrets: &[String]) -> Result<Source, String> {
    let url = Url::parse(&endpoint.url).ok_or("it is no address")?;
    let mut documents: Vec<String> = if endpoint.upstream { secrets.to_vec() } else { Vec::new() };
    let read = |path: &PathBuf| fs::read(path).map_err(|error| format!("{}: {}", path.display(), words(&error)));
    if let Some(path) = &endpoint.auth {
        documents.push(String::from_utf8_lossy(&read(path)?).into_owned());
    }
    let registry = if endpoint.upstream { reference.domain().to_owned() } else { url.authority() };
    let credentials = Credentials::find(&documents, &registry, reference.path());
    let ca = endpoint.ca.as_ref().map(read).transpose()?;
    let common = tls::verified(ca.as_deref()).map_err(|error| error.to_string())?;
    let tls = if endpoint.skip_verify { tls::unverified() } else { Ok(Arc::clone(&common)) };
    let tls = tls.map_err(|error| error.to_string())?;
    Ok(Source { url, upstream: endpoint.upstream, tls, common, credentials })
}

struct Pull<'a> {
    client: Client,
    reference: Reference,
    place: Place,
    present: &'a [String],
    received: u64,
    /// Where the supervisor looks how far it is.
    told: Option<SharedWords>,
}

impl Pull<'_> {
    fn try_all(&mut self, sources: &[(&str, Result<Source, String>)]) -> Report {
        let (mut errors, mut unreachable) = (Vec::new(), true);
        for (number, (url, source)) in (0_u64..).zip(sources) {
            self.tell(pull::ENDPOINT, number);
            let failed = match source {
                Ok(source) => match self.try_one(source) {
                    Ok(report) => {
                        return Report { ok: true, endpoint: (*url).to_owned(), received: self.received, ..report };
                    }
                    Err(failed) => failed,
                },
                Err(why) => Failed::Other(why.clone()),
            };
            unreachable &= matches!(failed, Failed::Unreachable(_));
            errors.push(format!("{url}: {}", failed.text()));
        }
        let error = format!("failed to pull {}: {}", self.reference, errors.join("; "));
        Report { error, unreachable, ..Report::default() }
    }

    fn try_one(&mut self, source: &Source) -> Result<Report, Failed> {
        let mut session = Session::default();
        let wanted = self.reference.digest().map(str::to_owned);
        let name = wanted.as_deref().or(self.reference.tag()).unwrap_or("latest").to_owned();
        let (document, media_type) = self.document(source, &mut session, &name, wanted.as_deref())?;
        let top = sha256_of(&document);
        if self.present.contains(&top) {
            return Ok(Report { unchanged: true, ..Report::default() });
        }
        let mut entry = Descriptor::default();
        entry.set_media_type(media_type.to_owned()).set_digest(top.clone()).set_size(document.len() as u64);
        self.place.write(&top, &document)?;
        let manifest = if INDEX_TYPES.contains(&media_type) {
            let mut offered = Vec::new();
            let best = self.best_of(source, &mut session, &document, &mut offered, &mut 0)?;
            let (_, chosen) = best.ok_or_else(|| Failed::Other(pull::none_for_this_node(&offered)))?;
            let (manifest, _) = self.document(source, &mut session, chosen.digest(), Some(chosen.digest()))?;
            self.place.write(chosen.digest(), &manifest)?;
            manifest
        } else {
            document
        };
        let manifest: ImageManifest = parse(&manifest)?;
        pull::check(&manifest).map_err(Failed::Other)?;
        if manifest.config().size() > DOCUMENT as u64 {
            return Err(Failed::Other(format!("its configuration is longer than {DOCUMENT} bytes")));
        }
        let blobs: Vec<&Descriptor> = [manifest.config()].into_iter().chain(manifest.layers()).collect();
        let size = blobs.iter().fold(entry.size(), |sum, blob| sum.saturating_add(blob.size()));
        self.tell(pull::SIZE, size);
        for blob in blobs {
            self.blob(source, &mut session, blob, blob.digest() != manifest.config().digest())?;
        }
        let mut index = ImageIndex::default();
        index.set_schema_version(2).set_manifests(vec![entry]);
        let index = json::to_vec(&index).map_err(|error| Failed::Other(error.to_string()))?;
        self.place.write_index(&index)?;
        Ok(Report { size, ..Report::default() })
    }

    /// The manifest of an index, and of all indexes in it, that suits this node best.
    fn best_of(
        &mut self,
        source: &Source,
        session: &mut Session,
        index: &[u8],
        offered: &mut Vec<String>,
        indexes: &mut u32,
    ) -> Result<Option<(u32, Descriptor)>, Failed> {
        let index: ImageIndex = parse(index)?;
        *indexes = indexes.saturating_add(1);
        if *indexes > INDEXES {
            return Err(Failed::Other(format!("the image consists of more than {INDEXES} indexes")));
        }
        let mut best: Option<(u32, Descriptor)> = None;
        for entry in index.manifests() {
            let found = if INDEX_TYPES.contains(&entry.media_type().as_str()) {
                let (nested, _) = self.document(source, session, entry.digest(), Some(entry.digest()))?;
                self.place.write(entry.digest(), &nested)?;
                self.best_of(source, session, &nested, offered, indexes)?
            } else {
                match pull::offer(entry) {
                    Offer::Suits(rank) => Some((rank, entry.clone())),
                    Offer::Other(platform) => {
                        offered.push(platform);
                        None
                    }
                    Offer::Nothing => None,
                }
            };
            if let Some(found) = found.filter(|found| best.as_ref().is_none_or(|(rank, _)| found.0 > *rank)) {
                best = Some(found);
            }
        }
        Ok(best)
    }

    fn get(
        &self,
        source: &Source,
        session: &mut Session,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response, Failed> {
        let root = source.url.path.trim_end_matches('/');
        // Mirrors are told whose images these are, as containerd does.
        let space = if source.upstream { String::new() } else { format!("?ns={}", self.reference.domain()) };
        let url = source.url.at(&format!("{root}/v2/{}/{path}{space}", self.reference.path()));
        let (tls, common) = (&source.tls, &source.common);
        let (credentials, repository) = (&source.credentials, self.reference.path());
        let party = Party { client: &self.client, credentials, url: &source.url, tls, common, repository };
        // A token may be too old by now, but not one that was just got.
        let mut fresh = false;
        loop {
            let secret = session.authorization().map(str::to_owned);
            let ask = Ask { url: &url, headers, secret: secret.as_deref(), form: None, tls, common };
            let mut response = self.client.ask(ask)?;
            match response.head.status {
                200 | 206 | 416 => return Ok(response),
                401 => {}
                status => return Err(refused(&url, status)),
            }
            response.discard();
            let asked: Vec<String> = response.head.all("www-authenticate").map(str::to_owned).collect();
            if secret.is_some() && fresh && !session.next(&party) {
                return Err(refused(&url, 401));
            }
            while !session.obtain(&asked, &party)? {
                if !session.next(&party) {
                    return Err(refused(&url, 401));
                }
            }
            fresh = true;
        }
    }

    /// A manifest or index by tag or digest, which is checked, and its media type.
    fn document(
        &mut self,
        source: &Source,
        session: &mut Session,
        name: &str,
        digest: Option<&str>,
    ) -> Result<(Vec<u8>, &'static str), Failed> {
        let accept = [INDEX_TYPES, MANIFEST_TYPES].concat();
        let mut response =
            self.get(source, session, &format!("manifests/{name}"), &[("Accept", &accept.join(", "))])?;
        let told = response.head.find("content-type").unwrap_or_default();
        let told = told.split(';').next().unwrap_or_default().trim().to_owned();
        let document = response.document(DOCUMENT)?;
        self.add(document.len());
        let found = sha256_of(&document);
        if digest.is_some_and(|digest| digest != found) {
            return Err(Failed::Other(format!("manifest {name} has the wrong digest: its content is {found}")));
        }
        let content = json::from_slice::<serde_json::Value>(&document).unwrap_or_default();
        if content.get("manifests").is_some() && content.get("layers").is_some() {
            return Err(Failed::Other(format!("manifest {name} says to be both an image and an index")));
        }
        // A plain file server does not know what it has.
        let own = content.get("mediaType").and_then(serde_json::Value::as_str).unwrap_or_default();
        let known = |text: &str| accept.iter().copied().find(|known| *known == text);
        match known(&told).or_else(|| known(own)) {
            Some(media_type) if own.is_empty() || own == media_type => Ok((document, media_type)),
            Some(_) => Err(Failed::Other(format!("manifest {name} comes as {told:?} and says to be {own:?}"))),
            None => Err(Failed::Other(format!("manifest {name} is of media type {told:?}, which is no image"))),
        }
    }

    /// A blob, unless it is there (`shared`: or in the store).
    fn blob(&mut self, source: &Source, session: &mut Session, blob: &Descriptor, shared: bool) -> Result<(), Failed> {
        let (digest, size) = (blob.digest(), blob.size());
        if self.place.has(digest, size, shared)? {
            self.count(pull::HAVE, size);
            return Ok(());
        }
        let mut part = self.place.part(digest)?;
        self.count(pull::HAVE, part.have);
        if part.have > size {
            part.reset()?;
        }
        let mut fruitless = 0;
        while part.have < size {
            let before = part.have;
            let tried = self.piece(source, session, (digest, size), &mut part);
            fruitless = if part.have > before { 0 } else { fruitless + 1 };
            match tried {
                Err(Failed::Other(why)) => return Err(Failed::Other(why)),
                Err(failed) if fruitless >= FRUITLESS => return Err(failed),
                _ => {}
            }
        }
        part.finish(digest)
    }

    /// As much of a blob as comes at once.
    fn piece(
        &mut self,
        source: &Source,
        session: &mut Session,
        (digest, size): (&str, u64),
        part: &mut Part,
    ) -> Result<(), Failed> {
        let range = format!("bytes={}-", part.have);
        let headers = if part.have > 0 { vec![("Range", range.as_str())] } else { Vec::new() };
        let mut response = self.get(source, session, &format!("blobs/{digest}"), &headers)?;
        let from = response
            .head
            .find("content-range")
            .and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if response.head.status != 206 || from != Some(part.have) {
            // It does not do ranges: from the beginning.
            part.reset()?;
            if response.head.status != 200 {
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
            if part.have.saturating_add(count as u64) > size {
                part.reset()?;
                return Err(Failed::Other(format!(
                    "blob {digest} is longer than the {size} bytes that the manifest says"
                )));
            }
            self.add(count);
            part.push(buffer.get(..count).unwrap_or_default())?;
        }
        let cut = || Failed::Unreachable(format!("blob {digest}: unexpected EOF"));
        if part.have < size { Err(cut()) } else { Ok(()) }
    }

    /// So much came.
    fn add(&mut self, count: usize) {
        self.received = self.received.saturating_add(count as u64);
        self.count(pull::HAVE, count as u64);
    }

    fn count(&self, word: usize, more: u64) {
        if let Some(word) = self.told.as_deref().and_then(|words| words.get(word)) {
            word.fetch_add(more, Ordering::Relaxed);
        }
    }

    fn tell(&self, word: usize, value: u64) {
        if let Some(word) = self.told.as_deref().and_then(|words| words.get(word)) {
            word.store(value, Ordering::Relaxed);
        }
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
    Failed::of_status(format!("{url}: {what} ({status})"), status)
}
