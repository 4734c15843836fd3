//! The tests of a template, packed.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use assize_protocol::cases::{SUITE, Suite};
use bytes::Bytes;

use super::parameters::{MAX_PARAMETERS_BYTES, PARAMETERS_FILE};
use super::room;
use assize_archive::Needed;

/// The longest packed bundle of tests, in bytes: it is kept in memory and sent to every cell.
const MAX_BUNDLE: u64 = 16 * 1024 * 1024;

/// The tests of a template.
pub(super) struct Bundle {
    /// The zip; empty if there are none.
    pub(super) bytes: Bytes,
    /// What it takes up in the cell that it is unpacked in.
    pub(super) needed: Needed,
}

/// A folder as a zip, the same bytes for the same files: sorted, without times; empty if there is no such folder.
///
/// # Errors
/// What cannot be read, or that there is more than [`MAX_BUNDLE`].
///
/// The suite of the cases is added under its own name.
pub(super) fn pack(folder: &Path, suite: Option<&Suite>) -> Result<Bundle, String> {
    if !folder.is_dir() {
        return Ok(Bundle { bytes: Bytes::new(), needed: Needed::default() });
    }
    // The parameters of a run stand beside the tests.
    let (mut lengths, mut folders) = (vec![MAX_PARAMETERS_BYTES], BTreeSet::<PathBuf>::new());
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    let walk = ignore::WalkBuilder::new(folder).standard_filters(false).sort_by_file_path(Path::cmp).build();
    let mut size = 0;
    for entry in walk {
        let entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path();
        let name = path.strip_prefix(folder).map_err(|error| error.to_string())?;
        let name = name.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
        if !path.is_file() || name.contains("__pycache__") {
            continue;
        }
        if name == PARAMETERS_FILE {
            return Err(format!("{name} is the name of the file of parameters; name your file otherwise"));
        }
        let content = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        size += content.len() as u64;
        if size > MAX_BUNDLE {
            return Err(format!("more than {MAX_BUNDLE} bytes"));
        }
        lengths.push(content.len() as u64);
        let above = Path::new(name).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        folders.extend(above.map(Path::to_owned));
        zip.start_file(name, options).map_err(|error| error.to_string())?;
        zip.write_all(&content).map_err(|error| error.to_string())?;
    }
    if let Some(suite) = suite {
        if folder.join(SUITE).exists() {
            return Err(format!("{SUITE} is the name of the file that is made of the cases; rename it"));
        }
        let content = serde_json::to_vec(suite).map_err(|error| error.to_string())?;
        lengths.push(content.len() as u64);
        zip.start_file(SUITE, options).map_err(|error| error.to_string())?;
        zip.write_all(&content).map_err(|error| error.to_string())?;
    }
    let bytes: Bytes = zip.finish().map_err(|error| error.to_string())?.into_inner().into();
    let archive_bytes = bytes.len() as u64 + MAX_PARAMETERS_BYTES;
    let needed = room::needed(lengths.into_iter(), folders.len() as u64, archive_bytes);
    Ok(Bundle { bytes, needed })
}
