//! [`parse`]: YAML as a tree with positions. The events come from saphyr-parser; aliases and merge keys are expanded here,
//! within bounds, so that no small file becomes a large tree.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{
    Documents, Entry, MAX_ALIAS_BYTES, MAX_DEPTH, MAX_NODES, Node, Oddity, SyntaxError, Value, saturate, scalar,
};

/// Reads all documents of a YAML stream.
pub(super) fn parse(text: &str) -> Result<Documents, SyntaxError> {
    let mut tree = TreeBuilding::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = error.marker();
            SyntaxError::new(
                saturate(at.line()),
                saturate(at.col() + 1),
                format!("not YAML: {}", error.info()),
                "correct the line, or the indentation of the lines before it",
            )
        })?;
        tree.event(event, span)?;
    }
    Ok(tree.found)
}

/// A map being filled: an index keeps the search for repeated keys linear.
#[derive(Default)]
pub(super) struct MapBuilding {
    pub(super) entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl MapBuilding {
    /// Adds an entry; a repeated key replaces the earlier value, as Kubernetes' reader does, and yields a warning.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<String> {
        if let Some(earlier) = self.index.get(&entry.key).and_then(|index| self.entries.get_mut(*index)) {
            let message =
                format!("the key {:?} is repeated (first at line {}); the last value counts", entry.key, earlier.line);
            *earlier = entry;
            return Some(message);
        }
        self.index.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
        None
    }
}

#[derive(Default)]
struct TreeBuilding {
    found: Documents,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    alias_bytes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    line: u32,
    column: u32,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { map: MapBuilding, key: Option<(Node, bool)>, merges: Vec<Node> },
}

impl TreeBuilding {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        let (line, column) = (saturate(span.start.line()), saturate(span.start.col() + 1));
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar_value(text, style, tag.as_deref(), line, column)?;
                let merge = style == ScalarStyle::Plain && value == Value::String("<<".to_owned());
                self.complete(Node { value, line, column }, anchor, merge)?;
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), "seq", line, column)?;
                self.begin(Open { line, column, anchor, content: Content::List(Vec::new()) })?;
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), "map", line, column)?;
                let content = Content::Map { map: MapBuilding::default(), key: None, merges: Vec::new() };
                self.begin(Open { line, column, anchor, content })?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.end(open)?;
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(SyntaxError::new(
                        line,
                        column,
                        "an alias stands inside the value it names",
                        "write the value out instead",
                    ));
                };
                self.charge(&node, line, column)?;
                self.check_depth(&node, line, column)?;
                self.complete(Node { line, column, ..node }, 0, false)?;
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, open: Open) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(open.line, open.column));
        }
        self.open.push(open);
        Ok(())
    }

    fn check_depth(&self, node: &Node, line: u32, column: u32) -> Result<(), SyntaxError> {
        if self.open.len() + depth(node) > MAX_DEPTH { Err(too_deep(line, column)) } else { Ok(()) }
    }

    /// Accounts for a copy of a tree; a few lines of aliases can stand for billions of values.
    fn charge(&mut self, node: &Node, line: u32, column: u32) -> Result<(), SyntaxError> {
        let (nodes, bytes) = node.weight();
        self.nodes = self.nodes.saturating_add(nodes);
        self.alias_bytes = self.alias_bytes.saturating_add(bytes);
        if self.nodes > MAX_NODES || self.alias_bytes > MAX_ALIAS_BYTES {
            return Err(SyntaxError::new(
                line,
                column,
                format!(
                    "anchors and aliases expand to more than {MAX_NODES} values or {MAX_ALIAS_BYTES} bytes of text"
                ),
                "write the document without aliases",
            ));
        }
        Ok(())
    }

    fn end(&mut self, open: Open) -> Result<(), SyntaxError> {
        let Open { line, column, anchor, content } = open;
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { mut map, merges, .. } => {
                for merge in merges {
                    merge_into(&mut map, merge)?;
                }
                Value::Map(map.entries)
            }
        };
        self.complete(Node { value, line, column }, anchor, false)
    }

    /// Puts a finished value where it belongs: the document, the open list, or the open map as key or value.
    fn complete(&mut self, node: Node, anchor: usize, merge: bool) -> Result<(), SyntaxError> {
        let (line, column) = (node.line, node.column);
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(SyntaxError::new(
                line,
                column,
                format!("more than {MAX_NODES} values in one file"),
                "split it into several files",
            ));
        }
        if anchor != 0 {
            self.charge(&node, line, column)?;
            self.anchors.insert(anchor, node.clone());
        }
        let document = self.found.documents.len();
        let Some(open) = self.open.last_mut() else {
            if node.value != Value::Null {
                self.found.documents.push(node);
            }
            return Ok(());
        };
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { key: slot @ None, .. } => *slot = Some((node, merge)),
            Content::Map { map, key, merges } => {
                let Some((key, merge)) = key.take() else { return Ok(()) };
                if merge {
                    merges.push(node);
                    return Ok(());
                }
                let entry = Entry { key: key_text(&key)?, line: key.line, column: key.column, node };
                if let Some(message) = map.insert(entry) {
                    self.found.warnings.push(Oddity { line: key.line, document, message });
                }
            }
        }
        Ok(())
    }
}

