//! [`Object`]: the field table: which fields an object has, of which kind, and what becomes of each.
//!
//! One table feeds decoding, the messages about unknown and refused fields, and the reference in `docs/`.

/// An object and its fields.
#[derive(Debug)]
pub struct Object {
    /// Name of the object's type.
    pub name: &'static str,
    /// All its fields.
    pub fields: &'static [Field],
}

/// A field. There are many, so what few of them have takes little room in the others.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name as written in documents.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Reason of the treatment, if it has one.
    why: &'static str,
    way: Way,
    /// Place in [`NEUTRAL`].
    neutral: u8,
    #[cfg(test)]
    doc: &'static str,
}

/// [`Treat`] without its reason.
#[derive(Debug, Clone, Copy)]
enum Way {
    Carried,
    Quiet,
    Warned,
    Refused,
    Later,
    Fetched,
}

/// What [`Field::unless`] may name.
const NEUTRAL: [&[&str]; 7] = [
    &[],
    &["false"],
    &["{}"],
    &["{}", "{\"name\":\"linux\"}"],
    &["\"HTTP\""],
    &["\"None\""],
    &["\"default-scheduler\""],
];

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text.
    String,
    /// A truth value.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number or text (named ports).
    IntOrString,
    /// Text of a certain form.
    Text(&'static Format),
    /// A list.
    List(&'static Kind),
    /// One value or a list of them; always a list once decoded.
    OneOrList(&'static Kind),
    /// A map with free keys.
    Map(&'static Kind),
    /// An object with a table of its own.
    Object(&'static Object),
    /// Anything; kept as written.
    Any,
}

/// A form of text with its own check.
#[derive(Debug)]
pub struct Format {
    /// Name with its article, for messages.
    pub name: &'static str,
    /// Whether a bare number stands for its text (`cpu: 1`).
    pub numbers: bool,
    /// Says what is wrong with a text.
    pub check: fn(&str) -> Result<(), String>,
}

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treat {
    /// Carried out.
    Carried,
    /// Accepted without a word; the reason.
    Quiet(&'static str),
    /// Accepted with a warning that says why it has no effect.
    Warned(&'static str),
    /// Refused for good: reason and remedy.
    Refused(&'static str),
    /// Refused because this version does not carry it out yet.
    Later,
    /// Carried out by the second binary, `gatepost-fetch`: refused where that is not installed.
    Fetched,
}

/// A field that is carried out.
pub const fn carried(name: &'static str, kind: Kind) -> Field {
    field(name, kind, Way::Carried, "")
}

/// A field that is accepted without a word.
pub const fn quiet(name: &'static str, kind: Kind, why: &'static str) -> Field {
    field(name, kind, Way::Quiet, why)
}

/// A field that is accepted with a warning.
pub const fn warned(name: &'static str, kind: Kind, why: &'static str) -> Field {
    field(name, kind, Way::Warned, why)
}

/// A field that is refused for good.
pub const fn refused(name: &'static str, kind: Kind, why: &'static str) -> Field {
    field(name, kind, Way::Refused, why)
}

/// A field that this version does not carry out yet.
pub const fn later(name: &'static str, kind: Kind) -> Field {
    field(name, kind, Way::Later, "")
}

const fn field(name: &'static str, kind: Kind, way: Way, why: &'static str) -> Field {
    Field {
        name,
        kind,
        why,
        way,
        neutral: 0,
        #[cfg(test)]
        doc: "",
    }
}

/// A field that `gatepost-fetch` carries out.
pub const fn fetched(name: &'static str, kind: Kind) -> Field {
    field(name, kind, Way::Fetched, "")
}

impl Field {
    /// The same field, with values that are as good as leaving it out. An unknown set does not compile.
    #[must_use]
    pub const fn unless(self, values: &[&str]) -> Self {
        let mut neutral = 0_u8;
        while !same(NEUTRAL[neutral as usize], values) {
            neutral += 1;
        }
        Self { neutral, ..self }
    }

    /// The same field with its meaning, range and default. Only the tests, which write the reference, have it; a node's flash need not.
    #[must_use]
    #[cfg_attr(not(test), allow(unused_variables))]
    pub const fn doc(self, doc: &'static str) -> Self {
        Self {
            #[cfg(test)]
            doc,
            ..self
        }
    }

    /// What becomes of it.
    pub fn treat(&self) -> Treat {
        match self.way {
            Way::Carried => Treat::Carried,
            Way::Quiet => Treat::Quiet(self.why),
            Way::Warned => Treat::Warned(self.why),
            Way::Refused => Treat::Refused(self.why),
            Way::Later => Treat::Later,
            Way::Fetched => Treat::Fetched,
        }
    }

    /// Values, as compact JSON, that are as good as leaving the field out; null, "", [] and empty maps always are.
    pub fn neutral(&self) -> &'static [&'static str] {
        NEUTRAL.get(usize::from(self.neutral)).copied().unwrap_or_default()
    }

    /// What [`Field::doc`] said.
    #[cfg(test)]
    pub fn meaning(&self) -> &'static str {
        self.doc
    }

    /// What [`Field::doc`] said in a test: nothing here.
    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    pub fn meaning(&self) -> &'static str {
        ""
    }
}

/// Whether two lists of texts are equal, when the tables are compiled.
const fn same(left: &[&str], right: &[&str]) -> bool {
    let mut equal = left.len() == right.len();
    let mut item = 0;
    while equal && item < left.len() {
        let (a, b) = (left[item].as_bytes(), right[item].as_bytes());
        equal = a.len() == b.len();
        let mut byte = 0;
        while equal && byte < a.len() {
            equal = a[byte] == b[byte];
            byte += 1;
        }
        item += 1;
    }
    equal
}

impl Kind {
    /// The kind in words, for messages and the reference.
    pub fn described(&self) -> String {
        match self {
            Self::String => "a string".to_owned(),
            Self::Bool => "a boolean".to_owned(),
            Self::Int32 => "a 32-bit integer".to_owned(),
            Self::Int64 => "a 64-bit integer".to_owned(),
            Self::IntOrString => "an integer or a string".to_owned(),
            Self::Text(format) => format.name.to_owned(),
            Self::List(item) => format!("a list, each item {}", item.described()),
            Self::OneOrList(item) => format!("{}, or a list of them", item.described()),
            Self::Map(value) => format!("a map, each value {}", value.described()),
            Self::Object(object) => format!("an object {}", object.name),
            Self::Any => "any value".to_owned(),
        }
    }
}

impl Object {
    /// Whether a dotted path of names leads to a field.
    pub fn has(&self, path: &str) -> bool {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let field = self.fields.iter().find(|field| field.name == first);
        field.is_some_and(|field| match (&field.kind, rest) {
            (_, None) => true,
            (Kind::Object(inner), Some(rest)) => inner.has(rest),
            _ => false,
        })
    }
}

/// The known name nearest to an unknown one, if one is near enough to be meant.
pub fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = unknown.to_ascii_lowercase();
    if wanted.len() > 64 {
        return None;
    }
    known
        .map(|name| (distance(&wanted, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3).clamp(1, 3))
        .min()
        .map(|(_, name)| name)
}

/// Edits (insert, delete, replace) between two texts.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row, vec![i + 1]);
        diagonal.push(usize::MAX);
        for (b, pair) in right.iter().zip(diagonal.windows(2)) {
            let [corner, above] = pair else { continue };
            let beside = row.last().copied().unwrap_or(usize::MAX);
            row.push((corner + usize::from(a != *b)).min(above.saturating_add(1)).min(beside.saturating_add(1)));
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
