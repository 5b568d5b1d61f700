//! [`expand`]: `$(VAR)` in commands, arguments and environment values. Kubernetes: third_party/forked/golang/expansion.

/// Replaces `$(NAME)` by what `lookup` knows; an unknown name stays as written, `$$` is one `$`, and any other `$` is kept.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, beyond)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = beyond;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}
