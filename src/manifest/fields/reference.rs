//! [`fields_reference`]: the field tables as a document for people.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::super::defaults;
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

Values that are as good as leaving a field out (null, \"\", empty lists and those named below) are accepted for every field.
A field that stands in no table is unknown: a warning with its full path, an error with `--strict`.
A list item is written `[]`, the value of a map `[*]`. Where no default stands, a field that is left out is empty: nothing is asked for.
";

/// Defaults that follow from something else: ends of paths, and what is said of them.
const DERIVED: [(&str, &str); 21] = [
    (".allowPrivilegeEscalation", "`true`"),
    ("ontainers[].args[]", "the image's, where `command` is not set either"),
    ("ontainers[].command[]", "the image's"),
    (".hostPort", "`containerPort` with `hostNetwork`, else none"),
    (".hostUsers", "`true`"),
    (".imagePullPolicy", "`IfNotPresent`; `Always` for the tag `latest` and without a tag"),
    (".pullPolicy", "`IfNotPresent`; `Always` for the tag `latest` and without a tag"),
    (".mountPropagation", "`None`"),
    (".procMount", "`Default`"),
    (".recursiveReadOnly", "`Disabled`"),
    (".requests[*]", "the limit"),
    (".seccompProfile", "`RuntimeDefault`"),
    (".stopSignal", "the image's, else `SIGTERM`"),
    (".targetPort", "`port`"),
    (".workingDir", "the image's, else `/`"),
    ("Probe.terminationGracePeriodSeconds", "the pod's"),
    ("metadata.namespace", "`default`"),
    ("spec.hostname", "the pod's name"),
    ("spec.nodeName", "this node"),
    ("spec.priority", "`0`"),
    ("spec.volumes[].emptyDir", "`{}` where no source is named"),
];

/// The reference as markdown: `docs/fields.md`.
pub fn fields_reference() -> String {
    let mut text = HEAD.to_owned();
    let objects = [&POD, &CONFIG_MAP, &SECRET, &PERSISTENT_VOLUME_CLAIM, &PERSISTENT_VOLUME, &SERVICE, &LIMIT_RANGE];
    for object in objects {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n| field | holds | default | here | note |\n| --- | --- | --- | --- | --- |\n",
            object.name
        );
        let mut rows = BTreeSet::new();
        let mut filled_in = bare(object);
        match object.name {
            "Pod" => defaults::apply_to_pod(&mut filled_in),
            kind => defaults::apply_to_object(kind, &mut filled_in),
        }
        collect(object, "", &filled_in, &mut rows);
        for (path, row) in rows {
            let _ = writeln!(text, "| `{path}` | {row}");
        }
    }
    text
}

/// Every object and list of objects that is carried out, with nothing in it.
fn bare(object: &Object) -> Json {
    let mut fields = Map::new();
    for field in object.fields.iter().filter(|field| is_entered(&field.treat())) {
        let inside = match &field.kind {
            Kind::Object(inner) => bare(inner),
            Kind::List(Kind::Object(inner)) => json!([bare(inner)]),
            _ => continue,
        };
        fields.insert(field.name.to_owned(), inside);
    }
    Json::Object(fields)
}

fn is_entered(treat: &Treat) -> bool {
    matches!(treat, Treat::Carried | Treat::Fetched)
}

/// What a field has that is left out. `filled_in`: the object around it, with defaults.
fn default_of(name: &str, path: &str, kind: &Kind, filled_in: &Json) -> String {
    if let Some((_, said)) = DERIVED.iter().find(|(end, _)| path.ends_with(end)) {
        return (*said).to_owned();
    }
    match &filled_in[name] {
        Json::Number(mode) if name == "defaultMode" => {
            format!("`{:#05o}`", mode.as_u64().unwrap_or(0)).replace("0o", "0")
        }
        Json::String(text) => format!("`{text}`"),
        value @ (Json::Number(_) | Json::Bool(_)) => format!("`{value}`"),
        _ if matches!(kind, Kind::Bool) => "`false`".to_owned(),
        _ => String::new(),
    }
}

fn collect(object: &Object, prefix: &str, filled_in: &Json, rows: &mut BTreeSet<(String, String)>) {
    for field in object.fields {
        let path = format!("{prefix}{}", field.name);
        let (here, mut note) = match field.treat() {
            Treat::Carried => ("yes", String::new()),
            Treat::Quiet(why) => ("quiet", why.to_owned()),
            Treat::Warned(why) => ("warning", why.to_owned()),
            Treat::Refused(why) => ("refused", why.to_owned()),
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
        let path = format!("{path}{suffix}");
        let default = match field.treat() {
            treat if is_entered(&treat) => default_of(field.name, &path, &field.kind, filled_in),
            _ => String::new(),
        };
        if let (Kind::Object(inner), treat) = (inner, field.treat())
            && is_entered(&treat)
        {
            let inside = &filled_in[field.name];
            collect(inner, &format!("{path}."), inside.get(0).unwrap_or(inside), rows);
        }
        rows.insert((path, format!("{holds} | {default} | {here} | {note} |")));
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
