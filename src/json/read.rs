//! [`Deserialize`] and how structs ([`Fields`]), lists, maps and scalars are read.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Error;
use crate::sorted::{BTreeMap, BTreeSet};

/// A value that can be read out of a document.
pub trait Deserialize {
    /// Becomes what the document says. After an error it holds something of both.
    fn read(&mut self, value: Value) -> Result<(), Error>;

    /// What it holds before it is read.
    fn blank() -> Self
    where
        Self: Sized;

    /// Whether a struct may lack it without an attribute that says so.
    fn may_be_missing(&self) -> bool {
        false
    }
}

/// The fields of an object, taken one after the other. An error is kept to the end, and ends the reading.
pub struct Fields {
    rest: Map<String, Value>,
    failed: Option<Error>,
}

impl Fields {
    /// The fields of an object.
    pub fn of(value: Value) -> Result<Self, Error> {
        match value {
            Value::Object(rest) => Ok(Self { rest, failed: None }),
            other => Err(Error::unexpected(&other, "an object")),
        }
    }

    /// A field that has to be there, unless its type says otherwise.
    pub fn required(&mut self, name: &'static str, place: &mut dyn Deserialize) {
        if !self.take(name, place) && !place.may_be_missing() && self.failed.is_none() {
            self.failed = Some(Error::new(["missing field `", name, "`"].concat()));
        }
    }

    /// A field that keeps what it holds when it is not there.
    pub fn optional(&mut self, name: &'static str, place: &mut dyn Deserialize) {
        self.take(name, place);
    }

    /// All fields, as those of another object.
    pub fn rest(&mut self, place: &mut dyn Deserialize) {
        if self.failed.is_none() {
            self.failed = place.read(Value::Object(std::mem::take(&mut self.rest))).err();
        }
    }

    /// Whether all went well.
    pub fn end(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }

    #[inline(never)]
    fn take(&mut self, name: &'static str, place: &mut dyn Deserialize) -> bool {
        match self.rest.get_mut(name) {
            Some(value) => {
                if self.failed.is_none() {
                    self.failed = place.read(value.take()).err().map(|error| error.within(name));
                }
                true
            }
            None => false,
        }
    }
}

/// Reads a list of exactly as many items as there are places.
pub fn read_tuple(value: Value, places: &mut [&mut dyn Deserialize]) -> Result<(), Error> {
    let items = list(value)?;
    if items.len() != places.len() {
        let counted = format!("{} items instead of {}", items.len(), places.len());
        return Err(Error::new(counted));
    }
    for (index, (place, item)) in places.iter_mut().zip(items).enumerate() {
        place.read(item).map_err(|error| at(error, index))?;
    }
    Ok(())
}

#[cold]
fn at(error: Error, index: usize) -> Error {
    error.within(&format!("[{index}]"))
}

#[inline(never)]
fn list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Error::unexpected(&other, "a list")),
    }
}

#[inline(never)]
fn map(value: Value) -> Result<Map<String, Value>, Error> {
    match value {
        Value::Object(entries) => Ok(entries),
        other => Err(Error::unexpected(&other, "an object")),
    }
}

#[inline(never)]
fn text(value: Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Error::unexpected(&other, "a string")),
    }
}

/// A list that grows by one place at a time.
trait Growing {
    fn grow(&mut self) -> Option<&mut dyn Deserialize>;
}

impl<T: Deserialize> Growing for Vec<T> {
    fn grow(&mut self) -> Option<&mut dyn Deserialize> {
        self.push(T::blank());
        self.last_mut().map(|place| place as &mut dyn Deserialize)
    }
}

#[inline(never)]
fn read_list(value: Value, places: &mut dyn Growing) -> Result<(), Error> {
    for (index, item) in list(value)?.into_iter().enumerate() {
        if let Some(place) = places.grow() {
            place.read(item).map_err(|error| at(error, index))?;
        }
    }
    Ok(())
}

impl<T: Deserialize> Deserialize for Vec<T> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        self.clear();
        read_list(value, self)
    }

    fn blank() -> Self {
        Self::new()
    }
}

impl<T: Deserialize> Growing for VecDeque<T> {
    fn grow(&mut self) -> Option<&mut dyn Deserialize> {
        self.push_back(T::blank());
        self.back_mut().map(|place| place as &mut dyn Deserialize)
    }
}

impl<T: Deserialize> Deserialize for VecDeque<T> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        self.clear();
        read_list(value, self)
    }

    fn blank() -> Self {
        Self::new()
    }
}

/// Reads a key: text, or a number as text.
#[inline(never)]
fn read_key(key: String, place: &mut dyn Deserialize) -> Result<(), Error> {
    let number = key.parse::<u64>().map(Value::from).or_else(|_| key.parse::<i64>().map(Value::from));
    place.read(Value::String(key)).or_else(|error| number.map_or(Err(error), |number| place.read(number)))
}

