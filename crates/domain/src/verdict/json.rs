//! JSON as results have it: bounded in depth and values, without duplicate keys, and tolerant of what tools get wrong in strings.

use super::{Format, Limits, ParseError, text};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

/// An object of the report.
pub(super) type Object = Map<String, Value>;

/// Parses a document whose top level must be an object.
///
/// # Errors
///
/// [`ParseError::TooDeep`], [`ParseError::TooManyValues`], [`ParseError::DuplicateKey`], [`ParseError::Truncated`],
/// [`ParseError::Syntax`] or [`ParseError::WrongType`].
pub(super) fn parse_object(report: &str, format: Format, limits: &Limits) -> Result<Object, ParseError> {
    let repaired = repair(report, limits)?;
    let (refused, left) = (RefCell::new(None), Cell::new(limits.json_values));
    let mut reader = serde_json::Deserializer::from_slice(&repaired);
    let value = Bounded { refused: &refused, left: &left };
    let parsed = value.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    match (parsed, refused.into_inner()) {
        (_, Some(Refused::Duplicate(key))) => Err(ParseError::DuplicateKey { key: text::excerpt(&key) }),
        (_, Some(Refused::TooMany)) => Err(ParseError::TooManyValues { limit: limits.json_values }),
        (Ok(Value::Object(object)), None) => Ok(object),
        (Ok(other), None) => {
            Err(ParseError::WrongType { field: "the report".to_owned(), expected: "an object", seen: describe(&other) })
        }
        (Err(error), None) if error.is_eof() => Err(ParseError::Truncated { detail: error.to_string() }),
        (Err(error), None) => Err(ParseError::Syntax { format, detail: text::excerpt(&error.to_string()) }),
    }
}

/// What is at `key`; `null` counts as absent, as the reporters that write it mean it.
pub(super) fn get<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// The string at `key`, if there is one.
pub(super) fn string<'a>(object: &'a Object, path: &str, key: &str) -> Result<Option<&'a str>, ParseError> {
    get(object, key).map(|value| value.as_str().ok_or_else(|| wrong_type(path, key, "a string", value))).transpose()
}

/// The number at `key`, if there is one.
pub(super) fn number(object: &Object, path: &str, key: &str) -> Result<Option<f64>, ParseError> {
    get(object, key).map(|value| value.as_f64().ok_or_else(|| wrong_type(path, key, "a number", value))).transpose()
}

/// The number at `key`, if there is one, also as a string of digits: some graders quote every value.
pub(super) fn lenient_number(object: &Object, path: &str, key: &str) -> Result<Option<f64>, ParseError> {
    let of_text = |text: &str| {
        let text = text.trim();
        let is_decimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
        text.parse::<f64>().ok().filter(|number| is_decimal && number.is_finite())
    };
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str().and_then(of_text));
    get(object, key).map(|value| number(value).ok_or_else(|| wrong_type(path, key, "a number", value))).transpose()
}

/// The text at `key`, if there is one: a string, a number, or an array of lines.
pub(super) fn lenient_text<'a>(object: &'a Object, path: &str, key: &str) -> Result<Option<Cow<'a, str>>, ParseError> {
    let Some(value) = get(object, key) else { return Ok(None) };
    let line = |value: &'a Value| match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        _ => None,
    };
    let text = match value {
        Value::Array(lines) => lines.iter().map(line).collect::<Option<Vec<_>>>().map(|lines| lines.join("\n").into()),
        _ => line(value),
    };
    text.map(Some).ok_or_else(|| wrong_type(path, key, "a string or an array of strings", value))
}

/// The object at `key`, if there is one.
pub(super) fn object<'a>(parent: &'a Object, path: &str, key: &str) -> Result<Option<&'a Object>, ParseError> {
    get(parent, key).map(|value| value.as_object().ok_or_else(|| wrong_type(path, key, "an object", value))).transpose()
}

