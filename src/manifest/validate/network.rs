//! Validation of names and addresses: host name, aliases, resolver.

use super::super::error::{ErrorKind, Errors};
use super::super::names;
use super::super::v1::Pod;

/// Checks host name, `hostAliases`, `dnsPolicy` and `dnsConfig`.
pub(super) fn validate_network(pod: &Pod, errors: &mut Errors, warnings: &mut Vec<(String, String)>) {
    let spec = &pod.spec;
    if let Some(hostname) = spec.hostname.as_deref().filter(|name| !name.is_empty()) {
        errors.invalid_all("spec.hostname", hostname, names::label(hostname));
        if spec.host_network {
            warnings.push(("spec.hostname".to_owned(), "the host's name counts with hostNetwork: true".to_owned()));
        }
    }
    for (index, alias) in spec.host_aliases.iter().enumerate() {
        let path = format!("spec.hostAliases[{index}]");
        errors.invalid_all(&format!("{path}.ip"), &alias.ip, names::ip(&alias.ip));
        for (index, name) in alias.hostnames.iter().enumerate() {
            errors.invalid_all(&format!("{path}.hostnames[{index}]"), name, names::subdomain(name));
        }
    }
    let known = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    errors.one_of("spec.dnsPolicy", &spec.dns_policy, &known);
    if spec.dns_policy == "ClusterFirstWithHostNet" {
        let message = "there is no cluster DNS; the node's resolver is used".to_owned();
        warnings.push(("spec.dnsPolicy".to_owned(), message));
    }
    validate_dns_config(pod, errors);
}

fn validate_dns_config(pod: &Pod, errors: &mut Errors) {
    let needs_server = pod.spec.dns_policy == "None";
    let Some(config) = &pod.spec.dns_config else {
        if needs_server {
            errors.required("spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let field = "spec.dnsConfig.nameservers";
    if needs_server && config.nameservers.is_empty() {
        errors.required(field, "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if config.nameservers.len() > 3 {
        errors.invalid(field, config.nameservers.clone(), "must not have more than 3 nameservers");
    }
    for (index, server) in config.nameservers.iter().enumerate() {
        errors.invalid_all(&format!("{field}[{index}]"), server, names::ip(server));
    }
    let field = "spec.dnsConfig.searches";
    if config.searches.len() > 32 {
        errors.invalid(field, config.searches.clone(), "must not have more than 32 search paths");
    }
    if config.searches.join(" ").len() > 2048 {
        errors.add(
            ErrorKind::Invalid,
            field,
            None,
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for (index, search) in config.searches.iter().enumerate() {
        if search != "." {
            errors.invalid_all(&format!("{field}[{index}]"), search, names::search_domain(search));
        }
    }
    for (index, option) in config.options.iter().enumerate() {
        if option.name.is_empty() {
            errors.required(&format!("spec.dnsConfig.options[{index}]"), "must not be empty");
        }
    }
}
