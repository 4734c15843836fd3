//! Entries whose two headers, descriptors and sizes contradict each other, overlap or hide something.

use super::{HostileArchive, members, refused};
use crate::{ABC_CRC, Ending, Member, archive, crc32, file, folder, longs, numbers, stored};

/// A field of extra data with another name in it, as some unpackers prefer it.
fn other_name() -> Vec<u8> {
    [numbers(&[0x7075, 6]), vec![1, 0, 0, 0, 0, b'b']].concat()
}

/// An entry that was written as a stream: its sizes come after its data.
fn streamed(after: Vec<u8>) -> Member {
    Member { flags: 1 << 3, local_crc: Some(0), local_sizes: Some((0, 0)), after, ..file("a") }
}

pub(super) fn all() -> Vec<HostileArchive> {
    [differing(), overlapping(), descriptors(), methods(), sizes()].concat()
}

fn differing() -> Vec<HostileArchive> {
    let a = || file("a");
    [
        (
            "name",
            "a name of another letter",
            "archive_name_mismatch",
            Member { local_name: Some(b"b".to_vec()), ..a() },
        ),
        ("name-length", "a longer name", "archive_name_mismatch", Member { local_name: Some(b"aa".to_vec()), ..a() }),
        ("method", "another method", "archive_method_mismatch", Member { local_method: Some(8), ..a() }),
        (
            "utf8-flag",
            "another encoding of names",
            "archive_flags_mismatch",
            Member { local_flags: Some(1 << 11), ..a() },
        ),
        (
            "stream-flag",
            "sizes that follow the data",
            "archive_flags_mismatch",
            Member { local_flags: Some(1 << 3), ..a() },
        ),
        ("crc", "another CRC", "archive_crc_mismatch", Member { local_crc: Some(7), ..a() }),
        ("crc-zero", "a CRC of 0", "archive_crc_mismatch", Member { local_crc: Some(0), ..a() }),
        ("unpacked", "a larger size", "archive_size_mismatch", Member { local_sizes: Some((4, 3)), ..a() }),
        ("packed", "a larger packed size", "archive_size_mismatch", Member { local_sizes: Some((3, 4)), ..a() }),
        ("sizes-zero", "sizes of 0", "archive_size_mismatch", Member { local_sizes: Some((0, 0)), ..a() }),
        (
            "unicode-path-local",
            "another name in an extra field",
            "archive_second_name_mismatch",
            Member { local_extra: other_name(), ..a() },
        ),
    ]
    .map(|(name, what, code, member)| {
        let tried = format!("a local header with {what} than the directory's");
        members(&format!("mismatch-{name}"), tried, code, &[member])
    })
    .into_iter()
    .chain([
        members(
            "unicode-path-crc",
            "a second name for another name than the first",
            "archive_second_name_mismatch",
            &[Member { name: b"caf\xe9".to_vec(), extra: other_name(), local_extra: other_name(), ..a() }],
        ),
        members(
            "unicode-path-local-alone",
            "a second name in the local header alone",
            "archive_second_name_mismatch",
            &[Member {
                name: b"caf\xe9".to_vec(),
                local_extra: [numbers(&[0x7075, 6]), vec![1], longs(&[crc32(b"caf\xe9")]), vec![b'b']].concat(),
                ..a()
            }],
        ),
        members(
            "stored-size-differs",
            "a stored entry whose two sizes differ",
            "archive_size_mismatch",
            &[Member { unpacked: 4, ..a() }],
        ),
        members(
            "folder-with-data",
            "a folder that has data",
            "archive_folder_mismatch",
            &[Member { unpacked: 3, packed: 3, data: b"abc".to_vec(), ..folder("a/") }],
        ),
        members(
            "unicode-path-central",
            "a directory entry with a second name in an extra field",
            "archive_second_name_mismatch",
            &[Member { extra: other_name(), ..a() }],
        ),
        members(
            "offset-into-header",
            "a directory entry that points three bytes into a local header",
            "archive_no_local_header",
            &[Member { offset: Some(3), ..a() }],
        ),
    ])
    .collect()
}