/// The array at `key`, if there is one; its length is held to the limit on tests.
pub(super) fn tests<'a>(parent: &'a Object, path: &str, limits: &Limits) -> Result<Option<&'a Vec<Value>>, ParseError> {
    let Some(value) = get(parent, "tests") else { return Ok(None) };
    let tests = value.as_array().ok_or_else(|| wrong_type(path, "tests", "an array", value))?;
    if tests.len() > limits.tests {
        return Err(ParseError::TooManyTests { limit: limits.tests, seen: tests.len() as u64 });
    }
    Ok(Some(tests))
}

/// One element of an array of objects.
pub(super) fn element<'a>(value: &'a Value, path: &str) -> Result<&'a Object, ParseError> {
    value.as_object().ok_or_else(|| ParseError::WrongType {
        field: path.to_owned(),
        expected: "an object",
        seen: describe(value),
    })
}

/// The error for a field of the wrong type.
pub(super) fn wrong_type(path: &str, key: &str, expected: &'static str, seen: &Value) -> ParseError {
    ParseError::WrongType { field: join(path, key), expected, seen: describe(seen) }
}

/// The path of `key` in the object at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the string {:?}", text::excerpt(text)),
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Object(fields) => format!("an object of {} keys", fields.len()),
    }
}

/// Checks the depth before any recursion, and repairs what would make one bad character discard the report.
///
/// Repaired: raw control characters in strings (shell-made JSON), lone surrogates (`"\udc80"` is how Python prints a
/// byte that was not UTF-8), and numbers that are none (`NaN`, `Infinity`: Python's too), which become strings: where a
/// field is read, a string that is no number is refused.
fn repair(report: &str, limits: &Limits) -> Result<Vec<u8>, ParseError> {
    let bytes = report.as_bytes();
    let mut repaired = Vec::with_capacity(bytes.len());
    let (mut depth, mut in_string, mut at) = (0_usize, false, 0);
    while let Some(&byte) = bytes.get(at) {
        let mut taken = 1;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                taken = match surrogate(bytes, at) {
                    None => 2,
                    Some(Surrogate::High) if matches!(surrogate(bytes, at + 6), Some(Surrogate::Low)) => 12,
                    Some(_) => {
                        repaired.extend_from_slice(b"\\ufffd");
                        at += 6;
                        continue;
                    }
                };
            }
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > limits.json_depth {
                    return Err(ParseError::TooDeep { limit: limits.json_depth, seen: depth });
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            b'N' | b'I' | b'-' if !in_string => {
                let rest = &bytes[at..];
                if let Some(word) = NO_NUMBERS.iter().find(|word| rest.starts_with(word.as_bytes())) {
                    repaired.extend_from_slice(format!("\"{word}\"").as_bytes());
                    at += word.len();
                    continue;
                }
            }
            0..=0x1f if in_string => {
                repaired.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                at += 1;
                continue;
            }
            _ => {}
        }
        let end = bytes.len().min(at + taken);
        repaired.extend_from_slice(&bytes[at..end]);
        at = end;
    }
    Ok(repaired)
}

/// What Python writes for numbers that JSON cannot hold.
const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

enum Surrogate {
    High,
    Low,
}

/// The surrogate that is escaped at `at`, if one is.
fn surrogate(bytes: &[u8], at: usize) -> Option<Surrogate> {
    let [b'\\', b'u', b'd' | b'D', second, third, fourth] = bytes.get(at..at + 6)? else { return None };
    if !third.is_ascii_hexdigit() || !fourth.is_ascii_hexdigit() {
        return None;
    }
    match second.to_ascii_lowercase() {
        b'8' | b'9' | b'a' | b'b' => Some(Surrogate::High),
        b'c' | b'd' | b'e' | b'f' => Some(Surrogate::Low),
        _ => None,
    }
}

/// What serde_json cannot say: it carries only text through an error, and text could be the report's.
enum Refused {
    Duplicate(String),
    TooMany,
}

/// Reads a value in which no object, at any level, has one key twice, and that has no more values than are left.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    refused: &'a RefCell<Option<Refused>>,
    left: &'a Cell<usize>,
}

impl Bounded<'_> {
    fn refuse<E: de::Error>(self, why: Refused) -> E {
        *self.refused.borrow_mut() = Some(why);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => return Err(self.refuse(Refused::TooMany)),
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.refuse(Refused::Duplicate(key)));
            }
            let value = fields.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
