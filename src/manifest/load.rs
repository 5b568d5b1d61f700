//! [`load`]: a file's bytes become checked objects: parse, decode by the field table, default, validate, identify.

use std::rc::Rc;

use serde_json::{Value as Json, json};

use super::error::{ErrorKind, Errors, ValidationError};
use super::fields::{CONFIG_MAP, LIMIT_RANGE, PERSISTENT_VOLUME, PERSISTENT_VOLUME_CLAIM, POD, SECRET, SERVICE};
use super::loaded::{Loaded, Object, Warning};
use super::qos::qos_class;
use super::v1::{ObjectMeta, Pod, Secret};
use super::{annotations, base64, defaults, identity, service, validate, workload};
use crate::document::{self, Finding, FindingKind, Node, SyntaxError, Value, nearest};
use crate::json;
use crate::policy::{self, Level};

/// Kinds that are read, each with its table, but for `List`.
const KINDS: [(&str, &document::Object); 7] = [
    ("Pod", &POD),
    ("ConfigMap", &CONFIG_MAP),
    ("Secret", &SECRET),
    ("PersistentVolume", &PERSISTENT_VOLUME),
    ("PersistentVolumeClaim", &PERSISTENT_VOLUME_CLAIM),
    ("Service", &SERVICE),
    ("LimitRange", &LIMIT_RANGE),
];
/// Further kinds of the API's first group, which has no others. They have no effect here.
const OTHER_CORE_KINDS: [&str; 9] = [
    "Binding",
    "ComponentStatus",
    "Endpoints",
    "Event",
    "Namespace",
    "Node",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
];

/// How documents are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules<'a> {
    /// This node's name; empty for `gatepost validate`: pods then keep the name that is written.
    pub node_name: &'a str,
    /// Unknown fields and repeated keys are errors.
    pub strict: bool,
    /// The Pod Security Standard that pods must meet.
    pub pod_security: Level,
    /// Extended resources that are devices of this node; `None` where that is not known.
    pub devices: Option<&'a [String]>,
    /// The domain that full names of pods end in; empty where there is none, or none is known.
    pub cluster_domain: &'a str,
    /// `gatepost-fetch` is installed, and with it https and grpc.
    pub fetch: bool,
}

/// Loads all documents of a file.
pub fn load(bytes: &[u8], rules: Rules<'_>) -> Result<Vec<Loaded>, SyntaxError> {
    let parsed = document::parse(bytes)?;
    let reader = Loader { rules };
    let mut loaded = Vec::new();
    for (index, node) in parsed.documents.iter().enumerate() {
        let first = loaded.len();
        reader.document(node, index, &mut loaded);
        let oddities = parsed.warnings.iter().filter(|oddity| oddity.document == index);
        let Some(first) = loaded.get_mut(first) else { continue };
        for oddity in oddities {
            let (field, message, line) = (String::new(), oddity.message.clone(), oddity.line);
            if rules.strict {
                first.object = None;
                let kind = ErrorKind::Duplicate;
                first.errors.push(ValidationError { kind, field, value: None, detail: message, line });
            } else {
                first.warnings.push(Warning { field, message, line });
            }
        }
    }
    Ok(loaded)
}

/// What a list may hold.
const LIST_FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "items"];