fn too_deep(line: u32, column: u32) -> SyntaxError {
    SyntaxError::new(
        line,
        column,
        format!("nested deeper than {MAX_DEPTH} levels"),
        "no field of any object lies that deep",
    )
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or(0),
        _ => 0,
    }
}

/// `<<: *base` or `<<: [*a, *b]`: keys that the map does not have itself; of several, the first wins.
fn merge_into(map: &mut MapBuilding, from: Node) -> Result<(), SyntaxError> {
    match from.value {
        Value::Map(entries) => {
            for entry in entries {
                if !map.index.contains_key(&entry.key) {
                    map.insert(entry);
                }
            }
            Ok(())
        }
        Value::List(items) => items.into_iter().try_for_each(|item| merge_into(map, item)),
        _ => Err(SyntaxError::new(
            from.line,
            from.column,
            "the value of a merge key << is neither an object nor a list of objects",
            "name an anchored object after it, as in <<: *base",
        )),
    }
}

/// Keys are text in JSON; numbers and booleans become their text, as Kubernetes' reader does.
fn key_text(key: &Node) -> Result<String, SyntaxError> {
    match &key.value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Ok("null".to_owned()),
        Value::List(_) | Value::Map(_) => Err(SyntaxError::new(
            key.line,
            key.column,
            format!("{} stands where a key was expected", key.described()),
            "put the text { or [ begins with in quotes, if it is meant as text",
        )),
    }
}

fn check_tag(tag: Option<&Tag>, expected: &str, line: u32, column: u32) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(unknown_tag(tag, line, column)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, line: u32, column: u32) -> SyntaxError {
    SyntaxError::new(line, column, format!("the tag {}{} means nothing here", tag.handle, tag.suffix), "remove it")
}

fn scalar_value(
    text: Cow<'_, str>,
    style: ScalarStyle,
    tag: Option<&Tag>,
    line: u32,
    column: u32,
) -> Result<Value, SyntaxError> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { scalar::resolve(&text) } else { Value::String(text.into_owned()) });
    };
    if !tag.is_yaml_core_schema() {
        return Err(unknown_tag(tag, line, column));
    }
    let resolved = scalar::resolve(&text);
    match (tag.suffix.as_str(), &resolved) {
        ("str", _) => Ok(Value::String(text.into_owned())),
        ("null", Value::Null) | ("bool", Value::Bool(_)) | ("int" | "float", Value::Number(_)) => Ok(resolved),
        ("null" | "bool" | "int" | "float", _) => Err(SyntaxError::new(
            line,
            column,
            format!("{text:?} is not what its tag !!{} says", tag.suffix),
            "remove the tag or correct the value",
        )),
        _ => Err(unknown_tag(tag, line, column)),
    }
}
