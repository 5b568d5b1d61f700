//! Files of variables that `fileKeyRef` reads: [`find`] (kubelet `pkg/kubelet/util/env`).

/// The value of a key.
///
/// A subset of the shell's syntax: `KEY='value'`, where the value is taken as it is and may go over several lines, or `KEY=word`.
/// Blanks before the key, empty lines and comments are passed over. Of a repeated key the first counts. A line that is anything
/// else is an error, whose number is given.
pub(super) fn find(text: &str, key: &str) -> Result<Option<String>, usize> {
    let mut rest = text;
    let mut line = 1_usize;
    while !rest.is_empty() {
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            line = line.saturating_add(1);
            continue;
        }
        let start = rest.trim_start_matches([' ', '\t']);
        let (name, assigned) = start.split_once('=').ok_or(line)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\'' || c == '"') {
            return Err(line);
        }
        let (value, after) = match assigned.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').ok_or(line)?,
            None => assigned.split_at(assigned.find(|c: char| c.is_whitespace()).unwrap_or(assigned.len())),
        };
        let (tail, next) = after.split_once('\n').unwrap_or((after, ""));
        let is_comment = tail.starts_with([' ', '\t', '\r']) && tail.trim_start().starts_with('#');
        let is_word = assigned.starts_with('\'') || !value.contains(['\'', '"', '\\', '$', '`']);
        if !is_word || !(tail.trim().is_empty() || is_comment) {
            return Err(line);
        }
        if name == key {
            return Ok(Some(value.to_owned()));
        }
        line = line.saturating_add(value.matches('\n').count()).saturating_add(1);
        rest = next;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn quoted_and_plain_values_are_found_between_comments_and_blank_lines() {
        let text = "# head\n\n  A='1 $x \"2\"'  # tail\nB=plain\nC='two\nlines'\nD=\nA='again'\n";
        let value = |key| find(text, key);
        assert_eq!(value("A"), Ok(Some("1 $x \"2\"".to_owned())));
        assert_eq!(value("B"), Ok(Some("plain".to_owned())));
        assert_eq!(value("C"), Ok(Some("two\nlines".to_owned())));
        assert_eq!(value("D"), Ok(Some(String::new())));
        assert_eq!(value("E"), Ok(None));
    }

    #[test]
    fn what_is_no_assignment_is_an_error_with_its_line() {
        for (text, line) in [
            ("A='1'\nB = 2\nX=1", 2),
            ("nothing", 1),
            ("A='open", 1),
            ("A='1'2\n", 1),
            ("\nA=\"1\"\n", 2),
            ("A='1\n2'\n=x", 3),
            ("A=1 2\n", 1),
        ] {
            assert_eq!(find(text, "X"), Err(line), "{text:?}");
        }
    }
}
