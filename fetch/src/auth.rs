//! Who we are to a registry: [`Credentials`] from docker's files, and [`Tokens`] got with them (distribution specification, "token
//! authentication"; RFC 7617 for basic).

use std::sync::Arc;

use gatepost::json;
use gatepost::manifest::base64;
use rustls::ClientConfig;
use serde_json::Value;

use crate::http::{Client, Failed};
use crate::url::Url;

/// Largest answer of a token server in bytes.
const ANSWER: usize = 256 << 10;

/// User and password as `user:password` in base64, if there are any.
#[derive(Default)]
pub(crate) struct Credentials(Option<String>);

impl Credentials {
    /// From docker's `config.json` or `.dockercfg`: the first document that knows the registry counts, in it the longest path.
    pub(crate) fn find(documents: &[String], registry: &str, path: &str) -> Self {
        Self(documents.iter().find_map(|text| {
            let document = json::from_slice::<Value>(text.as_bytes()).ok()?;
            let auths = document.get("auths").unwrap_or(&document).as_object()?;
            let mut known: Vec<(usize, &Value)> =
                auths.iter().filter_map(|(key, value)| Some((fits(key, registry, path)?, value))).collect();
            known.sort_by_key(|(length, _)| *length);
            known.into_iter().rev().find_map(|(_, value)| secret_of(value))
        }))
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
    (names.contains(&host) && here).then_some(below.len())
}

fn secret_of(value: &Value) -> Option<String> {
    let text = |key| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("auth"), text("username")) {
        (Some(auth), _) => Some(auth.to_owned()),
        (None, Some(user)) => {
            Some(base64::encode(format!("{user}:{}", text("password").unwrap_or_default()).as_bytes()))
        }
        (None, None) => None,
    }
}

/// What an endpoint wants to see, once it was asked.
#[derive(Default)]
pub(crate) struct Tokens(Option<String>);

impl Tokens {
    pub(crate) fn authorization(&self) -> Option<String> {
        self.0.clone()
    }

    /// Does what a `WWW-Authenticate` asks for.
    pub(crate) fn obtain(
        &mut self,
        asked: &[String],
        client: &Client,
        credentials: &Credentials,
        (url, tls, common): (&Url, &Arc<ClientConfig>, &Arc<ClientConfig>),
        repository: &str,
    ) -> Result<(), Failed> {
        let scheme = |name: &str| {
            asked.iter().find_map(|text| {
                let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
                scheme.eq_ignore_ascii_case(name).then_some(rest)
            })
        };
        if let Some(parameters) = scheme("bearer") {
            let realm = parameter(parameters, "realm").unwrap_or_default();
            let bad = || Failed::Other(format!("{url} sends for a token to {realm:?}, which is no address"));
            let mut query = format!("scope=repository:{}:pull", encoded(repository));
            if let Some(service) = parameter(parameters, "service") {
                query = format!("service={}&{query}", encoded(service));
            }
            let between = if realm.contains('?') { '&' } else { '?' };
            let server = Url::parse(&format!("{realm}{between}{query}")).ok_or_else(bad)?;
            let same = server.same_server(url);
            let basic = credentials.0.as_ref().map(|secret| format!("Basic {secret}"));
            if basic.is_some() && !server.secure && !same {
                return Err(Failed::Other(format!(
                    "{url} wants a password to be sent to {server} without TLS; refused"
                )));
            }
            let mut response = client.get(&server, &[], basic.as_deref(), if same { tls } else { common }, common)?;
            if response.status != 200 {
                return Err(Failed::Other(format!("{server}: no token: status {}", response.status)));
            }
            let answer = json::from_slice::<Value>(&response.document(ANSWER)?);
            let answer = answer.map_err(|error| Failed::Other(format!("{server}: no token: {error}")))?;
            let token = ["token", "access_token"].into_iter().find_map(|key| answer.get(key)?.as_str());
            let token = token.ok_or_else(|| Failed::Other(format!("{server}: its answer holds no token")))?;
            self.0 = Some(format!("Bearer {token}"));
        } else if let (Some(_), Some(secret)) = (scheme("basic"), &credentials.0) {
            self.0 = Some(format!("Basic {secret}"));
        }
        Ok(())
    }
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
    fn credentials_are_for_the_registry_and_the_longest_path_that_fit() {
        let document =
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"ZDp3"},"r:5000":{"username":"u","password":"p"},
                           "r:5000/team":{"auth":"dGVhbQ=="}}}"#
                .to_owned();
        let old = r#"{"old.example":{"auth":"b2xk"}}"#.to_owned();
        let find = |registry: &str, path: &str| Credentials::find(&[document.clone(), old.clone()], registry, path).0;
        assert_eq!(find("docker.io", "library/a").as_deref(), Some("ZDp3"));
        assert_eq!(find("r:5000", "other").as_deref(), Some("dTpw"));
        assert_eq!(find("r:5000", "team/a").as_deref(), Some("dGVhbQ=="));
        assert_eq!(find("r:5000", "teams").as_deref(), Some("dTpw"));
        assert_eq!(find("old.example", "a").as_deref(), Some("b2xk"));
        assert_eq!(find("r:5001", "a"), None);
    }

    #[test]
    fn a_challenge_is_taken_apart() {
        let text = r#"realm="https://auth.example/token",service="registry a""#;
        assert_eq!(parameter(text, "realm"), Some("https://auth.example/token"));
        assert_eq!(parameter(text, "service").map(encoded).as_deref(), Some("registry%20a"));
        assert_eq!(parameter(text, "scope"), None);
    }
}
