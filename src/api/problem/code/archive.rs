//! Codes for archives that the scan rejects.

use assize_archive::{ArchiveProblem, Field, NameFault, Special};

use super::{ProblemCode, codes, limit, service};

codes! {
    ARCHIVE_NOT_A_ZIP: "archive_not_a_zip", 422,
        "The upload is not a zip archive of a project; the detail names what it is, if that is known.",
        "Pack the project's folder into a .zip file.";
    ARCHIVE_EMPTY: "archive_empty", 422,
        "The archive contains no file of a project.",
        "Add the project's files to the archive.";
    ARCHIVE_TRUNCATED: "archive_truncated", 422,
        "The archive ends too early.",
        "Upload the archive again.";
    ARCHIVE_TOO_MANY_ENTRIES: "archive_too_many_entries", 422,
        "The archive has more entries than the installation (max_archive_entries) or the template (archive.max_entries) allows.",
        "Leave out dependencies and build results.";
    ARCHIVE_UNPACKED_TOO_LARGE: "archive_unpacked_too_large", 422,
        "The archive unpacks to too many bytes.",
        "Leave out large files.";
    ARCHIVE_EXCEEDS_WORKSPACE: "archive_exceeds_workspace", 422,
        "The unpacked files do not fit into the template's workspace.",
        "Leave out large files.";
    ARCHIVE_EXCEEDS_INODES: "archive_exceeds_inodes", 422,
        "The archive has more files and folders than the template's workspace can hold.",
        "Leave out dependencies.";
    ARCHIVE_EXCEEDS_MEMORY: "archive_exceeds_memory", 422,
        "The archive and its unpacked files need more memory than the template's cell has.",
        "Leave out large files.";
    ARCHIVE_RATIO: "archive_ratio", 422,
        "A file, or the archive as a whole, has a compression ratio that is too high.",
        "Leave the file out, or make it smaller.";
    ARCHIVE_DIRECTORY_TOO_LARGE: "archive_directory_too_large", 422,
        "The archive's central directory is too large.",
        "Create the archive without comments and extra fields.";
    ARCHIVE_DIRECTORY_MISMATCH: "archive_directory_mismatch", 422,
        "The archive's central directory is inconsistent.",
        "Create the archive again.";
    ARCHIVE_NAME_TOO_LONG: "archive_name_too_long", 422,
        "The name of an entry is too long.",
        "Shorten the name.";
    ARCHIVE_TOO_DEEP: "archive_too_deep", 422,
        "An entry lies in too many nested folders.",
        "Nest fewer folders.";
    ARCHIVE_PATH_OUTSIDE: "archive_path_outside", 422,
        "The name of an entry leads out of the project with `..`.",
        "Create the archive from the project's folder itself.";
    ARCHIVE_ABSOLUTE_PATH: "archive_absolute_path", 422,
        "The name of an entry is an absolute path.",
        "Use names relative to the project's folder.";
    ARCHIVE_DRIVE_PATH: "archive_drive_path", 422,
        "The name of an entry begins with a Windows drive.",
        "Use names relative to the project's folder.";
    ARCHIVE_UNC_PATH: "archive_unc_path", 422,
        "The name of an entry is a Windows network path.",
        "Use names relative to the project's folder.";
    ARCHIVE_BACKSLASH: "archive_backslash", 422,
        "The name of an entry contains a backslash, in an archive whose other names separate folders by `/`.",
        "Rename the entry, or use a tool that separates folders by `/`.";
    ARCHIVE_NUL_IN_NAME: "archive_nul_in_name", 422,
        "The name of an entry contains a NUL byte.",
        "Rename the entry.";
    ARCHIVE_EMPTY_NAME: "archive_empty_name", 422,
        "The name of an entry is empty.",
        "Rename the entry.";
    ARCHIVE_EMPTY_COMPONENT: "archive_empty_component", 422,
        "The name of an entry has an empty component, as in `a//b`.",
        "Rename the entry.";
    ARCHIVE_NAME_NOT_UTF8: "archive_name_not_utf8", 422,
        "The archive declares the name of an entry as UTF-8, and it is not.",
        "Rename the entry.";
    ARCHIVE_CONTROL_IN_NAME: "archive_control_in_name", 422,
        "The name of an entry contains a control character.",
        "Rename the entry.";
    ARCHIVE_INVISIBLE_IN_NAME: "archive_invisible_in_name", 422,
        "The name of an entry contains a character that is invisible or changes the direction of text.",
        "Rename the entry.";
    ARCHIVE_DOT_COMPONENT: "archive_dot_component", 422,
        "The name of a file ends in the component `.`.",
        "Rename the entry.";
    ARCHIVE_TRAILING_DOT: "archive_trailing_dot", 422,
        "The template accepts portable names only, and a component ends in a dot or a space.",
        "Rename the entry.";
    ARCHIVE_RESERVED_NAME: "archive_reserved_name", 422,
        "The template accepts portable names only, and a component is a device on Windows.",
        "Rename the entry.";
    ARCHIVE_NAME_NOT_PORTABLE: "archive_name_not_portable", 422,
        "The template accepts portable names only, and a component has a character that Windows does not accept.",
        "Rename the entry.";
    ARCHIVE_GIT_FOLDER: "archive_git_folder", 422,
        "An entry lies in a `.git` folder that is not ignored, or in one that some file system takes for it; its hooks and settings can run code.",
        "Leave `.git` out; `git archive` does this.";
    ARCHIVE_SYMLINK: "archive_symlink", 422,
        "An entry is a symbolic link by its mode and a folder by its name.",
        "Create the archive again with a common tool.";
    ARCHIVE_HARD_LINK: "archive_hard_link", 422,
        "An entry is a hard link.",
        "Add the file itself in its place.";
    ARCHIVE_FIFO: "archive_fifo", 422,
        "An entry is a FIFO.",
        "Leave the entry out.";
    ARCHIVE_DEVICE: "archive_device", 422,
        "An entry is a device.",
        "Leave the entry out.";
    ARCHIVE_SOCKET: "archive_socket", 422,
        "An entry is a socket.",
        "Leave the entry out.";
    ARCHIVE_UNKNOWN_KIND: "archive_unknown_kind", 422,
        "An entry is neither a file nor a folder.",
        "Leave the entry out.";
    ARCHIVE_SETUID: "archive_setuid", 422,
        "An entry has a set-uid or set-gid bit.",
        "Clear these bits.";
    ARCHIVE_ENCRYPTED: "archive_encrypted", 422,
        "An entry is encrypted.",
        "Create the archive without a password.";
    ARCHIVE_UNSUPPORTED_METHOD: "archive_unsupported_method", 422,
        "An entry is compressed by a method other than stored or deflate.",
        "Use deflate.";
    ARCHIVE_DUPLICATE_NAME: "archive_duplicate_name", 422,
        "Two entries have the same name.",
        "Remove one of them.";
    ARCHIVE_CASE_COLLISION: "archive_case_collision", 422,
        "The template accepts portable names only, and two names differ only in upper and lower case.",
        "Rename one of them.";
    ARCHIVE_COMPOSITION_COLLISION: "archive_composition_collision", 422,
        "The names of two entries differ only in the Unicode composition of letters, or in characters that cannot be seen.",
        "Rename one of them.";
    ARCHIVE_FILE_AND_FOLDER: "archive_file_and_folder", 422,
        "The same name is both a file and a folder.",
        "Rename one of them.";
    ARCHIVE_OVERLAP: "archive_overlap", 422,
        "Two entries share bytes of the archive.",
        "Create the archive again with a common tool.";
    ARCHIVE_HIDDEN_DATA: "archive_hidden_data", 422,
        "The archive contains bytes that belong to no entry.",
        "Create the archive again with a common tool.";
    ARCHIVE_NO_LOCAL_HEADER: "archive_no_local_header", 422,
        "An entry has no local header where the central directory points.",
        "Create the archive again with a common tool.";
    ARCHIVE_NAME_MISMATCH: "archive_name_mismatch", 422,
        "The two headers of an entry have different names.",
        "Create the archive again with a common tool.";
    ARCHIVE_SECOND_NAME_MISMATCH: "archive_second_name_mismatch", 422,
        "The extra field of an entry has a different name.",
        "Create the archive again with a common tool.";
    ARCHIVE_SIZE_MISMATCH: "archive_size_mismatch", 422,
        "The two headers of an entry have different sizes.",
        "Create the archive again with a common tool.";
    ARCHIVE_CRC_MISMATCH: "archive_crc_mismatch", 422,
        "The two headers of an entry have different checksums.",
        "Create the archive again with a common tool.";
    ARCHIVE_METHOD_MISMATCH: "archive_method_mismatch", 422,
        "The two headers of an entry have different compression methods.",
        "Create the archive again with a common tool.";
    ARCHIVE_FLAGS_MISMATCH: "archive_flags_mismatch", 422,
        "The two headers of an entry have different flags.",
        "Create the archive again with a common tool.";
    ARCHIVE_FOLDER_MISMATCH: "archive_folder_mismatch", 422,
        "An entry is a folder by its mode and a file by its name, the reverse, or a folder with data.",
        "Create the archive again with a common tool.";
    ARCHIVE_DESCRIPTOR_MISMATCH: "archive_descriptor_mismatch", 422,
        "The sizes or the checksum after the data of an entry differ from the central directory.",
        "Create the archive again.";
    ARCHIVE_BAD_EXTRA_FIELD: "archive_bad_extra_field", 422,
        "The extra fields of an entry are malformed.",
        "Create the archive again with a common tool.";
    ARCHIVE_PREPENDED_DATA: "archive_prepended_data", 422,
        "The archive has bytes before its first entry.",
        "Submit the .zip file itself, not a self-extracting program.";
    ARCHIVE_DATA_AFTER_END: "archive_data_after_end", 422,
        "The archive has bytes after its end.",
        "Submit the .zip file itself.";
    ARCHIVE_FALSE_END_RECORD: "archive_false_end_record", 422,
        "Different programs would read different archives from this file.",
        "Create the archive again with a common tool, without a comment.";
    ARCHIVE_MULTI_DISK: "archive_multi_disk", 422,
        "The archive is one part of several.",
        "Create the archive as one file.";
    ARCHIVE_ZIP64_LIE: "archive_zip64_lie", 422,
        "The archive's 64-bit records are inconsistent.",
        "Create the archive again with a common tool.";
    ARCHIVE_TYPE_DENIED: "archive_type_denied", 422,
        "An entry has a file type that the template refuses.",
        "Leave the entry out.";
    ARCHIVE_TYPE_NOT_ALLOWED: "archive_type_not_allowed", 422,
        "An entry has a file type that the template does not expect.",
        "Leave the entry out.";
    ARCHIVE_CONTENT_DENIED: "archive_content_denied", 422,
        "An entry has content that the template refuses under any name.",
        "Leave the entry out.";
}

