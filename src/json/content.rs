//! [`Content`]: how enums are read: `"Name"`, `{"Name": content}`, or with a tag among the fields.

use serde_json::Value;

use super::{Deserialize, Error, Fields, read_tuple};

/// What a variant comes with.
pub struct Content {
    name: &'static str,
    value: Option<Value>,
    /// The value holds the fields that stand beside the tag; a variant without fields lets them be.
    tagged: bool,
}

/// A variant: its place among the names, and what it comes with.
pub struct Chosen {
    index: usize,
    content: Content,
}

impl Chosen {
    /// The variant of an enum whose variants hold nothing.
    pub fn name_only(self) -> Result<usize, Error> {
        self.content.nothing()?;
        Ok(self.index)
    }

    /// The variant and what it comes with.
    pub fn split(self) -> (usize, Content) {
        (self.index, self.content)
    }
}

impl Content {
    /// Reads which variant it is.
    pub fn of(value: Value, names: &'static [&'static str]) -> Result<Chosen, Error> {
        let (name, value) = match value {
            Value::String(name) => (name, None),
            Value::Object(entries) if entries.len() == 1 => match entries.into_iter().next() {
                Some((name, value)) => (name, Some(value)),
                None => (String::new(), None),
            },
            other => return Err(Error::unexpected(&other, "the name of a variant, or an object of that name alone")),
        };
        let (index, name) = find(&name, names)?;
        Ok(Chosen { index, content: Self { name, value, tagged: false } })
    }

    /// As [`Content::of`], for an enum whose name stands in the field `tag` among the others.
    pub fn tagged(value: Value, tag: &'static str, names: &'static [&'static str]) -> Result<(usize, Self), Error> {
        let mut name = String::new();
        let mut fields = Fields::of(value)?;
        fields.required(tag, &mut name);
        let mut rest = Value::Null;
        fields.rest(&mut rest);
        fields.end()?;
        let (index, name) = find(&name, names)?;
        Ok((index, Self { name, value: Some(rest), tagged: true }))
    }

    /// Nothing.
    pub fn nothing(self) -> Result<(), Error> {
        match self.value {
            Some(value) if !value.is_null() && !self.tagged => Err(Error::unexpected(&value, "nothing")),
            _ => Ok(()),
        }
    }

    /// One value.
    pub fn one(self, place: &mut dyn Deserialize) -> Result<(), Error> {
        place.read(self.some()?)
    }

    /// A list of values.
    pub fn tuple(self, places: &mut [&mut dyn Deserialize]) -> Result<(), Error> {
        read_tuple(self.some()?, places)
    }

    /// Fields.
    pub fn fields(self) -> Result<Fields, Error> {
        Fields::of(self.some()?)
    }

    fn some(self) -> Result<Value, Error> {
        let name = self.name;
        self.value.ok_or_else(|| Error::new(["the variant ", name, " has to come with its content"].concat()))
    }
}

#[inline(never)]
fn find(name: &str, names: &'static [&'static str]) -> Result<(usize, &'static str), Error> {
    let found = names.iter().copied().enumerate().find(|(_, known)| *known == name);
    found.ok_or_else(|| Error::new(["unknown variant `", name, "`, expected one of ", &names.join(", ")].concat()))
}