fn overlapping() -> Vec<HostileArchive> {
    let second = archive(&[file("b")], &Ending::default())[..34].to_vec();
    let quoting = Member { data: second.clone(), packed: 34, unpacked: 34, ..file("a") };
    let quoted = Member { data: Vec::new(), offset: Some(31), ..file("b") };
    vec![
        members(
            "overlap-full",
            "two entries with one local header",
            "archive_overlap",
            &[file("a"), Member { offset: Some(0), name: b"b".to_vec(), ..file("a") }],
        ),
        members(
            "overlap-quoted",
            "an entry whose data is the next entry's header",
            "archive_overlap",
            &[quoting, quoted],
        ),
        members(
            "overlap-directory",
            "data that reaches into the directory",
            "archive_overlap",
            &[Member { packed: 20, unpacked: 20, ..file("a") }],
        ),
        members(
            "ghost-entry",
            "an entry that only readers from the front see",
            "archive_hidden_data",
            &[Member { after: second, ..file("a") }, file("c")],
        ),
        refused(
            "hidden-before-directory",
            "bytes between the last entry and the directory",
            "archive_hidden_data",
            archive(&[file("a")], &Ending { between: b"xyz".to_vec(), ..Ending::default() }),
        ),
    ]
}

fn descriptors() -> Vec<HostileArchive> {
    [
        ("crc", "with another CRC", longs(&[0x0807_4b50, 7, 3, 3]), "archive_descriptor_mismatch"),
        ("packed", "with another packed size", longs(&[0x0807_4b50, ABC_CRC, 4, 3]), "archive_descriptor_mismatch"),
        ("unpacked", "with another size", longs(&[0x0807_4b50, ABC_CRC, 3, 4]), "archive_descriptor_mismatch"),
        ("missing", "that is not there", Vec::new(), "archive_descriptor_mismatch"),
        ("padded", "with bytes behind it", longs(&[0x0807_4b50, ABC_CRC, 3, 3, 0]), "archive_hidden_data"),
    ]
    .map(|(name, what, after, code)| {
        let tried = format!("a data descriptor {what}");
        members(&format!("descriptor-{name}"), tried, code, &[streamed(after), file("b")])
    })
    .into()
}

fn methods() -> Vec<HostileArchive> {
    [
        ("encrypted", "an encrypted entry", 1, 0, "archive_encrypted"),
        ("encrypted-strong", "a strongly encrypted entry", 1 | 1 << 6, 0, "archive_encrypted"),
        ("encrypted-directory", "an entry whose header is masked", 1 << 13, 0, "archive_encrypted"),
        ("encrypted-aes", "an entry packed with AES", 0, 99, "archive_encrypted"),
        ("patched", "an entry that is a patch of another file", 1 << 5, 0, "archive_unsupported_method"),
        ("method-shrink", "an entry packed with Shrink", 0, 1, "archive_unsupported_method"),
        ("method-deflate64", "an entry packed with Deflate64", 0, 9, "archive_unsupported_method"),
        ("method-bzip2", "an entry packed with bzip2", 0, 12, "archive_unsupported_method"),
        ("method-lzma", "an entry packed with LZMA", 0, 14, "archive_unsupported_method"),
        ("method-zstd", "an entry packed with Zstandard", 0, 93, "archive_unsupported_method"),
    ]
    .map(|(name, tried, flags, method, code)| members(name, tried, code, &[Member { flags, method, ..file("a") }]))
    .into()
}

fn sizes() -> Vec<HostileArchive> {
    let bomb = |unpacked: u32| Member { method: 8, unpacked, packed: 3, ..file("a") };
    let many: Vec<Member> = (0..10_001).map(|number| file(&format!("f{number}"))).collect();
    let commented: Vec<Member> =
        (0..4).map(|number| Member { comment: vec![b'c'; 60_000], ..file(&format!("a{number}")) }).collect();
    vec![
        members("ratio", "an entry of 3 bytes that unpacks to 100 MB", "archive_ratio", &[bomb(100_000_000)]),
        members(
            "ratio-whole",
            "100 entries whose sizes only together are a bomb",
            "archive_ratio",
            &(0..100)
                .map(|number| Member { name: format!("f{number}").into_bytes(), ..bomb(1_000_000) })
                .collect::<Vec<_>>(),
        ),
        members(
            "ratio-beside-noise",
            "bombs beside as much that does not get smaller",
            "archive_ratio",
            &[
                stored("noise", &vec![7; 1_000_000]),
                bomb(40_000_000),
                Member { name: b"b".to_vec(), ..bomb(40_000_000) },
            ],
        ),
        members("unpacked-4g", "an entry that unpacks to 4 GiB", "archive_unpacked_too_large", &[bomb(u32::MAX - 1)]),
        members("entries-10001", "10,001 entries", "archive_too_many_entries", &many),
        members(
            "directory-of-comments",
            "four entries with 60,000 bytes of comment each",
            "archive_directory_too_large",
            &commented,
        ),
    ]
}
