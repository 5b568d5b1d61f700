//! [`Keys`]: the public keys that vouch for what comes to this node, and the check of a signature by one of them. Pure but for
//! [`Keys::read`].
//!
//! All keys are ed25519 (RFC 8032). They and their signatures are what standard tools write:
//!
//! | made by | public key | signature |
//! | --- | --- | --- |
//! | `openssl pkey -pubout`, `openssl pkeyutl -sign -rawin` | PEM | 64 bytes, or these in base64 |
//! | `signify`, `minisign -S -l` | a comment, a line of base64 | the same |
//!
//! `minisign` without `-l` signs a BLAKE2b hash of the file, which is refused by name.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, VerifyingKey};

use crate::document::base64;

/// Bytes of a key or signature file; they are far shorter.
const LONGEST: u64 = 16 << 10;
/// What stands before the key itself in a SubjectPublicKeyInfo of ed25519 (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Begins the first line of a file of signify's and minisign's.
const COMMENT: &str = "untrusted comment:";
/// The algorithm in such a file: ed25519 over the bytes themselves.
const PLAIN: &[u8] = b"Ed";
/// The same over a hash of them.
const HASHED: &[u8] = b"ED";
/// Bytes of a number in such a file, by which people find the key.
const NUMBER: usize = 8;

/// Public keys of which each one suffices.
#[derive(Debug)]
pub struct Keys(Vec<VerifyingKey>);

impl Keys {
    /// Reads the files. One that cannot be read spoils all: who relied on it shall hear of it.
    ///
    /// # Errors
    /// Which file, and why.
    pub fn read(paths: &[PathBuf]) -> Result<Self, String> {
        let key = |path: &PathBuf| {
            let failed = |why: String| format!("public key {}: {why}", path.display());
            parse_key(&read_file(path).map_err(failed)?).map_err(failed)
        };
        paths.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `signature`, as a file holds it, is one of these keys' over `message`.
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), String> {
        let signature = parse_signature(signature)?;
        if self.0.iter().any(|key| key.verify_strict(message, &signature).is_ok()) {
            return Ok(());
        }
        Err("the signature is none by a key that this node trusts, or what it was made for has been altered".to_owned())
    }
}

/// A whole file of at most 16 KiB.
///
/// # Errors
/// Why it cannot be read.
pub fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST { Err(format!("it is longer than {LONGEST} bytes")) } else { Ok(bytes) }
}

fn parse_key(bytes: &[u8]) -> Result<VerifyingKey, String> {
    const EXPECTED: &str = "it is no ed25519 public key; make one with `openssl pkey -in KEY -pubout`, or take the .pub of signify or minisign";
    let text = std::str::from_utf8(bytes).map_err(|_| EXPECTED)?;
    if text.contains("PRIVATE KEY") {
        return Err("it is a private key, which does not belong on a node".to_owned());
    }
    let key = if let Some(key) = commented(text)? {
        key
    } else {
        let lines = text.lines().skip_while(|line| *line != "-----BEGIN PUBLIC KEY-----").skip(1);
        let base64: String = lines.take_while(|line| !line.starts_with("-----")).collect();
        let der = base64::decode(&base64).unwrap_or_default();
        der.strip_prefix(&SPKI).ok_or(EXPECTED)?.to_vec()
    };
    let key = <[u8; 32]>::try_from(key).map_err(|_| EXPECTED)?;
    VerifyingKey::from_bytes(&key).map_err(|_| EXPECTED.to_owned())
}

fn parse_signature(bytes: &[u8]) -> Result<Signature, String> {
    const EXPECTED: &str =
        "the signature is none of ed25519; make it with `openssl pkeyutl -sign -rawin`, signify, or `minisign -S -l`";
    if let Ok(plain) = Signature::from_slice(bytes) {
        return Ok(plain);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| EXPECTED)?;
    let bytes = match commented(text)? {
        Some(bytes) => bytes,
        None => base64::decode(text.trim()).map_err(|_| EXPECTED)?,
    };
    Signature::from_slice(&bytes).map_err(|_| EXPECTED.to_owned())
}

/// What a file of signify's or minisign's holds; `None` if it is another.
fn commented(text: &str) -> Result<Option<Vec<u8>>, String> {
    if !text.starts_with(COMMENT) {
        return Ok(None);
    }
    let bytes = base64::decode(text.lines().nth(1).unwrap_or_default()).unwrap_or_default();
    match bytes.split_at_checked(PLAIN.len()) {
        Some((PLAIN, rest)) => Ok(Some(rest.get(NUMBER..).unwrap_or_default().to_vec())),
        Some((HASHED, _)) => {
            Err("it is over a hash of the file; sign with `minisign -S -l`, so that it is over the file".to_owned())
        }
        _ => Err("it is neither of signify nor of minisign, though it begins like theirs".to_owned()),
    }
}
