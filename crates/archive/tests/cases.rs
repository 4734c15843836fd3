//! Archives as people's machines make them, each with what it comes to.
//!
//! `tests/data/cases` has them, a folder for each kind: made by the tool that a file's name has, or byte by byte after the
//! shape that such a tool makes.

use assize_archive::{ArchiveSummary, NameStyle, Reason, ScanLimits, scan};
use assize_protocol::names::NameRules;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// `tests/data/tried` has those that docs/archives-tried.md lists.
const TRIED: [(&str, &str); 29] = [
    ("7z-lzma.zip", "unsupported_method"),
    ("7z-password.zip", "encrypted"),
    ("7z-snl-mx9.zip", "8 files, \"__pycache__/\" 2, \"node_modules/\" 5, 1 links out, 1 links as files"),
    ("bsdtar-dot.zip", "8 files, \".git\" 2, \"node_modules/\" 5, \"__pycache__/\" 2, 1 links out, 1 links as files"),
    (
        "bsdtar-pipe.zip",
        "8 files, top hw3, \".git\" 2, \"node_modules/\" 5, \"__pycache__/\" 2, 1 links out, 1 links as files",
    ),
    ("github-download.zip", "7 files, top hw3-main, 1 links as files"),
    ("gitlab-download.zip", "7 files, top hw3-main-2d1c70b987b477501ebfb5129b52572afc41a1bb, 1 links as files"),
    (
        "go-links.zip",
        "8 files, top hw3, \".git\" 2, \"__pycache__/\" 2, \"node_modules/\" 5, 1 links out, 1 links as files",
    ),
    ("infozip-FS.zip", "9 files, top hw3, \".git\" 2, \"node_modules/\" 5, \"__pycache__/\" 2"),
    (
        "infozip-y.zip",
        "8 files, top hw3, \".git\" 2, \"node_modules/\" 5, \"__pycache__/\" 2, 1 links out, 1 links as files",
    ),
    ("jar-no-manifest.zip", "9 files, \".git\" 2, \"__pycache__/\" 2, \"node_modules/\" 5"),
    ("java-stream.zip", "2 files, top hw3"),
    ("java-zipfs.zip", "3 files"),
    (
        "node-archiver-directory.zip",
        "9 files, top hw3, \".git\" 2, \"__pycache__/\" 2, \"node_modules/\" 5, 2 links out, 2 links as files",
    ),
    ("node-jszip-unix.zip", "3 files, top hw3"),
    ("perl-iocompress.zip", "4 files"),
    ("python-m-zipfile.zip", "5 files, \"node_modules/\" 5, \".git\" 2"),
    ("python-shutil-base.zip", "9 files, top hw3, \".git\" 2, \"__pycache__/\" 2, \"node_modules/\" 5"),
    ("shape-dotnet-4.5-folder.zip", "2 files, top hw3"),
    ("shape-dotnet.zip", "2 files"),
    ("shape-google-drive.zip", "3 files, top hw3, \"Icon\\r\" 1, \".DS_Store\" 1"),
    ("shape-gradle-dist.zip", "2 files, top hw3-1.0"),
    ("shape-moodle-all.zip", "2 files"),
    ("shape-moodle-nested.zip", "1 files, top Ada Lovelace_4711_assignsubmission_file"),
    ("shape-moodle-one.zip", "2 files, top Ada Lovelace_4711_assignsubmission_file"),
    ("shape-replit.zip", "2 files, \".git\" 1"),
    ("shape-windows-explorer.zip", "3 files, top hw3, \"Thumbs.db\" 1, \"desktop.ini\" 1"),
    ("shape-word.docx", "not_a_zip"),
    ("shape-writer.odt", "not_a_zip"),
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases")
}

/// What the archive comes to: files, the top, and what is not unpacked as it is; or the code that it is refused with.
fn outcome(path: &Path, limits: &ScanLimits) -> String {
    match scan(&File::open(path).expect("a file"), limits) {
        Ok(summary) => described(&summary),
        Err(problem) => problem.code().to_owned(),
    }
}

