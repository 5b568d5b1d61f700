//! [`Serialize`] and the [`Writer`] that puts objects, lists and scalars into text.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Error;
use crate::sorted::{BTreeMap, BTreeSet};

/// A value that can be written as JSON.
pub trait Serialize {
    /// Writes one value.
    fn write(&self, out: &mut Writer);
}

/// A document that is being written.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    failed: bool,
}

impl Writer {
    /// The document.
    pub(super) fn end(self) -> Result<Vec<u8>, Error> {
        if self.failed { Err(Error::new("a path that is not UTF-8 has no JSON form".to_owned())) } else { Ok(self.out) }
    }

    /// `null`.
    pub fn null(&mut self) {
        self.raw(b"null");
    }

    /// Text.
    #[inline(never)]
    pub fn text(&mut self, text: &str) {
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend([b'\\', byte]),
                b'\n' => self.raw(b"\\n"),
                b'\r' => self.raw(b"\\r"),
                b'\t' => self.raw(b"\\t"),
                0..0x20 => {
                    let _ = write!(self.out, "\\u{byte:04x}");
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    /// The beginning of an object or a list: `{` or `[`.
    #[inline(never)]
    pub fn open(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Its end.
    #[inline(never)]
    pub fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// An item of a list.
    #[inline(never)]
    pub fn item(&mut self, value: &dyn Serialize) {
        self.comma();
        value.write(self);
    }

    /// The name of a field, whose value comes next.
    #[inline(never)]
    pub fn key(&mut self, name: &str) {
        self.comma();
        self.text(name);
        self.out.push(b':');
    }

    /// A field of an object.
    #[inline(never)]
    pub fn field(&mut self, name: &str, value: &dyn Serialize) {
        self.key(name);
        value.write(self);
    }

    /// A field that is left out when it is `None`.
    #[inline(never)]
    pub fn field_unless_null(&mut self, name: &str, value: &dyn Serialize) {
        self.field_unless(name, value, &["null"]);
    }

    /// A field that is left out when it is an empty text, list or map.
    #[inline(never)]
    pub fn field_unless_empty(&mut self, name: &str, value: &dyn Serialize) {
        self.field_unless(name, value, &["\"\"", "[]", "{}"]);
    }

    #[inline(never)]
    fn field_unless(&mut self, name: &str, value: &dyn Serialize, nothing: &[&str]) {
        let before = self.out.len();
        self.key(name);
        let start = self.out.len();
        value.write(self);
        let written = self.out.get(start..).unwrap_or_default();
        if nothing.iter().any(|nothing| nothing.as_bytes() == written) {
            self.out.truncate(before);
        }
    }

    /// The fields of another object, as fields of this one.
    #[inline(never)]
    pub fn flat(&mut self, value: &dyn Serialize) {
        let mut inner = Self::default();
        value.write(&mut inner);
        self.failed |= inner.failed;
        let fields = inner.out.strip_prefix(b"{").and_then(|fields| fields.strip_suffix(b"}")).unwrap_or_default();
        if !fields.is_empty() {
            self.comma();
            self.raw(fields);
        }
    }

    fn raw(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }
}

/// A map; a key that is not text is written as the text of its value.
#[inline(never)]
fn write_map<'a>(entries: &mut dyn Iterator<Item = (&'a dyn Serialize, &'a dyn Serialize)>, out: &mut Writer) {
    out.open(b'{');
    for (key, value) in entries {
        let mut name = Writer::default();
        key.write(&mut name);
        out.failed |= name.failed;
        out.comma();
        let quote: &[u8] = if name.out.starts_with(b"\"") { b"" } else { b"\"" };
        for part in [quote, &name.out, quote, b":"] {
            out.raw(part);
        }
        value.write(out);
    }
    out.close(b'}');
}

#[inline(never)]
fn write_list(items: &mut dyn Iterator<Item = &dyn Serialize>, out: &mut Writer) {
    out.open(b'[');
    items.for_each(|item| out.item(item));
    out.close(b']');
}

impl Serialize for str {
    fn write(&self, out: &mut Writer) {
        out.text(self);
    }
}

impl Serialize for String {
    fn write(&self, out: &mut Writer) {
        out.text(self);
    }
}

impl Serialize for Path {
    fn write(&self, out: &mut Writer) {
        match self.to_str() {
            Some(text) => out.text(text),
            None => out.failed = true,
        }
    }
}

impl Serialize for PathBuf {
    fn write(&self, out: &mut Writer) {
        self.as_path().write(out);
    }
}

/// Seconds and nanoseconds.
impl Serialize for Duration {
    fn write(&self, out: &mut Writer) {
        out.open(b'{');
        out.field("secs", &self.as_secs());
        out.field("nanos", &self.subsec_nanos());
        out.close(b'}');
    }
}

impl Serialize for Ipv4Addr {
    fn write(&self, out: &mut Writer) {
        out.text(&self.to_string());
    }
}

impl Serialize for bool {
    fn write(&self, out: &mut Writer) {
        out.raw(if *self { b"true" } else { b"false" });
    }
}

impl Serialize for () {
    fn write(&self, out: &mut Writer) {
        out.null();
    }
}

macro_rules! integers {
    ($($type:ty as $wide:ty)*) => {$(
        impl Serialize for $type {
            fn write(&self, out: &mut Writer) {
                let _ = write!(out.out, "{}", <$wide>::from(*self));
            }
        }
    )*};
}

integers! { u8 as u64 u16 as u64 u32 as u64 u64 as u64 i8 as i64 i16 as i64 i32 as i64 i64 as i64 }

impl Serialize for usize {
    fn write(&self, out: &mut Writer) {
        (*self as u64).write(out);
    }
}

impl Serialize for Value {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Null => out.null(),
            Self::Bool(value) => value.write(out),
            Self::Number(number) => {
                let _ = write!(out.out, "{number}");
            }
            Self::String(text) => out.text(text),
            Self::Array(items) => items.write(out),
            Self::Object(entries) => entries.write(out),
        }
    }
}

