//! [`decode`] and [`encode`]: standard base64 with padding, the form of a Secret's `data` and a ConfigMap's `binaryData`.

use thiserror::Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Why a text is not base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Base64Error {
    /// A character of no meaning.
    #[error("not base64: unexpected character at position {0}; encode the bytes with `base64 -w0`, or use stringData")]
    Character(usize),
    /// Too few or too many characters, or wrong padding.
    #[error(
        "not base64: the text ends in the middle of a group of four; encode the bytes with `base64 -w0`, or use stringData"
    )]
    Length,
}

/// The bytes that a text stands for. Line breaks are skipped.
pub fn decode(text: &str) -> Result<Vec<u8>, Base64Error> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held, mut padding) = (0_u32, 0_u32, 0_u32);
    for (position, character) in text.bytes().enumerate() {
        if matches!(character, b'\r' | b'\n') {
            continue;
        }
        if character == b'=' && held + padding > 1 {
            padding += 1;
            continue;
        }
        let value = ALPHABET.iter().position(|known| *known == character).filter(|_| padding == 0);
        let value = value.and_then(|value| u32::try_from(value).ok()).ok_or(Base64Error::Character(position))?;
        bits = (bits << 6) | value;
        held += 1;
        if held == 4 {
            let [_, first, second, third] = bits.to_be_bytes();
            bytes.extend([first, second, third]);
            (bits, held) = (0, 0);
        }
    }
    match (held, padding) {
        (0, 0) => {}
        (2, 2) => bytes.extend((bits >> 4).to_be_bytes().last()),
        (3, 1) => {
            let [_, _, first, second] = (bits >> 2).to_be_bytes();
            bytes.extend([first, second]);
        }
        _ => return Err(Base64Error::Length),
    }
    Ok(bytes)
}

/// The text that stands for the bytes.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let character = ALPHABET.get(index as usize).copied().unwrap_or(b'=');
            text.push(if place > group.len() { '=' } else { char::from(character) });
        }
    }
    text
}
