//! [`load`]: a file's bytes become checked objects: parse, decode by the field table, default, validate, identify.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::error::{ErrorKind, Errors, ValidationError};
use super::fields::{CONFIG_MAP, LIMIT_RANGE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD, SECRET, SERVICE};
use super::v1::{
    ConfigMap, LimitRange, ObjectMeta, PersistentVolume, PersistentVolumeClaim, Pod, RestartPolicy, Secret, Service,
};
use super::{base64, defaults, identity, validate};
use crate::document::{self, Finding, FindingKind, Node, SyntaxError, Value, nearest};
use crate::json;

/// Most containers of one pod, init containers included.
const MAX_CONTAINERS: usize = 256;
/// Kinds that are carried out.
const KINDS: [&str; 8] =
    ["Pod", "ConfigMap", "Secret", "List", "PersistentVolume", "PersistentVolumeClaim", "Service", "LimitRange"];
/// Kinds that are checked and kept, but not carried out yet.
const WITHOUT_EFFECT: [&str; 4] = ["PersistentVolume", "PersistentVolumeClaim", "Service", "LimitRange"];

/// An object that is carried out. Cheap to clone: whoever has one shares it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A pod, defaulted, with its uid and full name.
    Pod {
        /// The name in the manifest, without the node's.
        written_name: String,
        /// The pod.
        pod: Rc<Pod>,
    },
    /// A ConfigMap.
    ConfigMap(Rc<ConfigMap>),
    /// A Secret.
    Secret(Rc<Secret>),
    /// A PersistentVolume; its namespace is empty.
    PersistentVolume(Rc<PersistentVolume>),
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim(Rc<PersistentVolumeClaim>),
    /// A Service.
    Service(Rc<Service>),
    /// A LimitRange.
    LimitRange(Rc<LimitRange>),
}

impl Object {
    /// The object's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pod { .. } => "Pod",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
            Self::PersistentVolume(_) => "PersistentVolume",
            Self::PersistentVolumeClaim(_) => "PersistentVolumeClaim",
            Self::Service(_) => "Service",
            Self::LimitRange(_) => "LimitRange",
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod { pod, .. } => &pod.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::PersistentVolume(object) => &object.metadata,
            Self::PersistentVolumeClaim(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::LimitRange(object) => &object.metadata,
        }
    }
}

/// Something odd in a document that is accepted all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Path of the field; empty for the document as a whole.
    pub field: String,
    /// What is odd and what follows.
    pub message: String,
    /// Line in the file, from 1.
    pub line: u32,
}

/// What became of one document, or of one item of a `List`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// Which document of the file, from 0.
    pub document: usize,
    /// Line where it begins, from 1.
    pub line: u32,
    /// Kind as written; empty when missing.
    pub kind: String,
    /// Namespace; `default` when none is written.
    pub namespace: String,
    /// Full name (pods: with the node's); empty when missing.
    pub name: String,
    /// The object; none with errors, and for kinds that are not carried out.
    pub object: Option<Object>,
    /// What is wrong.
    pub errors: Vec<ValidationError>,
    /// What is odd.
    pub warnings: Vec<Warning>,
}

/// Loads all documents of a file. `strict`: unknown fields are errors. The node's name may be empty (`gatepost validate`);
/// pods then keep the name that is written.
pub fn load(bytes: &[u8], node_name: &str, strict: bool) -> Result<Vec<Loaded>, SyntaxError> {
    let parsed = document::parse(bytes)?;
    let reader = Loader { node_name, strict };
    let mut loaded = Vec::new();
    for (index, node) in parsed.documents.iter().enumerate() {
        let first = loaded.len();
        reader.document(node, index, &mut loaded);
        let oddities = parsed.warnings.iter().filter(|oddity| oddity.document == index);
        if let Some(first) = loaded.get_mut(first) {
            first.warnings.extend(oddities.map(|oddity| Warning {
                field: String::new(),
                message: oddity.message.clone(),
                line: oddity.line,
            }));
        }
    }
    Ok(loaded)
}

/// What a list may hold.
const LIST_FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "items"];

struct Loader<'a> {
    node_name: &'a str,
    strict: bool,
}