fn described(summary: &ArchiveSummary) -> String {
    let contents = &summary.contents;
    let mut words = vec![format!("{} files", summary.files)];
    if !contents.top.is_empty() {
        words.push(format!("top {}", contents.top));
    }
    words.extend(contents.ignored.iter().map(|ignored| format!("{:?} {}", ignored.pattern, ignored.entries)));
    for (count, name) in [
        (contents.beside_top, "beside"),
        (contents.links_left_out, "links out"),
        (contents.links_as_files, "links as files"),
    ] {
        if count > 0 {
            words.push(format!("{count} {name}"));
        }
    }
    words.join(", ")
}

const CASES: [(&str, &str); 34] = [
    ("01-finder-folder/hw3.zip", "2 files, top hw3, \"__MACOSX/\" 2, \".DS_Store\" 1"),
    ("02-finder-files/Archive.zip", "2 files, \"__MACOSX/\" 2"),
    ("03-node-modules-bin-links/7z-snl.zip", "3 files, \"node_modules/\" 16"),
    ("03-node-modules-bin-links/zip-followed.zip", "3 files, \"node_modules/\" 16"),
    ("03-node-modules-bin-links/zip-y.zip", "3 files, \"node_modules/\" 16"),
    ("04-venv-links/zip-y.zip", "1 files, \"venv/\" 16"),
    ("05-git-folder/hw3.zip", "6 files, \".git\" 56"),
    ("05-git-folder/submodule-dotgit-file.zip", "2 files, \".git\" 1"),
    ("07-powershell-51-backslash/hw3.zip", "3 files"),
    ("08-cp437-name/hw3.zip", "2 files"),
    ("10-gbk-name/hw3.zip", "2 files"),
    ("11-oem-name-with-unicode-path/hw3.zip", "2 files"),
    ("12-bsdtar-dot/hw3.zip", "6 files"),
    ("13-bsdtar-pipe/hw3.zip", "3 files"),
    ("14-zip64-ffff/streamzip-64.zip", "6 files"),
    ("16-mac-icon-cr/hw3.zip", "1 files, \"Icon\\r\" 1, \"__MACOSX/\" 1"),
    ("17-zwnj-zwj-names/emoji.zip", "2 files"),
    ("17-zwnj-zwj-names/whatsapp.zip", "2 files"),
    ("18-names-windows-minds/My_homework__x.py.zip", "2 files"),
    ("18-names-windows-minds/a__plan.md.zip", "2 files"),
    ("18-names-windows-minds/aux.c.zip", "2 files"),
    ("18-names-windows-minds/docs_....zip", "2 files"),
    ("18-names-windows-minds/draft..zip", "2 files"),
    ("18-names-windows-minds/notes_.txt_x.zip", "2 files"),
    ("19-case-pair/hw3.zip", "3 files"),
    ("20-pk00-marker/hw3.zip", "1 files"),
    ("21-white-image/log.zip", "2 files"),
    ("21-white-image/ppm.zip", "2 files"),
    ("21-white-image/sqlite-after-delete.zip", "2 files"),
    ("22-tar-gz/hw3.7z", "not_a_zip"),
    ("22-tar-gz/hw3.tar.gz", "not_a_zip"),
    ("22-tar-gz/renamed.zip", "not_a_zip"),
    ("23-one-folder/zip-r-folder.zip", "6 files, top hw3"),
    ("24-finder-python-unit/Archive.zip", "1 files, \"__MACOSX/\" 1"),
];

