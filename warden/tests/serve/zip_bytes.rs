//! Archives written byte by byte: no writer makes the ones that matter here.

pub struct Entry {
    pub name: Vec<u8>,
    pub data: Vec<u8>,
    pub mode: u32,
    pub flags: u16,
}

impl Entry {
    pub fn file(name: &str, data: &[u8]) -> Self {
        Self { name: name.into(), data: data.into(), mode: 0o100_644, flags: 0 }
    }
}

/// A stored (uncompressed) archive.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = u32::try_from(out.len()).unwrap();
        let length = u32::try_from(entry.data.len()).unwrap();
        let mut shared = Vec::new();
        shared.extend(20u16.to_le_bytes());
        shared.extend(entry.flags.to_le_bytes());
        shared.extend([0; 6]);
        shared.extend(crc32(&entry.data).to_le_bytes());
        shared.extend(length.to_le_bytes());
        shared.extend(length.to_le_bytes());
        shared.extend(u16::try_from(entry.name.len()).unwrap().to_le_bytes());
        shared.extend([0; 2]);

        out.extend(b"PK\x03\x04");
        out.extend(&shared);
        out.extend(&entry.name);
        out.extend(&entry.data);

        directory.extend(b"PK\x01\x02");
        directory.extend([20, 3]);
        directory.extend(&shared);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
    }
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let start = u32::try_from(out.len()).unwrap();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
