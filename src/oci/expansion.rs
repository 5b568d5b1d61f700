//! `$(VAR)` in manifests: [`expand`] (Kubernetes `third_party/forked/golang/expansion`).

/// The longest argument or variable that the kernel takes, in bytes (`MAX_ARG_STRLEN` less its NUL).
pub(super) const MAX_LENGTH: usize = 32 * 4096 - 1;

/// The text grew beyond [`MAX_LENGTH`]. Without a bound a few variables that double each other fill the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("longer than the {MAX_LENGTH} bytes that the kernel takes")]
pub(super) struct TooLong;

/// Replaces each `$(NAME)` that `lookup` knows.
///
/// What it does not know stays as written; `$$` yields one `$`, so `$$(NAME)` yields the text `$(NAME)`. A `$` before
/// anything else, a last `$`, and an unterminated `$(` are kept. Values are not expanded again.
pub(super) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, TooLong> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if out.len() > MAX_LENGTH {
            return Err(TooLong);
        }
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|reference| reference.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    if out.len() > MAX_LENGTH { Err(TooLong) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{MAX_LENGTH, TooLong, expand};

    fn expanded(text: &str) -> String {
        expand(text, |name| match name {
            "A" => Some("1".to_owned()),
            "NESTED" => Some("$(A)".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
        .unwrap()
    }

    #[test]
    fn known_names_are_replaced_and_unknown_ones_stay_as_written() {
        assert_eq!(expanded("x$(A)y$(A)"), "x1y1");
        assert_eq!(expanded("[$(EMPTY)]"), "[]");
        assert_eq!(expanded("$(B) $(A)"), "$(B) 1");
    }

    #[test]
    fn a_doubled_dollar_escapes() {
        assert_eq!(expanded("$$(A)"), "$(A)");
        assert_eq!(expanded("$$$(A)"), "$1");
        assert_eq!(expanded("$$$$"), "$$");
    }

    #[test]
    fn everything_else_is_kept() {
        for kept in ["$", "a$", "$A", "$(A", "$(", "$ü", "${A}", ""] {
            assert_eq!(expanded(kept), kept);
        }
        assert_eq!(expanded("$(A$(A)"), "$(A$(A)", "the name is what stands before the first closing parenthesis");
    }

    #[test]
    fn a_value_is_not_expanded_again() {
        assert_eq!(expanded("$(NESTED)"), "$(A)");
    }

    #[test]
    fn growth_is_bounded() {
        let long = "x".repeat(MAX_LENGTH / 2);
        let lookup = |_: &str| Some(long.clone());
        assert_eq!(expand("$(A)$(A)", lookup).unwrap().len(), MAX_LENGTH / 2 * 2);
        assert_eq!(expand("$(A)$(A)xx", lookup), Err(TooLong));
        assert_eq!(expand(&"$(A)".repeat(1_000_000), lookup), Err(TooLong));
    }
}
