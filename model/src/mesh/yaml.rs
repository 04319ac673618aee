//! YAML text to nodes with positions, within limits. What of YAML a mesh file does not use (tags, merge keys, several
//! documents) is a fault, not a surprise.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::fault::{Code, Fault, MAX_FAULTS, Origin, Severity};
use super::node::{Node, Value};

/// Largest file, in bytes: some thousands of services.
pub const MAX_BYTES: usize = 4 << 20;
/// Most keys and values, aliases written out.
const MAX_NODES: usize = 500_000;
/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// The one document of a text; `None`: there is nothing in it, or nobody can tell: then `faults` say why.
pub(crate) fn read(text: &str, file: &Arc<str>, faults: &mut Vec<Fault>) -> Option<Node> {
    let mut builder =
        Builder { file, faults, stack: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None };
    if text.len() > MAX_BYTES {
        let what = format!("the file has {} bytes, the most is {MAX_BYTES}", text.len());
        let _nothing_is_read =
            builder.stop(Code::TooLarge, builder.at(1, 1, 0), what, "is this the mesh file?");
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let more = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(builder.syntax(&error)),
        };
        match more {
            Ok(true) => {}
            Ok(false) => break,
            Err(Stop) => return None,
        }
    }
    builder.root
}

/// Adds a fault that does not end the reading, unless there are enough.
fn note(faults: &mut Vec<Fault>, fault: Fault) {
    if faults.len() < MAX_FAULTS {
        faults.push(fault);
    }
}

/// What ends the reading is among the faults.
struct Stop;

fn fault(code: Code, origin: Origin, what: impl Into<String>, help: &str) -> Fault {
    let (path, found) = (String::new(), String::new());
    Fault {
        severity: Severity::Error,
        code,
        origin,
        path,
        found,
        what: what.into(),
        help: help.to_owned(),
        other: None,
    }
}

/// What has an anchor: the node, how many nodes it has and how deep it is.
struct Anchored {
    node: Node,
    size: usize,
    depth: usize,
}

/// A list or mapping that is being read.
struct Open {
    origin: Origin,
    anchor: usize,
    content: Content,
    size: usize,
    depth: usize,
}

enum Content {
    List(Vec<Node>),
    Mapping(Vec<(Node, Node)>, Option<Node>),
}

struct Builder<'a> {
    file: &'a Arc<str>,
    faults: &'a mut Vec<Fault>,
    stack: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    /// Takes the next event; false once there is nothing more to read.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<bool, Stop> {
        let origin = self.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(false),
            Event::DocumentStart(_) if self.root.is_some() => {
                let what = "a second document begins here";
                let help = "a mesh is one document: remove the --- line, or this part";
                return Err(self.stop(Code::Syntax, origin, what, help));
            }
            Event::DocumentStart(_) => {}
            Event::Alias(anchor) => self.alias(anchor, origin)?,
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), &origin);
                let value = scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.put(Node { value, origin }, anchor, 1, 0)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &origin);
                self.open(origin, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.is_some(), &origin);
                self.open(origin, anchor, Content::Mapping(Vec::new(), None))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
        }
        Ok(true)
    }

    fn open(&mut self, origin: Origin, anchor: usize, content: Content) -> Result<(), Stop> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.too_deep(origin));
        }
        self.stack.push(Open { origin, anchor, content, size: 1, depth: 0 });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Mapping(entries, _) => Value::Mapping(entries),
        };
        self.put(Node { value, origin: open.origin }, open.anchor, open.size, open.depth)
    }

    /// Puts a whole node where it belongs, and remembers it if it has an anchor.
    fn put(&mut self, node: Node, anchor: usize, size: usize, depth: usize) -> Result<(), Stop> {
        self.count(1, &node.origin)?;
        if anchor != 0 {
            self.count(size, &node.origin)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        let Some(parent) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.size += size;
        parent.depth = parent.depth.max(depth + 1);
        match &mut parent.content {
            Content::List(items) => items.push(node),
            Content::Mapping(entries, key) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    if matches!(node.value, Value::List(_) | Value::Mapping(_)) {
                        let what = format!("{} stands where a key belongs", node.found());
                        let origin = node.origin.clone();
                        note(self.faults, fault(Code::Syntax, origin, what, "write a name and a colon"));
                    }
                    *key = Some(node);
                }
            },
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, origin: Origin) -> Result<(), Stop> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            let what = "this alias is inside of what it stands for";
            return Err(self.stop(Code::Syntax, origin, what, "write the value here, without an alias"));
        };
        let (size, depth) = (anchored.size, anchored.depth);
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(self.too_deep(origin));
        }
        let node = anchored.node.clone();
        self.count(size, &origin)?;
        self.put(node, 0, size, depth)
    }

    fn stop(&mut self, code: Code, origin: Origin, what: impl Into<String>, help: &str) -> Stop {
        self.faults.push(fault(code, origin, what, help));
        Stop
    }

    fn count(&mut self, more: usize, origin: &Origin) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let what = format!("more than {MAX_NODES} keys and values, aliases written out");
        Err(self.stop(
            Code::TooLarge,
            origin.clone(),
            what,
            "use fewer aliases of aliases; is this the mesh file?",
        ))
    }

    fn too_deep(&mut self, origin: Origin) -> Stop {
        let what = format!("nested deeper than {MAX_DEPTH} levels");
        self.stop(Code::TooLarge, origin, what, "nothing in a mesh file is that deep: is a bracket missing?")
    }

    fn refuse_tag(&mut self, tagged: bool, origin: &Origin) {
        if tagged {
            let what = "tags (!…) mean nothing in a mesh file";
            note(self.faults, fault(Code::Syntax, origin.clone(), what, "write the value without it"));
        }
    }

    fn syntax(&mut self, error: &ScanError) -> Stop {
        let mark = error.marker();
        let origin = self.at(mark.line(), mark.col() + 1, 0);
        let help = match error.info() {
            info if info.contains("unknown anchor") => {
                "write &name where the value stands first, before *name uses it"
            }
            info if info.contains("tab") => "indent with spaces: two for each level",
            info if info.contains("flow") => "close every [ and {, with a comma between entries",
            info if info.contains("block mapping") => {
                "keys of one mapping begin in one column; two spaces more for each level"
            }
            _ => "put quotes around text that has : # { } [ ] , & * ! | > ' \" % @ in it",
        };
        self.stop(Code::Syntax, origin, format!("this is not YAML: {}", error.info()), help)
    }

    fn span(&self, span: Span) -> Origin {
        let one_line = span.start.line() == span.end.line();
        let length = if one_line { span.end.col().saturating_sub(span.start.col()) } else { 0 };
        self.at(span.start.line(), span.start.col() + 1, length)
    }

    fn at(&self, line: usize, column: usize, length: usize) -> Origin {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Origin::File {
            file: Arc::clone(self.file),
            line: number(line),
            column: number(column),
            length: number(length),
        }
    }
}

/// Null as in the core schema of YAML 1.2; other scalars are text until somebody wants a number.
fn scalar(text: String, plain: bool) -> Value {
    let null = plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
    if null { Value::Null } else { Value::Scalar { text, plain } }
}
