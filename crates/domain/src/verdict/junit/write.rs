//! A verdict as JUnit XML.

use super::OTHER;
use crate::verdict::xml::escape;
use crate::verdict::{Test, TestStatus, Verdict, text};

/// The verdict as JUnit XML: one suite, valid XML 1.0 whatever the names and messages hold.
///
/// JUnit has no points, so only the status is kept. Pending tests are written as skipped with the type `pending`, other
/// ones as an error with the type `assize.other`.
pub fn to_junit(verdict: &Verdict) -> String {
    let count = |statuses: &[TestStatus]| statuses.iter().map(|&status| verdict.count(status)).sum::<usize>();
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        verdict.tests.len(),
        count(&[TestStatus::Failed]),
        count(&[TestStatus::Errored, TestStatus::Other]),
        count(&[TestStatus::Skipped, TestStatus::Pending]),
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"assize\" {counts}>\n"
    );
    for test in &verdict.tests {
        emit_test(&mut xml, test);
    }
    if let Some(output) = verdict.output.as_deref().and_then(|output| text::block(output, usize::MAX)) {
        xml.push_str(&format!("    <system-out>{}</system-out>\n", escape(&output).replace("&#10;", "\n")));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn emit_test(xml: &mut String, test: &Test) {
    let name = escape(&text::line(&test.name, usize::MAX));
    let message = text::block(test.message.as_deref().unwrap_or_default(), usize::MAX).unwrap_or_default();
    let first = escape(message.lines().next().unwrap_or_default());
    // Attribute values lose raw line ends, text does not, and is easier to read with them.
    let body = escape(&message).replace("&#10;", "\n");
    let child = match test.status {
        TestStatus::Passed if message.is_empty() => String::new(),
        TestStatus::Passed => format!("<system-out>{body}</system-out>"),
        TestStatus::Failed => format!("<failure message=\"{first}\">{body}</failure>"),
        TestStatus::Errored => format!("<error message=\"{first}\">{body}</error>"),
        TestStatus::Other => format!("<error type=\"{OTHER}\" message=\"{first}\">{body}</error>"),
        TestStatus::Skipped => format!("<skipped message=\"{first}\">{body}</skipped>"),
        TestStatus::Pending => format!("<skipped type=\"pending\" message=\"{first}\">{body}</skipped>"),
    };
    let time = test.duration_ms.map(|ms| format!(" time=\"{}.{:03}\"", ms / 1000, ms % 1000)).unwrap_or_default();
    let element = match child.as_str() {
        "" => format!("    <testcase name=\"{name}\"{time}/>\n"),
        child => format!("    <testcase name=\"{name}\"{time}>{child}</testcase>\n"),
    };
    xml.push_str(&element);
}
