//! Calls of a program in the subject's cell, asked for by the driver's cell.
//!
//! The command `assize-exec` in the driver's cell hands a [`Call`] to the warden of that cell over a Unix socket. That
//! warden passes it on to the warden of the subject over the loopback, which both cells share. The frames are those of
//! [`crate::frame`]: `Call`, any number of `CallInput`, `CallStart`; back come `CallStdout`, `CallStderr`, for each wanted
//! file a `CallFile` with any number of `CallFileData`, and, as the last, `CallEnded`. One call is answered before the next begins.
//!
//! The two wardens know each other by a [`Secret`]. It travels in the stream between worker and warden only.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The port of the loopback on which the warden of a subject waits for the driver's.
pub const PORT: u16 = 3129;

/// The folder of the driver's cell with the command and the socket.
pub const FOLDER: &str = "/tmp/.assize-exec";

/// The name of the command, in [`FOLDER`].
pub const COMMAND: &str = "assize-exec";

/// The name of the socket, in [`FOLDER`].
pub const SOCKET: &str = "socket";

/// The environment variable that names the socket.
pub const SOCKET_VARIABLE: &str = "ASSIZE_EXEC_SOCKET";

/// The longest standard input of a call, in bytes. The longest file of every cell is longer than this.
pub const MAX_STDIN: u64 = 16 << 20;

/// What a call keeps of each stream unless it asks for another number, in bytes.
pub const DEFAULT_OUTPUT: u64 = 1 << 20;

/// The most that a call may keep of each stream, in bytes.
pub const MAX_OUTPUT: u64 = 8 << 20;

/// The most files that a call may ask for.
pub const MAX_CALL_FILES: usize = 16;

/// The longest path of such a file, in bytes.
pub const MAX_FILE_PATH: usize = 255;

/// The time limit of a call that names none, in ms.
pub const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// The longest time limit of a call, in ms.
pub const MAX_TIMEOUT_MS: u64 = 3_600_000;

/// Bytes of a [`Secret`], a nonce and a proof.
pub const SECRET_BYTES: usize = 32;

/// What the two wardens of a run have in common and nobody else knows: 256 bits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; SECRET_BYTES]);

impl Secret {
    /// A secret of these bytes, which must come from a source of randomness.
    #[must_use]
    pub const fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes of the secret, for a keyed hash.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

/// A secret is never written to a log.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a secret has 64 hexadecimal digits";
        let digits: Option<Vec<u8>> =
            text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.filter(|digits| digits.len() == 2 * SECRET_BYTES).ok_or(WRONG)?;
        let mut bytes = [0; SECRET_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |sum, digit| sum << 4 | digit);
        }
        Ok(Self(bytes))
    }
}

/// The last stage of a subject that serves calls instead of running a program of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecService {
    /// Port of the loopback: [`PORT`].
    pub port: u16,
    /// Present if each call gets its own copy of the working folder as the stages before have left it.
    #[serde(default)]
    pub fresh: Option<Fresh>,
}

/// How each call gets its own copy of the working folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fresh {
    /// All files of the folder together, in bytes.
    pub max_bytes: u64,
    /// Files, folders and links.
    pub max_entries: u64,
    /// Other folders that are emptied before each call.
    pub emptied: Vec<String>,
}

/// The other end: the cell whose stages may ask for calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecClient {
    /// Port of the loopback on which the subject's warden waits.
    pub port: u16,
    /// What that warden has reported in its [`crate::event::StageReady`].
    pub secret: Secret,
    /// The folder to make for the command and the socket: [`FOLDER`].
    pub folder: String,
}

/// One program to run in the subject's cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Time limit, in ms.
    pub timeout_ms: u64,
    /// Limit of the data of each process, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// What is kept of each stream, in bytes; the program is killed when it has written more. All wanted files together
    /// may have as many.
    pub max_output: u64,
    /// Files that are sent back once every process of the call has ended, as paths below the working folder.
    #[serde(default)]
    pub files: Vec<String>,
}

impl Call {
    /// What must hold of a call beyond its shape.
    ///
    /// # Errors
    /// The first thing that does not hold, with the limit and the value.
    pub fn check(&self) -> Result<(), String> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err("the call names no program; give one behind `--`".to_owned());
        }
        if let Some(at) = self.command.iter().position(|word| word.contains('\0')) {
            return Err(format!("word {at} of the command contains a NUL, which no program can receive; remove it"));
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&self.timeout_ms) {
            let value = self.timeout_ms;
            return Err(format!("the time limit is {value} ms, it must be 1 to {MAX_TIMEOUT_MS} ms; choose another"));
        }
        if self.max_output > MAX_OUTPUT {
            let value = self.max_output;
            return Err(format!("{value} bytes of output are wanted, the limit is {MAX_OUTPUT}; ask for fewer"));
        }
        if self.memory_bytes == Some(0) {
            return Err("the memory limit is 0 bytes, it must be 1 or more; choose another".to_owned());
        }
        if self.files.len() > MAX_CALL_FILES {
            let value = self.files.len();
            return Err(format!("{value} files are wanted, the limit is {MAX_CALL_FILES}; ask for fewer"));
        }
        self.files.iter().try_for_each(|path| check_file_path(path))
    }
}

