//! Validation of probes and lifecycle hooks.

use super::super::error::Errors;
use super::super::names;
use super::at::At;
use super::metadata::non_negative;

const HANDLERS: [&str; 5] = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
const ONLY_SIDECARS: &str = "may not be set for init containers without restartPolicy=Always";
/// Signals of Linux beside the real-time ones.
const SIGNALS: [&str; 33] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
];

/// Checks probes and hooks of a container that may have them.
pub(super) fn validate_probes(container: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let grace = spec.child("terminationGracePeriodSeconds").number();
    if let Some(lifecycle) = container.set("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = lifecycle.set(hook) {
                validate_handler(&hook, grace, errors);
            }
        }
        if let Some(signal) = lifecycle.set("stopSignal") {
            validate_signal(&signal, spec, errors);
        }
    }
    for kind in PROBES {
        let Some(probe) = container.set(kind) else { continue };
        validate_handler(&probe, grace, errors);
        for number in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            non_negative(&probe.child(number), errors);
        }
        let own_grace = probe.child("terminationGracePeriodSeconds");
        if own_grace.is_set() && own_grace.number() <= 0 {
            errors.invalid_at(&own_grace, "must be greater than 0");
        }
        let threshold = probe.child("successThreshold");
        if kind == "readinessProbe" {
            if own_grace.is_set() {
                errors.invalid_at(&own_grace, "must not be set for readinessProbes");
            }
        } else if threshold.number() != 1 {
            errors.invalid_at(&threshold, "must be 1");
        }
    }
}

/// Checks that an init container that ends has neither probes nor hooks.
pub(super) fn refuse_probes(container: &At<'_>, errors: &mut Errors) {
    for field in ["lifecycle"].iter().chain(&PROBES) {
        if let Some(at) = container.set(field) {
            errors.forbidden_at(&at, ONLY_SIDECARS);
        }
    }
}

fn validate_handler(handler: &At<'_>, grace: i64, errors: &mut Errors) {
    let mut count = 0;
    for kind in HANDLERS {
        let Some(action) = handler.set(kind) else { continue };
        count += 1;
        if count > 1 {
            errors.forbidden_at(&action, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" => {
                errors.needs(&action.child("command"));
            }
            "httpGet" => validate_http(&action, errors),
            "sleep" => {
                let seconds = action.child("seconds").number();
                if seconds < 0 || seconds > grace {
                    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.invalid_as(&action, seconds, detail);
                }
            }
            _ => validate_port(&action.child("port"), errors),
        }
    }
    if count == 0 {
        errors.required_at(handler, "must specify a handler type");
    }
}

fn validate_http(action: &At<'_>, errors: &mut Errors) {
    errors.needs(&action.child("path"));
    validate_port(&action.child("port"), errors);
    errors.one_of_at(&action.child("scheme"), &["HTTP", "HTTPS"]);
    let headers = action.child("httpHeaders");
    for header in headers.items() {
        let name = header.text_of("name");
        errors.wrong_as(&headers, name, names::http_header(name));
    }
}

/// A port by number or by name; what is not there is number 0.
fn validate_port(port: &At<'_>, errors: &mut Errors) {
    if port.json.is_string() {
        errors.wrong(port, names::port(port.text()));
    } else if !(1..=65535).contains(&port.number()) {
        errors.invalid_as(port, port.number(), "must be between 1 and 65535, inclusive");
    }
}

fn validate_signal(signal: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let system = spec.child("os").text_of("name");
    if system == "windows" {
        errors.one_of_at(signal, &["SIGKILL", "SIGTERM"]);
    } else if ["", "linux"].contains(&system) {
        // Kubernetes refuses a stop signal without `spec.os.name`; here it goes without saying.
        let name = signal.text();
        let real_time = |prefix: &str, most: u32| {
            name.strip_prefix(prefix)
                .is_some_and(|n| n.parse::<u32>().is_ok_and(|n| (1..=most).contains(&n)) && !n.starts_with(['0', '+']))
        };
        let known = SIGNALS.contains(&name)
            || ["SIGXFSZ", "SIGRTMIN", "SIGRTMAX"].contains(&name)
            || real_time("SIGRTMIN+", 15)
            || real_time("SIGRTMAX-", 14);
        if !known {
            errors.one_of_at(signal, &SIGNALS);
        }
    }
}