/// Returns the code of a problem with an archive. The compiler checks that every problem has one.
pub const fn for_archive(problem: &ArchiveProblem) -> ProblemCode {
    match problem {
        // The archive may be in order: the service could not read its own copy.
        ArchiveProblem::Io { .. } => service::SPOOL_UNAVAILABLE,
        ArchiveProblem::TooLarge { .. } => limit::ARCHIVE_TOO_LARGE,
        ArchiveProblem::NotAZip { .. } => ARCHIVE_NOT_A_ZIP,
        ArchiveProblem::Empty { .. } => ARCHIVE_EMPTY,
        ArchiveProblem::Truncated { .. } => ARCHIVE_TRUNCATED,
        ArchiveProblem::TooManyEntries { .. } => ARCHIVE_TOO_MANY_ENTRIES,
        ArchiveProblem::UnpackedTooLarge { .. } => ARCHIVE_UNPACKED_TOO_LARGE,
        ArchiveProblem::ExceedsWorkspace { .. } => ARCHIVE_EXCEEDS_WORKSPACE,
        ArchiveProblem::ExceedsInodes { .. } => ARCHIVE_EXCEEDS_INODES,
        ArchiveProblem::ExceedsMemory { .. } => ARCHIVE_EXCEEDS_MEMORY,
        ArchiveProblem::Ratio { .. } => ARCHIVE_RATIO,
        ArchiveProblem::DirectoryTooLarge { .. } => ARCHIVE_DIRECTORY_TOO_LARGE,
        ArchiveProblem::DirectoryMismatch { .. } => ARCHIVE_DIRECTORY_MISMATCH,
        ArchiveProblem::NameTooLong { .. } | ArchiveProblem::ComponentTooLong { .. } => ARCHIVE_NAME_TOO_LONG,
        ArchiveProblem::TooDeep { .. } => ARCHIVE_TOO_DEEP,
        ArchiveProblem::PathOutside { .. } => ARCHIVE_PATH_OUTSIDE,
        ArchiveProblem::AbsolutePath { .. } => ARCHIVE_ABSOLUTE_PATH,
        ArchiveProblem::DrivePath { .. } => ARCHIVE_DRIVE_PATH,
        ArchiveProblem::UncPath { .. } => ARCHIVE_UNC_PATH,
        ArchiveProblem::Backslash { .. } => ARCHIVE_BACKSLASH,
        ArchiveProblem::NulInName { .. } => ARCHIVE_NUL_IN_NAME,
        ArchiveProblem::GitFolder { .. } => ARCHIVE_GIT_FOLDER,
        ArchiveProblem::Symlink { .. } => ARCHIVE_SYMLINK,
        ArchiveProblem::HardLink { .. } => ARCHIVE_HARD_LINK,
        ArchiveProblem::Setuid { .. } => ARCHIVE_SETUID,
        ArchiveProblem::Encrypted { .. } => ARCHIVE_ENCRYPTED,
        ArchiveProblem::UnsupportedMethod { .. } => ARCHIVE_UNSUPPORTED_METHOD,
        ArchiveProblem::DuplicateName { .. } => ARCHIVE_DUPLICATE_NAME,
        ArchiveProblem::CaseCollision { .. } => ARCHIVE_CASE_COLLISION,
        ArchiveProblem::CompositionCollision { .. } => ARCHIVE_COMPOSITION_COLLISION,
        ArchiveProblem::FileAndFolder { .. } => ARCHIVE_FILE_AND_FOLDER,
        ArchiveProblem::Overlap { .. } => ARCHIVE_OVERLAP,
        ArchiveProblem::HiddenData { .. } => ARCHIVE_HIDDEN_DATA,
        ArchiveProblem::DescriptorMismatch { .. } => ARCHIVE_DESCRIPTOR_MISMATCH,
        ArchiveProblem::BadExtraField { .. } => ARCHIVE_BAD_EXTRA_FIELD,
        ArchiveProblem::PrependedData { .. } => ARCHIVE_PREPENDED_DATA,
        ArchiveProblem::TrailingData { .. } => ARCHIVE_DATA_AFTER_END,
        ArchiveProblem::FalseEndRecord { .. } => ARCHIVE_FALSE_END_RECORD,
        ArchiveProblem::MultiDisk => ARCHIVE_MULTI_DISK,
        ArchiveProblem::Zip64Lie { .. } => ARCHIVE_ZIP64_LIE,
        ArchiveProblem::TypeDenied { .. } => ARCHIVE_TYPE_DENIED,
        ArchiveProblem::TypeNotAllowed { .. } => ARCHIVE_TYPE_NOT_ALLOWED,
        ArchiveProblem::ContentDenied { .. } => ARCHIVE_CONTENT_DENIED,
        ArchiveProblem::BadName { fault, .. } => for_name(*fault),
        ArchiveProblem::SpecialFile { special, .. } => for_special(*special),
        ArchiveProblem::HeaderMismatch { field, .. } => for_field(*field),
    }
}

