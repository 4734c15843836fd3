//! Names that lead out of the folder, names that mean something else to another system, and names that some file
//! system takes for one.

use super::{HostileArchive, members, refused};
use crate::{Ending, Member, archive, file, folder};

/// Case, entry's name, reason.
const LEADING: [(&str, &str, &str); 34] = [
    ("dotdot", "../a", "archive_path_outside"),
    ("dotdot-in-the-middle", "a/../../b", "archive_path_outside"),
    ("dotdot-at-the-end", "a/..", "archive_path_outside"),
    ("absolute", "/etc/passwd", "archive_absolute_path"),
    ("unc", "//server/share", "archive_unc_path"),
    ("drive", "C:/a", "archive_drive_path"),
    ("drive-relative", "c:a", "archive_drive_path"),
    ("root", "/", "archive_absolute_path"),
    ("unc-backslashes", "\\\\server\\share", "archive_unc_path"),
    ("backslash-dotdot", "a\\..\\b", "archive_backslash"),
    ("nul", "a\0.txt", "archive_nul_in_name"),
    ("empty", "", "archive_empty_name"),
    ("empty-component", "a//b", "archive_empty_component"),
    ("dot-first", "./a", "archive_dot_component"),
    ("dot-in-the-middle", "a/./b", "archive_dot_component"),
    ("trailing-dot", "a.", "archive_trailing_dot"),
    ("trailing-space", "a /b", "archive_trailing_dot"),
    ("newline", "a\n", "archive_control_in_name"),
    ("escape-sequence", "a\u{1b}[2J", "archive_control_in_name"),
    ("c1-control", "a\u{85}", "archive_control_in_name"),
    ("right-to-left", "photo\u{202e}gpj.exe", "archive_invisible_in_name"),
    ("isolate", "a\u{2066}b", "archive_invisible_in_name"),
    ("zero-width-git", ".g\u{200c}it/config", "archive_invisible_in_name"),
    ("reserved-con", "CON", "archive_reserved_name"),
    ("reserved-aux-with-extension", "src/aux.c", "archive_reserved_name"),
    ("reserved-nul-with-space", "nul .txt", "archive_reserved_name"),
    ("reserved-superscript", "LPT\u{b2}", "archive_reserved_name"),
    ("git-hooks", ".git/hooks/pre-commit", "archive_git_folder"),
    ("git-upper-case", "a/.GIT/config", "archive_git_folder"),
    ("git-short-name", "GIT~1/config", "archive_git_folder"),
    ("dot-alone", ".", "archive_dot_component"),
    ("reserved-com-with-extension", "com1.log", "archive_reserved_name"),
    ("proc-self", "/proc/self/environ", "archive_absolute_path"),
    ("grader-folder", "../grader/driver.py", "archive_path_outside"),
];

/// Case, two names, reason.
const COLLIDING: [(&str, [&str; 2], &str); 10] = [
    ("duplicate", ["a", "a"], "archive_duplicate_name"),
    ("duplicate-folder", ["a/", "a/"], "archive_duplicate_name"),
    ("case-folded", ["a", "A"], "archive_case_collision"),
    ("case-folded-parent", ["a/b", "A/c"], "archive_case_collision"),
    ("sharp-s", ["stra\u{df}e", "STRASSE"], "archive_case_collision"),
    ("nfc-nfd", ["caf\u{e9}", "cafe\u{301}"], "archive_composition_collision"),
    ("final-sigma", ["\u{3a3}\u{3b1}\u{3c2}", "\u{3c3}\u{3b1}\u{3c3}"], "archive_case_collision"),
    ("file-then-folder", ["a", "a/b"], "archive_file_and_folder"),
    ("folder-then-file", ["a/b", "a"], "archive_file_and_folder"),
    ("file-and-its-folder-entry", ["a", "a/"], "archive_file_and_folder"),
];

/// Case, what it is, mode, reason.
const KINDS: [(&str, &str, u32, &str); 8] = [
    ("symlink", "a symbolic link", 0o120_777, "archive_symlink"),
    ("fifo", "a FIFO", 0o010_644, "archive_fifo"),
    ("character-device", "a character device", 0o020_644, "archive_device"),
    ("block-device", "a block device", 0o060_644, "archive_device"),
    ("socket", "a socket", 0o140_644, "archive_socket"),
    ("unknown-kind", "a file of a kind that no system has", 0o150_644, "archive_unknown_kind"),
    ("setuid", "a setuid file", 0o104_755, "archive_setuid"),
    ("setgid", "a setgid file", 0o102_755, "archive_setuid"),
];

pub(super) fn all() -> Vec<HostileArchive> {
    let mut all: Vec<HostileArchive> = LEADING
        .iter()
        .map(|(name, entry, code)| {
            members(&format!("name-{name}"), format!("an entry named {entry:?}"), code, &[file("ok"), file(entry)])
        })
        .collect();
    all.extend(COLLIDING.iter().map(|(name, pair, code)| {
        let two = pair.map(|entry| if entry.ends_with('/') { folder(entry) } else { file(entry) });
        let tried = format!("two entries, {:?} and {:?}", pair[0], pair[1]);
        members(&format!("names-{name}"), tried, code, &[two[0].clone(), two[1].clone(), file("last")])
    }));
    all.extend(KINDS.iter().map(|(name, what, mode, code)| {
        members(name, format!("an entry that is {what}"), code, &[file("ok"), Member { mode: *mode, ..file("a") }])
    }));
    let link = Member { mode: 0o120_777, data: b"/etc".to_vec(), packed: 4, unpacked: 4, ..file("a") };
    let deep = format!("{}a", "d/".repeat(500));
    all.extend([
        members(
            "symlink-chain",
            "a symbolic link, a second one through it, and a file behind both",
            "archive_symlink",
            &[
                link.clone(),
                Member { name: b"b".to_vec(), data: b"a/x".to_vec(), packed: 3, unpacked: 3, ..link.clone() },
                file("b/passwd"),
            ],
        ),
        members(
            "symlink-folder",
            "a folder's name with a symbolic link's mode",
            "archive_symlink",
            &[Member { mode: 0o120_777, ..folder("a/") }, file("b")],
        ),
        members(
            "symlink-from-dos",
            "a symbolic link that claims to come from DOS",
            "archive_symlink",
            &[Member { host: 0, ..link.clone() }],
        ),
        members(
            "symlink-from-mac",
            "a symbolic link that claims to come from a Mac",
            "archive_symlink",
            &[Member { host: 19, ..link }],
        ),
        members(
            "name-not-utf8",
            "a name that is not UTF-8",
            "archive_name_not_utf8",
            &[Member { name: b"caf\xe9".to_vec(), ..file("") }],
        ),
        members("name-64k", "a name of 65,535 bytes", "archive_name_too_long", &[file(&"n".repeat(65_535))]),
        members("deep-500", "a file under 500 folders", "archive_too_deep", &[file(&deep)]),
        members(
            "deep-4096",
            "a file under 4,096 folders",
            "archive_name_too_long",
            &[file(&format!("{}a", "d/".repeat(4096)))],
        ),
        refused(
            "no-file",
            "an archive with folders only",
            "archive_empty",
            archive(&[folder("a/")], &Ending::default()),
        ),
    ]);
    all
}
