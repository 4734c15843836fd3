//! The section `[parameters]` of a template: what the file of parameters tells the tests about a submission.

use serde::Deserialize;

/// The name of the file of parameters in the grader's folder.
pub const PARAMETERS_FILE: &str = "assize.json";

/// The longest file of parameters, in bytes. Metadata have at most 16 KiB at the door; a number in them can be written
/// five times as long as it was sent.
pub const MAX_PARAMETERS_BYTES: u64 = 128 * 1024;

/// What the parameters of a run contain beyond what every run's contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Whether they name the user. Without it they contain a pseudonym.
    pub user: bool,
}