const fn for_name(fault: NameFault) -> ProblemCode {
    match fault {
        NameFault::Empty => ARCHIVE_EMPTY_NAME,
        NameFault::EmptyComponent => ARCHIVE_EMPTY_COMPONENT,
        NameFault::NotUtf8 => ARCHIVE_NAME_NOT_UTF8,
        NameFault::Control => ARCHIVE_CONTROL_IN_NAME,
        NameFault::Invisible => ARCHIVE_INVISIBLE_IN_NAME,
        NameFault::Dot => ARCHIVE_DOT_COMPONENT,
        NameFault::TrailingDot => ARCHIVE_TRAILING_DOT,
        NameFault::Reserved => ARCHIVE_RESERVED_NAME,
        NameFault::NotPortable => ARCHIVE_NAME_NOT_PORTABLE,
    }
}

const fn for_special(special: Special) -> ProblemCode {
    match special {
        Special::Fifo => ARCHIVE_FIFO,
        Special::CharacterDevice | Special::BlockDevice => ARCHIVE_DEVICE,
        Special::Socket => ARCHIVE_SOCKET,
        Special::Unknown => ARCHIVE_UNKNOWN_KIND,
    }
}

const fn for_field(field: Field) -> ProblemCode {
    match field {
        Field::LocalHeader => ARCHIVE_NO_LOCAL_HEADER,
        Field::Name => ARCHIVE_NAME_MISMATCH,
        Field::SecondName => ARCHIVE_SECOND_NAME_MISMATCH,
        Field::Size => ARCHIVE_SIZE_MISMATCH,
        Field::Crc => ARCHIVE_CRC_MISMATCH,
        Field::Method => ARCHIVE_METHOD_MISMATCH,
        Field::Flags => ARCHIVE_FLAGS_MISMATCH,
        Field::FolderMode | Field::FileMode | Field::FolderSize => ARCHIVE_FOLDER_MISMATCH,
    }
}