impl<T: Deserialize + Ord> Deserialize for BTreeSet<T> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        let mut items = Vec::<T>::new();
        items.read(value)?;
        *self = items.into_iter().collect();
        Ok(())
    }

    fn blank() -> Self {
        Self::new()
    }
}

/// A map that takes one entry after the other.
trait Filling {
    fn fill(&mut self, name: String, item: Value) -> Result<(), Error>;
}

impl<K: Deserialize + Ord, V: Deserialize> Filling for BTreeMap<K, V> {
    fn fill(&mut self, name: String, item: Value) -> Result<(), Error> {
        let (mut key, mut value) = (K::blank(), V::blank());
        value.read(item).map_err(|error| error.within(&name))?;
        read_key(name, &mut key)?;
        self.insert(key, value);
        Ok(())
    }
}

#[inline(never)]
fn read_map(value: Value, into: &mut dyn Filling) -> Result<(), Error> {
    map(value)?.into_iter().try_for_each(|(name, item)| into.fill(name, item))
}

impl<K: Deserialize + Ord, V: Deserialize> Deserialize for BTreeMap<K, V> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        self.clear();
        read_map(value, self)
    }

    fn blank() -> Self {
        Self::new()
    }
}

impl<T: Deserialize> Deserialize for Option<T> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        *self = None;
        if value.is_null() {
            return Ok(());
        }
        self.insert(T::blank()).read(value)
    }

    fn blank() -> Self {
        None
    }

    fn may_be_missing(&self) -> bool {
        true
    }
}

impl<T: Deserialize> Deserialize for Box<T> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        (**self).read(value)
    }

    fn blank() -> Self {
        Self::new(T::blank())
    }
}

impl<T: Deserialize> Deserialize for Rc<T> {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        let mut inner = T::blank();
        inner.read(value)?;
        *self = Self::new(inner);
        Ok(())
    }

    fn blank() -> Self {
        Self::new(T::blank())
    }
}

impl<T: Deserialize, const N: usize> Deserialize for [T; N] {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        read_tuple(value, &mut self.each_mut().map(|place| place as &mut dyn Deserialize))
    }

    fn blank() -> Self {
        std::array::from_fn(|_| T::blank())
    }
}

impl<A: Deserialize, B: Deserialize> Deserialize for (A, B) {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        read_tuple(value, &mut [&mut self.0, &mut self.1])
    }

    fn blank() -> Self {
        (A::blank(), B::blank())
    }
}

impl<A: Deserialize, B: Deserialize, C: Deserialize> Deserialize for (A, B, C) {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        read_tuple(value, &mut [&mut self.0, &mut self.1, &mut self.2])
    }

    fn blank() -> Self {
        (A::blank(), B::blank(), C::blank())
    }
}

/// Scalars: how each is made, of what, and what it holds before.
macro_rules! scalars {
    ($($type:ty, $value:ident => $read:expr, $blank:expr;)*) => {$(
        impl Deserialize for $type {
            fn read(&mut self, $value: Value) -> Result<(), Error> {
                *self = $read?;
                Ok(())
            }

            fn blank() -> Self {
                $blank
            }
        }
    )*};
}

scalars! {
    String, value => text(value), String::new();
    PathBuf, value => text(value).map(PathBuf::from), PathBuf::new();
    Rc<str>, value => text(value).map(Rc::from), Rc::from("");
    Ipv4Addr, value => value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::unexpected(&value, "an IPv4 address")), Self::UNSPECIFIED;
    bool, value => value.as_bool().ok_or_else(|| Error::unexpected(&value, "a boolean")), false;
    Value, value => Ok::<_, Error>(value), Value::Null;
    Map<String, Value>, value => map(value), Map::new();
    (), value => if value.is_null() { Ok(()) } else { Err(Error::unexpected(&value, "null")) }, ();
}

/// Seconds and nanoseconds.
impl Deserialize for Duration {
    fn read(&mut self, value: Value) -> Result<(), Error> {
        let (mut seconds, mut nanos) = (0, 0);
        let mut fields = Fields::of(value)?;
        fields.required("secs", &mut seconds);
        fields.required("nanos", &mut nanos);
        fields.end()?;
        *self = Self::from_secs(seconds).saturating_add(Self::from_nanos(nanos));
        Ok(())
    }

    fn blank() -> Self {
        Self::ZERO
    }
}

/// Integers: by way of the widest of their kind.
macro_rules! integers {
    ($($widest:ident: $($type:ty)*;)*) => {$($(
        impl Deserialize for $type {
            fn read(&mut self, value: Value) -> Result<(), Error> {
                *self = value
                    .$widest()
                    .and_then(|wide| <$type>::try_from(wide).ok())
                    .ok_or_else(|| Error::unexpected(&value, stringify!($type)))?;
                Ok(())
            }

            fn blank() -> Self {
                0
            }
        }
    )*)*};
}

integers! {
    as_u64: u8 u16 u32 u64 usize;
    as_i64: i8 i16 i32 i64;
}
