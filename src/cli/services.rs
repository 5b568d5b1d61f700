//! `gatepost get services`: where the names of Services lead now.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::Value;

use super::failure::{Failure, Outcome};
use super::invocation::Invocation;
use super::output::{self, Format};
use super::selector::Selector;
use super::view::{entries, int, list, or_none, text};
use super::{get, session, tabs};
use crate::control::{Call, Reply};

/// What `get` takes for a Service.
pub(super) const SERVICE_WORDS: &[&str] = &["services", "service", "svc"];

/// `gatepost get services`.
pub(super) fn get(invocation: &Invocation, names: &[&str]) -> Outcome {
    for flag in ["watch", "show-labels"] {
        if invocation.has(flag) {
            return Err(invocation.misuse(&format!("--{flag} is for pods only")));
        }
    }
    let format = output::format(invocation)?;
    let all = invocation.has("all-namespaces");
    let namespace = if all { None } else { Some(invocation.namespace()?) };
    let selector = Selector::parse(invocation.value("selector")?.unwrap_or_default()).map_err(Failure::Usage)?;
    let mut services = match session::connect(invocation)?.ask(Call::Services)? {
        Reply::Services { items } => items,
        other => return Err(session::unexpected(&other)),
    };
    services.retain(|service| {
        namespace.is_none_or(|namespace| text(service, "/metadata/namespace") == namespace) && selector.matches(service)
    });
    let there = |name: &&&str| services.iter().any(|service| text(service, "/metadata/name") == **name);
    if let Some(missing) = names.iter().find(|name| !there(name)) {
        return Err(Failure::failed(format!("services {missing:?} not found")));
    }
    services.retain(|service| names.is_empty() || names.contains(&text(service, "/metadata/name")));
    match format {
        Format::Table | Format::Wide if services.is_empty() => output::note(&get::nothing(namespace)),
        Format::Table | Format::Wide => {
            output::print(&table(&services, all, format == Format::Wide, !invocation.has("no-headers")))?;
        }
        format => output::print_objects(format, "service", services, names.len() == 1)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// kubectl's columns. Nothing here knows how old a document is.
fn table(services: &[Value], namespace: bool, wide: bool, headers: bool) -> String {
    let mut lines = String::new();
    if headers {
        let (first, last) = (if namespace { "NAMESPACE\t" } else { "" }, if wide { "\tSELECTOR" } else { "" });
        writeln!(lines, "{first}NAME\tTYPE\tCLUSTER-IP\tEXTERNAL-IP\tPORT(S)\tAGE{last}").ok();
    }
    for service in services {
        if namespace {
            write!(lines, "{}\t", text(service, "/metadata/namespace")).ok();
        }
        let port = |port: &Value| match int(port, "/nodePort") {
            0 => format!("{}/{}", int(port, "/port"), text(port, "/protocol")),
            node => format!("{}:{node}/{}", int(port, "/port"), text(port, "/protocol")),
        };
        let ports = list(service, "/spec/ports").iter().map(port).collect::<Vec<_>>().join(",");
        let columns = ["/metadata/name", "/spec/type", "/spec/clusterIP", "/spec/externalName"];
        let columns = columns.map(|pointer| or_none(text(service, pointer)));
        write!(lines, "{}\t{}\t<unknown>", columns.join("\t"), or_none(&ports)).ok();
        if wide {
            let selector = entries(service, "/spec/selector");
            let selector = selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
            write!(lines, "\t{}", or_none(&selector)).ok();
        }
        lines.push('\n');
    }
    tabs::align(&lines, tabs::TABLE)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_columns_are_kubectls() {
        let services = [
            json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"type": "NodePort", "clusterIP": "10.0.0.2",
                "selector": {"a": "b", "c": "d"},
                "ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "nodePort": 30443, "protocol": "TCP"}]}}),
            json!({"metadata": {"name": "else", "namespace": "x"}, "spec": {"type": "ExternalName", "externalName": "e.org"}}),
        ];
        assert_eq!(
            table(&services, false, true, true),
            "NAME   TYPE           CLUSTER-IP   EXTERNAL-IP   PORT(S)                AGE         SELECTOR\n\
             web    NodePort       10.0.0.2     <none>        80/TCP,443:30443/TCP   <unknown>   a=b,c=d\n\
             else   ExternalName   <none>       e.org         <none>                 <unknown>   <none>\n"
        );
        assert!(table(&services, true, false, false).starts_with("default   web    NodePort"));
    }
}
