//! Packs a folder into the zip archive that is submitted.
//!
//! The same files always produce the same bytes: entries are sorted, have no times, and have one of two modes. Files
//! that `.gitignore` names are left out, in a Git repository or not, and so is what the template ignores. A symlink is skipped with a warning, because a service makes a plain file of it.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use assize_protocol::names::{DEFAULT_IGNORE, Pattern};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::outcome::Fault;

/// An archive that is ready to be sent.
#[derive(Debug)]
pub struct Packed {
    /// A temporary file, or the user's own archive, positioned at its beginning.
    pub file: File,
    pub bytes: u64,
    /// For a folder: what was packed.
    pub contents: Option<Contents>,
    pub warnings: Vec<String>,
}

/// The number and size of the files that were packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    pub files: u64,
    pub bytes: u64,
}

/// Which files of a folder are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Those that a template does not ignore by these patterns, without `.git`.
    NotIgnored(&'a [String]),
    /// All but `.git`.
    All,
}

/// What templates ignore unless they say otherwise.
#[must_use]
pub fn default_ignore() -> Vec<String> {
    DEFAULT_IGNORE.iter().map(|pattern| (*pattern).to_owned()).collect()
}

/// Returns the archive of `path`: the file itself if it is a zip file, or a new archive of the folder.
///
/// # Errors
/// [`Fault`] if there is nothing to submit, or a file cannot be read.
pub fn pack(path: &Path, selection: Selection<'_>) -> Result<Packed, Fault> {
    let about = std::fs::metadata(path).map_err(|error| {
        Fault::usage(format!("cannot submit {}: {error}; submit a folder or a .zip file", path.display()))
    })?;
    if about.is_dir() {
        return pack_folder(path, selection);
    }
    if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip")) {
        let what = "is a file, but not a .zip file; submit the project's folder or a .zip file of it";
        return Err(Fault::usage(format!("{} {what}", path.display())));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(Packed { file, bytes: about.len(), contents: None, warnings: Vec::new() })
}

fn pack_folder(folder: &Path, selection: Selection<'_>) -> Result<Packed, Fault> {
    let mut warnings = Vec::new();
    let files = files_of(folder, selection, &mut warnings)?;
    if files.is_empty() {
        let folder = folder.display();
        return Err(Fault::usage(format!(
            "there is no file to submit in {folder}: it is empty, or .gitignore or the template's list of ignored files excludes all files; --all packs the latter"
        )));
    }
    let spool = tempfile::tempfile()
        .map_err(|error| Fault::infrastructure(format!("cannot create a temporary file: {error}")))?;
    let mut zip = zip::ZipWriter::new(io::BufWriter::new(spool));
    let mut contents = Contents::default();
    for path in &files {
        let name = entry_name(folder, path)?;
        let mut file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let mode = file.metadata().map_err(|error| unreadable(path, &error))?.permissions().mode();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(if mode & 0o111 == 0 { 0o644 } else { 0o755 });
        let fault = |reason: String| Fault::usage(format!("cannot pack {}: {reason}", path.display()));
        zip.start_file(name, options).map_err(|error| fault(error.to_string()))?;
        contents.bytes += io::copy(&mut file, &mut zip).map_err(|error| fault(error.to_string()))?;
        contents.files += 1;
    }
    let fault = |reason: String| Fault::infrastructure(format!("cannot write the archive: {reason}"));
    let buffer = zip.finish().map_err(|error| fault(error.to_string()))?;
    let mut file = buffer.into_inner().map_err(|error| fault(error.to_string()))?;
    let bytes = file.stream_position().map_err(|error| fault(error.to_string()))?;
    file.rewind().map_err(|error| fault(error.to_string()))?;
    Ok(Packed { file, bytes, contents: Some(contents), warnings })
}

