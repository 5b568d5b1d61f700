//! [`Applied`]: the documents that were brought to this node by hand, in one file of the last manifest directory, so that a change of
//! several documents counts whole or not at all. Pure.
//!
//! Documents are kept as written (but for comments and layout), so that an object that is applied again unchanged keeps its UID. What came
//! with a signature is kept as the bytes that were signed, and which of the objects in them count: [`unfold`] makes documents of it.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::desired::ObjectKey;
use crate::document::{self, Node, SyntaxError, Value, base64, canonical_json};
use crate::sorted::BTreeMap;
use crate::trust::Keys;

/// The file's name within the manifest directory.
pub const FILE: &str = "applied.yaml";

/// What stands at the top of the file.
const HEADER: &str = "# Written by `gatepost apply`; `gatepost rollback` takes the last change back.\n";

/// Kind and version of an entry that holds signed bytes.
const SIGNED: (&str, &str) = ("Signed", "gatepost.io/v1");

/// What becomes of a document by a change. kubectl: the words of `apply` and `delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there with another content.
    Configured,
    /// It is there as it was.
    Unchanged,
    /// It is there no more.
    Deleted,
}

impl Change {
    /// kubectl's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// Why documents cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppliedError {
    /// The bytes are neither YAML nor JSON.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// An object cannot be told from others.
    #[error("line {line}: {what}: an object that is applied needs a kind and a metadata.name of its own")]
    Nameless {
        /// Line, from 1.
        line: u32,
        /// What is there instead.
        what: String,
    },
    /// An object is there twice.
    #[error("line {line}: {kind} {namespace}/{name} is there twice; leave one of them out")]
    Twice {
        /// Line of the second one, from 1.
        line: u32,
        /// Its kind.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// The documents, each kind, namespace and name once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Applied {
    /// By what is written: a Deployment is one, although a pod comes of it.
    documents: BTreeMap<ObjectKey, Document>,
}

#[derive(Debug, Clone, PartialEq)]
struct Document {
    json: Json,
    source: Option<Rc<Source>>,
}

/// Bytes that somebody has signed.
#[derive(Debug, PartialEq)]
struct Source {
    content: String,
    signature: Vec<u8>,
}

impl Applied {
    /// Reads the documents of a file, items of lists one by one.
    pub fn parse(bytes: &[u8]) -> Result<Self, AppliedError> {
        let mut applied = Self::default();
        for node in &document::parse(bytes)?.documents {
            applied.add(node)?;
        }
        Ok(applied)
    }

    /// The same of a file with its signature, which is kept and not looked at.
    pub fn signed(bytes: &[u8], signature: &[u8]) -> Result<Self, AppliedError> {
        let mut applied = Self::parse(bytes)?;
        let content = String::from_utf8_lossy(bytes).into_owned();
        let source = Rc::new(Source { content, signature: signature.to_vec() });
        for document in applied.documents.values_mut() {
            document.source = Some(Rc::clone(&source));
        }
        Ok(applied)
    }

    /// Reads what [`Self::render`] has written.
    pub fn stored(bytes: &[u8]) -> Result<Self, AppliedError> {
        let mut applied = Self::default();
        for node in &document::parse(bytes)?.documents {
            if (node.text("kind"), node.text("apiVersion")) == (Some(SIGNED.0), Some(SIGNED.1)) {
                let text = |field| node.text(field).unwrap_or_default();
                let signature = base64::decode(text("signature")).unwrap_or_default();
                let all = Self::signed(text("content").as_bytes(), &signature)?;
                let named = node.get("objects").map(Node::to_json).unwrap_or_default();
                let counts = |key: &ObjectKey| named.as_array().is_some_and(|all| all.contains(&path(key).into()));
                applied.documents.extend(all.documents.into_iter().filter(|(key, _)| counts(key)));
            } else {
                applied.add(node)?;
            }
        }
        Ok(applied)
    }

    fn add(&mut self, node: &Node) -> Result<(), AppliedError> {
        let kind = node.text("kind").unwrap_or_default();
        if let (Some(item_kind), Some(Value::List(items))) =
            (kind.strip_suffix("List"), node.get("items").map(|items| &items.value))
        {
            for item in items {
                self.insert(item, item_kind)?;
            }
            return Ok(());
        }
        self.insert(node, kind)
    }

