//! The name of a header, and its text.

use std::borrow::Cow;

use super::{NameFault, cp437, fields};

/// The flag of a header whose name and comment are UTF-8 (APPNOTE 4.4.4, bit 11).
const UTF8: u16 = 1 << 11;

/// Info-ZIP's extra field with a second name in UTF-8 (APPNOTE 4.6.9): a version byte, the CRC-32 of the first name, and
/// the second name.
const UNICODE_PATH: u16 = 0x7075;
const UNICODE_PATH_VERSION: u8 = 1;

/// The name of a header as it lies in the archive.
#[derive(Debug, Clone, Copy)]
pub struct RawName<'h> {
    bytes: &'h [u8],
    is_utf8: bool,
    second: Option<&'h [u8]>,
}

impl<'h> RawName<'h> {
    /// Finds what a header tells about its name: its bytes, its flags and its extra fields. `None` if the extra fields
    /// are malformed, or have two second names.
    #[must_use]
    pub fn new(bytes: &'h [u8], flags: u16, extra: &'h [u8]) -> Option<Self> {
        let mut second = None;
        for field in fields(extra) {
            let (id, content) = field?;
            if id == UNICODE_PATH && second.replace(content).is_some() {
                return None;
            }
        }
        Some(Self { bytes, is_utf8: flags & UTF8 != 0, second })
    }

    /// Whether there is a second name.
    #[must_use]
    pub const fn has_second(&self) -> bool {
        self.second.is_some()
    }

    /// The text of the name: UTF-8 if the bytes are, or else the second name, or else code page 437.
    ///
    /// Some readers prefer the second name and others do not know it, so beside a name in UTF-8 it must be the same. Beside
    /// any other it must have the right CRC: a second name that is not about the first is what only some readers see.
    ///
    /// # Errors
    /// [`NameFault::NotUtf8`] and [`NameFault::SecondName`].
    pub fn decode(&self) -> Result<Cow<'h, str>, NameFault> {
        let second = match self.second {
            None => None,
            Some(content) => Some(content.split_at_checked(5).ok_or(NameFault::SecondName)?),
        };
        match (std::str::from_utf8(self.bytes), second) {
            (Ok(text), None) => Ok(Cow::Borrowed(text)),
            (Ok(text), Some((_, second))) if second == self.bytes => Ok(Cow::Borrowed(text)),
            (Ok(_), Some(_)) => Err(NameFault::SecondName),
            (Err(_), _) if self.is_utf8 => Err(NameFault::NotUtf8),
            (Err(_), None) => Ok(Cow::Owned(cp437::decode(self.bytes))),
            (Err(_), Some((head, second))) => {
                let sum = crc32fast::hash(self.bytes).to_le_bytes();
                let is_about_this =
                    head.first() == Some(&UNICODE_PATH_VERSION) && head.get(1..) == Some(sum.as_slice());
                let text = std::str::from_utf8(second).ok().filter(|_| is_about_this);
                text.map(Cow::Borrowed).ok_or(NameFault::SecondName)
            }
        }
    }
}
