//! XML as results have it: a bounded stream of elements and text, without declarations of its own, without entities.

use super::{Format, Limits, ParseError, encoding, text};
use quick_xml::Reader;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use std::borrow::Cow;

/// Attributes of one element. The widest dialect (gtest) has a dozen; the reader's check for duplicates is quadratic.
const MAX_ATTRIBUTES: usize = 64;

/// Bytes between `&` and `;` in a reference that could mean something: `#x0010FFFF`, with room for zeros.
const MAX_REFERENCE: usize = 24;

/// What comes next in the document.
pub(super) enum Node {
    /// An element begins.
    Open(Element),
    /// Text or CDATA within the innermost open element, references resolved.
    Text(String),
    /// The innermost open element ends.
    Close,
}

/// The start of an element; namespace prefixes are dropped, since some tools write them and none needs them.
pub(super) struct Element {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    /// The names of the first attributes, in the order in which they are written: a mark of the tool that wrote them.
    pub(super) fn begins_with(&self, names: &[&str]) -> bool {
        self.attributes.len() >= names.len() && self.attributes.iter().zip(names).all(|((key, _), name)| key == name)
    }

    /// How many attributes there are.
    pub(super) fn attributes(&self) -> usize {
        self.attributes.len()
    }

    /// The value of an attribute, references resolved.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a report node by node: one document, or as many as may follow one another.
pub(super) struct Document<'a> {
    reader: Reader<&'a [u8]>,
    open: Vec<String>,
    /// Root elements so far.
    roots: usize,
    /// Whether the document that is about to begin has a document type declaration.
    doctype_seen: bool,
    documents: usize,
    depth: usize,
}

impl<'a> Document<'a> {
    pub(super) fn new(report: &'a str, documents: usize, limits: &Limits) -> Self {
        let mut reader = Reader::from_str(report);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        // A bare `&` is a common slip and cannot mean anything else.
        config.allow_dangling_amp = true;
        Self { reader, open: Vec::new(), roots: 0, doctype_seen: false, documents, depth: limits.xml_depth }
    }

    /// The next node, or `None` at the end of the last complete document.
    ///
    /// # Errors
    ///
    /// [`ParseError::Doctype`], [`ParseError::Encoding`], [`ParseError::TooDeep`], [`ParseError::TooManyAttributes`],
    /// [`ParseError::TooManyDocuments`], [`ParseError::Truncated`] or [`ParseError::Syntax`].
    pub(super) fn next(&mut self) -> Result<Option<Node>, ParseError> {
        loop {
            let at = self.reader.buffer_position();
            let event = match self.reader.read_event() {
                Ok(event) => event,
                // Every error of this kind says that the input ended within some markup.
                Err(quick_xml::Error::Syntax(error)) => {
                    return Err(ParseError::Truncated { detail: format!("byte {at}: {error}") });
                }
                Err(error) => return Err(syntax(at, &error.to_string())),
            };
            match event {
                Event::Start(start) => return self.open(&start, at).map(Some),
                Event::End(_) => {
                    self.open.pop();
                    return Ok(Some(Node::Close));
                }
                Event::Text(content) if !self.open.is_empty() => {
                    return Ok(Some(Node::Text(content.into_inner().into_owned())));
                }
                Event::CData(content) if !self.open.is_empty() => {
                    return Ok(Some(Node::Text(content.into_inner().into_owned())));
                }
                Event::GeneralRef(reference) if !self.open.is_empty() => {
                    let name = reference.into_inner();
                    let meaning = resolve(&name).map_or_else(|| format!("&{name};"), String::from);
                    return Ok(Some(Node::Text(meaning)));
                }
                Event::DocType(content) => {
                    // A subset in brackets is where entities are declared. What an identifier names is never fetched.
                    let declares = content.into_inner().contains('[');
                    if declares || self.doctype_seen || !self.open.is_empty() {
                        return Err(ParseError::Doctype { at });
                    }
                    self.doctype_seen = true;
                }
                Event::Decl(declaration) => check_encoding(&declaration)?,
                Event::Eof => return self.end(),
                // What tools print before or after the document, comments, instructions, the tail of an empty element.
                _ => {}
            }
        }
    }

    fn open(&mut self, start: &BytesStart<'_>, at: u64) -> Result<Node, ParseError> {
        if self.open.is_empty() {
            if self.roots == self.documents {
                return Err(ParseError::TooManyDocuments { limit: self.documents, at });
            }
            self.roots += 1;
            self.doctype_seen = false;
        }
        let name = start.local_name().as_ref().to_owned();
        if self.open.len() >= self.depth {
            return Err(ParseError::TooDeep { limit: self.depth, seen: self.open.len() + 1 });
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| syntax(at, &error.to_string()))?;
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(ParseError::TooManyAttributes { element: text::excerpt(&name), limit: MAX_ATTRIBUTES, at });
            }
            let key = attribute.key.local_name().as_ref().to_owned();
            attributes.push((key, unescape(&attribute.value).into_owned()));
        }
        self.open.push(text::excerpt(&name));
        Ok(Node::Open(Element { name, attributes }))
    }

    fn end(&self) -> Result<Option<Node>, ParseError> {
        match self.open.last() {
            Some(name) => Err(ParseError::Truncated { detail: format!("<{name}> is still open at the end") }),
            None if self.roots == 0 => Err(syntax(self.reader.buffer_position(), "there is no element")),
            None => Ok(None),
        }
    }
}

fn syntax(at: u64, detail: &str) -> ParseError {
    ParseError::Syntax { format: Format::Junit, detail: format!("byte {at}: {}", text::excerpt(detail)) }
}

/// A declared encoding must be a known one. What the first declaration says was heeded before this was seen.
fn check_encoding(declaration: &BytesDecl<'_>) -> Result<(), ParseError> {
    match declaration.encoding() {
        Some(Ok(label)) => encoding::of_label(&label).map(|_| ()),
        _ => Ok(()),
    }
}

/// Resolves the references in an attribute's value; what is no known reference stays as it is.
fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('&') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('&') {
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let end = after.bytes().take(MAX_REFERENCE).position(|byte| byte == b';');
        match end.and_then(|end| Some((resolve(&after[..end])?, end))) {
            Some((meaning, end)) => {
                text.push(meaning);
                rest = &after[end + 1..];
            }
            None => {
                text.push('&');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// What a reference stands for: one of the five predefined entities or a character. Never anything declared.
///
/// A number that is no character stands for U+FFFD; a control character stands for itself, and is made visible later.
fn resolve(name: &str) -> Option<char> {
    let number = match name {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => name.strip_prefix('#')?,
    };
    let (digits, radix) = number.strip_prefix(['x', 'X']).map_or((number, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).ok();
    Some(code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
}

/// Escapes clean text (see [`text`]) for an attribute or an element.
///
/// `>` is escaped too, so that `]]>` cannot appear; newline and tab are, so that attribute values keep them.
pub(super) fn escape(clean: &str) -> String {
    let mut escaped = String::with_capacity(clean.len());
    for c in clean.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
