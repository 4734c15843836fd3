//! Archives, good and bad.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub fn good() -> Vec<u8> {
    zip(&[("main.py", b"print('hello')\n"), ("tests/test_main.py", b"assert True\n")])
}

/// The same with other bytes.
pub fn other() -> Vec<u8> {
    zip(&[("main.py", b"print('goodbye')\n")])
}

pub fn empty() -> Vec<u8> {
    zip(&[])
}

pub fn with_entries(count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|number| format!("file-{number}")).collect();
    zip(&names.iter().map(|name| (name.as_str(), b"x".as_slice())).collect::<Vec<_>>())
}

/// A file that would land outside: written under a harmless name of the same length, then renamed in
/// place, because the writer itself refuses.
pub fn outside() -> Vec<u8> {
    let mut bytes = zip(&[("xx/evil", b"x")]);
    for at in 0..bytes.len() - 7 {
        if &bytes[at..at + 7] == b"xx/evil" {
            bytes[at..at + 2].copy_from_slice(b"..");
        }
    }
    bytes
}

pub fn stored(name: &str, bytes: usize) -> Vec<u8> {
    plain(name, &vec![7; bytes])
}

/// One file, uncompressed.
pub fn plain(name: &str, content: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let plain = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file(name, plain).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}
