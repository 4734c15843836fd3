//! The tests of `evaluate`. Each has answers that differ, so that what always prints the same passes none.

use grader::check;

#[test]
fn numbers() {
    check(&[
        ("7", "Ok(7)"),
        ("-3", "Ok(-3)"),
        (" \t 0012 ", "Ok(12)"),
        ("-9223372036854775808", "Ok(-9223372036854775808)"),
    ]);
}

#[test]
fn arithmetic() {
    check(&[("1 2 +", "Ok(3)"), ("1 2 -", "Ok(-1)"), ("-4 3 *", "Ok(-12)"), ("2 3 4 * + 5 -", "Ok(9)")]);
}

#[test]
fn division() {
    check(&[("7 2 /", "Ok(3)"), ("-7 2 /", "Ok(-3)"), ("7 0 /", "Err(DivisionByZero)")]);
}

#[test]
fn stack_words() {
    check(&[("5 dup *", "Ok(25)"), ("1 2 drop", "Ok(1)"), ("1 2 swap -", "Ok(1)"), ("3 dup dup * swap -", "Ok(6)")]);
}

#[test]
fn too_few() {
    let wrong = "Err(TooFewOperands)";
    check(&[
        ("+", wrong),
        ("1 +", wrong),
        ("1 swap", wrong),
        ("dup", wrong),
        ("1 drop 2 *", wrong),
        ("1 2 +", "Ok(3)"),
    ]);
}

#[test]
fn left_over() {
    check(&[("1 2", "Err(TooManyOperands)"), ("1 drop", "Err(Empty)"), ("  ", "Err(Empty)")]);
}

#[test]
fn unknown_words() {
    check(&[
        ("1 2 plus", "Err(UnknownWord(\"plus\"))"),
        ("1.5", "Err(UnknownWord(\"1.5\"))"),
        ("x 1 0 /", "Err(UnknownWord(\"x\"))"),
    ]);
}

#[test]
fn overflow() {
    let wrong = "Err(Overflow)";
    check(&[
        ("9223372036854775807 1 +", wrong),
        ("-9223372036854775808 1 -", wrong),
        ("9223372036854775807 2 *", wrong),
        ("-9223372036854775808 -1 /", wrong),
        ("9223372036854775808", wrong),
        ("9223372036854775806 1 +", "Ok(9223372036854775807)"),
    ]);
}
