//! Names that lead out of the folder, names that mean something else to another system, and names that some file
//! system takes for one.

use super::{HostileArchive, harmless, members, refused};
use crate::{Ending, Member, archive, file, folder, stored};

/// Case, entry's name, reason.
const LEADING: [(&str, &str, &str); 22] = [
    ("dotdot", "../a", "archive_path_outside"),
    ("dotdot-in-the-middle", "a/../../b", "archive_path_outside"),
    ("dotdot-at-the-end", "a/..", "archive_path_outside"),
    ("absolute", "/etc/passwd", "archive_absolute_path"),
    ("unc", "//server/share", "archive_unc_path"),
    ("drive", "C:/a", "archive_drive_path"),
    ("root", "/", "archive_absolute_path"),
    ("unc-backslashes", "\\\\server\\share", "archive_unc_path"),
    ("backslash-dotdot", "a\\..\\b", "archive_path_outside"),
    ("nul", "a\0.txt", "archive_nul_in_name"),
    ("empty", "", "archive_empty_name"),
    ("empty-component", "a//b", "archive_empty_component"),
    ("newline", "a\n", "archive_control_in_name"),
    ("escape-sequence", "a\u{1b}[2J", "archive_control_in_name"),
    ("c1-control", "a\u{85}", "archive_control_in_name"),
    ("right-to-left", "photo\u{202e}gpj.exe", "archive_invisible_in_name"),
    ("isolate", "a\u{2066}b", "archive_invisible_in_name"),
    ("zero-width-git", ".g\u{200c}it/config", "archive_git_folder"),
    ("git-short-name", "GIT~1/config", "archive_git_folder"),
    ("dot-alone", ".", "archive_dot_component"),
    ("proc-self", "/proc/self/environ", "archive_absolute_path"),
    ("grader-folder", "../grader/driver.py", "archive_path_outside"),
];

/// Case, entry's name: only another system minds these, or the rules ignore them.
const ODD: [(&str, &str); 12] = [
    ("drive-relative", "c:a"),
    ("dot-first", "./a"),
    ("dot-in-the-middle", "a/./b"),
    ("trailing-dot", "a."),
    ("trailing-space", "a /b"),
    ("reserved-con", "CON"),
    ("reserved-aux-with-extension", "src/aux.c"),
    ("reserved-nul-with-space", "nul .txt"),
    ("reserved-superscript", "LPT\u{b2}"),
    ("git-hooks", ".git/hooks/pre-commit"),
    ("git-upper-case", "a/.GIT/config"),
    ("reserved-com-with-extension", "com1.log"),
];

/// Case, two names: only another system takes them for one.
const COLLIDING_ELSEWHERE: [(&str, [&str; 2]); 4] = [
    ("case-folded", ["a", "A"]),
    ("case-folded-parent", ["a/b", "A/c"]),
    ("sharp-s", ["stra\u{df}e", "STRASSE"]),
    ("final-sigma", ["\u{3a3}\u{3b1}\u{3c2}", "\u{3c3}\u{3b1}\u{3c3}"]),
];

/// Case, two names, reason.
const COLLIDING: [(&str, [&str; 2], &str); 8] = [
    ("duplicate", ["a", "a"], "archive_duplicate_name"),
    ("duplicate-folder", ["a/", "a/"], "archive_duplicate_name"),
    ("nfc-nfd", ["caf\u{e9}", "cafe\u{301}"], "archive_composition_collision"),
    ("joiner", ["a", "a\u{200d}"], "archive_composition_collision"),
    ("dot-twice", ["a", "./a"], "archive_duplicate_name"),
    ("file-then-folder", ["a", "a/b"], "archive_file_and_folder"),
    ("folder-then-file", ["a/b", "a"], "archive_file_and_folder"),
    ("file-and-its-folder-entry", ["a", "a/"], "archive_file_and_folder"),
];

/// Case, what it is, mode, reason.
const KINDS: [(&str, &str, u32, &str); 7] = [
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
    all.extend(ODD.iter().map(|(name, entry)| {
        harmless(&format!("name-{name}"), format!("an entry named {entry:?}"), &[file("ok"), file(entry)])
    }));
    all.extend(COLLIDING_ELSEWHERE.iter().map(|(name, pair)| {
        let tried = format!("two entries, {:?} and {:?}", pair[0], pair[1]);
        harmless(&format!("names-{name}"), tried, &[file(pair[0]), file(pair[1]), file("last")])
    }));
    let link = Member { mode: 0o120_777, ..stored("a", b"/etc") };
    let deep = format!("{}a", "d/".repeat(500));
    all.extend([
        harmless(
            "symlink",
            "a symbolic link that stays inside",
            &[file("ok"), Member { mode: 0o120_777, ..file("a") }],
        ),
        harmless("symlink-outside", "a symbolic link that leads outside", &[file("ok"), link.clone()]),
        members(
            "symlink-chain",
            "a symbolic link, a second one through it, and a file behind both",
            "archive_file_and_folder",
            &[link.clone(), Member { mode: 0o120_777, ..stored("b", b"a/x") }, file("b/passwd")],
        ),
        members(
            "symlink-then-file-through-it",
            "a symbolic link that leads outside, and a file behind it",
            "archive_file_and_folder",
            &[link.clone(), file("a/passwd")],
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
            "archive_empty",
            &[Member { host: 0, ..link.clone() }],
        ),
        members(
            "symlink-from-mac",
            "a symbolic link that claims to come from a Mac",
            "archive_empty",
            &[Member { host: 19, ..link }],
        ),
        members(
            "name-not-utf8",
            "a name that is not UTF-8 and says that it is",
            "archive_name_not_utf8",
            &[Member { name: b"caf\xe9".to_vec(), flags: 1 << 11, ..file("") }],
        ),
        harmless(
            "name-code-page",
            "a name in no code page that is known",
            &[Member { name: b"caf\xe9".to_vec(), ..file("") }],
        ),
        members(
            "name-backslash-and-slash",
            "a backslash in an archive with slashes",
            "archive_backslash",
            &[file("a/b"), file("c\\d")],
        ),
        members("name-backslash-drive", "a drive with backslashes", "archive_drive_path", &[file("ok"), file("C:\\a")]),
        members(
            "only-ignored",
            "an archive of which everything is ignored",
            "archive_empty",
            &[file("__MACOSX/._a"), file("node_modules/a/b.js")],
        ),
        harmless(
            "ignored-leading-outside",
            "an ignored entry whose name leads out of the folder",
            &[file("ok"), file("__MACOSX/../../escaped")],
        ),
        harmless(
            "ignored-device",
            "an ignored device, and an ignored encrypted file",
            &[file("ok"), Member { mode: 0o020_644, ..file(".git/null") }, Member { flags: 1, ..file("venv/secret") }],
        ),
        members(
            "ignored-overlap",
            "ignored entries that share bytes",
            "archive_overlap",
            &[file("ok"), file("._a"), Member { offset: Some(35), ..file("._b") }],
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
