//! What is submitted.

use std::io::{Cursor, Write};

use anyhow::Result;
use rand::RngCore;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A `run.sh` beside `bytes` that nothing can pack, different each time: as large as its content.
pub fn padded(script: &str, bytes: usize) -> Result<Vec<u8>> {
    let mut noise = vec![0; bytes];
    rand::rng().fill_bytes(&mut noise);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(bytes + 1024)));
    zip.start_file("run.sh", stored)?;
    zip.write_all(script.as_bytes())?;
    zip.start_file("noise.bin", stored)?;
    zip.write_all(&noise)?;
    Ok(zip.finish()?.into_inner())
}

/// The script of the template's passing sample.
pub fn passing_script() -> Result<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/templates/trivial/sample/passing/run.sh");
    Ok(std::fs::read_to_string(path)?)
}
