//! The files that the program of a case must have written, beside its output.

use std::path::Path;

use assize_protocol::cases::{Case, ExpectedFile, FILES};
use assize_protocol::exec::{CallFile, CallFileStatus, MAX_OUTPUT};

use super::compare::{Difference, compare};
use super::read;

/// The expected files of a case, in their order.
///
/// # Errors
/// One cannot be read, which is the grader's fault.
pub fn expected(case: &Case, folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    case.files.iter().map(|file| read(&folder.join(FILES).join(&file.path), MAX_OUTPUT)).collect()
}

/// What the program has written, in the order in which the files were wanted.
#[derive(Default)]
pub struct Written(Vec<(CallFile, Vec<u8>)>);

impl Written {
    pub fn begin(&mut self, file: CallFile) {
        self.0.push((file, Vec::new()));
    }

    pub fn add(&mut self, bytes: &[u8]) {
        if let Some((_, contents)) = self.0.last_mut() {
            contents.extend_from_slice(bytes);
        }
    }

    /// The first file that is not as expected, and how it differs.
    ///
    /// # Errors
    /// What is expected cannot be used, or the answer lacks a file.
    pub fn compare(&self, case: &Case, expected: &[Vec<u8>]) -> Result<Option<Difference>, String> {
        for (ExpectedFile { path, compare: how }, expected) in case.files.iter().zip(expected) {
            let found = self.0.iter().find(|(file, _)| file.path == *path);
            let (file, contents) = found.ok_or_else(|| format!("the answer says nothing of the file {path}"))?;
            let difference = match &file.status {
                CallFileStatus::Missing => Some("the program did not write it".to_owned()),
                CallFileStatus::Refused { reason } => Some(format!("it {reason}")),
                CallFileStatus::Read { .. } => compare(how, expected, contents)?.map(|Difference(text)| text),
            };
            if let Some(text) = difference {
                return Ok(Some(Difference(format!("file {path}: {text}"))));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use assize_protocol::cases::{Compare, Visibility};

    use super::*;

    #[test]
    fn every_expected_file_must_be_there_and_right() {
        let file = |path: &str| ExpectedFile { path: path.to_owned(), compare: Compare::Lines };
        let case = Case {
            name: "a".to_owned(),
            points: 1.0,
            visibility: Visibility::Visible,
            command: vec!["p".to_owned()],
            timeout_ms: 1,
            memory_bytes: None,
            has_input: false,
            compare: None,
            files: vec![file("x"), file("y")],
        };
        let expected = [b"1\n".to_vec(), b"2\n".to_vec()];
        let read = CallFileStatus::Read { bytes: 2 };
        for (status, contents, words) in [
            (read.clone(), &b"2"[..], None),
            (read, b"3", Some("file y: --- expected")),
            (CallFileStatus::Missing, b"", Some("file y: the program did not write it")),
            (CallFileStatus::Refused { reason: "is a link".to_owned() }, b"", Some("file y: it is a link")),
        ] {
            let mut written = Written::default();
            written.begin(CallFile { path: "x".to_owned(), status: CallFileStatus::Read { bytes: 1 } });
            written.add(b"1");
            written.begin(CallFile { path: "y".to_owned(), status });
            written.add(contents);
            let seen = written.compare(&case, &expected).unwrap();
            match (seen, words) {
                (None, None) => {}
                (Some(Difference(text)), Some(words)) => assert!(text.contains(words), "{text}"),
                (seen, words) => panic!("{seen:?} instead of {words:?}"),
            }
        }
        assert!(
            Written::default().compare(&case, &expected).is_err(),
            "an answer without the file is the grader's fault"
        );
    }
}
