//! The setting `registries`, read: which endpoints are asked for an image.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::read::Reading;
use super::settings::{Config, Endpoint, Registry};

impl Reading {
    pub(super) fn fill_registries(&mut self, config: &mut Config) {
        if let Some(stall) = self.duration("imagePullProgressDeadline") {
            config.pull_stall = stall;
        }
        if let Some(bandwidth) = self.size("imagePullBandwidth") {
            config.pull_bandwidth = bandwidth;
        }
        if let Some(fallback) = self.get("imagePullFallback").and_then(Json::as_bool) {
            config.pull_strictly = !fallback;
        }
        let registries = self.get("registries").and_then(Json::as_object).cloned().unwrap_or_default();
        for (host, value) in registries {
            let mut mirrors = Vec::new();
            for mirror in value.get("mirrors").and_then(Json::as_array).into_iter().flatten() {
                let (url, place) = (text(mirror, "url"), format!("registries.{host}"));
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    self.wrong(&place, &format!("mirror {url:?} is no address; write http://HOST or https://HOST"));
                }
                let [ca, auth] = ["ca", "auth"].map(|key| PathBuf::from(text(mirror, key)));
                let url = url.trim_end_matches('/').to_owned();
                mirrors.push(Endpoint { url, skip_verify: is_true(mirror, "skipVerify"), ca, auth });
            }
            let [ca, auth] = ["ca", "auth"].map(|key| PathBuf::from(text(&value, key)));
            let [mirrors_only, plain_http, skip_verify] =
                ["mirrorsOnly", "plainHTTP", "skipVerify"].map(|key| is_true(&value, key));
            config.registries.insert(host, Registry { mirrors, mirrors_only, plain_http, skip_verify, ca, auth });
        }
    }
}

fn text<'a>(value: &'a Json, key: &str) -> &'a str {
    value.get(key).and_then(Json::as_str).unwrap_or_default()
}

fn is_true(value: &Json, key: &str) -> bool {
    value.get(key).and_then(Json::as_bool).unwrap_or_default()
}

/// Where Docker's own registry is; its name is another.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");

impl Config {
    /// What is asked for images of the registry `host`, in order, and whether it is the registry itself.
    pub fn endpoints_of(&self, host: &str) -> Vec<(Endpoint, bool)> {
        let own = Registry::default();
        let registry = self.registries.get(host).or_else(|| self.registries.get("*")).unwrap_or(&own);
        let mut endpoints: Vec<_> = registry.mirrors.iter().map(|mirror| (mirror.clone(), false)).collect();
        if !registry.mirrors_only {
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            let local = name == "localhost" || name.starts_with("127.") || name == "[::1]";
            let scheme = if registry.plain_http || local { "http" } else { "https" };
            let address = if host == DOCKER.0 { DOCKER.1 } else { host };
            let (ca, auth) = (registry.ca.clone(), registry.auth.clone());
            let url = format!("{scheme}://{address}");
            endpoints.push((Endpoint { url, skip_verify: registry.skip_verify, ca, auth }, true));
        }
        endpoints
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::parse;

    #[test]
    fn mirrors_come_first_and_the_registry_itself_last() {
        let text = "registries:\n  docker.io: {mirrors: [{url: 'http://site:5000/'}, {url: 'https://b', skipVerify: true}]}\n  \
                    '*': {plainHTTP: true, mirrorsOnly: false}\n  only: {mirrors: [{url: 'http://a'}], mirrorsOnly: true}\n\
                    imagePullProgressDeadline: 5s\n";
        let config = parse("f", text.as_bytes(), &[]).unwrap();
        let urls = |host: &str| config.endpoints_of(host).into_iter().map(|(e, _)| e.url).collect::<Vec<_>>();
        assert_eq!(urls("docker.io"), ["http://site:5000", "https://b", "https://registry-1.docker.io"]);
        assert_eq!(urls("other.example:5000"), ["http://other.example:5000"]);
        assert_eq!(urls("only"), ["http://a"]);
        assert_eq!(config.pull_stall.as_secs(), 5);
        let plain = parse("f", b"", &[]).unwrap();
        assert_eq!(plain.endpoints_of("localhost:5000")[0].0.url, "http://localhost:5000");
        assert_eq!(plain.endpoints_of("a.example")[0].0.url, "https://a.example");
        assert!(
            parse("f", b"registries: {a: {mirrors: [{url: b}]}}", &[]).unwrap_err().to_string().contains("no address")
        );
    }
}