/// What must hold of the path of a wanted file.
///
/// # Errors
/// What the path must be, and what it is.
pub fn check_file_path(path: &str) -> Result<(), String> {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    if path.len() > MAX_FILE_PATH || !path.split('/').all(is_plain) || path.chars().any(char::is_control) {
        return Err(format!(
            "the file {path:?} is wanted; name it by a path below the working folder of at most {MAX_FILE_PATH} bytes"
        ));
    }
    Ok(())
}

/// A file that a call asked for. Its bytes follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallFile {
    /// The path as the call named it.
    pub path: String,
    /// What the warden found there.
    pub status: CallFileStatus,
}

/// What became of a wanted file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum CallFileStatus {
    /// It was read.
    Read {
        /// Its length.
        bytes: u64,
    },
    /// There is no such file.
    Missing,
    /// It is no plain file, or is too long.
    Refused {
        /// What was wrong, the limit and the value.
        reason: String,
    },
}

/// How a call ended, and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEnded {
    /// How the program ended.
    #[serde(flatten)]
    pub exit: CallExit,
    /// From the start of the program to its end, in µs.
    pub wall_us: u64,
    /// User and system time of all processes of the call, in µs.
    pub cpu_us: u64,
    /// The largest resident set of the program and of the processes that it has waited for, in KiB. The launcher's own
    /// is included, so that this is never below a few MiB.
    pub peak_kib: u64,
    /// Bytes that were written to stdout, kept or not.
    pub stdout_bytes: u64,
    /// Bytes that were written to stderr, kept or not.
    pub stderr_bytes: u64,
}

impl CallEnded {
    /// A call that never ran a program.
    #[must_use]
    pub const fn without_process(exit: CallExit) -> Self {
        Self { exit, wall_us: 0, cpu_us: 0, peak_kib: 0, stdout_bytes: 0, stderr_bytes: 0 }
    }
}

/// How the program of a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum CallExit {
    /// It exited by itself.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A signal ended it.
    Signalled {
        /// Number of the signal.
        signal: i32,
    },
    /// It was killed at its time limit.
    TimedOut,
    /// It was killed for what it wrote.
    OutputLimit,
    /// It was killed because nobody waited for it any more.
    Cancelled,
    /// There is no such program, or it cannot be executed.
    NotStarted {
        /// What was wrong.
        error: String,
    },
    /// The call itself was not valid.
    Refused {
        /// What was wrong, the limit and the value.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call { command: vec!["./main".to_owned()], timeout_ms: 1, memory_bytes: None, max_output: 1, files: vec![] }
    }

    #[test]
    fn a_secret_survives_its_text_and_is_not_shown() {
        let secret = Secret::new(std::array::from_fn(|at| u8::try_from(at * 8).unwrap_or(0)));
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(text.len(), 2 * SECRET_BYTES + 2);
        assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        for wrong in ["\"\"".to_owned(), "\"0g\"".to_owned(), format!("\"{}\"", "0".repeat(66)), "\"é\"".to_owned()] {
            assert!(serde_json::from_str::<Secret>(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_call_that_cannot_be_is_refused() {
        assert_eq!(call().check(), Ok(()));
        for (call, words) in [
            (Call { command: vec![], ..call() }, "names no program"),
            (Call { command: vec![String::new()], ..call() }, "names no program"),
            (Call { command: vec!["a".to_owned(), "b\0".to_owned()], ..call() }, "word 1 of the command"),
            (Call { timeout_ms: 0, ..call() }, "the time limit is 0 ms"),
            (Call { timeout_ms: MAX_TIMEOUT_MS + 1, ..call() }, "the time limit is 3600001 ms"),
            (Call { max_output: MAX_OUTPUT + 1, ..call() }, "the limit is 8388608"),
            (Call { memory_bytes: Some(0), ..call() }, "the memory limit is 0 bytes"),
            (Call { files: vec!["a".to_owned(); 17], ..call() }, "17 files are wanted, the limit is 16"),
            (Call { files: vec!["../a".to_owned()], ..call() }, "name it by a path below the working folder"),
            (Call { files: vec!["/a".to_owned()], ..call() }, "name it by a path below the working folder"),
            (Call { files: vec!["a//b".to_owned()], ..call() }, "name it by a path below the working folder"),
            (Call { files: vec!["a".repeat(256)], ..call() }, "of at most 255 bytes"),
            (Call { files: vec!["a\nb".to_owned()], ..call() }, "name it by a path below the working folder"),
        ] {
            assert!(call.check().unwrap_err().contains(words), "{call:?}");
        }
    }
}
