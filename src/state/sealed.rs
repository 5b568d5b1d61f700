//! The role `sealed-state`: what [`durable`] does, with some files encrypted (XChaCha20-Poly1305) by a key that is not on their disk.
//! It is of `gatepost-worker`, since nobody needs it in memory.
//!
//! A file is [`MAGIC`], a nonce and the ciphertext; its name is authenticated with it. One that the key does not open is never thrown
//! away: before another takes its place it is set aside, and it is found there when the right key is back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chacha20poly1305::{AeadInPlace as _, Key, KeyInit as _, Tag, XChaCha20Poly1305, XNonce};

use super::durable::{self, Report, Request, VERSION};
use crate::sys::helper::Helper;
use crate::sys::keyring;
use crate::sys::replace::replace_durably;

/// Begins a sealed file. The number is the version of the format.
const MAGIC: &[u8] = b"gatepost sealed 1\n";
/// Bytes of a key, a nonce and a tag.
const KEY: usize = 32;
const NONCE: usize = 24;
const TAG: usize = 16;
/// Begins a key's name in the kernel's keyring; anything else is a file.
const KEYRING: &str = "keyring:";
/// Behind the name of a file that was set aside.
const ASIDE: &str = "unopened";

/// The role's entry.
pub fn main() -> ExitCode {
    let mut helper = match Helper::start("sealed-state") {
        Ok(helper) => helper,
        Err(status) => return status,
    };
    let report = match helper.request(VERSION) {
        Ok(request) => carry_out(request),
        Err(error) => Report { version: VERSION, error: Some(error), ..Report::default() },
    };
    helper.report(&report, report.error.is_none())
}

/// What cannot be sealed or opened is told, and keeps no other file from being written and read.
fn carry_out(mut request: Request) -> Report {
    let secret = std::mem::take(&mut request.seal);
    let (write, plain) = request.write.into_iter().partition::<Vec<_>, _>(|(name, _)| secret.contains(name));
    request.write = plain;
    let (read, plain) = request.read.into_iter().partition::<Vec<_>, _>(|name| secret.contains(name));
    request.read = plain;
    let mut report = durable::carry_out(&request);
    if write.is_empty() && read.is_empty() {
        return report;
    }
    let cipher = match cipher(&request.key) {
        Ok(cipher) => cipher,
        Err(why) => {
            report.withheld = Some(format!("{why}; what it protects is neither read nor written"));
            return report;
        }
    };
    if !write.is_empty()
        && let Err(error) = durable::make_directory(&request.directory)
    {
        report.withheld = Some(error.to_string());
        return report;
    }
    let sealed = Sealed { cipher, directory: &request.directory };
    for name in read {
        match sealed.read(&name) {
            Ok(content) => report.files.extend(content.map(|content| (name, content))),
            Err(why) => report.withheld = Some(why),
        }
    }
    for (name, content) in write {
        match sealed.write(&name, &content) {
            Ok(None) => {}
            Ok(aside) => report.withheld = aside,
            Err(error) => report.withheld = Some(format!("cannot write {name} sealed: {error}")),
        }
    }
    report
}

fn cipher(source: &str) -> Result<XChaCha20Poly1305, String> {
    let failed = |why: &str| format!("stateKey {source}: {why}");
    let bytes = match source.strip_prefix(KEYRING) {
        Some(name) => keyring::user_key(name),
        None => fs::read(source),
    };
    let bytes = bytes.map_err(|error| failed(&error.to_string()))?;
    let key = if bytes.len() == KEY { Some(bytes) } else { hex(&bytes) };
    let key = key.filter(|key| key.len() == KEY);
    let key =
        key.ok_or_else(|| failed("it is neither 32 bytes nor 64 hex digits; make one with `openssl rand -hex 32`"))?;
    Ok(XChaCha20Poly1305::new(Key::from_slice(&key)))
}

fn hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let digit = |at: usize| u8::from_str_radix(text.get(at..at.saturating_add(2))?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}

struct Sealed<'a> {
    cipher: XChaCha20Poly1305,
    directory: &'a Path,
}