impl Serialize for Map<String, Value> {
    fn write(&self, out: &mut Writer) {
        out.open(b'{');
        self.iter().for_each(|(name, value)| out.field(name, value));
        out.close(b'}');
    }
}

impl<T: Serialize + ?Sized> Serialize for &T {
    fn write(&self, out: &mut Writer) {
        (**self).write(out);
    }
}

impl<T: Serialize + ?Sized> Serialize for Box<T> {
    fn write(&self, out: &mut Writer) {
        (**self).write(out);
    }
}

impl<T: Serialize + ?Sized> Serialize for Rc<T> {
    fn write(&self, out: &mut Writer) {
        (**self).write(out);
    }
}

impl<T: Serialize> Serialize for Option<T> {
    fn write(&self, out: &mut Writer) {
        match self {
            Some(value) => value.write(out),
            None => out.null(),
        }
    }
}

impl<T: Serialize> Serialize for [T] {
    fn write(&self, out: &mut Writer) {
        write_list(&mut self.iter().map(|item| item as &dyn Serialize), out);
    }
}

impl<T: Serialize> Serialize for Vec<T> {
    fn write(&self, out: &mut Writer) {
        self.as_slice().write(out);
    }
}

impl<T: Serialize, const N: usize> Serialize for [T; N] {
    fn write(&self, out: &mut Writer) {
        self.as_slice().write(out);
    }
}

impl<T: Serialize> Serialize for VecDeque<T> {
    fn write(&self, out: &mut Writer) {
        write_list(&mut self.iter().map(|item| item as &dyn Serialize), out);
    }
}

impl<T: Serialize> Serialize for BTreeSet<T> {
    fn write(&self, out: &mut Writer) {
        write_list(&mut self.iter().map(|item| item as &dyn Serialize), out);
    }
}

impl<K: Serialize, V: Serialize> Serialize for BTreeMap<K, V> {
    fn write(&self, out: &mut Writer) {
        write_map(&mut self.iter().map(|(key, value)| (key as &dyn Serialize, value as &dyn Serialize)), out);
    }
}

impl<A: Serialize, B: Serialize> Serialize for (A, B) {
    fn write(&self, out: &mut Writer) {
        write_list(&mut [&self.0 as &dyn Serialize, &self.1].into_iter(), out);
    }
}

impl<A: Serialize, B: Serialize, C: Serialize> Serialize for (A, B, C) {
    fn write(&self, out: &mut Writer) {
        write_list(&mut [&self.0 as &dyn Serialize, &self.1, &self.2].into_iter(), out);
    }
}
