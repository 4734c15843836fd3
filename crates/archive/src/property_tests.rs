//! What must hold for every file.

use super::crafted::{Ending, Member, archive, file, folder, longs, scan_bytes};
use assize_protocol::names::{NameRules, Place, RawName, Survey, link};
use proptest::prelude::*;
use std::io::Cursor;
use zip::read::{Config, ZipFileEntry};
use zip::unstable::read::ZipIterable;

fn good() -> Vec<u8> {
    let streamed = Member {
        flags: 1 << 3,
        local_crc: Some(0),
        local_sizes: Some((0, 0)),
        after: longs(&[0x0807_4b50, 0x1234_5678, 3, 3]),
        ..file("src/streamed")
    };
    let zip64 = Ending { zip64: Some((None, None, 0)), ..Ending::default() };
    let linked = Member { mode: 0o120_777, ..file("./link") };
    archive(&[folder("src/"), file("src/main"), streamed, linked, file("größe"), file("._x")], &zip64)
}

/// Whatever is accepted means the same to the reader that unpacks it in the cell: it sees as many entries, and of those
/// that belong to the project by the same rules, as many files and bytes.
fn check(bytes: &[u8]) {
    let Ok(summary) = scan_bytes(bytes) else { return };
    let mut read =
        ZipIterable::try_new(Cursor::new(bytes), Config::default()).expect("readable, since the scan accepted it");
    assert_eq!(read.len() as u64, summary.entries);
    let rules = NameRules::default();
    let mut survey = Survey::new(Some(&rules));
    let text = |entry: &ZipFileEntry<'_>| {
        let name = RawName::new(entry.name_raw(), entry.flags().as_u16(), &[]).expect("no extra fields");
        name.decode().expect("decoded, since the scan accepted it").into_owned()
    };
    for entry in read.files().expect("a directory") {
        survey.add(&text(&entry.expect("an entry")));
    }
    let reading = survey.finish();
    let (mut files, mut unpacked) = (0, 0);
    for entry in read.files().expect("a directory") {
        let entry = entry.expect("an entry");
        let place = reading.place(&text(&entry)).expect("a place, since the scan accepted it");
        let Place::Project(name) = place else { continue };
        if !name.is_folder && !link::is_link(entry.external_attributes() >> 16) {
            files += 1;
            unpacked += entry.size();
        }
    }
    // A link is a file or left out by its target; there are few, and they are short.
    let links = summary.contents.links_as_files;
    assert_eq!(files, summary.files - links, "{:?}", summary.contents);
    assert!(unpacked <= summary.unpacked_bytes && summary.unpacked_bytes <= unpacked + links * link::MAX_TARGET);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn nothing_panics_on_bytes_with_an_end_record(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        numbers in prop::array::uniform4(0_u16..300),
    ) {
        let [entries, len, offset, signature] = numbers;
        let mut bytes = bytes;
        if signature % 2 == 0 {
            bytes.splice(0..0, *b"PK\x03\x04");
        }
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend([entries % 5, entries % 5].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(longs(&[len.into(), offset.into()]));
        bytes.extend([0, 0]);
        check(&bytes);
    }

    #[test]
    fn a_mutated_archive_is_refused_or_means_one_thing(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = good();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        check(&bytes);
    }

    #[test]
    fn a_spliced_archive_is_refused_or_means_one_thing(
        from in any::<prop::sample::Index>(),
        len in 0_usize..80,
        to in any::<prop::sample::Index>(),
    ) {
        let mut bytes = good();
        let from = from.index(bytes.len());
        let piece: Vec<u8> = bytes[from..bytes.len().min(from + len)].to_vec();
        let to = to.index(bytes.len());
        bytes.splice(to..to, piece);
        check(&bytes);
    }

    #[test]
    fn what_the_writer_makes_is_accepted(names in prop::collection::btree_set("[a-z]{5,8}", 1..20)) {
        let members: Vec<Member> = names.iter().map(|name| file(&format!("{name}.txt"))).collect();
        let summary = scan_bytes(&archive(&members, &Ending::default()));
        prop_assert_eq!(summary.map(|summary| summary.files), Ok(names.len() as u64));
    }
}