impl Sealed<'_> {
    fn aside(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{ASIDE}"))
    }

    /// The content, also of what was set aside while another key was there.
    fn read(&self, name: &str) -> Result<Option<String>, String> {
        let path = self.directory.join(name);
        match (self.open(name, &path), self.open(name, &self.aside(name))) {
            (Ok(Some(content)), aside) => {
                if let Ok(Some(_)) = aside {
                    // Older than what has taken its place.
                    let _ = fs::remove_file(self.aside(name));
                }
                Ok(Some(content))
            }
            (_, Ok(Some(content))) => Ok(Some(content)),
            (Ok(None), _) => Ok(None),
            (Err(why), _) => Err(format!("{}: {why}; it is kept, and not used", path.display())),
        }
    }

    /// What there is to say when it is done.
    fn write(&self, name: &str, content: &str) -> io::Result<Option<String>> {
        let (path, aside) = (self.directory.join(name), self.aside(name));
        let mut said = None;
        match self.open(name, &path) {
            Ok(Some(old)) if old == content => return Ok(None),
            Ok(_) => {}
            Err(_) if aside.exists() => {}
            Err(why) => {
                fs::rename(&path, &aside)?;
                said = Some(format!("{}: {why}; it is set aside as {}", path.display(), aside.display()));
            }
        }
        replace_durably(File::open(self.directory)?, name, &self.seal(name, content)?, 0o600)?;
        Ok(said)
    }

    fn seal(&self, name: &str, content: &str) -> io::Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        // Never short for so few bytes once the kernel has its entropy (getrandom(2)).
        rustix::rand::getrandom(&mut nonce[..], rustix::rand::GetRandomFlags::empty())?;
        let mut text = content.as_bytes().to_vec();
        let tag = self.cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), name.as_bytes(), &mut text);
        let tag = tag.map_err(|_| io::Error::other("it is too long"))?;
        Ok([MAGIC, &nonce, &text, &tag].concat())
    }

    fn open(&self, name: &str, path: &Path) -> Result<Option<String>, String> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is not sealed")?;
        let cut = || "it is cut short".to_owned();
        let (nonce, rest) = rest.split_at_checked(NONCE).ok_or_else(cut)?;
        let (text, tag) = rest.split_at_checked(rest.len().saturating_sub(TAG)).ok_or_else(cut)?;
        if tag.len() != TAG {
            return Err(cut());
        }
        let mut text = text.to_vec();
        self.cipher
            .decrypt_in_place_detached(XNonce::from_slice(nonce), name.as_bytes(), &mut text, Tag::from_slice(tag))
            .map_err(|_| "stateKey does not open it: it is another key, or the file was altered")?;
        String::from_utf8(text).map(Some).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn ask(directory: &Path, key: &str, write: &[(&str, &str)]) -> Report {
        carry_out(Request {
            version: VERSION,
            directory: directory.join("state"),
            write: write.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect(),
            read: if write.is_empty() { vec!["secret".to_owned(), "open".to_owned()] } else { Vec::new() },
            seal: vec!["secret".to_owned()],
            key: if key.is_empty() { "/no/key".to_owned() } else { directory.join(key).display().to_string() },
        })
    }

    fn keys() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), [7; 32]).unwrap();
        fs::write(directory.path().join("b"), format!("{}\n", "0a".repeat(32))).unwrap();
        fs::write(directory.path().join("bad"), "short").unwrap();
        directory
    }

    #[test]
    fn what_is_sealed_reads_as_it_was_and_is_not_in_clear_on_the_disk() {
        let directory = keys();
        let written = ask(directory.path(), "a", &[("secret", "geheim"), ("open", "plain")]);
        assert_eq!((written.error, written.withheld), (None, None));
        let path = directory.path().join("state/secret");
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"geheim"));
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600);
        let mut read = ask(directory.path(), "a", &[]);
        read.files.sort();
        assert_eq!(read.files, [("open".to_owned(), "plain".to_owned()), ("secret".to_owned(), "geheim".to_owned())]);
        // The same again costs no write.
        ask(directory.path(), "a", &[("secret", "geheim")]);
        assert_eq!(fs::metadata(&path).unwrap().ino(), metadata.ino());
    }

    #[test]
    fn without_the_key_nothing_secret_is_read_written_or_lost_and_all_else_goes_on() {
        let directory = keys();
        ask(directory.path(), "a", &[("secret", "geheim")]);
        for (key, said) in [("", "stateKey /no/key: No such file"), ("bad", "neither 32 bytes nor 64 hex digits")] {
            let written = ask(directory.path(), key, &[("secret", "new"), ("open", "plain")]);
            assert!(written.error.is_none() && written.withheld.unwrap().contains(said));
            let read = ask(directory.path(), key, &[]);
            assert_eq!(read.files, [("open".to_owned(), "plain".to_owned())]);
        }
        assert_eq!(ask(directory.path(), "a", &[]).files.len(), 2);
    }

    #[test]
    fn what_another_key_has_sealed_is_set_aside_and_found_when_that_key_is_back() {
        let directory = keys();
        ask(directory.path(), "a", &[("secret", "of a")]);
        let read = ask(directory.path(), "b", &[]);
        assert!(read.files.is_empty() && read.withheld.unwrap().contains("another key, or the file was altered"));
        let written = ask(directory.path(), "b", &[("secret", "of b")]);
        assert!(written.withheld.unwrap().contains("set aside as"));
        assert_eq!(ask(directory.path(), "b", &[("secret", "more of b")]).withheld, None);
        assert_eq!(ask(directory.path(), "b", &[]).files, [("secret".to_owned(), "more of b".to_owned())]);
        assert_eq!(ask(directory.path(), "a", &[]).files, [("secret".to_owned(), "of a".to_owned())]);
    }

    #[test]
    fn a_file_that_was_altered_or_exchanged_is_not_opened() {
        let directory = keys();
        ask(directory.path(), "a", &[("secret", "geheim")]);
        let path = directory.path().join("state/secret");
        let good = fs::read(&path).unwrap();
        for length in [0, 5, MAGIC.len(), MAGIC.len() + NONCE, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert!(ask(directory.path(), "a", &[]).files.is_empty());
        }
        let mut altered = good.clone();
        altered[MAGIC.len() + NONCE] ^= 1;
        fs::write(&path, altered).unwrap();
        assert!(ask(directory.path(), "a", &[]).withheld.is_some());
        fs::write(&path, "in clear").unwrap();
        assert!(ask(directory.path(), "a", &[]).withheld.unwrap().contains("it is not sealed"));
    }
}
