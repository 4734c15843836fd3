//! The list of every error text that a user can meet on the command line and in settings, `docs/errors.md`.
//!
//! The list is read from the sources, so that a new text shows up in a review of the list. Problem documents of the API
//! have a list of their own, `docs/problems.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A part of the list: its heading, what it says of the exit code, and the files or folders with the texts.
struct Section {
    heading: &'static str,
    about: &'static str,
    sources: &'static [&'static str],
}

const SECTIONS: &[Section] = &[
    Section {
        heading: "Commands",
        about: "The exit code follows each text. A text without a code is a part of another text, or describes an argument, \
                for which the code is 2.",
        sources: &["crates/client/src", "src/cli"],
    },
    Section { heading: "Settings", about: "The exit code is 2.", sources: &["crates/config/src"] },
    Section {
        heading: "Templates",
        about: "The exit code is 2. Each text follows the path of the template.",
        sources: &["src/template.rs", "src/template"],
    },
    Section {
        heading: "Local installations",
        about: "The exit code is 5, or 2 if another process uses the data folder.",
        sources: &["src/embedded.rs", "src/embedded", "src/installation"],
    },
    Section {
        heading: "Backups",
        about: "The exit code is 5, or 2 if the folder or the database that was named is the wrong one.",
        sources: &["src/backup"],
    },
    Section {
        heading: "Services",
        about: "The exit code is 5, or 2 for what only a person can change: an address, a role, a pooler, a version.",
        sources: &["crates/store/src/lib.rs", "src/redis.rs", "src/intake/blob.rs", "crates/cell/src/call.rs"],
    },
    Section {
        heading: "Signing keys and signed statements",
        about: "The exit code is 2, 5 if a key file cannot be read or written, or 1 if a statement is not valid.",
        sources: &["crates/signing/src", "src/signing_key.rs"],
    },
];

/// What stands before the text of an error, and the exit code that it means.
const MARKS: [(&str, &str); 5] =
    [("#[error(", ""), ("Fault::usage(", "2"), ("Fault::infrastructure(", "5"), ("fault(", "?"), ("Err(", "")];

/// `UPDATE_SNAPSHOTS=1` writes the list instead of comparing it.
#[test]
fn every_error_text_is_listed() {
    let path = root().join("docs/errors.md");
    let list = list();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, &list).unwrap();
    }
    let seen = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(seen, list, "run `UPDATE_SNAPSHOTS=1 cargo test --test errors`");
}

#[test]
fn no_error_text_uses_a_vague_word() {
    let list = list();
    for word in ["told", "said", "someone", "somebody"] {
        // A name in braces stands for a value.
        let has_word = |line: &&str| line.split([' ', ',', ';', ':', '.']).any(|seen| seen == word);
        assert_eq!(list.lines().find(has_word), None, "{word}");
    }
}

#[test]
fn an_argument_without_a_name_gets_the_name_of_its_field() {
    let source = "const FIX: &str = \"repair it\";\n#[error(\"{} is \\\"{what}\\\"; {FIX}\", .path.display())]\nBroken";
    assert_eq!(texts_in(source), [(String::new(), "{path} is \"{what}\"; repair it".to_owned())]);
    let source = "let fault = |reason| Fault::usage(format!(\"{}: {reason}\", a.b()));\nfault(\"is gone\".to_owned())";
    let expected = [("2", "{b}: {reason}"), ("2", "is gone")].map(|(code, text)| (code.to_owned(), text.to_owned()));
    assert_eq!(texts_in(source), expected);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn list() -> String {
    let mut text =
        "# Error texts\n\nThis list is generated: `UPDATE_SNAPSHOTS=1 cargo test --test errors` writes it. Names in \
                    braces stand for values.\nErrors of the API are listed in [problems.md](problems.md).\n"
            .to_owned();
    for section in SECTIONS {
        write!(text, "\n## {}\n\n{}\n\n", section.heading, section.about).unwrap();
        let mut files: Vec<PathBuf> =
            section.sources.iter().flat_map(|source| files_in(&root().join(source))).collect();
        files.sort();
        let mut seen = BTreeSet::new();
        for file in files {
            for (code, error) in texts_in(&std::fs::read_to_string(&file).unwrap()) {
                if seen.insert((code.clone(), error.clone())) {
                    let code = if code.is_empty() { code } else { format!(" ({code})") };
                    writeln!(text, "- {}{code}", error.replace('\n', " ")).unwrap();
                }
            }
        }
    }
    text
}

fn files_in(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let walk = ignore::WalkBuilder::new(path).standard_filters(false).build();
    let files = walk.filter_map(Result::ok).map(ignore::DirEntry::into_path);
    let is_source =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs");
    files.filter(is_source).collect()
}

/// Returns every error text of a source file with its exit code.
fn texts_in(source: &str) -> Vec<(String, String)> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, _) in source.char_indices() {
        let Some((mark, code)) = MARKS.iter().find(|(mark, _)| begins(source, at, mark)) else { continue };
        let rest = source[at + mark.len()..].trim_start();
        let rest = rest.strip_prefix("format!(").unwrap_or(rest).trim_start();
        let Some((literal, rest)) = string_literal(rest) else { continue };
        let code = if *code == "?" { code_of_closure(&source[..at]) } else { code };
        // A text of one placeholder is the text of another error.
        if literal != "{0}" && literal.contains(' ') {
            found.push((code.to_owned(), filled(&literal, rest, source)));
        }
    }
    found
}

