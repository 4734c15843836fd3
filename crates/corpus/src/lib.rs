//! Archives made by hand, byte by byte, so that every field can lie.

/// An entry, as its two headers and its descriptor will say it.
#[derive(Debug, Clone)]
pub struct Member {
    pub name: Vec<u8>,
    pub local_name: Option<Vec<u8>>,
    pub data: Vec<u8>,
    pub method: u16,
    pub local_method: Option<u16>,
    pub flags: u16,
    pub local_flags: Option<u16>,
    pub crc: u32,
    pub local_crc: Option<u32>,
    pub unpacked: u32,
    pub packed: u32,
    pub local_sizes: Option<(u32, u32)>,
    pub host: u8,
    pub mode: u32,
    pub extra: Vec<u8>,
    pub local_extra: Vec<u8>,
    pub comment: Vec<u8>,
    /// Bytes after the data.
    pub after: Vec<u8>,
    /// Where the directory says that it is, instead of where it is.
    pub offset: Option<u32>,
}

/// A stored file of three bytes; its CRC is arbitrary, since the scan inflates nothing.
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
        crc: 0x1234_5678,
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

/// The end record.
#[derive(Debug, Default)]
pub struct Ending {
    pub before: Vec<u8>,
    pub between: Vec<u8>,
    pub disks: u16,
    pub entries: Option<u16>,
    pub len: Option<u32>,
    pub offset: Option<u32>,
    pub comment: Vec<u8>,
    pub comment_len: Option<u16>,
    pub after: Vec<u8>,
    /// Entries, length and offset of a zip64 record, and by how much its locator is off.
    pub zip64: Option<(Option<u64>, Option<u64>, u64)>,
}

/// A length as a header has it; one that does not fit is written as 0.
fn small<T: TryFrom<usize> + Default>(len: usize) -> T {
    T::try_from(len).unwrap_or_default()
}

/// 16-bit fields, as headers have them.
#[must_use]
pub fn numbers(shorts: &[u16]) -> Vec<u8> {
    shorts.iter().flat_map(|short| short.to_le_bytes()).collect()
}

/// 32-bit fields, as headers have them.
#[must_use]
pub fn longs(longs: &[u32]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}

/// The file: every member with its local header, the directory, the end record.
#[must_use]
pub fn archive(members: &[Member], ending: &Ending) -> Vec<u8> {
    let mut bytes = ending.before.clone();
    let mut central = Vec::new();
    for member in members {
        let at: u32 = small(bytes.len());
        let local_name = member.local_name.as_ref().unwrap_or(&member.name);
        let (unpacked, packed) = member.local_sizes.unwrap_or((member.unpacked, member.packed));
        bytes.extend(b"PK\x03\x04");
        bytes.extend(numbers(&[
            20,
            member.local_flags.unwrap_or(member.flags),
            member.local_method.unwrap_or(member.method),
        ]));
        bytes.extend(longs(&[0, member.local_crc.unwrap_or(member.crc), packed, unpacked]));
        bytes.extend(numbers(&[small(local_name.len()), small(member.local_extra.len())]));
        bytes.extend(local_name);
        bytes.extend(&member.local_extra);
        bytes.extend(&member.data);
        bytes.extend(&member.after);

        central.extend(b"PK\x01\x02");
        central.extend([20, member.host]);
        central.extend(numbers(&[20, member.flags, member.method]));
        central.extend(longs(&[0, member.crc, member.packed, member.unpacked]));
        let lens = [small(member.name.len()), small(member.extra.len()), small(member.comment.len())];
        central.extend(numbers(&lens));
        central.extend(numbers(&[0, 0]));
        central.extend(longs(&[member.mode << 16, member.offset.unwrap_or(at)]));
        central.extend(&member.name);
        central.extend(&member.extra);
        central.extend(&member.comment);
    }
    bytes.extend(&ending.between);
    let (offset, len) = (bytes.len(), central.len());
    bytes.extend(central);
    if let Some((entries64, len64, off_by)) = ending.zip64 {
        let at = bytes.len() as u64;
        let entries64 = entries64.unwrap_or(members.len() as u64);
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44_u64.to_le_bytes());
        bytes.extend(numbers(&[45, 45]));
        bytes.extend(longs(&[0, 0]));
        for number in [entries64, entries64, len64.unwrap_or(len as u64), offset as u64] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"PK\x06\x07");
        bytes.extend(longs(&[0]));
        bytes.extend((at + off_by).to_le_bytes());
        bytes.extend(longs(&[1]));
    }
    let entries = ending.entries.unwrap_or_else(|| small(members.len()));
    bytes.extend(b"PK\x05\x06");
    bytes.extend(numbers(&[ending.disks, 0, entries, entries]));
    bytes.extend(longs(&[ending.len.unwrap_or(small(len)), ending.offset.unwrap_or(small(offset))]));
    bytes.extend(numbers(&[ending.comment_len.unwrap_or(small(ending.comment.len()))]));
    bytes.extend(&ending.comment);
    bytes.extend(&ending.after);
    bytes
}

/// A project as an honest client packs it.
#[must_use]
pub fn project(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        // Writing to memory does not fail; a cut archive would be refused.
        if zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).is_ok() {
            std::io::Write::write_all(&mut zip, content).ok();
        }
    }
    zip.finish().map(std::io::Cursor::into_inner).unwrap_or_default()
}
