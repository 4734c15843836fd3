//! From the bytes of a run's report, in one file or in several, to its verdict.

use super::{
    Format, Integrity, Limits, MAX_FILES, ParseError, Scale, Verdict, ctrf, encoding, from_exit_code, gradescope,
    junit, tap, text,
};

/// Takes the place of a message that is beyond [`Limits::all_messages_bytes`].
const LEFT_OUT: &str = "[... left out: the messages of the tests before it are as long as all messages may be]";

/// Bytes of a name where the names of all tests together are longer than all messages may be.
const SHORT_NAME: usize = 96;

/// How the reports of a template are read.
///
/// The caller determines `integrity`; a report has no influence on it.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// The format of the report.
    pub format: Format,
    /// Which party could have written it.
    pub integrity: Integrity,
    /// How much of it is read.
    pub limits: Limits,
    /// What the template says of its verdicts. A report is read by it where the report is silent; [`Scale::hold`] then
    /// compares the two.
    pub scale: Scale,
}

/// One file of a report.
#[derive(Debug, Clone, Copy)]
pub struct ReportFile<'a> {
    /// The name without its folder.
    pub name: &'a str,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Why one of several files yields no verdict.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}{error}", .file.as_ref().map(|name| format!("{name}: ")).unwrap_or_default())]
pub struct FileError {
    /// The name of the file; absent if the files together are refused.
    pub file: Option<String>,
    /// What is wrong.
    pub error: ParseError,
}

impl From<ParseError> for FileError {
    fn from(error: ParseError) -> Self {
        Self { file: None, error }
    }
}

/// Parses a report of which no template says anything.
///
/// For [`Format::ExitCode`], `bytes` is the code in decimal.
///
/// # Errors
///
/// [`ParseError`] if the report yields no verdict; each error names what was wrong and what to do.
pub fn parse(format: Format, bytes: &[u8], integrity: Integrity, limits: &Limits) -> Result<Verdict, ParseError> {
    Reader { format, integrity, limits: *limits, scale: Scale::default() }.read(bytes)
}

impl Reader {
    /// The verdict of a report.
    ///
    /// # Errors
    ///
    /// [`ParseError`] as [`parse`] has it.
    pub fn read(&self, bytes: &[u8]) -> Result<Verdict, ParseError> {
        self.read_unbounded(bytes).map(|verdict| self.bounded(verdict))
    }

    /// The verdict of a driver that was interrupted, where its format allows it: a TAP stream counts as far as it came,
    /// if it is known how many tests there are. What the stream lacks is planned and did not run.
    ///
    /// # Errors
    ///
    /// [`ParseError`] as [`parse`] has it, where the format does not allow it.
    pub fn read_partial(&self, bytes: &[u8]) -> Result<Verdict, ParseError> {
        let parsed = self.read(bytes);
        let (Format::Tap, Some(tests), Err(_)) = (self.format, self.scale.tests, &parsed) else { return parsed };
        // The last line may have been cut: what it says is not known.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let stream = bytes.get(..whole).unwrap_or_default();
        let planned = [stream, format!("1..{tests}\n").as_bytes()].concat();
        // One with a plan has the one it needs.
        self.read(stream).or_else(|_| self.read(&planned)).or(parsed)
    }

    /// The verdict of several files together, in the order of their names. A name of a file stands before the tests of
    /// a TAP stream, which has no better one.
    ///
    /// # Errors
    ///
    /// [`FileError`] if any file yields no verdict: one that is broken is not left out.
    pub fn read_files(&self, files: &[ReportFile<'_>]) -> Result<Verdict, FileError> {
        let together = |error| FileError { file: None, error };
        if files.len() > MAX_FILES {
            return Err(together(ParseError::TooManyFiles { limit: MAX_FILES, seen: files.len() }));
        }
        let seen = files.iter().map(|file| file.bytes.len()).sum();
        if seen > self.limits.bytes {
            return Err(together(ParseError::TooLarge { limit: self.limits.bytes, seen }));
        }
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort_by_key(|file| file.name);
        let (mut tests, mut outputs) = (Vec::new(), Vec::new());
        for file in sorted {
            let name = text::line(file.name, self.limits.name_bytes);
            let one = self
                .read_unbounded(file.bytes)
                .map_err(|error| FileError { file: Some(text::excerpt(file.name)), error })?;
            outputs.extend(one.output.map(|output| format!("{name}: {output}")));
            let announced = tests.len() + one.tests.len();
            if announced > self.limits.tests {
                let seen = announced as u64;
                return Err(together(ParseError::TooManyTests { limit: self.limits.tests, seen }));
            }
            tests.extend(one.tests.into_iter().map(|mut test| {
                if self.format == Format::Tap {
                    test.name = text::line(&format!("{name}{}{}", super::PATH, test.name), self.limits.name_bytes);
                }
                test
            }));
        }
        let mut verdict = Verdict::of_tests(tests, self.integrity);
        verdict.output = text::block(&outputs.join("\n"), self.limits.message_bytes);
        Ok(self.bounded(verdict))
    }

    fn read_unbounded(&self, bytes: &[u8]) -> Result<Verdict, ParseError> {
        let (format, limits) = (self.format, &self.limits);
        if bytes.len() > limits.bytes {
            return Err(ParseError::TooLarge { limit: limits.bytes, seen: bytes.len() });
        }
        let report = encoding::decode(bytes, format)?;
        if report.trim().is_empty() {
            return Err(ParseError::Empty { format, seen: bytes.len() });
        }
        match format {
            Format::Gradescope => gradescope::parse(&report, self),
            Format::Junit => junit::parse(&report, self),
            Format::Tap => tap::parse(&report, self.integrity, limits),
            Format::Ctrf => ctrf::parse(&report, self.integrity, limits),
            Format::ExitCode => match report.trim().parse() {
                Ok(code) => Ok(from_exit_code(code, self.integrity)),
                Err(_) => Err(ParseError::NotAnExitCode { seen: text::excerpt(report.trim()) }),
            },
        }
    }

    /// The same verdict, with no more of names and messages than fits.
    fn bounded(&self, mut verdict: Verdict) -> Verdict {
        let mut left = self.limits.all_messages_bytes;
        if verdict.tests.iter().map(|test| test.name.len()).sum::<usize>() > left {
            verdict.tests.iter_mut().for_each(|test| test.name = text::line(&test.name, SHORT_NAME));
        }
        for message in verdict.tests.iter_mut().filter_map(|test| test.message.as_mut()) {
            match left.checked_sub(message.len()) {
                Some(rest) => left = rest,
                None if message.len() > LEFT_OUT.len() => LEFT_OUT.clone_into(message),
                None => {}
            }
        }
        verdict
    }
}
