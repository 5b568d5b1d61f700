//! [`Selector`]: label selectors, equality and set based, in kubectl's syntax.

use serde_json::Value;

/// All requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<String>),
    /// Also holds when the key is missing, as in Kubernetes.
    NotIn(Vec<String>),
}

impl Selector {
    /// Parses `a=b,c!=d,e in (x,y),f notin (z),g,!h`. The error says what was expected, and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (requirement, after) = requirement(rest).map_err(|expected| {
                let at = text.len().saturating_sub(rest.len()).saturating_add(1);
                format!("label selector {text:?}: {expected} (requirement at character {at})")
            })?;
            requirements.push(requirement);
            rest = match after.trim_start().strip_prefix(',') {
                Some(next) if next.trim().is_empty() => {
                    return Err(format!("label selector {text:?}: ends with a comma"));
                }
                Some(next) => next.trim_start(),
                None if after.trim().is_empty() => "",
                None => return Err(format!("label selector {text:?}: expected a comma before {:?}", after.trim())),
            };
        }
        Ok(Self(requirements))
    }

    /// Whether an object's `metadata.labels` fulfil all requirements.
    pub(super) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|Requirement { key, test }| {
            let value = object.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str);
            match test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
                Test::NotIn(values) => !value.is_some_and(|value| values.iter().any(|unwanted| unwanted == value)),
            }
        })
    }
}

/// One requirement, and what follows it.
fn requirement(text: &str) -> Result<(Requirement, &str), String> {
    if let Some(rest) = text.strip_prefix('!') {
        let (key, rest) = word(rest.trim_start());
        return Ok((Requirement { key: checked_key(key)?, test: Test::Missing }, rest));
    }
    let (key, rest) = word(text);
    let key = checked_key(key)?;
    let rest = rest.trim_start();
    let equal = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='));
    let test_and_rest = if let Some(rest) = rest.strip_prefix("!=") {
        let (value, rest) = word(rest.trim_start());
        (Test::NotIn(vec![value.to_owned()]), rest)
    } else if let Some(rest) = equal {
        let (value, rest) = word(rest.trim_start());
        (Test::In(vec![value.to_owned()]), rest)
    } else {
        match word(rest) {
            ("in", rest) => set(rest).map(|(values, rest)| (Test::In(values), rest))?,
            ("notin", rest) => set(rest).map(|(values, rest)| (Test::NotIn(values), rest))?,
            ("", _) => (Test::Exists, rest),
            (other, _) => return Err(format!("expected =, ==, !=, in or notin after {key:?}, found {other:?}")),
        }
    };
    let (test, rest) = test_and_rest;
    Ok((Requirement { key, test }, rest))
}

/// `(a, b)`, and what follows it.
fn set(text: &str) -> Result<(Vec<String>, &str), String> {
    let inner = text.trim_start().strip_prefix('(').ok_or("expected ( after in or notin")?;
    let (values, rest) = inner.split_once(')').ok_or("expected ) at the end of the values")?;
    Ok((values.split(',').map(|value| value.trim().to_owned()).collect(), rest))
}

fn checked_key(key: &str) -> Result<String, String> {
    if key.is_empty() { Err("expected a label key".to_owned()) } else { Ok(key.to_owned()) }
}

/// The characters a label key or value is made of, and what follows them.
fn word(text: &str) -> (&str, &str) {
    // What is beyond ASCII goes with the word, which no label matches then.
    let ends = |c: char| c.is_ascii() && !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    let end = text.find(ends).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_choose_as_kubernetes_does() {
        let object =
            json!({"metadata": {"labels": {"app": "web", "tier": "front", "example.com/x": "1", "empty": ""}}});
        let table = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web", true),
            ("app=db", false),
            ("app!=db", true),
            ("app!=web", false),
            ("missing!=x", true),
            ("app", true),
            ("!app", false),
            ("! missing", true),
            ("app in (db,web)", true),
            ("app in (db, other)", false),
            ("app notin (db)", true),
            ("app notin (web)", false),
            ("missing notin (web)", true),
            ("app=web,tier in (front,back),!gone", true),
            ("app=web,tier=back", false),
            ("example.com/x=1", true),
            ("empty=", true),
            ("app=,tier", false),
        ];
        for (text, expected) in table {
            assert_eq!(Selector::parse(text).unwrap().matches(&object), expected, "{text}");
        }
    }

    #[test]
    fn a_broken_selector_says_where() {
        for text in ["=x", "a in x", "a in (x", "a b", "a=b c", "a=b,", ",", "a>1"] {
            let error = Selector::parse(text).expect_err(text);
            assert!(error.contains("label selector"), "{error}");
        }
    }
}
