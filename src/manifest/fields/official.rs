//! The official fields of the API, read off the types of the `k8s-openapi` crate: each type tells a deserializer its name and
//! its fields, and this one answers every question with a value, so that it is led through the whole schema.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::serde::Deserialize;
use k8s_openapi::serde::de::value::{Error, StrDeserializer};
use k8s_openapi::serde::de::{self, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::document::{Kind, Object};

/// Fields by the path of the object that has them.
type Seen = RefCell<BTreeMap<String, &'static [&'static str]>>;

/// Answers for one place in the schema.
struct Walk<'a> {
    path: String,
    /// What a text says here.
    text: &'static str,
    seen: &'a Seen,
}

impl Walk<'_> {
    fn at(&self, step: &str, text: &'static str) -> Self {
        Walk { path: format!("{}{step}", self.path), text, seen: self.seen }
    }
}

macro_rules! answer {
    ($($method:ident => $visit:ident($($value:expr)?)),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit($($value)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Error;

    answer! {
        deserialize_any => visit_i64(1),
        deserialize_bool => visit_bool(true),
        deserialize_i32 => visit_i32(1),
        deserialize_i64 => visit_i64(1),
        deserialize_f64 => visit_f64(1.0),
        deserialize_u64 => visit_u64(1),
        deserialize_unit => visit_unit(),
        deserialize_ignored_any => visit_unit(),
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        let text = if name.contains("Time") { "2024-01-01T00:00:00Z" } else { self.text };
        visitor.visit_newtype_struct(self.at("", text))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(One(Some(self.at("[]", self.text))))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.at("[*]", self.text);
        visitor.visit_map(Fields { keys: &["key"], next: 0, of: value, step: "" })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.seen.borrow_mut().insert(self.path.clone(), fields);
        let step = if self.path.is_empty() { "" } else { "." };
        visitor.visit_map(Fields { keys: fields, next: 0, of: Walk { text: name, ..self }, step })
    }

    k8s_openapi::serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u128 f32 char bytes byte_buf unit_struct tuple tuple_struct enum identifier
    }
}

/// A list of one item.
struct One<'a>(Option<Walk<'a>>);

impl<'de> SeqAccess<'de> for One<'_> {
    type Error = Error;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        self.0.take().map(|walk| seed.deserialize(walk)).transpose()
    }
}

/// All fields of an object, or the one entry of a map.
struct Fields<'a> {
    keys: &'static [&'static str],
    next: usize,
    of: Walk<'a>,
    step: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(key) = self.keys.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = (*key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let key = self.keys[self.next];
        self.next += 1;
        // The type of a document says its kind, which is the type's own name.
        let text = match key {
            "apiVersion" => "v1",
            "kind" => self.of.text,
            _ => "aaaa",
        };
        if self.of.path.ends_with("[*]") {
            return seed.deserialize(self.of.at("", "aaaa"));
        }
        seed.deserialize(self.of.at(&format!("{}{key}", self.step), text))
    }
}

/// Every object of a type, by path, with its fields.
fn official<T: for<'de> Deserialize<'de>>() -> BTreeMap<String, &'static [&'static str]> {
    let seen = Seen::default();
    T::deserialize(Walk { path: String::new(), text: "aaaa", seen: &seen }).unwrap_or_else(|error| panic!("{error}"));
    seen.into_inner()
}

/// The table of the object at a path; none below what is taken as it is.
fn table_at(root: &'static Object, path: &str) -> Option<&'static Object> {
    let mut object = root;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches(['[', ']', '*']);
        let field = object.fields.iter().find(|field| field.name == name)?;
        let mut kind = &field.kind;
        while let Kind::List(inner) | Kind::OneOrList(inner) | Kind::Map(inner) = kind {
            kind = inner;
        }
        let Kind::Object(inner) = kind else { return None };
        object = inner;
    }
    Some(object)
}

fn compare<T: for<'de> Deserialize<'de>>(root: &'static Object, count: usize) {
    let official = official::<T>();
    let mut missing = Vec::new();
    let mut compared = 0;
    for (path, fields) in &official {
        let Some(table) = table_at(root, path) else { continue };
        let ours = |name: &str| table.fields.iter().any(|field| field.name == name);
        missing.extend(fields.iter().filter(|name| !ours(name)).map(|name| format!("{path}.{name} is missing")));
        let surplus = table.fields.iter().filter(|field| !fields.contains(&field.name));
        missing.extend(surplus.map(|field| format!("{path}.{} is not official", field.name)));
        compared += fields.len();
    }
    assert!(missing.is_empty(), "{}: {missing:#?}", root.name);
    assert!(compared >= count, "{}: only {compared} fields were found", root.name);
}

#[test]
fn every_official_field_is_in_the_table_and_no_other() {
    compare::<v1::Pod>(&super::POD, 1200);
    compare::<v1::ConfigMap>(&super::CONFIG_MAP, 20);
    compare::<v1::Secret>(&super::SECRET, 20);
    compare::<v1::PersistentVolumeClaim>(&super::PERSISTENT_VOLUME_CLAIM, 30);
    compare::<v1::PersistentVolume>(&super::PERSISTENT_VOLUME, 50);
    compare::<v1::Service>(&super::SERVICE, 40);
    compare::<v1::LimitRange>(&super::LIMIT_RANGE, 20);
}
