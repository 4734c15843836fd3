//! What a setting is: its name, its type, its range and its description.

use std::fmt;
use std::path::PathBuf;

use config::ValueKind;

use super::{ConfigError, LogFormat};

/// One row of the table of settings.
#[derive(Debug)]
pub struct Setting {
    /// The key in the file. The environment variable is `ASSIZE_` and this key in capitals.
    pub key: &'static str,
    /// A second environment variable that sets it: the evaluation plan's own name.
    pub alias: Option<&'static str>,
    /// The type, as files and environment variables write it.
    pub kind: Kind,
    /// The values of that type that are allowed.
    pub range: Range,
    /// Whole sentences, for docs/configuration.md.
    pub description: &'static str,
}

impl Setting {
    /// Describes the values that the setting accepts, for people.
    #[must_use]
    pub fn allowed(&self) -> String {
        match (self.kind, self.range) {
            (Kind::Number { .. }, Range::Any) => "whole number".to_owned(),
            (Kind::Number { .. }, range) => format!("whole number, {range}"),
            (kind, Range::Any) => kind.to_string(),
            (_, range) => range.to_string(),
        }
    }
}

/// The type of a setting, as files and environment variables write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number from 0 to `max`.
    Number {
        max: u64,
    },
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Which values of its type a setting accepts.
#[derive(Debug, Clone, Copy)]
pub enum Range {
    Any,
    AtLeast(u64),
    AtMost(u64),
    Between(u64, u64),
    /// Text that `allows` accepts; `must` describes it.
    Format {
        allows: fn(&str) -> bool,
        must: &'static str,
    },
}

impl Kind {
    /// Returns the value that an environment variable holds, or `None` if it is not of this type.
    pub(crate) fn parse(self, text: &str) -> Option<ValueKind> {
        let value = match self {
            Self::Number { .. } => ValueKind::U64(text.parse().ok()?),
            Self::Text | Self::Choice(_) => ValueKind::String(text.to_owned()),
        };
        self.accepts(&value).then_some(value)
    }

    /// Whether a value of a file is of this type. The crate `config` would convert text, fractions and truth values to
    /// numbers, so that `worker_slots = 3.7` became 4.
    pub(crate) fn accepts(self, value: &ValueKind) -> bool {
        match (self, value) {
            (Self::Number { max }, ValueKind::I64(number)) => u64::try_from(*number).is_ok_and(|number| number <= max),
            (Self::Number { max }, ValueKind::U64(number)) => *number <= max,
            (Self::Text, ValueKind::String(_)) => true,
            (Self::Choice(words), ValueKind::String(word)) => words.contains(&word.as_str()),
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { max } => write!(f, "a whole number from 0 to {max}"),
            Self::Text => f.write_str("text"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

impl Range {
    /// # Errors
    /// The key, the value and what the value must be.
    pub(crate) fn check(self, key: &'static str, value: Value<'_>) -> Result<(), ConfigError> {
        let is_allowed = match (self, value) {
            (Self::AtLeast(min), Value::Number(number)) => number >= min,
            (Self::AtMost(max), Value::Number(number)) => number <= max,
            (Self::Between(min, max), Value::Number(number)) => (min..=max).contains(&number),
            (Self::Format { allows, .. }, Value::Text(text)) => allows(text),
            _ => true,
        };
        if is_allowed { Ok(()) } else { Err(ConfigError::out_of_range(key, value.to_string(), self.to_string())) }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(min) => write!(f, "at least {min}"),
            Self::AtMost(max) => write!(f, "at most {max}"),
            Self::Between(min, max) => write!(f, "{min} to {max}"),
            Self::Format { must, .. } => f.write_str(must),
        }
    }
}

/// A value of a setting, as its range is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Text(&'a str),
    /// Every value of the type is allowed.
    Other,
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Other => Ok(()),
        }
    }
}

/// A Rust type that a setting can have.
pub(crate) trait SettingType {
    /// How the table of settings writes a default.
    type Literal;
    const KIND: Kind;

    fn from_literal(literal: Self::Literal) -> Self;
    fn value(&self) -> Value<'_>;
}

impl SettingType for u32 {
    type Literal = Self;
    const KIND: Kind = Kind::Number { max: 4_294_967_295 };

    fn from_literal(literal: Self) -> Self {
        literal
    }

    fn value(&self) -> Value<'_> {
        Value::Number((*self).into())
    }
}

impl SettingType for u64 {
    type Literal = Self;
    /// TOML has no larger numbers.
    const KIND: Kind = Kind::Number { max: 9_223_372_036_854_775_807 };

    fn from_literal(literal: Self) -> Self {
        literal
    }

    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
}

impl SettingType for String {
    type Literal = &'static str;
    const KIND: Kind = Kind::Text;

    fn from_literal(literal: &'static str) -> Self {
        literal.to_owned()
    }

    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl SettingType for PathBuf {
    type Literal = &'static str;
    const KIND: Kind = Kind::Text;

    fn from_literal(literal: &'static str) -> Self {
        literal.into()
    }

    fn value(&self) -> Value<'_> {
        Value::Other
    }
}

impl SettingType for LogFormat {
    type Literal = Self;
    const KIND: Kind = Kind::Choice(&["auto", "json", "text"]);

    fn from_literal(literal: Self) -> Self {
        literal
    }

    fn value(&self) -> Value<'_> {
        Value::Other
    }
}