impl Loader<'_> {
    fn document(&self, node: &Node, index: usize, loaded: &mut Vec<Loaded>) {
        let mut result = Self::empty(node, index);
        let api_version = node.text("apiVersion").unwrap_or_default();
        let mut errors = Errors::default();
        if !matches!(node.value, Value::Map(_)) {
            errors.add(
                ErrorKind::TypeInvalid,
                "",
                None,
                format!("expected an object with kind and apiVersion, found {}", node.described()),
            );
        } else if result.kind.is_empty() {
            errors.required("kind", "for example Pod");
        } else if api_version.is_empty() {
            errors.required("apiVersion", "for example v1");
        } else if let ("v1", Some(item_kind)) = (api_version, result.kind.strip_suffix("List")) {
            self.list(node, item_kind, index, loaded);
            return;
        } else if !KINDS.contains(&result.kind.as_str()) {
            let known = nearest(&result.kind, KINDS.into_iter());
            match known {
                Some(known) => errors.add(
                    ErrorKind::NotSupported,
                    "kind",
                    Some(Json::from(result.kind.as_str()).to_string()),
                    format!("did you mean {known:?}?"),
                ),
                None => result.warnings.push(Warning {
                    field: "kind".to_owned(),
                    message: format!(
                        "{api_version} {} is not carried out by this version; the document has no effect",
                        result.kind
                    ),
                    line: node.line_of("kind"),
                }),
            }
            let metadata = node.get("metadata");
            let text = |key| metadata.and_then(|metadata| metadata.text(key)).unwrap_or_default().to_owned();
            result.namespace = text("namespace");
            result.name = text("name");
        } else if api_version != "v1" {
            errors.unsupported("apiVersion", api_version, &["v1"]);
        } else {
            self.object(node, &mut result, &mut errors);
        }
        Self::take_errors(errors, node, &mut result);
        if !result.errors.is_empty() {
            result.object = None;
        }
        loaded.push(result);
    }

    /// Errors get the line of their field.
    fn take_errors(errors: Errors, node: &Node, result: &mut Loaded) {
        for mut error in errors.list {
            if error.line == 0 {
                error.line = node.line_of(&error.field);
            }
            result.errors.push(error);
        }
    }

    /// `List`, `PodList` and their kin: each item is a document; items of a typed list need not repeat kind and version.
    fn list(&self, node: &Node, item_kind: &str, index: usize, loaded: &mut Vec<Loaded>) {
        let mut result = Self::empty(node, index);
        let mut errors = Errors::default();
        if let Value::Map(entries) = &node.value {
            for entry in entries.iter().filter(|e| !LIST_FIELDS.contains(&e.key.as_str())) {
                if self.strict {
                    errors.forbidden(&entry.key, "a list has no such field");
                } else {
                    let message = "unknown field of a list; it has no effect".to_owned();
                    result.warnings.push(Warning { field: entry.key.clone(), message, line: entry.line });
                }
            }
        }
        let items: &[Node] = match node.get("items").map(|items| &items.value) {
            Some(Value::List(items)) => items,
            // So encoders write an empty list.
            Some(Value::Null) => &[],
            Some(_) => {
                errors.add(ErrorKind::TypeInvalid, "items", None, "must be a list of objects");
                &[]
            }
            None => {
                errors.required("items", "the objects of the list");
                &[]
            }
        };
        Self::take_errors(errors, node, &mut result);
        if !result.errors.is_empty() || !result.warnings.is_empty() {
            loaded.push(result);
        }
        for item in items {
            let mut item = item.clone();
            if let Value::Map(entries) = &mut item.value {
                for (key, value) in [("kind", item_kind), ("apiVersion", "v1")] {
                    if !item_kind.is_empty() && !entries.iter().any(|entry| entry.key == key) {
                        let (line, column) = (item.line, item.column);
                        let node = Node { value: Value::String(value.to_owned()), line, column };
                        entries.push(document::Entry { key: key.to_owned(), line, column, node });
                    }
                }
            }
            if item.text("kind").is_some_and(|kind| kind.ends_with("List")) {
                let mut errors = Errors::default();
                errors.forbidden("kind", "a list may not hold lists");
                let mut result = Self::empty(&item, index);
                result.errors = errors.list;
                loaded.push(result);
            } else {
                self.document(&item, index, loaded);
            }
        }
    }

    fn empty(node: &Node, document: usize) -> Loaded {
        Loaded {
            document,
            line: node.line,
            kind: node.text("kind").unwrap_or_default().to_owned(),
            namespace: String::new(),
            name: String::new(),
            object: None,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn object(&self, node: &Node, result: &mut Loaded, errors: &mut Errors) {
        let table = match result.kind.as_str() {
            "Pod" => &POD,
            "ConfigMap" => &CONFIG_MAP,
            "Secret" => &SECRET,
            "PersistentVolume" => &PERSISTENT_VOLUME,
            "PersistentVolumeClaim" => &PERSISTENT_VOLUME_CLAIM,
            "Service" => &SERVICE,
            _ => &LIMIT_RANGE,
        };
        let decoded = document::decode(node, table);
        let mut json = decoded.value;
        self.take_findings(decoded.findings, result, errors);
        let meta = json.get("metadata");
        let text = |key| meta.and_then(|meta| meta.get(key)).and_then(Json::as_str).unwrap_or_default().to_owned();
        let (written, generate, namespace) = (text("name"), text("generateName"), text("namespace"));
        let document = node.to_json();
        let name = match (written.as_str(), generate.as_str()) {
            ("", "") => String::new(),
            ("", generate) => format!("{generate}{}", identity::name_suffix(self.node_name, &document)),
            (name, _) => name.to_owned(),
        };
        let labels_and_annotations = |key: &str| {
            meta.and_then(|meta| meta.get(key)).cloned().and_then(|map| json::from_value(map).ok()).unwrap_or_default()
        };
        let mut metadata = ObjectMeta {
            name: name.clone(),
            namespace: if namespace.is_empty() { "default".to_owned() } else { namespace },
            labels: labels_and_annotations("labels"),
            annotations: labels_and_annotations("annotations"),
            ..ObjectMeta::default()
        };
        let decode_errors: Vec<String> = errors.list.iter().map(|error| error.field.clone()).collect();
        let mut found = Errors::default();
        if result.kind == "Pod" {
            metadata.name = if name.is_empty() { name.clone() } else { identity::full_name(&name, self.node_name) };
            metadata.uid = identity::uid(self.node_name, &document);
            metadata.annotations.insert("kubernetes.io/config.hash".to_owned(), metadata.uid.clone());
            metadata.annotations.insert("kubernetes.io/config.source".to_owned(), "file".to_owned());
        }
        if result.kind == "PersistentVolume" {
            metadata.namespace.clear();
        }
        validate::validate_metadata(&metadata, &written, &generate, &mut found);
        result.namespace.clone_from(&metadata.namespace);
        result.name.clone_from(&metadata.name);
        result.object = match result.kind.as_str() {
            "Pod" => self.pod(&mut json, metadata, name, node, result, &mut found),
            "ConfigMap" => config_map(&mut json, metadata, &mut found),
            "Secret" => secret(&mut json, metadata, &mut found),
            _ => beside(json, &result.kind, &metadata, &mut found),
        };
        if WITHOUT_EFFECT.contains(&result.kind.as_str()) {
            let message = format!("{} is not carried out by this version; the document has no effect", result.kind);
            result.warnings.push(Warning { field: "kind".to_owned(), message, line: node.line_of("kind") });
        }
        // What could not be decoded is missing below its path; that is no error of its own.
        found.list.retain(|error| {
            !decode_errors.iter().any(|field| field.starts_with(&error.field) || error.field.starts_with(field))
        });
        errors.list.append(&mut found.list);
    }

    fn take_findings(&self, findings: Vec<Finding>, result: &mut Loaded, errors: &mut Errors) {
        for finding in findings {
            let kind = match finding.kind {
                FindingKind::WrongType => ErrorKind::TypeInvalid,
                FindingKind::Refused => ErrorKind::Forbidden,
                FindingKind::Later => ErrorKind::Unimplemented,
                FindingKind::TooMany => ErrorKind::TooMany,
                FindingKind::Unknown if self.strict => ErrorKind::Forbidden,
                FindingKind::Unknown | FindingKind::NoEffect => {
                    result.warnings.push(Warning {
                        field: finding.field,
                        message: finding.message,
                        line: finding.line,
                    });
                    continue;
                }
            };
            errors.list.push(ValidationError {
                kind,
                field: finding.field,
                // What a Secret holds must never reach a log or an event.
                value: finding.value.filter(|_| result.kind != "Secret"),
                detail: finding.message,
                line: finding.line,
            });
        }
    }

    fn pod(
        &self,
        json: &mut Json,
        metadata: ObjectMeta,
        written_name: String,
        node: &Node,
        result: &mut Loaded,
        errors: &mut Errors,
    ) -> Option<Object> {
        for list in ["initContainers", "containers"] {
            let containers = json.pointer(&format!("/spec/{list}")).and_then(Json::as_array);
            for (at, _) in
                containers.into_iter().flatten().enumerate().filter(|(_, c)| c["imagePullPolicy"] == "Always")
            {
                let field = format!("spec.{list}[{at}].imagePullPolicy");
                let message = "Always: no registry is configured, so an image that is here is used as it is".to_owned();
                result.warnings.push(Warning { line: node.line_of(&field), field, message });
            }
        }
        defaults::apply_to_pod(json);
        let mut spec = json.get_mut("spec").map(Json::take).unwrap_or_default();
        if spec.is_null() {
            errors.required("spec.containers", "");
            return None;
        }
        let containers = |key: &str| spec.get(key).and_then(Json::as_array).map_or(0, Vec::len);
        let count = containers("containers") + containers("initContainers");
        if count > MAX_CONTAINERS {
            let detail = format!("must have at most {MAX_CONTAINERS} items, init containers included");
            errors.add(ErrorKind::TooMany, "spec.containers", Some(count.to_string()), detail);
            return None;
        }
        if let Some(policy) = spec.get("restartPolicy").and_then(Json::as_str).map(str::to_owned) {
            if !policy.is_empty() {
                errors.one_of("spec.restartPolicy", &policy, &["Always", "Never", "OnFailure"]);
            }
            if json::from_value::<RestartPolicy>(Json::from(policy)).is_err()
                && let Some(fields) = spec.as_object_mut()
            {
                fields.remove("restartPolicy");
            }
        }
        validate::validate_scheduling(&spec, errors);
        let spec = typed(spec, "spec", errors)?;
        let mut pod = Pod { metadata, spec };
        for (field, message) in validate::validate_pod(&pod, self.node_name, errors) {
            let line = node.line_of(&field);
            result.warnings.push(Warning { field, message, line });
        }
        if !self.node_name.is_empty() {
            self.node_name.clone_into(&mut pod.spec.node_name);
        }
        Some(Object::Pod { written_name, pod: Rc::new(pod) })
    }
}

fn config_map(json: &mut Json, metadata: ObjectMeta, errors: &mut Errors) -> Option<Object> {
    let mut object: ConfigMap = typed(without_metadata(json), "", errors)?;
    object.metadata = metadata;
    validate::validate_config_map(&object, errors);
    Some(Object::ConfigMap(Rc::new(object)))
}

fn secret(json: &mut Json, metadata: ObjectMeta, errors: &mut Errors) -> Option<Object> {
    let mut fields = without_metadata(json);
    let plain = fields.get_mut("stringData").map(Json::take);
    let mut object: Secret = typed(fields, "", errors)?;
    for (key, value) in plain.as_ref().and_then(Json::as_object).into_iter().flatten() {
        object.data.insert(key.clone(), base64::encode(value.as_str().unwrap_or_default().as_bytes()));
    }
    if object.kind.is_empty() {
        "Opaque".clone_into(&mut object.kind);
    }
    object.metadata = metadata;
    validate::validate_secret(&object, errors);
    Some(Object::Secret(Rc::new(object)))
}

/// The objects that are typed as they are written.
fn beside(mut json: Json, kind: &str, metadata: &ObjectMeta, errors: &mut Errors) -> Option<Object> {
    defaults::apply_to_object(kind, &mut json);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("metadata".to_owned(), json::to_value(metadata).unwrap_or_default());
    }
    Some(match kind {
        "PersistentVolume" => Object::PersistentVolume(Rc::new(typed(json, "", errors)?)),
        "PersistentVolumeClaim" => Object::PersistentVolumeClaim(Rc::new(typed(json, "", errors)?)),
        "Service" => Object::Service(Rc::new(typed(json, "", errors)?)),
        _ => Object::LimitRange(Rc::new(typed(json, "", errors)?)),
    })
}

fn without_metadata(json: &mut Json) -> Json {
    if let Some(fields) = json.as_object_mut() {
        fields.remove("metadata");
    }
    json.take()
}

fn typed<T: serde::de::DeserializeOwned>(json: Json, field: &str, errors: &mut Errors) -> Option<T> {
    match json::from_value(json) {
        Ok(object) => Some(object),
        Err(error) => {
            let detail = format!("the field table let this pass: {error}");
            errors.add(ErrorKind::TypeInvalid, field, None, detail);
            None
        }
    }
}
