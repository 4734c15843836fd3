//! The kinds of faults that have a code of their own within one problem.

/// What is wrong with a name by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameFault {
    Empty,
    EmptyComponent,
    NotUtf8,
    Control,
    Invisible,
    Dot,
    TrailingDot,
    Reserved,
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
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::EmptyComponent => "has an empty component",
            Self::NotUtf8 => "is not UTF-8",
            Self::Control => "holds a control character",
            Self::Invisible => "holds a character that is invisible or changes the direction of text",
            Self::Dot => "has the component \".\"",
            Self::TrailingDot => "has a component that ends in a dot or a space",
            Self::Reserved => "has a component that is a device on Windows",
        }
    }
}

/// What an entry is that is neither a file nor a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    Fifo,
    CharacterDevice,
    BlockDevice,
    Socket,
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

/// What the headers of an entry contradict each other in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    LocalHeader,
    Name,
    SecondName,
    Size,
    Crc,
    Method,
    Flags,
    FolderMode,
    FileMode,
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
            Self::LocalHeader => "there is no local header where the directory says",
            Self::Name => "its headers differ in the name",
            Self::SecondName => "its extra field has another name",
            Self::Size => "its headers differ in the size",
            Self::Crc => "its headers differ in the CRC",
            Self::Method => "its headers differ in the method",
            Self::Flags => "its headers differ in the flags",
            Self::FolderMode => "it is a folder by its mode and a file by its name",
            Self::FileMode => "it is a file by its mode and a folder by its name",
            Self::FolderSize => "it is a folder with data",
        }
    }
}
