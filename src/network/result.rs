//! What plugins answer: [`Address`]es of a result, and the words of an error (CNI specification, section 5).

use serde_json::Value;

/// An address of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: String,
    /// Whom it reaches others through; empty for none.
    pub(super) gateway: String,
}

/// The pod's addresses, the first is the primary one. One that the result gives to an interface outside of the pod is not among them.
pub(super) fn addresses(result: &Value) -> Vec<Address> {
    let interfaces = result["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
    let inside = |index: u64| {
        let interface = usize::try_from(index).ok().and_then(|index| interfaces.get(index));
        interface.is_none_or(|interface| interface["sandbox"].as_str().is_some_and(|path| !path.is_empty()))
    };
    let all = result["ips"].as_array().into_iter().flatten();
    all.filter(|ip| ip["interface"].as_u64().is_none_or(inside))
        .filter_map(|ip| {
            let address = ip["address"].as_str()?;
            let ip_only = address.split_once('/').map_or(address, |(ip, _)| ip);
            Some(Address { ip: ip_only.to_owned(), gateway: ip["gateway"].as_str().unwrap_or_default().to_owned() })
        })
        .collect()
}

/// What a plugin says went wrong; `None` when it says nothing that can be understood.
pub(super) fn error(answer: &Value) -> Option<String> {
    let message = answer["msg"].as_str().filter(|text| !text.is_empty())?;
    let details = answer["details"].as_str().filter(|text| !text.is_empty());
    Some(details.map_or_else(|| message.to_owned(), |details| format!("{message}; {details}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_addresses_of_the_pods_interfaces_are_the_pods() {
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": "/run/n"}],
            "ips": [
                {"interface": 0, "address": "192.0.2.1/24"},
                {"interface": 1, "address": "10.0.0.2/24", "gateway": "10.0.0.1"},
                {"address": "fd00::2/64"},
            ],
        });
        let found: Vec<(String, String)> = addresses(&result).into_iter().map(|a| (a.ip, a.gateway)).collect();
        assert_eq!(found, [("10.0.0.2".into(), "10.0.0.1".into()), ("fd00::2".into(), String::new())]);
        assert!(addresses(&json!({})).is_empty());
    }

    #[test]
    fn an_error_has_the_plugins_words() {
        assert_eq!(error(&json!({"code": 7, "msg": "no", "details": "why"})).unwrap(), "no; why");
        assert_eq!(error(&json!({"code": 7, "msg": "no"})).unwrap(), "no");
        assert_eq!(error(&json!({"ips": []})), None);
    }
}
