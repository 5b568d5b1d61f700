//! [`fields_reference`]: the field tables as a document for people.

use std::fmt::Write as _;

use super::{CONFIG_MAP, LIMIT_RANGE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD, SECRET, SERVICE};
use crate::document::{Kind, Object, Treat};
use crate::sorted::BTreeSet;

const HEAD: &str = "\
# Fields

Every field of the v1 `Pod` and of the objects beside it, and what becomes of it. This file is generated from the field tables
that decode manifests, and a test keeps it equal to them.

* **yes**: carried out as Kubernetes describes it.
* **quiet**: accepted without a word; it has no effect.
* **warning**: accepted without effect; a warning names the field and the line.
* **refused**: an error that names the field and the line; the object is not run.
* **later**: refused, because this version does not carry it out yet.

Values that are as good as leaving a field out (null, \"\", empty lists and those named below) are accepted for every field.
A field that stands in no table is unknown: a warning with its full path, an error with `--strict`.
A list item is written `[]`, the value of a map `[*]`.
";

/// The reference as markdown: `docs/fields.md`.
pub fn fields_reference() -> String {
    let mut text = HEAD.to_owned();
    let objects = [&POD, &CONFIG_MAP, &SECRET, &PERSISTENT_VOLUME_CLAIM, &PERSISTENT_VOLUME, &SERVICE, &LIMIT_RANGE];
    for object in objects {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n## {}\n\n| field | holds | here | note |\n| --- | --- | --- | --- |\n", object.name);
        let mut rows = BTreeSet::new();
        collect(object, "", &mut rows);
        for (path, row) in rows {
            let _ = writeln!(text, "| `{path}` | {row}");
        }
    }
    text
}

fn collect(object: &Object, prefix: &str, rows: &mut BTreeSet<(String, String)>) {
    for field in object.fields {
        let path = format!("{prefix}{}", field.name);
        let (here, mut note) = match field.treat() {
            Treat::Carried => ("yes", String::new()),
            Treat::Quiet(why) => ("quiet", why.to_owned()),
            Treat::Warned(why) => ("warning", why.to_owned()),
            Treat::Refused(why) => ("refused", why.to_owned()),
            Treat::Later => ("later", String::new()),
            Treat::Fetched => ("yes", "by `gatepost-fetch`, which must be installed".to_owned()),
        };
        if !field.neutral().is_empty() {
            let values: Vec<_> = field.neutral().iter().map(|value| format!("`{value}`")).collect();
            let between = if note.is_empty() { "" } else { "; " };
            note = format!("{note}{between}accepted: {}", values.join(", "));
        }
        if !field.meaning().is_empty() {
            let between = if note.is_empty() { "" } else { "; " };
            note = format!("{note}{between}{}", field.meaning());
        }
        let (inner, suffix) = innermost(&field.kind);
        let holds = match inner {
            Kind::Object(_) => String::new(),
            kind => kind.described(),
        };
        rows.insert((format!("{path}{suffix}"), format!("{holds} | {here} | {note} |")));
        if let (Kind::Object(inner), Treat::Carried | Treat::Fetched) = (inner, field.treat()) {
            collect(inner, &format!("{path}{suffix}."), rows);
        }
    }
}

/// What a list or map holds, and the suffix of its path.
fn innermost(kind: &Kind) -> (&Kind, &'static str) {
    match kind {
        Kind::List(item) | Kind::OneOrList(item) => (item, "[]"),
        Kind::Map(item) => (item, "[*]"),
        other => (other, ""),
    }
}