/// Returns whether `mark` stands at `at` and is not the end of a longer name.
fn begins(source: &str, at: usize, mark: &str) -> bool {
    let before = source[..at].chars().next_back();
    source[at..].starts_with(mark) && !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
}

/// Returns the exit code of the faults that the closure `fault` before this place creates.
fn code_of_closure(before: &str) -> &'static str {
    let closure = before.rfind("let fault =").map_or("", |at| &before[at..]);
    let closure = closure.split(';').next().unwrap_or_default();
    match (closure.contains("Fault::usage"), closure.contains("Fault::infrastructure")) {
        (true, _) => "2",
        (_, true) => "5",
        _ => "",
    }
}

/// Reads a string literal at the beginning of `text`; returns its value and what follows it.
fn string_literal(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut value = String::new();
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((value, rest)),
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                match escaped {
                    '\n' => rest = rest.trim_start(),
                    'n' => value.push('\n'),
                    other => value.push(other),
                }
            }
            other => value.push(other),
        }
    }
}

/// Replaces constants by their values, and `{}` by the name of its argument.
fn filled(literal: &str, rest: &str, source: &str) -> String {
    let mut text = literal.to_owned();
    for line in source.lines() {
        let constant = line.trim_start().trim_start_matches("pub ").strip_prefix("const ");
        if let Some((name, value)) = constant.and_then(|line| line.split_once(": &str = "))
            && let Some((value, _)) = string_literal(value)
        {
            text = text.replace(&format!("{{{name}}}"), &value);
        }
    }
    let mut arguments = arguments(rest).into_iter();
    while let Some(at) = text.find("{}") {
        let name = arguments.next().unwrap_or_else(|| "value".to_owned());
        text.replace_range(at..at + 2, &format!("{{{name}}}"));
    }
    text
}

/// Returns a name for each argument that follows a format string: the first field in it, or else its first word.
fn arguments(rest: &str) -> Vec<String> {
    let (mut depth, mut current, mut all) = (0_i32, String::new(), Vec::new());
    for c in rest.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth < 0 || (depth == 0 && c == ',') {
            all.push(std::mem::take(&mut current));
        } else {
            current.push(c);
        }
        if depth < 0 {
            break;
        }
    }
    all.iter().map(|argument| argument.trim()).filter(|argument| !argument.is_empty()).map(name_of).collect()
}

fn name_of(argument: &str) -> String {
    if argument.starts_with("advised(") {
        return "advice".to_owned();
    }
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let is_call = [
        "display",
        "join",
        "as_str",
        "to_string",
        "to_string_lossy",
        "as_secs",
        "name",
        "len",
        "div_ceil",
        "map_or_else",
    ];
    let fields =
        argument.split('.').skip(1).map(word).filter(|name| !name.is_empty() && !is_call.contains(&name.as_str()));
    let first = word(argument);
    let named = (!first.is_empty() && first != "self").then_some(first);
    let field = fields.into_iter().next();
    field.or(named).unwrap_or_else(|| "value".to_owned())
}
