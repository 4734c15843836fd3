//! Artifacts: files that a run handed out.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::verdict::Visibility;

/// The cell that an artifact came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The cell of the driver, to which the project has no access.
    Driver,
    /// The cell of the project, whose code could write the file.
    Subject,
}

impl Origin {
    /// The word for the origin.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Subject => "subject",
        }
    }
}

/// A file that a run handed out. Origin and name tell it from the others of its run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Path of the file in its cell, without the first slash.
    pub name: String,
    /// The cell of the file.
    pub origin: Origin,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// The media type that belongs to the extension of the name.
    pub media_type: String,
    /// Who may see the file.
    pub visibility: Visibility,
}

/// A file that was not handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOutArtifact {
    /// Path of the file in its cell, without the first slash. Characters that cannot be shown are escaped.
    pub name: String,
    /// The cell of the file.
    pub origin: Origin,
    /// Why the file was left out, in words.
    pub reason: String,
}

/// The files that a run left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// All files that were left out.
    pub count: u64,
    /// The first of them.
    pub first: Vec<LeftOutArtifact>,
}

/// Everything that a run handed out, and what it did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunArtifacts {
    /// The files, each once.
    pub files: Vec<Artifact>,
    /// The files that were left out.
    pub left_out: LeftOut,
}

/// The path of an artifact at the API, with its query.
#[must_use]
pub fn api_path(run: Uuid, name: &str, origin: Origin) -> String {
    let path = name.split('/').map(percent_encoded).collect::<Vec<_>>().join("/");
    format!("/v1/runs/{run}/artifacts/{path}?origin={}", origin.as_str())
}

/// Every byte but letters, digits, `-`, `.` and `_` as `%` with two digits, so that the text fits into a path and a header.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The key of the blob that holds a file with this SHA-256.
#[must_use]
pub fn blob_key(sha256: &str) -> String {
    format!("artifacts/{}/{sha256}", sha256.get(..2).unwrap_or("xx"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_path() {
        for (name, expected) in [
            ("workspace/out/a.png", "workspace/out/a.png"),
            ("workspace/ä?/#1 %2e.txt", "workspace/%C3%A4%3F/%231%20%252e.txt"),
            ("a&origin=driver;b\"'\r\n", "a%26origin%3Ddriver%3Bb%22%27%0D%0A"),
        ] {
            let path = api_path(Uuid::nil(), name, Origin::Subject);
            assert_eq!(path, format!("/v1/runs/{}/artifacts/{expected}?origin=subject", Uuid::nil()));
        }
    }
}
