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
    let mut stack: Vec<i64> = Vec::new();
    for word in text.split_whitespace() {
        match word {
            "dup" => {
                let top = pop(&mut stack)?;
                stack.extend([top, top]);
            }
            "drop" => {
                pop(&mut stack)?;
            }
            "swap" => {
                let (second, first) = (pop(&mut stack)?, pop(&mut stack)?);
                stack.extend([second, first]);
            }
            "+" | "-" | "*" | "/" => {
                let (second, first) = (pop(&mut stack)?, pop(&mut stack)?);
                let result = match word {
                    "+" => first.checked_add(second),
                    "-" => first.checked_sub(second),
                    "*" => first.checked_mul(second),
                    _ if second == 0 => return Err(Error::DivisionByZero),
                    _ => first.checked_div(second),
                };
                stack.push(result.ok_or(Error::Overflow)?);
            }
            _ => stack.push(number(word)?),
        }
    }
    match stack[..] {
        [] => Err(Error::Empty),
        [value] => Ok(value),
        _ => Err(Error::TooManyOperands),
    }
}

fn pop(stack: &mut Vec<i64>) -> Result<i64, Error> {
    stack.pop().ok_or(Error::TooFewOperands)
}

fn number(word: &str) -> Result<i64, Error> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::UnknownWord(word.to_owned()));
    }
    word.parse().map_err(|_| Error::Overflow)
}
