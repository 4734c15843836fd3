//! A well-formed archive of a project.

/// A well-formed archive of a project, as an honest client packs it. Each file is a name and its content.
#[must_use]
pub fn project(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        // Writing to memory does not fail; the service would reject a truncated archive.
        if zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).is_ok() {
            std::io::Write::write_all(&mut zip, content).ok();
        }
    }
    zip.finish().map(std::io::Cursor::into_inner).unwrap_or_default()
}
