//! Checks of names, in the words of apimachinery's util/validation. Each gives back what is wrong; nothing if all is well.

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// The longest DNS-1123 subdomain.
pub(super) const SUBDOMAIN_MAX: usize = 253;

/// DNS-1123 label: names of containers, volumes and namespaces.
pub(super) fn label(text: &str) -> Vec<String> {
    let mut wrong = longer_than(text, 63);
    if !is_label(text) {
        let dotted = text.contains('.') && text.split('.').all(is_label);
        wrong.push(if dotted { "must not contain dots".to_owned() } else { LABEL.to_owned() });
    }
    wrong
}

/// DNS-1123 subdomain: names of most objects.
pub(super) fn subdomain(text: &str) -> Vec<String> {
    let mut wrong = longer_than(text, SUBDOMAIN_MAX);
    if !text.split('.').all(is_label) {
        wrong.push(SUBDOMAIN.to_owned());
    }
    wrong
}

/// A subdomain that may end in a dash, as `generateName`: the dash and the character before it stand for any letter.
pub(super) fn subdomain_prefix(text: &str) -> Vec<String> {
    match text.strip_suffix('-').map(str::char_indices).and_then(|mut letters| letters.next_back()) {
        Some((end, letter)) if letter.is_ascii() => subdomain(&format!("{}a", text.get(..end).unwrap_or_default())),
        _ => subdomain(text),
    }
}

/// DNS-1035 label: names of Services.
pub(super) fn service(text: &str) -> Vec<String> {
    let mut wrong = longer_than(text, 63);
    if !is_label(text) || text.starts_with(|c: char| c.is_ascii_digit()) {
        wrong.push("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".to_owned());
    }
    wrong
}

/// A subdomain whose labels may begin with an underscore: DNS search paths.
pub(super) fn search_domain(text: &str) -> Vec<String> {
    let stem = text.strip_suffix('.').unwrap_or(text);
    let mut wrong = longer_than(stem, SUBDOMAIN_MAX);
    if !stem.split('.').all(|part| is_label(&part.strip_prefix('_').unwrap_or(part).replace('_', "-"))) {
        wrong.push("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')".to_owned());
    }
    wrong
}

/// A key of labels and annotations: `[prefix/]name`.
pub(super) fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(subdomain(prefix).into_iter().map(|message| format!("prefix part {message}")));
            }
            *name
        }
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED.strip_prefix("name part ").unwrap_or(QUALIFIED)
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        wrong.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_word(name) {
        wrong.push(QUALIFIED.to_owned());
    }
    wrong
}

/// A label's value.
pub(super) fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 63 {
        wrong.push("must be no more than 63 bytes".to_owned());
    }
    if !text.is_empty() && !is_word(text) {
        wrong.push(LABEL_VALUE.to_owned());
    }
    wrong
}

/// A port's name: IANA service name.
pub(super) fn port(text: &str) -> Vec<String> {
    let mut wrong = longer_than(text, 15);
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|b| b.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// The name of an environment variable.
pub(super) fn env_var(text: &str) -> Vec<String> {
    let fits = |b: u8| (b' '..=b'~').contains(&b) && b != b'=';
    if !text.is_empty() && text.bytes().all(fits) {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The name of an HTTP header.
pub(super) fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec!["a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')".to_owned()]
}

/// A key of a ConfigMap or Secret.
pub(super) fn config_key(text: &str) -> Vec<String> {
    let mut wrong = longer_than(text, SUBDOMAIN_MAX);
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        wrong.push("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')".to_owned());
    }
    if text == "." {
        wrong.push("must not be '.'".to_owned());
    } else if text == ".." {
        wrong.push("must not be '..'".to_owned());
    } else if text.starts_with("..") {
        wrong.push("must not start with '..'".to_owned());
    }
    wrong
}

/// An IP address.
pub(super) fn ip(text: &str) -> Vec<String> {
    match text.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            return vec!["must not be an IPv4-mapped IPv6 address".to_owned()];
        }
        Ok(_) => return Vec::new(),
        Err(_) => {}
    }
    let plain: Vec<_> = text
        .split('.')
        .map(|part| if part.len() > 1 { part.trim_start_matches('0') } else { part })
        .map(|part| if part.is_empty() && !text.contains("..") { "0" } else { part })
        .collect();
    if plain.join(".").parse::<std::net::Ipv4Addr>().is_ok() {
        return vec!["must not have leading 0s".to_owned()];
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

fn longer_than(text: &str, limit: usize) -> Vec<String> {
    if text.len() > limit { vec![format!("must be no more than {limit} characters")] } else { Vec::new() }
}

fn is_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_word(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
