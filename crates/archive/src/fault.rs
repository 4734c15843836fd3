//! The kinds of one [`super::ArchiveProblem`] that have codes of their own.

/// What is wrong with a single name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    /// The name has no byte.
    Empty,
    /// Two slashes follow each other.
    EmptyComponent,
    /// The name is not UTF-8, although the archive declares it as UTF-8.
    NotUtf8,
    /// The name contains a control character.
    Control,
    /// The name contains an invisible character or one that changes the direction of text.
    Invisible,
    /// The last component of a file is `.`.
    Dot,
    /// A component ends in a dot or a space, which Windows removes.
    TrailingDot,
    /// A component is the name of a device on Windows, such as `CON`.
    Reserved,
    /// A component has a character that Windows keeps for itself, such as `:`.
    NotPortable,
}

impl NameFault {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty_name",
            Self::EmptyComponent => "empty_component",
            Self::NotUtf8 => "name_not_utf8",
            Self::Control => "control_in_name",
            Self::Invisible => "invisible_in_name",
            Self::Dot => "dot_component",
            Self::TrailingDot => "trailing_dot",
            Self::Reserved => "reserved_name",
            Self::NotPortable => "name_not_portable",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::EmptyComponent => "has an empty component",
            Self::NotUtf8 => "is not UTF-8, although the archive declares it as UTF-8",
            Self::Control => "contains a control character",
            Self::Invisible => "contains a character that is invisible or changes the direction of text",
            Self::Dot => "ends in the component \".\"",
            Self::TrailingDot => "has a component that ends in a dot or a space",
            Self::Reserved => "has a component that is a device on Windows",
            Self::NotPortable => "has one of the characters < > : \" | ? *, which Windows does not accept",
        }
    }
}

/// The type of an entry that is neither a file nor a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A Unix socket.
    Socket,
    /// A type that no system defines.
    Unknown,
}

impl Special {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::CharacterDevice | Self::BlockDevice => "device",
            Self::Socket => "socket",
            Self::Unknown => "unknown_kind",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fifo => "a FIFO",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Socket => "a socket",
            Self::Unknown => "of an unknown kind",
        }
    }
}

/// The field in which the headers of an entry contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The directory points to bytes that are not a local header.
    LocalHeader,
    /// The names of the two headers differ.
    Name,
    /// An extra field contains another name.
    SecondName,
    /// The sizes of the two headers differ.
    Size,
    /// The CRCs of the two headers differ.
    Crc,
    /// The compression methods of the two headers differ.
    Method,
    /// The flags of the two headers differ.
    Flags,
    /// The mode is that of a folder, the name that of a file.
    FolderMode,
    /// The mode is that of a file, the name that of a folder.
    FileMode,
    /// A folder has data.
    FolderSize,
}

impl Field {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::LocalHeader => "no_local_header",
            Self::Name => "name_mismatch",
            Self::SecondName => "second_name_mismatch",
            Self::Size => "size_mismatch",
            Self::Crc => "crc_mismatch",
            Self::Method => "method_mismatch",
            Self::Flags => "flags_mismatch",
            Self::FolderMode | Self::FileMode | Self::FolderSize => "folder_mismatch",
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LocalHeader => "the directory points to bytes that are not a local header",
            Self::Name => "its two headers have different names",
            Self::SecondName => "its extra field contains another name",
            Self::Size => "its two headers have different sizes",
            Self::Crc => "its two headers have different CRCs",
            Self::Method => "its two headers have different compression methods",
            Self::Flags => "its two headers have different flags",
            Self::FolderMode => "it is a folder by its mode and a file by its name",
            Self::FileMode => "it is a file by its mode and a folder by its name",
            Self::FolderSize => "it is a folder with data",
        }
    }
}
