//! The seeds of the fuzz target `archive`: `UPDATE_SEEDS=1 cargo test -p assize-archive seeds` writes them.

use assize_corpus::{ABC_CRC, crc32, stored};

use super::crafted::{Ending, Member, archive, file, folder, longs, numbers};
use std::io::Write;
use std::path::Path;

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |members: &[Member]| archive(members, &Ending::default());
    let streamed = Member {
        flags: 1 << 3,
        local_crc: Some(0),
        local_sizes: Some((0, 0)),
        after: longs(&[0x0807_4b50, ABC_CRC, 3, 3]),
        ..file("streamed")
    };
    let wide = [3_u64, 3].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let large = Member {
        extra: [numbers(&[1, 16]), wide].concat(),
        unpacked: u32::MAX,
        packed: u32::MAX,
        local_sizes: Some((3, 3)),
        ..file("large")
    };
    let raw = b"L\x94sung";
    let second = [numbers(&[0x7075, 12]), vec![1], longs(&[crc32(raw)]), "Lösung".as_bytes().to_vec()].concat();
    let second_name = Member { name: raw.to_vec(), extra: second.clone(), local_extra: second, ..file("") };
    let mut deflated = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["src/main.py", "README.md"] {
        deflated.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file");
        deflated.write_all(&[b'x'; 300]).expect("data");
    }
    vec![
        ("files", plain(&[folder("src/"), file("src/a"), file("b")])),
        ("deflated", deflated.finish().expect("an archive").into_inner()),
        ("streamed", plain(&[streamed, file("b")])),
        ("large", plain(&[large])),
        ("zip64", archive(&[file("a")], &Ending { zip64: Some((None, None, 0)), ..Ending::default() })),
        ("comment", archive(&[file("a")], &Ending { comment: b"end".to_vec(), ..Ending::default() })),
        ("ignored", plain(&[file("a/b"), file("__MACOSX/a/._b"), Member { mode: 0o020_644, ..file("a/.git/c") }])),
        ("top", plain(&[folder("a/"), file("a/b"), file("./a/c/d")])),
        ("backslashes", plain(&[file("a\\b"), file("a\\c\\d")])),
        ("code_page", plain(&[Member { name: b"L\x94sung".to_vec(), ..file("") }])),
        ("second_name", plain(&[second_name])),
        ("link_inside", plain(&[file("abc"), Member { mode: 0o120_777, ..file("a") }])),
        ("link_outside", plain(&[file("b"), Member { mode: 0o120_777, ..stored("a", b"../x") }])),
        ("padded", archive(&[file("a")], &Ending { after: vec![0; 64], ..Ending::default() })),
        ("marker", archive(&[file("a")], &Ending { before: b"PK00".to_vec(), ..Ending::default() })),
        ("outside", plain(&[file("../a")])),
        ("absolute", plain(&[file("/a")])),
        ("symlink", plain(&[Member { mode: 0o120_777, ..file("a") }, file("a/b")])),
        ("device", plain(&[Member { mode: 0o020_644, ..file("a") }])),
        ("twice", plain(&[file("a"), file("a")])),
        ("folder_and_file", plain(&[file("a"), file("a/b")])),
        ("overlap", plain(&[file("a"), Member { offset: Some(0), ..file("b") }])),
        ("prepended", archive(&[file("a")], &Ending { before: b"#!".to_vec(), ..Ending::default() })),
        ("encrypted", plain(&[Member { flags: 1, ..file("a") }])),
    ]
}

#[test]
fn the_seeds_are_what_the_fuzzer_begins_with() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/archive");
    for (name, bytes) in seeds() {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &bytes).expect("written");
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(
            kept == bytes,
            "{} is not up to date: UPDATE_SEEDS=1 cargo test -p assize-archive seeds",
            path.display()
        );
    }
}
