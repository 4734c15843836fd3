//! A calculator for postfix notation.

/// Why a text has no value.
#[derive(Debug, PartialEq)]
pub enum Error {
    Empty,
    UnknownWord(String),
    TooFewOperands,
    TooManyOperands,
    DivisionByZero,
    Overflow,
}

/// The value of a text.
pub fn evaluate(text: &str) -> Result<i64, Error> {
    todo!("evaluate {text}") // your work
}
