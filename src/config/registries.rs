//! The settings for images, read: which endpoints are asked for one, and what is kept of them.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::read::Reading;
use super::settings::{Config, Endpoint, ImageUpkeep, Registry};

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
        self.fill_upkeep(&mut config.image_upkeep);
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

    /// kubelet's rules for its own settings, and its words.
    fn fill_upkeep(&mut self, upkeep: &mut ImageUpkeep) {
        const HIGH: &str = "imageGCHighThresholdPercent";
        const LOW: &str = "imageGCLowThresholdPercent";
        for (key, target) in [(HIGH, &mut upkeep.high), (LOW, &mut upkeep.low)] {
            match self.get(key).and_then(Json::as_i64).map(u8::try_from) {
                Some(Ok(percent)) if percent <= 100 => *target = percent,
                Some(_) => self.wrong(key, "must be between 0 and 100, inclusive"),
                None => {}
            }
        }
        if upkeep.low >= upkeep.high {
            self.wrong(LOW, &format!("{} must be less than {HIGH} {}", upkeep.low, upkeep.high));
        }
        if let Some(age) = self.duration("imageMinimumGCAge") {
            upkeep.min_age = age.as_secs();
        }
        if let Some(discard) = self.get("discardUnpackedLayers").and_then(Json::as_bool) {
            upkeep.discard_layers = discard;
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

    #[test]
    fn thresholds_follow_kubelets_rules() {
        let upkeep = |text: &str| parse("f", text.as_bytes(), &[]).map(|config| config.image_upkeep);
        let default = upkeep("").unwrap();
        assert_eq!((default.high, default.low, default.min_age, default.discard_layers), (85, 80, 120, false));
        let text = "imageGCHighThresholdPercent: 60\nimageGCLowThresholdPercent: 0\nimageMinimumGCAge: 1h\ndiscardUnpackedLayers: true\n";
        let set = upkeep(text).unwrap();
        assert_eq!((set.high, set.low, set.min_age, set.discard_layers), (60, 0, 3600, true));
        for (text, wrong) in [
            ("imageGCHighThresholdPercent: 101\n", "imageGCHighThresholdPercent: must be between 0 and 100, inclusive"),
            ("imageGCLowThresholdPercent: -1\n", "imageGCLowThresholdPercent: must be between 0 and 100, inclusive"),
            ("imageGCHighThresholdPercent: 70\n", "80 must be less than imageGCHighThresholdPercent 70"),
            ("imageGCLowThresholdPercent: 85\n", "85 must be less than imageGCHighThresholdPercent 85"),
        ] {
            let error = upkeep(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }
}
