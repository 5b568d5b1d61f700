//! [`Proxies`]: the proxies of the environment, as curl and Go read it.

use std::net::IpAddr;

use gatepost::network;

use crate::url::Url;

/// Which proxy a server is asked through.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    none: Vec<String>,
}

impl Proxies {
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, or the same in small letters.
    pub(crate) fn read() -> Self {
        Self::of(&|name| std::env::var(name).or_else(|_| std::env::var(name.to_lowercase())).unwrap_or_default())
    }

    fn of(variable: &dyn Fn(&str) -> String) -> Self {
        let url = |name| Url::parse_or_http(&variable(name));
        let none = variable("NO_PROXY").to_lowercase();
        let none = none.split(',').map(|host| host.trim().trim_start_matches("*.").trim_start_matches('.'));
        let none = none.filter(|host| !host.is_empty()).map(str::to_owned).collect();
        Self { http: url("HTTP_PROXY"), https: url("HTTPS_PROXY"), none }
    }

    /// The proxy for a server; none: it is asked directly, as any server on this node.
    pub(crate) fn for_server(&self, url: &Url) -> Option<&Url> {
        let host = url.host.to_lowercase();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let local = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let port = format!("{host}:{}", url.port);
        let spares = |none: &String| {
            *none == "*"
                || *none == host
                || *none == port
                || host.ends_with(&format!(".{none}"))
                || address.is_some_and(|address| network::holds(none, address))
        };
        let proxy = if url.secure { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !local && !self.none.iter().any(spares))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_server_is_asked_through_the_proxy_of_its_scheme_unless_it_is_spared() {
        let proxies = Proxies::of(&|name| {
            match name {
                "HTTP_PROXY" => "proxy:3128",
                "HTTPS_PROXY" => "http://user:pw@secure:3129",
                _ => "site.example, *.local,.dot.example,10.0.0.0/8,fd00::/8,one:5000",
            }
            .to_owned()
        });
        let through = |url: &str| proxies.for_server(&Url::parse(url).unwrap()).map(Url::authority).unwrap_or_default();
        for (url, proxy) in [
            ("http://a.example", "proxy:3128"),
            ("https://a.example", "secure:3129"),
            ("https://site.example", ""),
            ("https://registry.site.example:5000", ""),
            ("https://notsite.example", "secure:3129"),
            ("https://x.local", ""),
            ("https://dot.example", ""),
            ("http://10.1.2.3:5000", ""),
            ("http://11.1.2.3", "proxy:3128"),
            ("http://[fd00::1]", ""),
            ("http://[fe80::1]", "proxy:3128"),
            ("http://one:5000", ""),
            ("http://one:5001", "proxy:3128"),
            ("http://localhost:5000", ""),
            ("http://127.0.0.2", ""),
            ("http://127.example", "proxy:3128"),
        ] {
            assert_eq!(through(url), proxy, "{url}");
        }
        assert!(Proxies::of(&|_| String::new()).for_server(&Url::parse("http://a").unwrap()).is_none());
    }
}
