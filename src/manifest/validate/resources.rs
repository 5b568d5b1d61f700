//! Validation of a container's resources.

use super::super::error::Errors;
use super::super::names;
use super::super::v1::Container;
use crate::document::Quantity;

/// Checks limits and requests: names, signs, order; and what this version does not account for.
pub(super) fn validate_resources(
    container: &Container,
    path: &str,
    errors: &mut Errors,
    warnings: &mut Vec<(String, String)>,
) {
    let path = format!("{path}.resources");
    let resources = &container.resources;
    for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, written) in amounts {
            let field = format!("{path}.{list}[{name}]");
            // Requests that only repeat a limit were put there by defaulting.
            let defaulted = list == "requests" && resources.limits.get(name) == Some(written);
            let Ok(amount) = Quantity::parse(written) else { continue };
            check_name(name, &field, defaulted, errors, warnings);
            if amount.nanos() < 0 {
                errors.invalid(&field, amount.to_string(), "must be greater than or equal to 0");
            }
            if name == "memory" && !amount.is_whole() && !defaulted {
                let message = format!(
                    "{written} is a fraction of a byte and counts as {}; did you mean M or Mi?",
                    amount.whole()
                );
                warnings.push((field, message));
            }
        }
    }
    let asked = || resources.limits.keys().chain(resources.requests.keys());
    if asked().any(|name| name.starts_with("hugepages-"))
        && !asked().any(|name| ["cpu", "memory"].contains(&name.as_str()))
    {
        errors.forbidden(&path, "HugePages require cpu or memory");
    }
    for (name, written) in &resources.requests {
        let (Ok(request), Some(limit)) = (Quantity::parse(written), resources.limits.get(name)) else { continue };
        let Ok(limit) = Quantity::parse(limit) else { continue };
        if request > limit {
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.invalid(&format!("{path}.requests"), request.to_string(), detail);
        }
    }
}

fn check_name(name: &str, field: &str, defaulted: bool, errors: &mut Errors, warnings: &mut Vec<(String, String)>) {
    match name {
        "cpu" | "memory" => {}
        "ephemeral-storage" => {
            if !defaulted {
                warnings.push((field.to_owned(), "use of the disk is not accounted for".to_owned()));
            }
        }
        _ if name.starts_with("hugepages-") => {}
        _ if name.contains('/') => {
            let wrong = names::qualified(name);
            if wrong.is_empty() {
                errors.forbidden(
                    field,
                    "there are no device plugins here; mount the device by hostPath of type CharDevice",
                );
            }
            errors.invalid_all(field, name, wrong);
        }
        _ => {
            errors.invalid(field, name, "must be a standard resource type or fully qualified");
            errors.invalid(field, name, "must be a standard resource for containers");
        }
    }
}
