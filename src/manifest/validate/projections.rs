//! Validation of projected volumes.

use crate::sorted::BTreeSet;

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::paths::{not_reserved, validate_mode};
use super::selectors::validate_label_selector;
use super::volumes::{validate_downward_file, validate_item};

const KEY_TYPES: [&str; 6] = ["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"];

/// Checks a projected volume.
pub(super) fn validate_projected(volume: &At<'_>, errors: &mut Errors) {
    validate_mode(&volume.child("defaultMode"), errors);
    let mut paths = BTreeSet::new();
    for source in volume.child("sources").items() {
        let mut count = 0;
        for field in
            ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle", "podCertificate"]
        {
            let Some(projection) = source.set(field) else { continue };
            count += 1;
            match field {
                "secret" | "configMap" => {
                    let name = projection.child("name");
                    errors.needs(&name);
                    for item in projection.child("items").items() {
                        validate_item(&item, errors);
                        claim(&mut paths, item.text_of("path"), volume, name.text(), errors);
                    }
                }
                "downwardAPI" => {
                    for file in projection.child("items").items() {
                        validate_downward_file(&file, &projection, errors);
                        let path = file.text_of("path");
                        claim(&mut paths, path, volume, path, errors);
                    }
                }
                "serviceAccountToken" => validate_token(&projection, volume, errors),
                "clusterTrustBundle" => {
                    validate_bundle(&projection, errors);
                    let path = projection.text_of("path");
                    if !paths.insert(path.to_owned()) {
                        errors.invalid_as(volume, path, "conflicting duplicate paths");
                    }
                }
                _ => validate_certificate(&projection, volume, &mut paths, errors),
            }
        }
        if count > 1 {
            errors.forbidden_at(&source, "may not specify more than 1 volume type per source");
        }
    }
}

/// Each path may be taken once. `shown`: what Kubernetes shows for a conflict.
fn claim(paths: &mut BTreeSet<String>, path: &str, volume: &At<'_>, shown: &str, errors: &mut Errors) {
    if !path.is_empty() && !paths.insert(path.to_owned()) {
        errors.invalid_as(volume, shown, "conflicting duplicate paths");
    }
}

fn validate_token(token: &At<'_>, volume: &At<'_>, errors: &mut Errors) {
    let seconds = token.child("expirationSeconds");
    if seconds.number() < 600 {
        errors.invalid_at(&seconds, "may not specify a duration less than 10 minutes");
    } else if seconds.number() > 1 << 32 {
        errors.invalid_at(&seconds, "may not specify a duration larger than 2^32 seconds");
    }
    // Kubernetes leaves the source out of this path.
    let (at, path) = (volume.child("path"), token.text_of("path"));
    if path.is_empty() {
        errors.required_at(&at, "");
    } else {
        not_reserved(&at, path, errors);
    }
}

fn validate_bundle(bundle: &At<'_>, errors: &mut Errors) {
    let (name, signer, selector) = (bundle.child("name"), bundle.child("signerName"), bundle.child("labelSelector"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => errors.invalid_at(bundle, "only one of name and signerName may be used"),
        (true, false) => {
            if !name.is_truthy() {
                errors.required_at(&name, "must be a valid object name");
            }
            let own = name.text().rsplit_once(':').map_or(name.text(), |(_, own)| own);
            for message in names::subdomain(own) {
                errors.invalid_at(&name, format!("not a valid clustertrustbundlename: {message}"));
            }
            if selector.is_set() {
                errors.invalid_at(&selector, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            if !signer.is_truthy() {
                errors.required_at(&signer, "must be a valid signer name");
            }
            validate_signer(&signer, errors);
            validate_label_selector(&selector, errors);
        }
        (false, false) => errors.required_at(bundle, "either name or signerName must be specified"),
    }
    let path = bundle.child("path");
    errors.needs(&path);
    not_reserved(&path, path.text(), errors);
}

fn validate_certificate(certificate: &At<'_>, volume: &At<'_>, paths: &mut BTreeSet<String>, errors: &mut Errors) {
    let signer = certificate.child("signerName");
    validate_signer(&signer, errors);
    errors.one_of_at(&certificate.child("keyType"), &KEY_TYPES);
    let seconds = certificate.child("maxExpirationSeconds");
    let built_in = signer.text().split('/').next().is_some_and(|domain| domain.ends_with("kubernetes.io"));
    let most = if built_in { 86_400 } else { 7_862_400 };
    if seconds.is_set() && seconds.number() < 3600 {
        errors.invalid_at(&seconds, "if provided, maxExpirationSeconds must be >= 3600");
    } else if seconds.number() > most {
        errors.invalid_at(&seconds, format!("if provided, maxExpirationSeconds must be <= {most}"));
    }
    let mut count = 0;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let path = certificate.child(field);
        if path.is_truthy() {
            count += 1;
            not_reserved(&path, path.text(), errors);
            claim(paths, path.text(), volume, path.text(), errors);
        }
    }
    if count == 0 {
        let detail = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
        errors.required_at(certificate, detail);
    }
}

/// `domain/path`, each made of DNS names.
fn validate_signer(signer: &At<'_>, errors: &mut Errors) {
    let name = signer.text();
    if name.is_empty() {
        errors.required_at(signer, "");
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid_as(signer, name, detail);
        return;
    };
    for label in domain.split('.') {
        for message in names::label(label) {
            errors.invalid_as(signer, domain, format!("validating label {label:?}: {message}"));
        }
    }
    if !domain.contains('.') {
        errors.invalid_as(signer, domain, "should be a domain with at least two segments separated by dots");
    }
    for label in path.split('.') {
        for message in names::subdomain(label) {
            errors.invalid_as(signer, path, format!("validating label {label:?}: {message}"));
        }
    }
}
