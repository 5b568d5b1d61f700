//! [`value_of`]: the grammar of JSON (RFC 8259), text into a [`Value`]. Of two fields of one name the last one counts.

use serde_json::{Map, Number, Value};

use super::Error;

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 128;

/// Reads one document.
pub fn value_of(text: &[u8]) -> Result<Value, Error> {
    let mut reader = Reader { text, at: 0 };
    let read = reader.value(0).and_then(|value| {
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err("trailing characters") }
    });
    read.map_err(|what| reader.wrong(what))
}

/// The value of a decimal number, of a shape that was checked. It is the nearest `f64` up to 15 digits and an exponent of 22, as in
/// std, and beyond that near it: std's reader for those few takes 16 KB.
#[allow(clippy::cast_precision_loss)]
pub fn float(text: &str) -> f64 {
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ];
    let (decimal, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    // What does not fit into an i32 is as good as infinite, or zero.
    let beyond = if exponent.starts_with('-') { i32::MIN } else { i32::MAX };
    let mut exponent = exponent.parse().unwrap_or(beyond).clamp(-2000, 2000);
    let (mut mantissa, mut after_point) = (0_u64, false);
    for byte in decimal.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            after_point |= byte == b'.';
            continue;
        }
        match mantissa.checked_mul(10).and_then(|tens| tens.checked_add(digit.into())) {
            Some(more) => {
                mantissa = more;
                exponent -= i32::from(after_point);
            }
            None => exponent += i32::from(!after_point),
        }
    }
    let mut value = mantissa as f64;
    while exponent != 0 && value != 0.0 && value.is_finite() {
        let step = exponent.unsigned_abs().min(22);
        let power = POWERS.get(step as usize).copied().unwrap_or(1.0);
        value = if exponent > 0 { value * power } else { value / power };
        exponent -= exponent.signum() * step.cast_signed();
    }
    if decimal.starts_with('-') { -value } else { value }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

type Read<T> = Result<T, &'static str>;

impl Reader<'_> {
    #[cold]
    fn wrong(&self, what: &str) -> Error {
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Error::new(format!("{what} at line {line} column {column}"))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn takes(&mut self, wanted: u8) -> bool {
        self.space();
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self, depth: usize) -> Read<Value> {
        self.space();
        match self.peek() {
            None => Err("EOF while parsing a value"),
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err("nested too deep"),
            Some(b'{') => {
                self.at += 1;
                let mut entries = Map::new();
                self.items(b'}', |reader| {
                    reader.space();
                    if reader.peek() != Some(b'"') {
                        return Err("expected a key in double quotes");
                    }
                    let key = reader.string()?;
                    if !reader.takes(b':') {
                        return Err("expected `:`");
                    }
                    entries.insert(key, reader.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Value::Object(entries))
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                self.items(b']', |reader| {
                    items.push(reader.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Value::Array(items))
            }
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(_) => self.word(),
        }
    }

    fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        if self.takes(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.takes(close) {
                return Ok(());
            }
            if !self.takes(b',') {
                return Err("expected `,` or the closing bracket");
            }
        }
    }

    fn word(&mut self) -> Read<Value> {
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err("expected value")
    }

    fn string(&mut self) -> Read<String> {
        let mut bytes = Vec::new();
        loop {
            self.at += 1;
            match self.peek() {
                None => return Err("EOF while parsing a string"),
                Some(b'"') => break,
                Some(b'\\') => {
                    let character = self.escape()?;
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(0..0x20) => return Err("control character in a string"),
                Some(byte) => bytes.push(byte),
            }
        }
        self.at += 1;
        String::from_utf8(bytes).map_err(|_| "a string that is not UTF-8")
    }

    /// What an escape means; the reader stands at its backslash, and after it at its last character.
    fn escape(&mut self) -> Read<char> {
        self.at += 1;
        Ok(match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.text.get(self.at + 1..self.at + 3) == Some(b"\\u") {
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    }
                }
                char::from_u32(code).ok_or("half of a pair of UTF-16")?
            }
            _ => return Err("invalid escape"),
        })
    }

    /// Four hexadecimal digits after the `u` that the reader stands at.
    fn hex(&mut self) -> Read<u32> {
        let digits = self.text.get(self.at + 1..self.at + 5).ok_or("EOF while parsing a string")?;
        self.at += 4;
        digits
            .iter()
            .try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
            .ok_or("invalid escape")
    }

    fn number(&mut self) -> Read<Number> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let zero = self.peek() == Some(b'0');
        let length = self.digits();
        if length == 0 || (zero && length > 1) {
            return Err("invalid number");
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits_or_wrong()?;
            whole = false;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits_or_wrong()?;
            whole = false;
        }
        let text = self.text.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        let integer =
            || text.parse::<u64>().map(Number::from).or_else(|_| text.parse().map(|signed: i64| Number::from(signed)));
        whole.then(integer).and_then(Result::ok).or_else(|| Number::from_f64(float(text))).ok_or("invalid number")
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn digits_or_wrong(&mut self) -> Read<()> {
        if self.digits() == 0 { Err("invalid number") } else { Ok(()) }
    }
}