    /// `kind` is for an item of a typed list, which need not repeat it.
    fn insert(&mut self, node: &Node, kind: &str) -> Result<(), AppliedError> {
        let metadata = node.get("metadata");
        let text = |field| metadata.and_then(|metadata| metadata.text(field)).unwrap_or_default().to_owned();
        let mut json = node.to_json();
        if let Some(object) = json.as_object_mut().filter(|_| !kind.is_empty()) {
            object.entry("kind").or_insert_with(|| kind.into());
            object.entry("apiVersion").or_insert_with(|| "v1".into());
        }
        let kind = node.text("kind").unwrap_or(kind).to_owned();
        let (name, mut namespace) = (text("name"), text("namespace"));
        if kind.is_empty() || name.is_empty() {
            let what = if kind.is_empty() { node.described().to_owned() } else { format!("a {kind} without a name") };
            return Err(AppliedError::Nameless { line: node.line, what });
        }
        if namespace.is_empty() {
            "default".clone_into(&mut namespace);
        }
        let key = ObjectKey { kind, namespace, name };
        if self.documents.contains_key(&key) {
            let ObjectKey { kind, namespace, name } = key;
            return Err(AppliedError::Twice { line: node.line, kind, namespace, name });
        }
        self.documents.insert(key, Document { json, source: None });
        Ok(())
    }

    /// Whether it holds no document.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// What tells its documents apart.
    pub fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.documents.keys()
    }

    /// Whether it holds the document.
    pub fn contains(&self, key: &ObjectKey) -> bool {
        self.documents.contains_key(key)
    }

    /// These documents, in place of those of the same kind, namespace and name.
    #[must_use]
    pub fn with(&self, new: &Self) -> Self {
        let mut all = self.clone();
        for (key, document) in &new.documents {
            all.documents.insert(key.clone(), document.clone());
        }
        all
    }

    /// Without the documents of these kinds, namespaces and names.
    #[must_use]
    pub fn without(&self, gone: &Self) -> Self {
        let mut all = self.clone();
        for key in gone.documents.keys() {
            all.documents.remove(key);
        }
        all
    }

