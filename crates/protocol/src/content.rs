//! The kind of a file by its first bytes, whatever its name is.
//!
//! Only kinds that the first bytes prove are detected. A script is text here, and so is everything unknown.

use serde::{Deserialize, Serialize};

/// Bytes that suffice to detect a kind: the mark of tar lies the furthest in, at 257.
pub const HEAD: usize = 512;

/// A kind of file that a template may refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Machine code: ELF, PE, Mach-O, Java classes, WebAssembly.
    Program,
    /// What can be unpacked: zip (and so jar, docx and the like), gzip, bzip2, xz, zstd, 7z, rar, tar, ar, cpio.
    Archive,
}

impl Content {
    /// The word that templates use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Archive => "archive",
        }
    }

    /// Detects the kind of a file by its first bytes: [`HEAD`] of them, or the whole file if it is shorter.
    #[must_use]
    pub fn detect(head: &[u8]) -> Option<Self> {
        let begins = |marks: &[&[u8]]| marks.iter().any(|mark| head.starts_with(mark));
        let is_program = begins(&[
            b"\x7fELF",
            b"\xfe\xed\xfa\xce",
            b"\xfe\xed\xfa\xcf",
            b"\xce\xfa\xed\xfe",
            b"\xcf\xfa\xed\xfe",
            // A Java class, or Mach-O for several machines.
            b"\xca\xfe\xba\xbe",
            b"\0asm",
        ]) || is_pe(head);
        let is_archive = begins(&[
            b"PK\x03\x04",
            b"PK\x05\x06",
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"7z\xbc\xaf\x27\x1c",
            b"Rar!\x1a\x07",
            b"!<arch>\n",
            b"070701",
            b"070702",
            b"070707",
        ]) || head.get(257..262) == Some(b"ustar");
        match (is_program, is_archive) {
            (true, _) => Some(Self::Program),
            (_, true) => Some(Self::Archive),
            _ => None,
        }
    }
}

/// Whether these are the first bytes of a PE file. `MZ` alone can begin a text. A DOS header has 64 bytes and stores the
/// offset of the PE header at 0x3c; every linker places that header within the first 64 KiB.
fn is_pe(head: &[u8]) -> bool {
    head.starts_with(b"MZ") && head.get(0x3e..0x40) == Some(&[0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_first_bytes_say() {
        let pe = [b"MZ".as_slice(), &[0x90; 58], &[0x80, 0, 0, 0]].concat();
        let tar = [[b'a'; 257].as_slice(), b"ustar\0"].concat();
        for (head, expected) in [
            (b"\x7fELF\x02\x01".as_slice(), Some(Content::Program)),
            (&pe, Some(Content::Program)),
            (b"\xca\xfe\xba\xbe", Some(Content::Program)),
            (b"PK\x03\x04\x14", Some(Content::Archive)),
            (b"\x1f\x8b\x08", Some(Content::Archive)),
            (&tar, Some(Content::Archive)),
            (b"MZ is how this text begins, and it goes on for more than sixty-four bytes", None),
            (b"#!/bin/sh\n", None),
            (b"PK", None),
            (b"", None),
        ] {
            assert_eq!(Content::detect(head), expected, "{:?}", head.escape_ascii().to_string());
        }
    }
}
