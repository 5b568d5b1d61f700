//! [`Applied`]: the documents that were brought to this node by hand, in one file of the last manifest directory, so that a change of
//! several documents counts whole or not at all. Pure.
//!
//! Documents are kept as written (but for comments and layout), so that an object that is applied again unchanged keeps its UID.

use serde_json::Value as Json;

use super::desired::ObjectKey;
use crate::document::{self, Node, SyntaxError, Value, canonical_json};
use crate::sorted::BTreeMap;

/// The file's name within the manifest directory.
pub const FILE: &str = "applied.yaml";

/// What stands at the top of the file.
const HEADER: &str = "# Written by `gatepost apply`; `gatepost rollback` takes the last change back.\n";

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
    documents: BTreeMap<ObjectKey, Json>,
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
        self.documents.insert(key, json);
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
        let change = |key: &ObjectKey, document: &Json| match self.documents.get(key) {
            None => Change::Created,
            Some(before) if canonical_json(before) == canonical_json(document) => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        let kept = after.documents.iter().map(|(key, document)| (key.clone(), change(key, document)));
        let gone = self.documents.keys().filter(|key| !after.documents.contains_key(key));
        kept.chain(gone.map(|key| (key.clone(), Change::Deleted))).collect()
    }

    /// The file: a document a line, so that two versions can be compared line by line. JSON is YAML.
    pub fn render(&self) -> String {
        let mut text = HEADER.to_owned();
        for document in self.documents.values() {
            text.push_str("---\n");
            text.push_str(&canonical_json(document));
            text.push('\n');
        }
        text
    }
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
