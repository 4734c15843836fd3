//! One entry of an archive, field by field.

/// CRC-32 of the three bytes `abc`, which [`file()`] stores.
pub const ABC_CRC: u32 = 0x3524_41c2;

/// One entry of an archive. A field named `local_*` replaces its namesake in the local header alone, so that the two
/// headers of the entry can contradict each other.
#[derive(Debug, Clone)]
pub struct Member {
    /// Name in the directory; a folder's name ends in a slash.
    pub name: Vec<u8>,
    /// Name in the local header, if it differs.
    pub local_name: Option<Vec<u8>>,
    /// Bytes between the local header and whatever follows it, written as they are.
    pub data: Vec<u8>,
    /// Compression method: 0 is stored, 8 is deflate (APPNOTE 4.4.5).
    pub method: u16,
    /// Compression method in the local header, if it differs.
    pub local_method: Option<u16>,
    /// General purpose flags (APPNOTE 4.4.4).
    pub flags: u16,
    /// General purpose flags in the local header, if they differ.
    pub local_flags: Option<u16>,
    /// CRC-32 of the unpacked bytes.
    pub crc: u32,
    /// CRC-32 in the local header, if it differs.
    pub local_crc: Option<u32>,
    /// Declared size once unpacked, in bytes.
    pub unpacked: u32,
    /// Declared size in the archive, in bytes.
    pub packed: u32,
    /// Unpacked and packed size in the local header, if they differ.
    pub local_sizes: Option<(u32, u32)>,
    /// System that made the entry: 0 is DOS, 3 is Unix, 19 is macOS (APPNOTE 4.4.2.2).
    pub host: u8,
    /// Unix mode: type of the file and permissions.
    pub mode: u32,
    /// Extra fields in the directory.
    pub extra: Vec<u8>,
    /// Extra fields in the local header.
    pub local_extra: Vec<u8>,
    /// Comment of the entry, in the directory.
    pub comment: Vec<u8>,
    /// Bytes after the data: a data descriptor, or bytes that belong to no entry.
    pub after: Vec<u8>,
    /// Offset of the local header that the directory declares, if it is not the real one.
    pub offset: Option<u32>,
}

/// A stored file that holds the three bytes `abc`.
#[must_use]
pub fn file(name: &str) -> Member {
    Member {
        name: name.as_bytes().to_vec(),
        local_name: None,
        data: b"abc".to_vec(),
        method: 0,
        local_method: None,
        flags: 0,
        local_flags: None,
        crc: ABC_CRC,
        local_crc: None,
        unpacked: 3,
        packed: 3,
        local_sizes: None,
        host: 3,
        mode: 0o100_644,
        extra: Vec::new(),
        local_extra: Vec::new(),
        comment: Vec::new(),
        after: Vec::new(),
        offset: None,
    }
}

/// A folder; `name` ends in a slash.
#[must_use]
pub fn folder(name: &str) -> Member {
    Member { data: Vec::new(), unpacked: 0, packed: 0, mode: 0o040_755, crc: 0, ..file(name) }
}

/// A stored file that holds `data`, with the right sizes and CRC.
#[must_use]
pub fn stored(name: &str, data: &[u8]) -> Member {
    let length = u32::try_from(data.len()).unwrap_or_default();
    Member { data: data.to_vec(), packed: length, unpacked: length, crc: crc32(data), ..file(name) }
}

/// A deflated file that holds `data` and declares that it unpacks to `unpacked` bytes.
#[must_use]
pub fn deflated(name: &str, data: &[u8], unpacked: u32) -> Member {
    let (packed_data, crc) = deflate(data);
    let packed = u32::try_from(packed_data.len()).unwrap_or_default();
    Member { method: 8, data: packed_data, packed, unpacked, crc, ..file(name) }
}

/// Deflated data, with its CRC; empty if it cannot be packed.
fn deflate(data: &[u8]) -> (Vec<u8>, u32) {
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let packed = writer
        .start_file("x", options)
        .and_then(|()| Ok(std::io::Write::write_all(&mut writer, data)?))
        .and_then(|()| writer.finish())
        .map(std::io::Cursor::into_inner)
        .unwrap_or_default();
    // The archive begins with a local header of 30 bytes, the name and the extra fields.
    let field = |at: usize, width: usize| {
        packed.get(at..at + width).unwrap_or_default().iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let begin = 30 + field(26, 2) + field(28, 2);
    let crc = u32::try_from(field(14, 4)).unwrap_or_default();
    (packed.get(begin..begin + field(18, 4)).unwrap_or_default().to_vec(), crc)
}

/// CRC-32 as the zip format defines it.
#[must_use]
pub fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_deflated_data_are_those_of_the_format() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b"abc"), ABC_CRC);
        let zeros = deflated("zeros", &[0; 100_000], 100_000);
        assert!((50..1000).contains(&zeros.data.len()), "{}", zeros.data.len());
    }
}
