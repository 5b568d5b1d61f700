//! [`DocumentVerdict`]: what `gatepost validate` says of each document. Needs neither root nor a supervisor.

use std::path::Path;
use std::rc::Rc;

use super::annotations::{Annotations, Waiting, cycles};
use super::limits;
use super::load::{Rules, load};
use super::loaded::{Loaded, Object, Warning};
use super::qos::qos_class;
use crate::json::{Deserialize, Serialize};
use crate::policy::Level;

/// The verdict on one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentVerdict {
    /// The file as named by the caller.
    pub file: String,
    /// Which document of the file, from 0.
    pub document: usize,
    /// Kind; empty when unknown.
    pub kind: String,
    /// Name as it would run, without the node's; empty when unknown.
    pub name: String,
    /// Whether it would be carried out.
    pub ok: bool,
    /// What is wrong.
    pub errors: Vec<VerdictError>,
    /// What is odd.
    pub warnings: Vec<Warning>,
    /// QoS class of a pod that Kubernetes would take; else empty.
    pub qos: String,
    /// Which Pod Security Standards such a pod meets.
    pub pod_security: PodSecurity,
}

/// Which Pod Security Standards a pod meets, by the latest version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {
    /// The baseline standard.
    pub baseline: bool,
    /// The restricted standard.
    pub restricted: bool,
}

/// An error as `gatepost validate` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictError {
    /// Path of the field; empty for the file as a whole.
    pub field: String,
    /// Sort of error: Kubernetes' word, or `Unimplemented`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is wrong, in Kubernetes' words.
    pub message: String,
    /// Line, from 1; 0 when there is none.
    pub line: u32,
}

/// Judges files. A directory stands for the manifests in it.
pub fn validate_files<P: AsRef<Path>>(paths: &[P], rules: Rules<'_>) -> Vec<DocumentVerdict> {
    let mut judged = Vec::new();
    for path in paths {
        let path = path.as_ref();
        let files = if path.is_dir() { super::source::manifest_files(path) } else { Ok(vec![path.to_owned()]) };
        match files {
            Ok(files) => {
                for file in files {
                    let name = file.display().to_string();
                    match super::source::read_file(&file, crate::document::MAX_FILE_BYTES) {
                        Ok(bytes) => judged.extend(judge(&name, &bytes, rules)),
                        Err(message) => judged.push((whole_file(&name, "Invalid", message, 0), None)),
                    }
                }
            }
            Err(message) => judged.push((whole_file(&path.display().to_string(), "Invalid", message, 0), None)),
        }
    }
    finish(judged)
}

/// Judges bytes, as from standard input.
pub fn validate_bytes(name: &str, bytes: &[u8], rules: Rules<'_>) -> Vec<DocumentVerdict> {
    finish(judge(name, bytes, rules))
}

fn judge(file: &str, bytes: &[u8], rules: Rules<'_>) -> Vec<(DocumentVerdict, Option<Object>)> {
    match load(bytes, rules) {
        Ok(loaded) if loaded.is_empty() => {
            vec![(whole_file(file, "Required", "there is no document in this file".to_owned(), 1), None)]
        }
        Ok(loaded) => loaded.into_iter().map(|loaded| verdict(file, loaded)).collect(),
        Err(error) => vec![(whole_file(file, "Invalid", error.to_string(), error.line), None)],
    }
}

fn verdict(file: &str, loaded: Loaded) -> (DocumentVerdict, Option<Object>) {
    let errors: Vec<_> = loaded
        .errors
        .iter()
        .map(|error| VerdictError {
            field: error.field.clone(),
            kind: format!("{:?}", error.kind),
            message: error.message(),
            line: error.line,
        })
        .collect();
    let is_pod = loaded.qos.is_some();
    let pod_security = PodSecurity {
        baseline: is_pod && loaded.meets >= Level::Baseline,
        restricted: is_pod && loaded.meets >= Level::Restricted,
    };
    let verdict = DocumentVerdict {
        file: file.to_owned(),
        document: loaded.document,
        kind: loaded.kind,
        name: loaded.name,
        ok: errors.is_empty(),
        errors,
        warnings: loaded.warnings,
        qos: loaded.qos.map(|qos| qos.to_string()).unwrap_or_default(),
        pod_security,
    };
    (verdict, loaded.object)
}

fn whole_file(file: &str, kind: &str, message: String, line: u32) -> DocumentVerdict {
    let error = VerdictError { field: String::new(), kind: kind.to_owned(), message, line };
    DocumentVerdict {
        file: file.to_owned(),
        document: 0,
        kind: String::new(),
        name: String::new(),
        ok: false,
        errors: vec![error],
        warnings: Vec::new(),
        qos: String::new(),
        pod_security: PodSecurity::default(),
    }
}

/// What only shows when all documents are seen together: LimitRanges, and pods that wait for each other.
fn finish(mut judged: Vec<(DocumentVerdict, Option<Object>)>) -> Vec<DocumentVerdict> {
    let ranges: Vec<_> = judged
        .iter()
        .filter_map(|(_, object)| match object {
            Some(Object::LimitRange(range)) => Some(Rc::clone(range)),
            _ => None,
        })
        .collect();
    for (verdict, object) in &mut judged {
        let Some(Object::Pod { written_name, pod }) = object else { continue };
        let wrong = limits::apply(pod, &ranges);
        if wrong.is_empty() {
            // Defaults may change the class.
            verdict.qos = qos_class(pod).to_string();
        } else {
            verdict.ok = false;
            verdict.errors.push(VerdictError {
                field: String::new(),
                kind: "Forbidden".to_owned(),
                message: limits::refusal(written_name, &wrong),
                line: 0,
            });
        }
    }
    let pods: Vec<_> = judged
        .iter()
        .filter_map(|(_, object)| match object {
            Some(Object::Pod { written_name, pod }) => {
                Some((written_name.clone(), Annotations::of(pod), pod.metadata.clone()))
            }
            _ => None,
        })
        .collect();
    let waiting: Vec<_> = pods
        .iter()
        .map(|(name, annotations, metadata)| Waiting {
            metadata,
            written_name: name,
            start_after: &annotations.start_after,
        })
        .collect();
    for cycle in cycles(&waiting) {
        let names: Vec<String> = cycle.iter().map(|(_, name)| name.clone()).collect();
        for (verdict, object) in &mut judged {
            let Some(Object::Pod { written_name, pod }) = object else { continue };
            if cycle.contains(&(pod.metadata.namespace.clone(), written_name.clone())) {
                verdict.ok = false;
                verdict.errors.push(VerdictError {
                    field: "metadata.annotations[gatepost.io/start-after]".to_owned(),
                    kind: "Invalid".to_owned(),
                    message: cycle_message(&names),
                    line: 0,
                });
            }
        }
    }
    judged.into_iter().map(|(verdict, _)| verdict).collect()
}

/// The words for a circle of waiting pods.
pub(super) fn cycle_message(names: &[String]) -> String {
    format!("pods wait for each other: {}; remove one of these conditions", names.join(" -> "))
}