#[test]
fn each_archive_that_was_tried_comes_to_what_its_log_says() {
    let folder = data().join("../tried");
    let mut wrong = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        let seen = outcome(&folder.join(&name), &ScanLimits::default());
        let expected = TRIED.iter().find(|(tried, _)| *tried == name).map_or("nothing", |(_, expected)| *expected);
        if seen != expected {
            wrong.push(format!("    (\"{name}\", {seen:?}),"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_archive_comes_to_what_its_maker_expects() {
    let mut wrong = Vec::new();
    for (name, expected) in CASES {
        let seen = outcome(&data().join(name), &ScanLimits::default());
        if seen != expected {
            wrong.push(format!("    (\"{name}\", {seen:?}),"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a template says: what is ignored, what marks the project's folder, and which names are accepted.
fn limits(ignore: &[&str], root: &[&str], style: NameStyle) -> ScanLimits {
    let owned = |list: &[&str]| list.iter().map(|pattern| (*pattern).to_owned()).collect();
    ScanLimits { names: NameRules { ignore: owned(ignore), root: owned(root) }, style, ..ScanLimits::default() }
}

#[test]
fn a_template_decides_what_is_ignored_and_which_names_it_takes() {
    let (linux, portable) = (NameStyle::Linux, NameStyle::Portable);
    let default: Vec<String> = NameRules::default().ignore;
    let default: Vec<&str> = default.iter().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for (name, ignore, root, style, expected) in [
        ("03-node-modules-bin-links/zip-y.zip", &[][..], &[][..], linux, "15 files, 1 links as files"),
        ("03-node-modules-bin-links/7z-snl.zip", &[], &[], linux, "15 files, 1 links as files"),
        ("04-venv-links/zip-y.zip", &["x"], &[], linux, "9 files, 1 links out, 3 links as files"),
        ("05-git-folder/hw3.zip", &["x"], &[], linux, "git_folder"),
        ("05-git-folder/submodule-dotgit-file.zip", &["x"], &[], linux, "git_folder"),
        ("01-finder-folder/hw3.zip", &["x"], &[], linux, "5 files"),
        ("01-finder-folder/hw3.zip", &["x"], &["app.py"], linux, "3 files, top hw3, 2 beside"),
        ("23-one-folder/zip-r-folder.zip", &[], &["hw3/"], linux, "6 files"),
        ("23-one-folder/zip-r-folder.zip", &[], &["util.py"], linux, "2 files, top hw3/src, 6 beside"),
        ("18-names-windows-minds/My_homework__x.py.zip", &default, &[], portable, "trailing_dot"),
        ("18-names-windows-minds/a__plan.md.zip", &default, &[], portable, "name_not_portable"),
        ("18-names-windows-minds/aux.c.zip", &default, &[], portable, "reserved_name"),
        ("18-names-windows-minds/docs_....zip", &default, &[], portable, "trailing_dot"),
        ("18-names-windows-minds/draft..zip", &default, &[], portable, "trailing_dot"),
        ("18-names-windows-minds/notes_.txt_x.zip", &default, &[], portable, "2 files"),
        ("19-case-pair/hw3.zip", &default, &[], portable, "case_collision"),
        ("12-bsdtar-dot/hw3.zip", &default, &[], portable, "6 files"),
        ("16-mac-icon-cr/hw3.zip", &default, &[], portable, "1 files, \"Icon\\r\" 1, \"__MACOSX/\" 1"),
    ] {
        let seen = outcome(&data().join(name), &limits(ignore, root, style));
        if seen != expected {
            wrong.push(format!("{name}: expected {expected}, observed {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Most writers of `15-accepted-writers` packed six files, some of them with the folder around. A few add a file of their
/// own, such as a manifest, leave out an empty one, or were given only one or two.
#[test]
fn the_archives_of_all_writers_are_accepted() {
    let mut outcomes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(data().join("15-accepted-writers")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        outcomes.entry(outcome(&path, &ScanLimits::default())).or_default().push(name);
    }
    let counts: BTreeMap<&str, usize> =
        outcomes.iter().map(|(outcome, names)| (outcome.as_str(), names.len())).collect();
    let expected = [
        ("1 files", 11),
        ("2 files", 10),
        ("4 files", 1),
        ("5 files", 1),
        ("6 files", 64),
        ("6 files, top hw3", 2),
        ("6 files, top hw3-main", 1),
        ("7 files", 8),
    ];
    assert_eq!(counts, expected.into(), "{outcomes:#?}");
}

#[test]
fn an_upload_that_is_no_zip_is_named_as_what_it_is() {
    for (name, format) in [("hw3.7z", "a 7-Zip archive"), ("hw3.tar.gz", "a gzip file"), ("renamed.zip", "a gzip file")]
    {
        let file = File::open(data().join("22-tar-gz").join(name)).expect("a file");
        let message = scan(&file, &ScanLimits::default()).expect_err("refused");
        assert!(message.to_string().contains(format), "{message}");
        assert!(message.advice().contains("zip -r project.zip FOLDER"), "{}", message.advice());
    }
}

#[test]
fn examples_are_bounded_and_say_why() {
    let file = File::open(data().join("05-git-folder/hw3.zip")).expect("a file");
    let contents = scan(&file, &ScanLimits::default()).expect("accepted").contents;
    assert_eq!((contents.examples.len(), contents.ignored[0].entries), (assize_archive::MAX_EXAMPLES, 56));
    assert_eq!((contents.examples[0].name.as_str(), contents.examples[0].reason), (".git/", Reason::Ignored));
}
