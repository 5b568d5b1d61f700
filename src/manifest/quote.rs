//! [`quoted`]: text as Go's `%q` writes it.

/// What cannot be printed (Go: `strconv.IsPrint`) is escaped, so that text stays on its line, and readers can take it apart.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02x}", u32::from(letter))),
            '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn text_is_quoted_as_go_quotes_it() {
        for (text, expected) in [
            ("plain ü", "\"plain ü\""),
            ("a b", r#""a b""#),
            ("\"\\", r#""\"\\""#),
            ("\ttab\n", r#""\ttab\n""#),
            ("\x01\x07\x0b\x7f", r#""\x01\a\v\x7f""#),
            ("ü\u{2028}\u{85}", "\"ü\\u2028\\u0085\""),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
    }
}
