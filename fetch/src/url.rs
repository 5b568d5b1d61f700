//! [`Url`]: an http or https address.

use std::fmt;

use gatepost::manifest::base64;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) secure: bool,
    /// A name, or an address (IPv6 in brackets).
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, from the root.
    pub(crate) path: String,
    /// `user:password` in base64, which is not shown.
    pub(crate) secret: Option<String>,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (secure, rest) = match text.split_once("://")? {
            (scheme, rest) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            (scheme, rest) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (secret, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(base64::encode(user.as_bytes())), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Some(Self { secure, host: host.to_owned(), port, path, secret })
    }

    /// As proxies are written: perhaps without a scheme.
    pub(crate) fn parse_or_http(text: &str) -> Option<Self> {
        if text.contains("://") { Self::parse(text) } else { Self::parse(&format!("http://{text}")) }
    }

    /// Host and port, as the header `Host` has them.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether what is secret between us and the one may be told to the other.
    pub(crate) fn same_server(&self, other: &Self) -> bool {
        self.secure == other.secure && self.host.eq_ignore_ascii_case(&other.host) && self.port == other.port
    }

    /// Another path at the same server.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// Where a `Location` leads.
    pub(crate) fn joined(&self, location: &str) -> Option<Self> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let scheme = if self.secure { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let own = self.path.split('?').next().unwrap_or_default();
        let directory = own.rsplit_once('/').map_or("", |(directory, _)| directory);
        let path = if location.starts_with('/') { location.to_owned() } else { format!("{directory}/{location}") };
        path.bytes().all(|byte| byte.is_ascii_graphic()).then(|| self.at(&path))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may be a signature, as good as a password.
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_have_their_usual_ports_and_no_password_is_shown() {
        let url = Url::parse("https://user:pw@registry.example:5000/v2/?a=b#c").unwrap();
        assert_eq!((url.port, url.path.as_str(), url.secret.as_deref()), (5000, "/v2/?a=b", Some("dXNlcjpwdw==")));
        assert_eq!(url.to_string(), "https://registry.example:5000/v2/");
        assert_eq!(Url::parse("http://[::1]").unwrap().port, 80);
        assert_eq!(Url::parse("http://[::1]:81/x").unwrap().host, "[::1]");
        for bad in ["ftp://a/", "http://", "http://a b/", "http://a/\r\nX: y", "http://a:99999/", "a"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_location_may_be_a_path_or_another_server() {
        let url = Url::parse("https://a/v2/x/blobs/1?q").unwrap();
        let joined = |location: &str| url.joined(location).map(|url| url.to_string());
        assert_eq!(joined("/b").as_deref(), Some("https://a/b"));
        assert_eq!(joined("2").as_deref(), Some("https://a/v2/x/blobs/2"));
        assert_eq!(joined("//c/d").as_deref(), Some("https://c/d"));
        assert_eq!(joined("http://c:81/d").as_deref(), Some("http://c:81/d"));
        assert_eq!(joined("file:///etc/passwd"), None);
        assert!(!url.same_server(&Url::parse("http://a/").unwrap()));
    }
}
