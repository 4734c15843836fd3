//! The documents match the code: the table of settings, the commands, the links, the length of the README.

use std::path::{Path, PathBuf};

use assize::cli::Cli;
use assize_config::{Config, SETTINGS};
use clap::Parser;

const CONFIGURATION: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- settings:begin -->\n";
const END: &str = "<!-- settings:end -->";

/// The README is for a first reader: what does not fit belongs into `docs/`.
const MAX_README_LINES: usize = 150;

fn table() -> String {
    let defaults = toml::Table::try_from(Config::default()).expect("the defaults are a table");
    let mut table = "| setting | environment | default | allowed | description |\n|---|---|---|---|---|\n".to_owned();
    for setting in SETTINGS {
        let mut names = format!("`ASSIZE_{}`", setting.key.to_uppercase());
        if let Some(alias) = setting.alias {
            names.push_str(&format!(", `{alias}`"));
        }
        let (default, allowed, description) = (&defaults[setting.key], setting.allowed(), setting.description);
        table.push_str(&format!("| `{}` | {names} | `{default}` | {allowed} | {description} |\n", setting.key));
    }
    table
}

/// `UPDATE_SNAPSHOTS=1` writes the table instead of comparing it.
#[test]
fn the_configuration_lists_every_setting_with_its_default() {
    let document = read(Path::new(CONFIGURATION));
    let (head, rest) = document.split_once(BEGIN).expect("docs/configuration.md has no settings:begin");
    let (seen, tail) = rest.split_once(END).expect("docs/configuration.md has no settings:end");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(CONFIGURATION, format!("{head}{BEGIN}{}{END}{tail}", table())).unwrap();
        return;
    }
    assert_eq!(seen, table(), "run `UPDATE_SNAPSHOTS=1 cargo test --test readme`");
}

#[test]
fn the_readme_fits_a_first_reading() {
    let lines = read(Path::new("README.md")).lines().count();
    assert!(lines <= MAX_README_LINES, "README.md has {lines} lines, the limit is {MAX_README_LINES}");
}

#[test]
fn every_link_between_documents_leads_to_a_file_and_a_heading() {
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { document.clone() } else { document.parent().unwrap_or(Path::new("")).join(file) };
            assert!(path.exists(), "{}: the link {target} leads to no file", document.display());
            let known = heading.is_empty() || headings(&path).contains(&heading.to_owned());
            assert!(known, "{}: the link {target} leads to no heading", document.display());
        }
    }
}

#[test]
fn every_command_in_the_documents_is_accepted_by_the_command_line() {
    let mut seen = 0;
    for document in documents() {
        for line in blocks(&read(&document)) {
            let Some(words) = command(&line) else { continue };
            if let Err(error) = Cli::try_parse_from(&words) {
                let is_help = error.kind() == clap::error::ErrorKind::DisplayHelp;
                assert!(is_help, "{}: {line}\n{error}", document.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

/// The documents that people read; `docs/ATTACKS.md` is generated and tested elsewhere.
fn documents() -> Vec<PathBuf> {
    let folders =
        ["docs", "docs/templates", "docs/runbooks"].map(|folder| std::fs::read_dir(folder).expect("it is a folder"));
    let in_docs = folders.into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut all: Vec<PathBuf> = in_docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    all.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from));
    all
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines inside code blocks.
fn blocks(text: &str) -> Vec<String> {
    let mut is_inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_inside = !is_inside;
        } else if is_inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The words of an `assize` command, with an id for each variable; `None` for any other line.
fn command(line: &str) -> Option<Vec<String>> {
    // A diagram may begin with our name too.
    if !line.is_ascii() {
        return None;
    }
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for letter in line.trim().chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ' ') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            // What follows is the shell's, or a comment.
            (None, '#' | '|' | '>' | ';' | '&') => break,
            _ => word.push(letter),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    let is_setting = |word: &String| word.split_once('=').is_some_and(|(name, _)| name == name.to_uppercase());
    let start = words.iter().position(|word| !is_setting(word))?;
    let words = &words[start..];
    let is_ours =
        words.first().is_some_and(|first| first == "assize" || (first.ends_with("/assize") && !first.contains('=')));
    let example = "01936f2e-7c1a-7000-8000-000000000001";
    is_ours.then(|| {
        words.iter().map(|word| if word.starts_with('$') { example.to_owned() } else { word.clone() }).collect()
    })
}

/// The anchors of a document's headings, as GitHub writes them.
fn headings(path: &Path) -> Vec<String> {
    let text = read(path);
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect()
}

/// A file that a document names in backticks is there.
#[test]
fn every_file_that_the_documents_name_exists() {
    const ROOTS: [&str; 11] = [
        "benches/",
        "crates/",
        "docs/",
        "fuzz/",
        "model/",
        "scripts/",
        "sql/",
        "src/",
        "templates/",
        "tests/",
        "warden/",
    ];
    let mut missing = Vec::new();
    // Those about templates name files within the folder of a template.
    let is_about_templates = |path: &PathBuf| path.ends_with("templates.md") || path.starts_with("docs/templates");
    for document in documents().into_iter().filter(|path| !is_about_templates(path)) {
        let text = read(&document);
        for name in text.split('`').skip(1).step_by(2) {
            let is_name = name.chars().all(|letter| letter.is_alphanumeric() || "/._-".contains(letter));
            if is_name && ROOTS.iter().any(|root| name.starts_with(root)) && !Path::new(name).exists() {
                missing.push(format!("{}: {name}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "there is no such file:\n{}", missing.join("\n"));
}

#[test]
fn every_template_has_a_page_with_all_its_samples() {
    let templates = std::fs::read_dir("templates").unwrap().map(|entry| entry.unwrap().path());
    for template in templates.filter(|path| path.join("template.toml").is_file()) {
        let name = template.file_name().unwrap().to_str().unwrap();
        let page = read(&Path::new("docs/templates").join(format!("{name}.md")));
        let samples: toml::Table = read(&template.join("sample/expect.toml")).parse().unwrap();
        for sample in samples.keys() {
            assert!(page.contains(&format!("`{sample}`")), "docs/templates/{name}.md has no sample {sample}");
        }
        assert!(read(Path::new("docs/templates.md")).contains(&format!("templates/{name}.md")), "{name} is not listed");
    }
}