/// Returns the plain files of a folder, sorted by path.
fn files_of(folder: &Path, selection: Selection<'_>, warnings: &mut Vec<String>) -> Result<Vec<PathBuf>, Fault> {
    let ignored = match selection {
        Selection::NotIgnored(patterns) => patterns,
        Selection::All => &[],
    };
    // The walk keeps the patterns for as long as it likes.
    let patterns: Vec<String> = std::iter::once(".git".to_owned()).chain(ignored.iter().cloned()).collect();
    let (ignored, seen) = mpsc::channel();
    let is_kept = move |entry: &ignore::DirEntry| {
        let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
        let name = entry.file_name().to_string_lossy();
        // The folder itself may have any name.
        let is_ignored =
            |pattern: &String| Pattern::parse(pattern).is_some_and(|pattern| pattern.matches(&name, is_folder));
        let is_kept = entry.depth() == 0 || !patterns.iter().any(is_ignored);
        if !is_kept {
            // The other end lives as long as the walk.
            ignored.send(entry.path().to_owned()).ok();
        }
        is_kept
    };
    let walk = ignore::WalkBuilder::new(folder)
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .follow_links(false)
        .filter_entry(is_kept)
        .sort_by_file_path(Path::cmp)
        .build();
    let mut files = Vec::new();
    for entry in walk {
        let entry = entry.map_err(|error| Fault::usage(format!("cannot read {}: {error}", folder.display())))?;
        match entry.file_type() {
            Some(kind) if kind.is_file() => files.push(entry.into_path()),
            Some(kind) if kind.is_dir() => {}
            // The folder itself may be a link.
            _ if entry.depth() == 0 => {}
            Some(kind) => {
                let what = if kind.is_symlink() { "a symlink" } else { "not a plain file" };
                let shown = crate::terminal::printable(&entry.path().display().to_string());
                warnings.push(format!("{shown} is {what} and was left out"));
            }
            None => {}
        }
    }
    warnings.extend(left_out(folder, &seen.try_iter().collect::<Vec<_>>()));
    Ok(files)
}

/// What was left out beside `.git`, which nobody misses; the first few by name.
fn left_out(folder: &Path, ignored: &[PathBuf]) -> Option<String> {
    const MAX_NAMES: usize = 5;
    let names: Vec<&Path> = ignored
        .iter()
        .map(|path| path.strip_prefix(folder).unwrap_or(path))
        .filter(|path| !path.ends_with(".git"))
        .collect();
    let shown = |path: &&Path| crate::terminal::printable(&path.display().to_string());
    let mut first = names.iter().take(MAX_NAMES).map(shown).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(MAX_NAMES).filter(|more| *more > 0) {
        first.push_str(&format!(" and {more} more"));
    }
    (!names.is_empty()).then(|| format!("{first} left out, as the template ignores it; --all packs it"))
}

