//! [`parse`]: JSON as a tree with positions. Strings and numbers are read by the room `json`; only the structure is walked here.

use crate::json;

use super::{Documents, Entry, MAX_DEPTH, MAX_NODES, Node, Oddity, SyntaxError, Value, position};

/// Reads one or more JSON values.
pub(super) fn parse(text: &str) -> Result<Documents, SyntaxError> {
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0, nodes: 0, found: Documents::default() };
    reader.skip_space();
    while reader.at < text.len() {
        let node = reader.value(0)?;
        if node.value != Value::Null {
            reader.found.documents.push(node);
        }
        reader.skip_space();
    }
    Ok(reader.found)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    line_start: usize,
    nodes: usize,
    found: Documents,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                self.line = self.line.saturating_add(1);
                self.line_start = self.at;
            }
        }
    }

    fn place(&self) -> (u32, u32) {
        (self.line, super::saturate(self.at - self.line_start + 1))
    }

    fn wrong(&self, what: impl Into<String>) -> SyntaxError {
        let (line, column) = position(self.text.as_bytes(), self.at);
        SyntaxError::new(line, column, what, "the file begins with { or [, so it must be JSON: correct it there")
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.wrong(format!("more than {MAX_NODES} values in one file")));
        }
        self.skip_space();
        let (line, column) = self.place();
        let value = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { value, line, column })
    }

    fn map(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut map = super::yaml::MapBuilding::default();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Map(map.entries));
        }
        loop {
            self.skip_space();
            let (line, column) = self.place();
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a key in double quotes was expected"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.wrong(format!("a colon was expected after the key {key:?}")));
            }
            self.at += 1;
            let node = self.value(depth + 1)?;
            if let Some(message) = map.insert(Entry { key, line, column, node }) {
                let document = self.found.documents.len();
                self.found.warnings.push(Oddity { line, document, message });
            }
            if !self.goes_on(b'}', "an object")? {
                return Ok(Value::Map(map.entries));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.goes_on(b']', "a list")? {
                return Ok(Value::List(items));
            }
        }
    }

    /// Takes a comma (true) or the closing bracket (false).
    fn goes_on(&mut self, close: u8, what: &str) -> Result<bool, SyntaxError> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(_) => Err(self.wrong(format!("a comma or the end of {what} was expected"))),
            None => Err(self.wrong(format!("the file ends inside {what}"))),
        }
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let bytes = self.rest().as_bytes();
        let mut end = 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(b'\n') | None => return Err(self.wrong("a string without its closing quote")),
                Some(_) => end += 1,
            }
        }
        let raw = self.rest().get(..=end).unwrap_or_default();
        let text = json::from_str(raw).map_err(|error| self.wrong(format!("not a JSON string: {error}")))?;
        self.at += end + 1;
        Ok(text)
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let length = self.rest().bytes().take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b)).count();
        let raw = self.rest().get(..length).unwrap_or_default();
        let Ok(json::Value::Number(number)) = json::value_of(raw.as_bytes()) else {
            return Err(self.wrong(format!("not a JSON number: {raw}")));
        };
        self.at += length;
        Ok(Value::Number(number))
    }

    fn word(&mut self) -> Result<Value, SyntaxError> {
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.wrong(if self.peek().is_none() {
            "the file ends where a value was expected"
        } else {
            "a value was expected"
        }))
    }
}
