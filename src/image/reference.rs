//! [`Reference`]: the name of an image, normalised as the distribution reference grammar says.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

/// `[host[:port]/]path[:tag][@digest]`, complete: host and tag have their defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Registry host with optional port; `docker.io` when none was written.
    domain: String,
    /// Repository path, lower case; `library/` in front of a single element on docker.io.
    path: String,
    /// Tag; `latest` when neither tag nor digest was written.
    tag: Option<String>,
    /// `sha256:<64 hex digits>` (or sha384, sha512).
    digest: Option<String>,
}

impl Reference {
    /// Registry host with optional port.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// Repository path below the host.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// The tag; none when only a digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
    /// The digest with its algorithm.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
    /// Host and path: the repository.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest);
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// Parses and normalises. Errors say which part is wrong, reason `InvalidImageName`.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|why| Error::InvalidName { name: text.chars().take(256).collect(), why })
    }
}

/// Longest repository name (host and path) the grammar allows.
const MAX_REPOSITORY: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;

fn parse(text: &str) -> Result<Reference, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err("64 hex digits are an image ID, not a name; write repository@sha256:<digits>".into());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(check_tag(tag)?)),
        _ => (rest, None),
    };
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if is_host(first) => (check_host(first)?, path.to_owned()),
        _ => ("docker.io".to_owned(), name.to_owned()),
    };
    let domain = if domain == "index.docker.io" { "docker.io".to_owned() } else { domain };
    let path = if domain == "docker.io" && !path.contains('/') { format!("library/{path}") } else { path };
    check_path(&path, name)?;
    if domain.len().saturating_add(path.len()).saturating_add(1) > MAX_REPOSITORY {
        return Err(format!("the repository name is longer than {MAX_REPOSITORY} characters"));
    }
    let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
    Ok(Reference { domain, path, tag, digest })
}

/// The first element is a host only if it says so itself (distribution `splitDockerDomain`).
fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_host(host: &str) -> Result<String, String> {
    let bad = |why: &str| Err(format!("registry host {host:?}: {why}"));
    let (name, port) = if let Some(v6) = host.strip_prefix('[') {
        let Some((address, rest)) = v6.split_once(']') else { return bad("an IPv6 address ends with `]`") };
        if !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') || address.is_empty() {
            return bad("not an IPv6 address");
        }
        match rest.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if rest.is_empty() => (None, None),
            None => return bad("only `:port` may follow `]`"),
        }
    } else {
        match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        }
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return bad("the port must be a number");
    }
    for label in name.into_iter().flat_map(|name| name.split('.')) {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if label.is_empty() || !plain || label.starts_with('-') || label.ends_with('-') {
            return bad("labels hold letters, digits and inner `-`, separated by single dots");
        }
    }
    Ok(host.to_owned())
}

fn check_path(path: &str, whole: &str) -> Result<(), String> {
    if whole.is_empty() || path.ends_with('/') && whole.len() <= 1 {
        return Err("the repository name is missing".into());
    }
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("the repository name must be lower case".into());
    }
    for part in path.split('/') {
        if part.is_empty() {
            return Err("the repository name has an empty path element (a doubled, leading or trailing `/`)".into());
        }
        check_path_part(part)?;
    }
    Ok(())
}

/// `[a-z0-9]+` pieces, joined by `.`, `_`, `__` or any number of `-`.
fn check_path_part(part: &str) -> Result<(), String> {
    let mut separator = String::new();
    let mut seen_letter = false;
    for c in part.chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            let joined = separator.is_empty()
                || matches!(separator.as_str(), "." | "_" | "__")
                || separator.chars().all(|c| c == '-');
            if !joined || (!seen_letter && !separator.is_empty()) {
                return Err(format!("path element {part:?}: {separator:?} may not stand there"));
            }
            separator.clear();
            seen_letter = true;
        } else if matches!(c, '.' | '_' | '-') {
            separator.push(c);
        } else {
            return Err(format!("path element {part:?} holds {c:?}; allowed are a-z, 0-9, `.`, `_`, `-`"));
        }
    }
    if seen_letter && separator.is_empty() {
        Ok(())
    } else {
        Err(format!("path element {part:?} must end with a letter or digit"))
    }
}

fn check_tag(tag: &str) -> Result<String, String> {
    let mut bytes = tag.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !first || !bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')) {
        return Err(format!("tag {tag:?} must start with a letter, digit or `_` and hold only these, `.` and `-`"));
    }
    if tag.len() > MAX_TAG {
        return Err(format!("the tag is longer than {MAX_TAG} characters"));
    }
    Ok(tag.to_owned())
}

fn check_digest(digest: &str) -> Result<String, String> {
    let length = match digest.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => return Err(format!("digest {digest:?} must be sha256:<64 hex digits>")),
    };
    match digest.split_once(':') {
        Some((_, hex)) if hex.len() == length && hex.bytes().all(is_lower_hex) => Ok(digest.to_owned()),
        _ => Err(format!("digest {digest:?} must have {length} lower-case hex digits")),
    }
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn names_are_normalised_as_the_distribution_grammar_says() {
        for (given, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.25", "docker.io/library/nginx:1.25"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:v1", "localhost:5000/a/b:v1"),
            ("Upper/app", "Upper/app:latest"),
            ("[fe80::1]:5000/app", "[fe80::1]:5000/app:latest"),
            ("a__b/c---d/e.f", "docker.io/a__b/c---d/e.f:latest"),
        ] {
            assert_eq!(given.parse::<Reference>().map(|r| r.to_string()).ok().as_deref(), Some(full), "{given}");
        }
    }

    #[test]
    fn a_digest_needs_no_tag_and_keeps_one() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            format!("app@{digest}").parse::<Reference>().unwrap().to_string(),
            format!("docker.io/library/app@{digest}")
        );
        let both: Reference = format!("r.io/app:v1@{digest}").parse().unwrap();
        assert_eq!((both.tag(), both.digest()), (Some("v1"), Some(digest.as_str())));
    }

    #[test]
    fn wrong_names_are_refused_in_words() {
        for bad in [
            "",
            "Nginx",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:-x",
            "a@sha256:12",
            "a@md5:00",
            "a b",
            "a/../b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "host_x.y/app",
            "h.io:port/app",
            "ä",
        ] {
            let error = bad.parse::<Reference>().unwrap_err();
            assert_eq!(error.reason(), "InvalidImageName", "{bad}");
        }
        assert!("a".repeat(64).parse::<Reference>().is_err(), "an image id is not a name");
        assert!("a/B".parse::<Reference>().unwrap_err().to_string().contains("lower case"));
    }
}