fn entry_name(folder: &Path, path: &Path) -> Result<String, Fault> {
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let name = inside.to_str().ok_or_else(|| {
        Fault::usage(format!("the name {} is not UTF-8, as archives require; rename the file", inside.display()))
    })?;
    Ok(name.to_owned())
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::usage(format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn bytes(packed: &mut Packed) -> Vec<u8> {
        let mut all = Vec::new();
        packed.file.read_to_end(&mut all).unwrap();
        assert_eq!(all.len() as u64, packed.bytes);
        all
    }

    fn pack_by_default(path: &Path) -> Result<Packed, Fault> {
        pack(path, Selection::NotIgnored(&default_ignore()))
    }

    fn names(packed: &mut Packed) -> Vec<String> {
        let mut zip = zip::ZipArchive::new(io::Cursor::new(bytes(packed))).unwrap();
        (0..zip.len()).map(|at| zip.by_index(at).unwrap().name().unwrap().into_owned()).collect()
    }

    #[test]
    fn what_gitignore_names_stays_out_without_a_repository() {
        let folder = folder(&[
            (".gitignore", "node_modules/\n*.log\n!keep.log\n"),
            ("a.js", "1"),
            ("debug.log", "2"),
            ("keep.log", "3"),
            ("node_modules/x/index.js", "4"),
            ("sub/.gitignore", "secret\n"),
            ("sub/secret", "5"),
            ("sub/b.js", "6"),
            (".env", "7"),
            (".git/config", "8"),
        ]);
        let mut packed = pack_by_default(folder.path()).unwrap();
        let expected = [".env", ".gitignore", "a.js", "keep.log", "sub/.gitignore", "sub/b.js"];
        assert_eq!(names(&mut packed), expected);
        assert_eq!(packed.contents.unwrap().files, 6);
    }

    #[test]
    fn what_a_service_ignores_by_default_stays_out_unless_all_is_asked_for() {
        let folder = folder(&[
            ("a.js", "1"),
            (".DS_Store", "2"),
            ("sub/._a.js", "3"),
            ("node_modules/x/index.js", "4"),
            ("venv", "a file of that name"),
            (".git/config", "5"),
        ]);
        let mut packed = pack_by_default(folder.path()).unwrap();
        assert_eq!(names(&mut packed), ["a.js", "venv"]);
        assert_eq!(
            packed.warnings,
            [".DS_Store, node_modules, sub/._a.js left out, as the template ignores it; --all packs it"]
        );
        let mut packed = pack(folder.path(), Selection::All).unwrap();
        assert_eq!(names(&mut packed), [".DS_Store", "a.js", "node_modules/x/index.js", "sub/._a.js", "venv"]);
        assert!(packed.warnings.is_empty());
    }

    #[test]
    fn a_template_that_ignores_less_gets_more() {
        let folder = folder(&[("a.js", "1"), ("node_modules/x/index.js", "2"), ("b.tmp", "3"), (".git/config", "4")]);
        let mut packed = pack(folder.path(), Selection::NotIgnored(&["*.tmp".to_owned()])).unwrap();
        assert_eq!(names(&mut packed), ["a.js", "node_modules/x/index.js"]);
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let files = [("b", "two"), ("a/c", "one"), ("a.txt", "three")];
        let (one, two) = (folder(&files), folder(&[files[2], files[1], files[0]]));
        let old = File::options().write(true).open(two.path().join("b")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
        assert_eq!(bytes(&mut pack_by_default(one.path()).unwrap()), bytes(&mut pack_by_default(two.path()).unwrap()));
    }

    #[test]
    fn a_symlink_is_left_out_with_a_warning() {
        let folder = folder(&[("a", "1"), ("sub/b", "2")]);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("sub"), folder.path().join("way")).unwrap();
        let mut packed = pack_by_default(folder.path()).unwrap();
        assert_eq!(names(&mut packed), ["a", "sub/b"]);
        assert_eq!(packed.warnings.len(), 2);
        assert!(packed.warnings[0].ends_with("link is a symlink and was left out"), "{:?}", packed.warnings);
    }

    #[test]
    fn an_executable_stays_executable() {
        let folder = folder(&[("run.sh", "true"), ("data", "1")]);
        std::fs::set_permissions(folder.path().join("run.sh"), PermissionsExt::from_mode(0o700)).unwrap();
        let mut packed = pack_by_default(folder.path()).unwrap();
        let mut zip = zip::ZipArchive::new(io::Cursor::new(bytes(&mut packed))).unwrap();
        assert_eq!(zip.by_name("run.sh").unwrap().unix_mode().unwrap() & 0o777, 0o755);
        assert_eq!(zip.by_name("data").unwrap().unix_mode().unwrap() & 0o777, 0o644);
    }

    #[test]
    fn there_must_be_something_to_submit() {
        let empty = pack_by_default(folder(&[]).path()).unwrap_err().to_string();
        assert!(empty.starts_with("there is no file to submit in "), "{empty}");
        let ignored = folder(&[(".gitignore", "*\n"), ("a", "1")]);
        assert!(pack_by_default(ignored.path()).is_err());
        let missing = pack_by_default(Path::new("/nonexistent/project")).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/project"), "{missing}");
    }

    #[test]
    fn a_file_that_is_no_zip_is_refused() {
        let folder = folder(&[("a.tar", "x"), ("b.zip", "whatever")]);
        assert!(pack_by_default(&folder.path().join("a.tar")).is_err());
        assert_eq!(pack_by_default(&folder.path().join("b.zip")).unwrap().bytes, 8);
    }
}