    /// What becomes of each document on the way to `after`.
    pub fn changes_to(&self, after: &Self) -> Vec<(ObjectKey, Change)> {
        let change = |key: &ObjectKey, document: &Document| match self.documents.get(key) {
            None => Change::Created,
            Some(before) if canonical_json(&before.json) == canonical_json(&document.json) => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        let kept = after.documents.iter().map(|(key, document)| (key.clone(), change(key, document)));
        let gone = self.documents.keys().filter(|key| !after.documents.contains_key(key));
        kept.chain(gone.map(|key| (key.clone(), Change::Deleted))).collect()
    }

    /// The file: a document a line, so that two versions can be compared line by line. JSON is YAML.
    pub fn render(&self) -> String {
        let mut sources: Vec<(&Rc<Source>, Vec<String>)> = Vec::new();
        for (key, document) in &self.documents {
            let Some(source) = &document.source else { continue };
            match sources.iter_mut().find(|(known, _)| *known == source) {
                Some((_, keys)) => keys.push(path(key)),
                None => sources.push((source, vec![path(key)])),
            }
        }
        let unsigned = self.documents.values().filter(|document| document.source.is_none());
        let signed = sources.into_iter().map(|(source, objects)| {
            let signature = base64::encode(&source.signature);
            let (kind, version) = SIGNED;
            canonical_json(&json!({"kind": kind, "apiVersion": version, "content": source.content,
                "objects": objects, "signature": signature}))
        });
        lines(unsigned.map(|document| canonical_json(&document.json)).chain(signed))
    }
}

fn path(key: &ObjectKey) -> String {
    format!("{}/{}/{}", key.kind, key.namespace, key.name)
}

fn lines(documents: impl Iterator<Item = String>) -> String {
    let mut text = HEADER.to_owned();
    for document in documents {
        text.push_str("---\n");
        text.push_str(&document);
        text.push('\n');
    }
    text
}

/// The documents of the file that count. With `keys` all of them must be signed.
pub(super) fn unfold<'a>(bytes: &'a [u8], keys: Option<&Result<Keys, String>>) -> Result<Cow<'a, [u8]>, String> {
    // Who looks for what is wrong with a file shall find it at its place.
    let signed = bytes.windows(SIGNED.1.len()).any(|part| part == SIGNED.1.as_bytes());
    if keys.is_none() && !signed {
        return Ok(Cow::Borrowed(bytes));
    }
    let all = Applied::stored(bytes).map_err(|error| error.to_string())?;
    if let Some(keys) = keys {
        let keys = keys.as_ref().map_err(Clone::clone)?;
        let mut good: Vec<&Rc<Source>> = Vec::new();
        for (ObjectKey { kind, namespace, name }, document) in &all.documents {
            let what = format!("{kind} {namespace}/{name}");
            let Some(source) = &document.source else {
                return Err(format!(
                    "{what} was applied without a signature, and this node takes signed manifests only (manifestKeys); apply it again with \
                     --signature, or take it out by `gatepost delete -f`"
                ));
            };
            if !good.iter().any(|known| Rc::ptr_eq(known, source)) {
                keys.verify(source.content.as_bytes(), &source.signature).map_err(|why| format!("{what}: {why}"))?;
                good.push(source);
            }
        }
    }
    Ok(Cow::Owned(lines(all.documents.values().map(|document| canonical_json(&document.json))).into_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::manifest::identity;

    const WEB: &str = "# the shop\nkind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec: {containers: [{name: a, image: b, env: [{name: X, value: \"007\"}]}]}\n";
    const SETTINGS: &str =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: shop}\ndata: {mode: \"on\"}\n";

    fn applied(text: &str) -> Applied {
        Applied::parse(text.as_bytes()).unwrap()
    }

    fn changes(before: &Applied, after: &Applied) -> Vec<String> {
        let changes = before.changes_to(after).into_iter();
        changes.map(|(key, change)| format!("{} {}/{} {}", key.kind, key.namespace, key.name, change.word())).collect()
    }

    #[test]
    fn what_is_written_reads_as_it_was_and_keeps_its_identity() {
        let both = applied(&format!("{WEB}---\n{SETTINGS}"));
        let text = both.render();
        assert_eq!(applied(&text), both);
        assert_eq!(text.lines().count(), 5, "{text}");
        let uid = |text: &str| {
            let documents = document::parse(text.as_bytes()).unwrap().documents;
            let pod = documents.iter().find(|document| document.text("kind") == Some("Pod")).unwrap();
            identity::uid("gw", &pod.to_json())
        };
        assert_eq!(uid(&text), uid(WEB));
    }

    #[test]
    fn documents_replace_those_of_their_kind_namespace_and_name() {
        let web = applied(WEB);
        let both = web.with(&applied(SETTINGS));
        assert_eq!(changes(&web, &both), ["ConfigMap shop/web created", "Pod default/web unchanged"]);
        let switched = both.with(&applied(&SETTINGS.replace("\"on\"", "\"off\"")));
        assert_eq!(changes(&both, &switched), ["ConfigMap shop/web configured", "Pod default/web unchanged"]);
        let without = switched.without(&applied(WEB));
        assert_eq!(changes(&switched, &without), ["ConfigMap shop/web unchanged", "Pod default/web deleted"]);
        assert!(without.without(&without).is_empty());
    }

    #[test]
    fn items_of_lists_are_documents_of_their_own() {
        let list = "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}}, {metadata: {name: b}}]\n";
        let found = applied(list);
        assert_eq!(found.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(applied(&found.render()), found);
        assert!(found.render().contains(r#""kind":"ConfigMap""#));
    }

    #[test]
    fn what_was_signed_is_kept_as_it_was_and_only_what_still_counts_of_it() {
        let file = format!("{WEB}---\n{SETTINGS}");
        let both = Applied::signed(file.as_bytes(), b"signature").unwrap();
        let other = applied(&SETTINGS.replace("shop", "bar"));
        let three = both.with(&other);
        let text = three.render();
        assert_eq!(text.lines().count(), 5, "{text}");
        assert_eq!(Applied::stored(text.as_bytes()).unwrap(), three);
        let less = three.without(&applied(SETTINGS));
        assert_eq!(Applied::stored(less.render().as_bytes()).unwrap(), less);
        let unfolded = unfold(text.as_bytes(), None).unwrap();
        assert_eq!(applied(std::str::from_utf8(&unfolded).unwrap()), applied(&file).with(&other));
        // What was written without a signature stays at its place.
        let plain = other.render();
        assert!(matches!(unfold(plain.as_bytes(), None), Ok(Cow::Borrowed(_))));
        let no_keys = Ok(Keys::read(&[]).unwrap());
        let why = unfold(plain.as_bytes(), Some(&no_keys)).unwrap_err();
        assert!(why.contains("ConfigMap bar/web was applied without a signature"), "{why}");
        let why = unfold(both.render().as_bytes(), Some(&no_keys)).unwrap_err();
        assert!(why.contains("ConfigMap shop/web: the signature is none"), "{why}");
    }

    #[test]
    fn an_entry_of_ours_in_a_file_of_a_person_is_none() {
        let text = Applied::signed(WEB.as_bytes(), b"x").unwrap().render();
        assert!(Applied::parse(text.as_bytes()).unwrap_err().to_string().contains("a Signed without a name"));
    }

    #[test]
    fn what_cannot_be_told_apart_is_refused_with_its_line() {
        for (text, said) in [
            ("kind: Pod\nmetadata: {generateName: x-}\n", "line 1: a Pod without a name"),
            (&format!("{SETTINGS}---\nmetadata: {{name: x}}\n"), "line 6: an object"),
            (&format!("{SETTINGS}---\n{SETTINGS}"), "line 6: ConfigMap shop/web is there twice"),
            ("a: [", "line 2, column 1"),
        ] {
            let error = Applied::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
