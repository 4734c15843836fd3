//! An archive written byte by byte: no common writer produces one whose fields contradict each other.

use crate::Member;

/// What the end of an archive declares, and what lies around it. The default is the truth.
#[derive(Debug, Default)]
pub struct Ending {
    /// Bytes before the first local header.
    pub before: Vec<u8>,
    /// Bytes between the last entry and the directory.
    pub between: Vec<u8>,
    /// Number of this disk; 0 in an archive of one file.
    pub disks: u16,
    /// Declared number of entries, if it is not the real one.
    pub entries: Option<u16>,
    /// Declared length of the directory in bytes, if it is not the real one.
    pub len: Option<u32>,
    /// Declared offset of the directory, if it is not the real one.
    pub offset: Option<u32>,
    /// Comment of the archive.
    pub comment: Vec<u8>,
    /// Declared length of the comment in bytes, if it is not the real one.
    pub comment_len: Option<u16>,
    /// Bytes behind the end record.
    pub after: Vec<u8>,
    /// A zip64 record with its declared entries and length (`None`: the real ones), and the bytes by which its locator
    /// misses it.
    pub zip64: Option<(Option<u64>, Option<u64>, u64)>,
}

/// A length in the width of its field. A length that does not fit becomes 0.
fn small<T: TryFrom<usize> + Default>(len: usize) -> T {
    T::try_from(len).unwrap_or_default()
}

/// 16-bit fields in little-endian order, as headers store them.
#[must_use]
pub fn numbers(shorts: &[u16]) -> Vec<u8> {
    shorts.iter().flat_map(|short| short.to_le_bytes()).collect()
}

/// 32-bit fields in little-endian order, as headers store them.
#[must_use]
pub fn longs(longs: &[u32]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_le_bytes()).collect()
}

/// The bytes of the archive: every member behind its local header, the directory, the end record.
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