struct Loader<'a> {
    rules: Rules<'a>,
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
        } else if let Some(kind) = workload::kind_of(&result.kind, api_version) {
            self.workload(kind, node, &mut result, &mut errors);
        } else if !KINDS.iter().any(|(kind, _)| *kind == result.kind) {
            Self::other_kind(node, api_version, &mut result, &mut errors);
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

    /// A kind that is not carried out: without effect if it is one of Kubernetes', an error if there is none of that name.
    fn other_kind(node: &Node, api_version: &str, result: &mut Loaded, errors: &mut Errors) {
        let known = KINDS.iter().map(|(kind, _)| *kind).chain(workload::KINDS).chain(["List"]);
        let meant = nearest(&result.kind, known);
        let grouped = api_version.contains('/') || OTHER_CORE_KINDS.contains(&result.kind.as_str());
        let core = api_version == "v1" || api_version.contains('/');
        match meant {
            Some(meant) if meant != result.kind => errors.add(
                ErrorKind::NotSupported,
                "kind",
                Some(Json::from(result.kind.as_str()).to_string()),
                format!("did you mean {meant:?}?"),
            ),
            Some(meant) => errors.unsupported("apiVersion", api_version, &[workload::version_of(meant)]),
            None if grouped && core || result.kind == "ServiceAccount" => result.warnings.push(Warning {
                field: "kind".to_owned(),
                message: format!(
                    "{api_version} {} is not carried out by this version; the document has no effect",
                    result.kind
                ),
                line: node.line_of("kind"),
            }),
            None => {
                let detail = format!("{api_version} has no such kind; for example v1 has Pod");
                errors.add(ErrorKind::NotSupported, "kind", Some(Json::from(result.kind.as_str()).to_string()), detail);
            }
        }
        let metadata = node.get("metadata");
        let text = |key| metadata.and_then(|metadata| metadata.text(key)).unwrap_or_default().to_owned();
        result.namespace = text("namespace");
        result.name = text("name");
    }

    /// A workload runs as one pod, made of its template. Errors name the fields of the template.
    fn workload(&self, kind: &'static str, node: &Node, result: &mut Loaded, errors: &mut Errors) {
        let Some(made) = workload::pod_of(kind, node, result, errors) else { return };
        let mut of_pod = Self::empty(&made, result.document);
        let mut found = Errors::default();
        self.object(&made, &mut of_pod, &mut found);
        workload::check_restart_policy(kind, &made, &mut found);
        Self::take_errors(found, &made, &mut of_pod);
        for mut error in of_pod.errors {
            error.field = workload::field_of(&error.field);
            errors.list.push(error);
        }
        for mut warning in of_pod.warnings {
            warning.field = workload::field_of(&warning.field);
            result.warnings.push(warning);
        }
        (result.namespace, result.name) = (of_pod.namespace, of_pod.name);
        (result.object, result.qos, result.meets) = (of_pod.object, of_pod.qos, of_pod.meets);
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
                if self.rules.strict {
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
            qos: None,
            meets: Level::Privileged,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn object(&self, node: &Node, result: &mut Loaded, errors: &mut Errors) {
        let Some((_, table)) = KINDS.iter().find(|(kind, _)| *kind == result.kind) else { return };
        let decoded = document::decode(node, table);
        let mut json = decoded.value;
        self.take_findings(decoded.findings, result, errors);
        let metadata = self.metadata(&json, node, result);
        let undecoded: Vec<String> = errors
            .list
            .iter()
            .filter(|error| error.kind == ErrorKind::TypeInvalid)
            .map(|error| error.field.clone())
            .collect();
        let mut found = Errors::default();
        validate::validate_metadata(&result.kind, &json, &metadata.name, &metadata.namespace, &mut found);
        if result.kind == "Pod" {
            self.check_pod(&mut json, node, result, &mut found);
        } else {
            defaults::apply_to_object(&result.kind, &mut json);
            validate::validate_object(&result.kind, &json, &mut found);
            if result.kind == "Service" {
                for (field, message) in service::warnings(&json) {
                    result.warnings.push(Warning { line: node.line_of(&field), field, message });
                }
            }
        }
        // What could not be decoded is missing below its path; that is no error of its own.
        found.list.retain(|error| {
            !undecoded.iter().any(|field| field.starts_with(&error.field) || error.field.starts_with(field))
        });
        // Of a field that is wrong nobody needs to know that it would not be carried out.
        errors.list.retain(|error| {
            error.kind != ErrorKind::Unimplemented || !found.list.iter().any(|other| other.field == error.field)
        });
        errors.list.append(&mut found.list);
        // What is only not carried out can be typed and judged all the same.
        if errors.list.iter().all(|error| error.kind == ErrorKind::Unimplemented) {
            if result.kind == "Pod" {
                self.judge(&json, result, errors);
            }
            result.object = self.typed_object(json, &metadata, node, result, errors);
        }
    }

    /// The metadata that the object has here; `result` gets its namespace and name.
    fn metadata(&self, json: &Json, node: &Node, result: &mut Loaded) -> ObjectMeta {
        let meta = json.get("metadata");
        let text = |key| meta.and_then(|meta| meta.get(key)).and_then(Json::as_str).unwrap_or_default();
        let map = |key: &str| {
            meta.and_then(|meta| meta.get(key)).cloned().and_then(|map| json::from_value(map).ok()).unwrap_or_default()
        };
        let mut metadata = ObjectMeta {
            name: self.written_name(json, node),
            namespace: if text("namespace").is_empty() { "default" } else { text("namespace") }.to_owned(),
            labels: map("labels"),
            annotations: map("annotations"),
            ..ObjectMeta::default()
        };
        if result.kind == "Pod" {
            if !metadata.name.is_empty() {
                metadata.name = identity::full_name(&metadata.name, self.rules.node_name);
            }
            metadata.uid = identity::uid(self.rules.node_name, &node.to_json());
            metadata.annotations.insert("kubernetes.io/config.hash".to_owned(), metadata.uid.clone());
            metadata.annotations.insert("kubernetes.io/config.source".to_owned(), "file".to_owned());
        }
        result.namespace.clone_from(&metadata.namespace);
        result.name.clone_from(&metadata.name);
        if result.kind == "PersistentVolume" {
            metadata.namespace.clear();
            result.namespace.clear();
        }
        metadata
    }

    /// The name, or one made of `generateName`; empty if there is neither.
    fn written_name(&self, json: &Json, node: &Node) -> String {
        let text = |key| json.get("metadata").and_then(|meta| meta.get(key)).and_then(Json::as_str).unwrap_or_default();
        match (text("name"), text("generateName")) {
            ("", "") => String::new(),
            ("", generate) => {
                format!("{generate}{}", identity::name_suffix(self.rules.node_name, &node.to_json()))
            }
            (name, _) => name.to_owned(),
        }
    }

    fn check_pod(&self, json: &mut Json, node: &Node, result: &mut Loaded, errors: &mut Errors) {
        for list in ["initContainers", "containers"].into_iter().filter(|_| !self.rules.fetch) {
            let containers = json.pointer(&format!("/spec/{list}")).and_then(Json::as_array);
            for (at, _) in
                containers.into_iter().flatten().enumerate().filter(|(_, c)| c["imagePullPolicy"] == "Always")
            {
                let field = format!("spec.{list}[{at}].imagePullPolicy");
                let message =
                    "Always: nothing is pulled without gatepost-fetch, so an image that is here is used as it is"
                        .to_owned();
                result.warnings.push(Warning { line: node.line_of(&field), field, message });
            }
        }
        if let Some(pod) = json.as_object_mut() {
            pod.entry("spec").or_insert_with(|| json!({}));
        }
        defaults::apply_to_pod(json);
        for (field, message) in validate::validate_pod(json, self.rules, errors) {
            let line = node.line_of(&field);
            result.warnings.push(Warning { field, message, line });
        }
    }

    /// The Pod Security Standards that a pod meets, and the one that it must.
    fn judge(&self, json: &Json, result: &mut Loaded, errors: &mut Errors) {
        let meets = |level| policy::check(json, level).is_empty();
        result.meets = match (meets(Level::Baseline), meets(Level::Restricted)) {
            (true, true) => Level::Restricted,
            (true, false) => Level::Baseline,
            (false, _) => Level::Privileged,
        };
        if result.meets < self.rules.pod_security {
            let level = self.rules.pod_security;
            errors.forbidden("", &policy::refusal(level, &policy::check(json, level)));
        }
    }

    fn typed_object(
        &self,
        mut json: Json,
        metadata: &ObjectMeta,
        node: &Node,
        result: &mut Loaded,
        errors: &mut Errors,
    ) -> Option<Object> {
        let written_name = self.written_name(&json, node);
        let fields = json.as_object_mut()?;
        fields.insert("metadata".to_owned(), json::to_value(metadata).unwrap_or_default());
        Some(match result.kind.as_str() {
            "Pod" => {
                let mut pod: Pod = typed(json, errors)?;
                result.qos = Some(qos_class(&pod));
                for (field, message) in annotations::check(&pod, errors) {
                    let line = node.line_of(&field);
                    result.warnings.push(Warning { field, message, line });
                }
                if !self.rules.node_name.is_empty() {
                    self.rules.node_name.clone_into(&mut pod.spec.node_name);
                }
                Object::Pod { written_name, pod: Rc::new(pod) }
            }
            "ConfigMap" => Object::ConfigMap(Rc::new(typed(json, errors)?)),
            "Secret" => {
                let plain = fields.remove("stringData");
                let mut object: Secret = typed(json, errors)?;
                for (key, value) in plain.as_ref().and_then(Json::as_object).into_iter().flatten() {
                    object.data.insert(key.clone(), base64::encode(value.as_str().unwrap_or_default().as_bytes()));
                }
                if object.kind.is_empty() {
                    "Opaque".clone_into(&mut object.kind);
                }
                Object::Secret(Rc::new(object))
            }
            "PersistentVolume" => Object::PersistentVolume(Rc::new(typed(json, errors)?)),
            "PersistentVolumeClaim" => Object::PersistentVolumeClaim(Rc::new(typed(json, errors)?)),
            "Service" => Object::Service(Rc::new(typed(json, errors)?)),
            _ => Object::LimitRange(Rc::new(typed(json, errors)?)),
        })
    }

    fn take_findings(&self, findings: Vec<Finding>, result: &mut Loaded, errors: &mut Errors) {
        for finding in findings {
            let kind = match finding.kind {
                FindingKind::Fetched if self.rules.fetch => continue,
                FindingKind::WrongType => ErrorKind::TypeInvalid,
                FindingKind::Refused | FindingKind::Fetched => ErrorKind::Unimplemented,
                FindingKind::TooMany => ErrorKind::TooMany,
                FindingKind::Unknown if self.rules.strict => ErrorKind::Forbidden,
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
}

fn typed<T: crate::json::Deserialize>(json: Json, errors: &mut Errors) -> Option<T> {
    match json::from_value(json) {
        Ok(object) => Some(object),
        Err(error) => {
            errors.add(ErrorKind::TypeInvalid, "", None, format!("the field table let this pass: {error}"));
            None
        }
    }
}
