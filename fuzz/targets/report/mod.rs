//! What must hold of every report, whatever its format.

use assize_domain::verdict::{self, Format, Integrity, Limits, Reader, ReportFile, Scale, Test, TestStatus, Verdict};

const INTEGRITY: Integrity = Integrity::Isolated;

pub fn check(format: Format, bytes: &[u8]) {
    let limits = Limits { tests: 200, ..Limits::default() };
    // As a template reads it that says how much there is: then a report may have several documents and no maximum.
    let scale = Scale { max_score: Some(4.0), extra_credit: 0.0, tests: Some(4) };
    let reader = Reader { format, integrity: INTEGRITY, limits, scale };
    for read in [reader.read(bytes), reader.read_partial(bytes), in_two(&reader, bytes)].into_iter().flatten() {
        assert!(read.tests.len() <= limits.tests);
        if let Ok(held) = scale.hold(read) {
            assert!(held.score <= 4.0 && held.max_score == 4.0);
        }
    }
    let verdict = match verdict::parse(format, bytes, INTEGRITY, &limits) {
        Ok(verdict) => verdict,
        Err(error) => return assert!(error.to_string().len() < 4000, "{error}"),
    };
    assert!(verdict.tests.len() <= limits.tests);
    for number in [verdict.score, verdict.max_score] {
        assert!(number.is_finite() && number >= 0.0, "{number}");
    }
    for test in &verdict.tests {
        check_test(test, &limits);
    }
    gradescope_again(&verdict);
    junit_again(&verdict);
}

/// The halves of a report as two files.
fn in_two(reader: &Reader, bytes: &[u8]) -> Result<Verdict, verdict::ParseError> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let files = [("a", first), ("b", second)].map(|(name, bytes)| ReportFile { name, bytes });
    reader.read_files(&files).map_err(|refused| refused.error)
}

fn check_test(test: &Test, limits: &Limits) {
    assert!(!test.name.is_empty() && test.name.len() <= limits.name_bytes, "{test:?}");
    assert!(!test.name.chars().any(char::is_control), "{test:?}");
    if let Some(message) = &test.message {
        assert!(!message.is_empty() && message.len() <= limits.message_bytes, "{test:?}");
        assert!(!message.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{test:?}");
    }
    assert!(test.score.is_finite() && test.max_score >= 0.0, "{test:?}");
}

/// What we write is longer than what we read, and is no report from outside.
fn roomy() -> Limits {
    Limits { bytes: 256 << 20, ..Limits::default() }
}

fn gradescope_again(verdict: &Verdict) {
    let emitted = verdict::to_gradescope(verdict).to_string();
    let mut again = verdict::parse(Format::Gradescope, emitted.as_bytes(), INTEGRITY, &roomy()).expect("our own");
    // The last bit of a decimal may differ: serde_json reads them quickly.
    close(&mut again.score, verdict.score);
    close(&mut again.max_score, verdict.max_score);
    for (again, test) in again.tests.iter_mut().zip(&verdict.tests) {
        close(&mut again.score, test.score);
        close(&mut again.max_score, test.max_score);
    }
    assert_eq!(&again, verdict);
}

fn close(again: &mut f64, number: f64) {
    if (*again - number).abs() <= number.abs() * 1e-14 {
        *again = number;
    }
}

/// JUnit has no points and no visibility; the rest is kept, but for the message of a test that passed.
fn junit_again(verdict: &Verdict) {
    let emitted = verdict::to_junit(verdict);
    let again = verdict::parse(Format::Junit, emitted.as_bytes(), INTEGRITY, &roomy()).expect("our own");
    assert_eq!(again.tests.len(), verdict.tests.len());
    for (again, test) in again.tests.iter().zip(&verdict.tests) {
        assert_eq!((&again.name, again.status, again.duration_ms), (&test.name, test.status, test.duration_ms));
        let expected = test.message.as_ref().filter(|_| test.status != TestStatus::Passed);
        assert_eq!(again.message.as_deref().map(str::trim), expected.map(|message| message.trim()));
    }
}
