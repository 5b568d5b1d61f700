//! Who we are to a registry: [`Credentials`] from docker's files, and [`Session`] got with them (distribution specification, "token
//! authentication" and "OAuth 2"; RFC 7617 for basic).

use std::sync::Arc;

use gatepost::json;
use gatepost::manifest::base64;
use rustls::ClientConfig;
use serde_json::Value;

use crate::http::{Ask, Client, Failed};
use crate::url::Url;

/// Largest answer of a token server in bytes.
const ANSWER: usize = 256 << 10;

/// One way to say who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Secret {
    /// `user:password` in base64.
    Basic(String),
    /// An OAuth 2 refresh token, which `docker login` calls identity token.
    Identity(String),
}

/// All that may be tried, in order.
#[derive(Default)]
pub(crate) struct Credentials(Vec<Secret>);

impl Credentials {
    /// From docker's `config.json` or `.dockercfg`: document by document, in each the longest path first.
    pub(crate) fn find(documents: &[String], registry: &str, path: &str) -> Self {
        let mut all = Vec::new();
        for text in documents {
            let Ok(document) = json::from_slice::<Value>(text.as_bytes()) else { continue };
            let Some(auths) = document.get("auths").unwrap_or(&document).as_object() else { continue };
            let mut known: Vec<(usize, &Value)> =
                auths.iter().filter_map(|(key, value)| Some((fits(key, registry, path)?, value))).collect();
            known.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
            for secret in known.into_iter().filter_map(|(_, value)| secret_of(value)) {
                if !all.contains(&secret) {
                    all.push(secret);
                }
            }
        }
        Self(all)
    }
}

/// Whether the key of a docker file means this registry and repository, and how closely.
fn fits(key: &str, registry: &str, path: &str) -> Option<usize> {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, below) = key.split_once('/').unwrap_or((key, ""));
    let names: &[&str] =
        if registry == "docker.io" { &["docker.io", "index.docker.io", "registry-1.docker.io"] } else { &[registry] };
    let here = below.is_empty() || path == below || path.strip_prefix(below).is_some_and(|rest| rest.starts_with('/'));
    (names.iter().any(|name| globs(host, name)) && here).then_some(below.len())
}

/// Whether a host of a docker file, in whose labels `*` stands for any letters, means this one (as kubelet).
fn globs(pattern: &str, host: &str) -> bool {
    let (patterns, labels) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == labels.clone().count()
        && patterns.zip(labels).all(|(pattern, label)| match pattern.split_once('*') {
            None => pattern.eq_ignore_ascii_case(label),
            Some((start, end)) => {
                label.len() >= start.len().saturating_add(end.len()) && label.starts_with(start) && label.ends_with(end)
            }
        })
}

fn secret_of(value: &Value) -> Option<Secret> {
    let text = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Some(Secret::Identity(token.to_owned()));
    }
    match (text("auth"), text("username")) {
        (Some(auth), _) => Some(Secret::Basic(auth.to_owned())),
        (None, Some(user)) => {
            let pair = format!("{user}:{}", text("password").unwrap_or_default());
            Some(Secret::Basic(base64::encode(pair.as_bytes())))
        }
        (None, None) => None,
    }
}

/// What an endpoint wants to see, once it was asked.
#[derive(Default)]
pub(crate) struct Session {
    authorization: Option<String>,
    /// Which of the credentials it was got with.
    with: usize,
}

/// Whom a session is with, and about what.
pub(crate) struct Party<'a> {
    pub(crate) client: &'a Client,
    pub(crate) credentials: &'a Credentials,
    pub(crate) url: &'a Url,
    pub(crate) tls: &'a Arc<ClientConfig>,
    pub(crate) common: &'a Arc<ClientConfig>,
    pub(crate) repository: &'a str,
}

impl Session {
    /// The header `Authorization`.
    pub(crate) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// The credentials, or what was got with them, are refused: the next ones. False when there are none.
    pub(crate) fn next(&mut self, party: &Party<'_>) -> bool {
        self.authorization = None;
        self.with = self.with.saturating_add(1);
        self.with < party.credentials.0.len()
    }

    /// Does what the headers `WWW-Authenticate` ask for. False when it cannot.
    pub(crate) fn obtain(&mut self, asked: &[String], party: &Party<'_>) -> Result<bool, Failed> {
        let scheme = |name: &str| {
            asked.iter().find_map(|text| {
                let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
                scheme.eq_ignore_ascii_case(name).then_some(rest)
            })
        };
        let secret = party.credentials.0.get(self.with);
        self.authorization = match (scheme("bearer"), scheme("basic"), secret) {
            (Some(parameters), ..) => token(parameters, secret, party)?.map(|token| format!("Bearer {token}")),
            (None, Some(_), Some(Secret::Basic(secret))) => Some(format!("Basic {secret}")),
            _ => None,
        };
        Ok(self.authorization.is_some())
    }
}

