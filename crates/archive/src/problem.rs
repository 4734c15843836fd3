//! Why an archive is refused.

use super::fault::{Field, NameFault, Special};
use assize_protocol::content::Content;
use std::io::ErrorKind;

/// Why an archive is refused. The message of each variant names what was wrong, the limit, the value and what to do.
///
/// `name` is the name of an entry, escaped and at most 120 characters long. `limit` is the largest value that is accepted
/// and `seen` is the value of the archive: bytes, entries, components, a ratio, a mode or a method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message above each variant documents it")]
pub enum ArchiveProblem {
    #[error("the stored upload cannot be read ({kind}), which is a fault of this service")]
    Io { kind: ErrorKind },
    #[error("the upload of {seen} bytes is {}not a zip archive of a project",
            .format.map_or_else(String::new, |format| format!("{format}, ")))]
    NotAZip { seen: u64, format: Option<&'static str> },
    #[error("the archive of {seen} bytes holds no file of a project")]
    Empty { seen: u64 },
    #[error("the archive is truncated: its {what} ends at byte {seen}, but the file ends at byte {limit}")]
    Truncated { what: &'static str, limit: u64, seen: u64 },
    #[error("the archive has {seen} bytes, over the limit of {limit}")]
    TooLarge { limit: u64, seen: u64 },
    #[error("the archive has {seen} entries, over the limit of {limit}")]
    TooManyEntries { limit: u64, seen: u64 },
    #[error("the archive unpacks to {seen} bytes or more, over the limit of {limit}")]
    UnpackedTooLarge { limit: u64, seen: u64 },
    #[error("the unpacked files need {seen} bytes in whole pages, over the workspace's limit of {limit}")]
    ExceedsWorkspace { limit: u64, seen: u64 },
    #[error("the archive unpacks to {seen} files and folders, over the workspace's limit of {limit}")]
    ExceedsInodes { limit: u64, seen: u64 },
    #[error("the archive and its unpacked files need {seen} bytes of memory, over the cell's limit of {limit}")]
    ExceedsMemory { limit: u64, seen: u64 },
    #[error("{} unpacks to {seen} times its size, over the limit of {limit}",
            .name.as_ref().map_or("the archive".to_owned(), |name| format!("\"{name}\"")))]
    Ratio { name: Option<String>, limit: u64, seen: u64 },
    #[error("the archive's directory has {seen} bytes, over the limit of {limit}")]
    DirectoryTooLarge { limit: u64, seen: u64 },
    #[error("the archive's directory is inconsistent: {detail} (expected {limit}, observed {seen})")]
    DirectoryMismatch { detail: &'static str, limit: u64, seen: u64 },
    #[error("the name \"{name}\" has {seen} bytes, over the limit of {limit}")]
    NameTooLong { name: String, limit: u64, seen: u64 },
    #[error("a component of the name \"{name}\" has {seen} bytes, over the limit of {limit}")]
    ComponentTooLong { name: String, limit: u64, seen: u64 },
    #[error("the name \"{name}\" has {seen} components, over the limit of {limit}")]
    TooDeep { name: String, limit: u64, seen: u64 },
    #[error("the name \"{name}\" leaves the project's folder by \"..\"")]
    PathOutside { name: String },
    #[error("the name \"{name}\" is absolute")]
    AbsolutePath { name: String },
    #[error("the name \"{name}\" begins with a drive")]
    DrivePath { name: String },
    #[error("the name \"{name}\" is a network path")]
    UncPath { name: String },
    #[error("the name \"{name}\" contains a backslash, and other names separate folders by \"/\"")]
    Backslash { name: String },
    #[error("the name \"{name}\" contains a NUL byte")]
    NulInName { name: String },
    #[error("the name \"{name}\" {}", .fault.as_str())]
    BadName { name: String, fault: NameFault },
    #[error("\"{name}\" lies in a Git folder, whose hooks and settings run code")]
    GitFolder { name: String },
    #[error("\"{name}\" is a symbolic link by its mode and a folder by its name")]
    Symlink { name: String },
    #[error("\"{name}\" is a hard link to another file")]
    HardLink { name: String },
    #[error("\"{name}\" is {}, not a file or folder (mode {seen:o})", .special.as_str())]
    SpecialFile { name: String, special: Special, seen: u64 },
    #[error("\"{name}\" has the set-uid or set-gid bit (mode {seen:o})")]
    Setuid { name: String, seen: u64 },
    #[error("\"{name}\" is encrypted")]
    Encrypted { name: String },
    #[error("\"{name}\" is compressed by method {seen}, but only stored (0) and deflate (8) are supported")]
    UnsupportedMethod { name: String, seen: u64 },
    #[error("the archive contains \"{name}\" twice")]
    DuplicateName { name: String },
    #[error("\"{name}\" and \"{other}\" differ only in case")]
    CaseCollision { name: String, other: String },
    #[error("\"{name}\" and \"{other}\" differ only in how letters are composed, or in what cannot be seen")]
    CompositionCollision { name: String, other: String },
    #[error("\"{name}\" needs a folder where the archive has a file")]
    FileAndFolder { name: String },
    #[error("\"{name}\" overlaps the entry that follows it in the archive")]
    Overlap { name: String },
    #[error("{seen} bytes after \"{name}\" belong to no entry")]
    HiddenData { name: String, seen: u64 },
    #[error("the archive contradicts itself about \"{name}\": {}", .field.as_str())]
    HeaderMismatch { name: String, field: Field },
    #[error("the data descriptor of \"{name}\" contradicts the directory")]
    DescriptorMismatch { name: String },
    #[error("the extra fields of \"{name}\" are malformed")]
    BadExtraField { name: String },
    #[error("{seen} bytes precede the archive's first entry")]
    PrependedData { seen: u64 },
    #[error("{seen} bytes follow the end of the archive")]
    TrailingData { seen: u64 },
    #[error("the file contains {seen} end records and can be read as as many archives")]
    FalseEndRecord { seen: u64 },
    #[error("the archive is one part of a multi-part archive")]
    MultiDisk,
    #[error("the archive's 64-bit records are inconsistent: {detail}")]
    Zip64Lie { detail: &'static str },
    #[error("the template refuses the file type of \"{name}\" ({pattern})")]
    TypeDenied { name: String, pattern: String },
    #[error("the template does not accept the file type of \"{name}\" (accepted: {allowed})")]
    TypeNotAllowed { name: String, allowed: String },
    #[error("the content of \"{name}\" is of the kind `{}`, which the template refuses under any name", .content.as_str())]
    ContentDenied { name: String, content: Content },
}

impl ArchiveProblem {
    /// What to do about it, as a sentence without its subject.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Io { .. } => "submit the archive again",
            Self::NotAZip { .. } => {
                "pack the project's folder into a .zip: \"Compress\" in the menu of the folder does (Windows, macOS), or zip -r project.zip FOLDER"
            }
            Self::Empty { .. } => "add the project's files to the archive",
            Self::Truncated { .. } => "upload the archive again",
            Self::TooLarge { .. } | Self::TooManyEntries { .. } => "leave out dependencies and build results",
            Self::UnpackedTooLarge { .. } | Self::ExceedsWorkspace { .. } | Self::ExceedsMemory { .. } => {
                "leave out large files"
            }
            Self::ExceedsInodes { .. } => "leave out dependencies",
            Self::Ratio { .. } => "leave the file out, or make it smaller",
            Self::DirectoryTooLarge { .. } => "pack the archive without comments and extra fields",
            Self::DirectoryMismatch { .. } => "pack the archive again",
            Self::NameTooLong { .. } | Self::ComponentTooLong { .. } => "shorten the name",
            Self::TooDeep { .. } => "nest fewer folders",
            Self::PathOutside { .. } => "pack the project's folder itself",
            Self::AbsolutePath { .. } | Self::DrivePath { .. } | Self::UncPath { .. } => {
                "pack names relative to the project's folder"
            }
            Self::Backslash { .. } => "rename the entry, or pack with another tool",
            Self::NulInName { .. } | Self::BadName { .. } => "rename the entry",
            Self::GitFolder { .. } => "leave .git out (`git archive` does)",
            Self::Symlink { .. }
            | Self::Overlap { .. }
            | Self::HiddenData { .. }
            | Self::HeaderMismatch { .. }
            | Self::DescriptorMismatch { .. }
            | Self::BadExtraField { .. }
            | Self::Zip64Lie { .. } => "pack the archive again with a common tool",
            Self::HardLink { .. } => "pack the file itself in its place",
            Self::SpecialFile { .. } => "leave the entry out",
            Self::Setuid { .. } => "clear the set-uid and set-gid bits of the entry",
            Self::Encrypted { .. } => "pack the archive without a password",
            Self::UnsupportedMethod { .. } => "pack the archive with the method deflate",
            Self::DuplicateName { .. } => "remove one of the two entries",
            Self::CaseCollision { .. } | Self::CompositionCollision { .. } | Self::FileAndFolder { .. } => {
                "rename one of the two entries"
            }
            Self::PrependedData { .. } => "submit a plain .zip file, not a self-extracting one",
            Self::TrailingData { .. } => "submit the .zip file alone",
            Self::FalseEndRecord { .. } => "pack the archive again without a comment",
            Self::MultiDisk => "pack the project into one file",
            Self::TypeDenied { .. } | Self::TypeNotAllowed { .. } | Self::ContentDenied { .. } => "leave the file out",
        }
    }

    /// The stable code of the problem, for the API and for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::NotAZip { .. } => "not_a_zip",
            Self::Empty { .. } => "empty",
            Self::Truncated { .. } => "truncated",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyEntries { .. } => "too_many_entries",
            Self::UnpackedTooLarge { .. } => "unpacked_too_large",
            Self::ExceedsWorkspace { .. } => "exceeds_workspace",
            Self::ExceedsInodes { .. } => "exceeds_inodes",
            Self::ExceedsMemory { .. } => "exceeds_memory",
            Self::Ratio { .. } => "ratio",
            Self::DirectoryTooLarge { .. } => "directory_too_large",
            Self::DirectoryMismatch { .. } => "directory_mismatch",
            Self::NameTooLong { .. } | Self::ComponentTooLong { .. } => "name_too_long",
            Self::TooDeep { .. } => "too_deep",
            Self::PathOutside { .. } => "path_outside",
            Self::AbsolutePath { .. } => "absolute_path",
            Self::Backslash { .. } => "backslash",
            Self::NulInName { .. } => "nul_in_name",
            Self::DrivePath { .. } => "drive_path",
            Self::UncPath { .. } => "unc_path",
            Self::BadName { fault, .. } => fault.code(),
            Self::GitFolder { .. } => "git_folder",
            Self::Symlink { .. } => "symlink",
            Self::HardLink { .. } => "hard_link",
            Self::SpecialFile { special, .. } => special.code(),
            Self::Setuid { .. } => "setuid",
            Self::Encrypted { .. } => "encrypted",
            Self::UnsupportedMethod { .. } => "unsupported_method",
            Self::DuplicateName { .. } => "duplicate_name",
            Self::CaseCollision { .. } => "case_collision",
            Self::CompositionCollision { .. } => "composition_collision",
            Self::FileAndFolder { .. } => "file_and_folder",
            Self::Overlap { .. } => "overlap",
            Self::HiddenData { .. } => "hidden_data",
            Self::HeaderMismatch { field, .. } => field.code(),
            Self::DescriptorMismatch { .. } => "descriptor_mismatch",
            Self::BadExtraField { .. } => "bad_extra_field",
            Self::PrependedData { .. } => "prepended_data",
            Self::TrailingData { .. } => "data_after_end",
            Self::FalseEndRecord { .. } => "false_end_record",
            Self::MultiDisk => "multi_disk",
            Self::Zip64Lie { .. } => "zip64_lie",
            Self::TypeDenied { .. } => "type_denied",
            Self::TypeNotAllowed { .. } => "type_not_allowed",
            Self::ContentDenied { .. } => "content_denied",
        }
    }

    /// Whether the fault lies with this host and not with the submission.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    /// The limit that was exceeded, if there is one, in the unit of [`Self::seen`].
    pub fn limit(&self) -> Option<u64> {
        match *self {
            Self::Truncated { limit, .. }
            | Self::TooLarge { limit, .. }
            | Self::TooManyEntries { limit, .. }
            | Self::UnpackedTooLarge { limit, .. }
            | Self::ExceedsWorkspace { limit, .. }
            | Self::ExceedsInodes { limit, .. }
            | Self::ExceedsMemory { limit, .. }
            | Self::Ratio { limit, .. }
            | Self::DirectoryTooLarge { limit, .. }
            | Self::NameTooLong { limit, .. }
            | Self::ComponentTooLong { limit, .. }
            | Self::TooDeep { limit, .. } => Some(limit),
            _ => None,
        }
    }

    /// The observed value, if there is one: bytes, entries, components, a ratio, a mode or a method.
    pub fn seen(&self) -> Option<u64> {
        match *self {
            Self::NotAZip { seen, .. }
            | Self::Empty { seen }
            | Self::Truncated { seen, .. }
            | Self::TooLarge { seen, .. }
            | Self::TooManyEntries { seen, .. }
            | Self::UnpackedTooLarge { seen, .. }
            | Self::ExceedsWorkspace { seen, .. }
            | Self::ExceedsInodes { seen, .. }
            | Self::ExceedsMemory { seen, .. }
            | Self::Ratio { seen, .. }
            | Self::DirectoryTooLarge { seen, .. }
            | Self::DirectoryMismatch { seen, .. }
            | Self::NameTooLong { seen, .. }
            | Self::ComponentTooLong { seen, .. }
            | Self::TooDeep { seen, .. }
            | Self::SpecialFile { seen, .. }
            | Self::Setuid { seen, .. }
            | Self::UnsupportedMethod { seen, .. }
            | Self::HiddenData { seen, .. }
            | Self::PrependedData { seen }
            | Self::TrailingData { seen }
            | Self::FalseEndRecord { seen } => Some(seen),
            _ => None,
        }
    }

    /// The entry that the problem is about, if it is about one.
    pub fn entry(&self) -> Option<&str> {
        match self {
            Self::Ratio { name, .. } => name.as_deref(),
            Self::NameTooLong { name, .. }
            | Self::ComponentTooLong { name, .. }
            | Self::TooDeep { name, .. }
            | Self::PathOutside { name }
            | Self::AbsolutePath { name }
            | Self::DrivePath { name }
            | Self::UncPath { name }
            | Self::Backslash { name }
            | Self::NulInName { name }
            | Self::BadName { name, .. }
            | Self::GitFolder { name }
            | Self::Symlink { name }
            | Self::HardLink { name }
            | Self::SpecialFile { name, .. }
            | Self::Setuid { name, .. }
            | Self::Encrypted { name }
            | Self::UnsupportedMethod { name, .. }
            | Self::DuplicateName { name }
            | Self::CaseCollision { name, .. }
            | Self::CompositionCollision { name, .. }
            | Self::FileAndFolder { name }
            | Self::Overlap { name }
            | Self::HiddenData { name, .. }
            | Self::HeaderMismatch { name, .. }
            | Self::DescriptorMismatch { name }
            | Self::BadExtraField { name }
            | Self::TypeDenied { name, .. }
            | Self::TypeNotAllowed { name, .. }
            | Self::ContentDenied { name, .. } => Some(name),
            _ => None,
        }
    }
}
