//! Checks that the warden binary is static: the image of a cell may have neither a loader nor libraries.

use std::path::Path;

/// How a binary is linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Linkage {
    Static,
    Dynamic { interpreter: String },
}

/// The type of the ELF program header with the path of the loader.
const PT_INTERP: u32 = 3;

/// Reads the linkage from the program headers of a 64-bit little-endian ELF file.
///
/// # Errors
/// A predicate that follows the name of the file in a message, such as "cannot be read: ...".
pub(super) fn linkage(path: &Path) -> Result<Linkage, String> {
    let file = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    parse(&file).ok_or_else(|| "is not a Linux program for a 64-bit processor".to_owned())
}

fn parse(file: &[u8]) -> Option<Linkage> {
    if file.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let begin = usize::try_from(number(file, 0x20, 8)?).ok()?;
    let size = usize::try_from(number(file, 0x36, 2)?).ok()?;
    let count = usize::try_from(number(file, 0x38, 2)?).ok()?;
    for at in 0..count {
        let header = file.get(begin.checked_add(at.checked_mul(size)?)?..)?;
        if number(header, 0, 4)? == u64::from(PT_INTERP) {
            let offset = usize::try_from(number(header, 0x08, 8)?).ok()?;
            let length = usize::try_from(number(header, 0x20, 8)?).ok()?;
            let text = file.get(offset..offset.checked_add(length)?)?;
            let interpreter = String::from_utf8_lossy(text).trim_end_matches('\0').to_owned();
            return Some(Linkage::Dynamic { interpreter });
        }
    }
    Some(Linkage::Static)
}

/// Reads `width` bytes at `at` as a little-endian number.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kind: u32) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        file[0x20] = 64;
        file[0x36] = 56;
        file[0x38] = 1;
        file[64] = u8::try_from(kind).unwrap();
        let end = u8::try_from(file.len()).unwrap();
        file[64 + 0x08] = end;
        file[64 + 0x20] = 7;
        file.extend_from_slice(b"/ld.so\0");
        file
    }

    #[test]
    fn a_program_with_a_loader_is_dynamic() {
        assert_eq!(parse(&elf(PT_INTERP)), Some(Linkage::Dynamic { interpreter: "/ld.so".to_owned() }));
        assert_eq!(parse(&elf(1)), Some(Linkage::Static));
    }

    #[test]
    fn a_file_that_is_not_a_program_is_rejected() {
        assert_eq!(parse(b"#!/bin/sh\n"), None);
        for length in 0..64 + 56 {
            assert_eq!(parse(&elf(PT_INTERP)[..length]), None, "{length}");
        }
    }

    #[test]
    fn this_test_is_a_program() {
        assert!(linkage(&std::env::current_exe().unwrap()).is_ok());
    }
}