/// A token from the server that a challenge names; none when it does not like the credentials.
fn token(parameters: &str, secret: Option<&Secret>, party: &Party<'_>) -> Result<Option<String>, Failed> {
    let url = party.url;
    let realm = parameter(parameters, "realm").unwrap_or_default();
    let mut query = format!("scope=repository:{}:pull", encoded(party.repository));
    if let Some(service) = parameter(parameters, "service") {
        query = format!("service={}&{query}", encoded(service));
    }
    let (address, basic, form) = match secret {
        Some(Secret::Identity(token)) => {
            let form = format!("grant_type=refresh_token&client_id=gatepost&refresh_token={}&{query}", encoded(token));
            (realm.to_owned(), None, Some(form))
        }
        other => {
            let between = if realm.contains('?') { '&' } else { '?' };
            let basic = match other {
                Some(Secret::Basic(secret)) => Some(format!("Basic {secret}")),
                _ => None,
            };
            (format!("{realm}{between}{query}"), basic, None)
        }
    };
    let bad = || Failed::Other(format!("{url} sends for a token to {realm:?}, which is no address"));
    let server = Url::parse(&address).ok_or_else(bad)?;
    let same_host = server.host.eq_ignore_ascii_case(&url.host);
    if secret.is_some() && !server.secure && (url.secure || !same_host) {
        return Err(Failed::Other(format!("{url} wants a password to be sent to {server} without TLS; refused")));
    }
    let tls = if server.same_server(url) { party.tls } else { party.common };
    let (secret, form) = (basic.as_deref(), form.as_deref());
    let ask = Ask { url: &server, headers: &[], secret, form, tls, common: party.common };
    let mut response = party.client.ask(ask)?;
    match response.head.status {
        200 => {}
        400 | 401 | 403 => {
            response.discard();
            return Ok(None);
        }
        status => return Err(Failed::of_status(format!("{server}: no token: status {status}"), status)),
    }
    let answer = json::from_slice::<Value>(&response.document(ANSWER)?);
    let answer = answer.map_err(|error| Failed::Other(format!("{server}: no token: {error}")))?;
    let token = ["token", "access_token"].into_iter().find_map(|key| answer.get(key)?.as_str());
    token
        .map(|token| Some(token.to_owned()))
        .ok_or_else(|| Failed::Other(format!("{server}: its answer holds no token")))
}

/// A parameter of a challenge, without its quotes.
fn parameter<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("{name}=\""))?.checked_add(name.len())?.checked_add(2)?;
    text.get(start..)?.split('"').next()
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_the_registry_the_longest_path_first() {
        let document =
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"ZDp3"},"r:5000":{"username":"u","password":"p"},
                           "r:5000/team":{"auth":"dGVhbQ=="},"*.cloud.example":{"identitytoken":"t"}}}"#
                .to_owned();
        let old = r#"{"old.example":{"auth":"b2xk"},"r:5000":{"auth":"b2xkcg=="}}"#.to_owned();
        let documents = ["no json".to_owned(), document, old];
        let find = |registry: &str, path: &str| Credentials::find(&documents, registry, path).0;
        let basic = |texts: &[&str]| texts.iter().map(|text| Secret::Basic((*text).to_owned())).collect::<Vec<_>>();
        assert_eq!(find("docker.io", "library/a"), basic(&["ZDp3"]));
        assert_eq!(find("r:5000", "other"), basic(&["dTpw", "b2xkcg=="]));
        assert_eq!(find("r:5000", "team/a"), basic(&["dGVhbQ==", "dTpw", "b2xkcg=="]));
        assert_eq!(find("r:5000", "teams"), basic(&["dTpw", "b2xkcg=="]));
        assert_eq!(find("old.example", "a"), basic(&["b2xk"]));
        assert_eq!(find("a.cloud.example", "a"), [Secret::Identity("t".to_owned())]);
        assert_eq!(find("a.b.cloud.example", "a"), []);
        assert_eq!(find("r:5001", "a"), []);
    }

    #[test]
    fn a_challenge_is_taken_apart() {
        let text = r#"realm="https://auth.example/token",service="registry a""#;
        assert_eq!(parameter(text, "realm"), Some("https://auth.example/token"));
        assert_eq!(parameter(text, "service").map(encoded).as_deref(), Some("registry%20a"));
        assert_eq!(parameter(text, "scope"), None);
    }
}
