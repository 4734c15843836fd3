//! The limits of single fields.

use assize_domain::unicode::fold;
use serde_json::Value;

use crate::api::problem::Problem;

/// The maximum number of characters of a user; the column has the same limit.
const MAX_USER_CHARS: usize = 200;
/// The maximum size of a user in bytes, at four bytes per character.
pub(super) const MAX_USER_BYTES: usize = 4 * MAX_USER_CHARS;
/// The maximum size of a template's name in bytes; the column has the same limit.
pub(super) const MAX_TEMPLATE_BYTES: usize = 64;
/// The maximum size of the metadata in bytes, as JSON.
pub(super) const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The maximum nesting of objects and lists in the metadata, with the outermost object.
const MAX_METADATA_DEPTH: usize = 16;

pub(super) fn check_user(user: String) -> Result<String, Problem> {
    let chars = user.chars().count();
    if !(1..=MAX_USER_CHARS).contains(&chars) {
        return Err(Problem::bad_field(
            "user",
            format_args!("has {chars} characters, but must have 1 to {MAX_USER_CHARS}"),
        ));
    }
    if user.chars().any(char::is_control) {
        return Err(Problem::bad_field("user", "contains control characters; leave them out"));
    }
    // The limits of each user compare folded names; this one would count as an empty name.
    if fold(&user).is_empty() {
        return Err(Problem::bad_field("user", "has no visible character; send a name"));
    }
    Ok(user)
}

pub(super) fn parse_metadata(text: &str) -> Result<Value, Problem> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Problem::bad_field("metadata", format_args!("is not JSON: {error}")))?;
    check_metadata(value)
}

pub(super) fn check_metadata(value: Value) -> Result<Value, Problem> {
    if !value.is_object() {
        return Err(Problem::bad_field("metadata", "must be a JSON object"));
    }
    let depth = depth(&value);
    if depth > MAX_METADATA_DEPTH {
        return Err(Problem::bad_field(
            "metadata",
            format_args!("has {depth} levels of nesting, the limit is {MAX_METADATA_DEPTH}"),
        ));
    }
    // Postgres cannot store NUL in jsonb.
    if has_nul(&value) {
        return Err(Problem::bad_field("metadata", "contains the character U+0000; leave it out"));
    }
    Ok(value)
}

/// The recursion is limited by serde_json, which parses at most 128 levels.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Array(items) => items.iter().any(has_nul),
        Value::String(text) => text.contains('\0'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn metadata_is_a_bounded_object() {
        assert!(parse_metadata(&nested(16)).is_ok());
        for wrong in
            [nested(17).as_str(), "[]", "1", "", "{", "{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}", "{\"a\":1e999}"]
        {
            assert!(parse_metadata(wrong).is_err(), "{wrong}");
        }
        assert!(parse_metadata(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn a_user_is_1_to_200_printable_characters() {
        assert!(check_user("é".repeat(200)).is_ok());
        for wrong in [
            String::new(),
            "u".repeat(201),
            "a\nb".to_owned(),
            "a\0".to_owned(),
            "\u{85}".to_owned(),
            "\u{3164}\u{202e} ".to_owned(),
        ] {
            assert!(check_user(wrong).is_err());
        }
    }
}
