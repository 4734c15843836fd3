//! The seeds of the fuzz target `archive`: `UPDATE_SEEDS=1 cargo test --lib seeds` writes them.

use super::crafted::{Ending, Member, archive, file, folder, longs, numbers};
use std::io::Write;
use std::path::Path;

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |members: &[Member]| archive(members, &Ending::default());
    // CRC-32 of the three bytes that `file` holds, so that the cell's reader takes them.
    let real = |name: &str| Member { crc: 0x3524_41c2, ..file(name) };
    let streamed = Member {
        flags: 1 << 3,
        local_crc: Some(0),
        local_sizes: Some((0, 0)),
        after: longs(&[0x0807_4b50, 0x3524_41c2, 3, 3]),
        ..real("streamed")
    };
    let wide = [3_u64, 3].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let large = Member {
        extra: [numbers(&[1, 16]), wide].concat(),
        unpacked: u32::MAX,
        packed: u32::MAX,
        local_sizes: Some((3, 3)),
        ..real("large")
    };
    let mut deflated = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["src/main.py", "README.md"] {
        deflated.start_file(name, zip::write::SimpleFileOptions::default()).expect("a file");
        deflated.write_all(&[b'x'; 300]).expect("data");
    }
    vec![
        ("files", plain(&[folder("src/"), real("src/a"), real("b")])),
        ("deflated", deflated.finish().expect("an archive").into_inner()),
        ("streamed", plain(&[streamed, real("b")])),
        ("large", plain(&[large])),
        ("zip64", archive(&[real("a")], &Ending { zip64: Some((None, None, 0)), ..Ending::default() })),
        ("comment", archive(&[real("a")], &Ending { comment: b"end".to_vec(), ..Ending::default() })),
        ("outside", plain(&[real("../a")])),
        ("absolute", plain(&[real("/a")])),
        ("symlink", plain(&[Member { mode: 0o120_777, ..real("a") }, real("a/b")])),
        ("device", plain(&[Member { mode: 0o020_644, ..real("a") }])),
        ("twice", plain(&[real("a"), real("a")])),
        ("folder_and_file", plain(&[real("a"), real("a/b")])),
        ("overlap", plain(&[real("a"), Member { offset: Some(0), ..real("b") }])),
        ("prepended", archive(&[real("a")], &Ending { before: b"#!".to_vec(), ..Ending::default() })),
        ("encrypted", plain(&[Member { flags: 1, ..real("a") }])),
    ]
}

#[test]
fn the_seeds_are_what_the_fuzzer_begins_with() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/archive");
    for (name, bytes) in seeds() {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &bytes).expect("written");
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == bytes, "{} is not up to date: UPDATE_SEEDS=1 cargo test --lib seeds", path.display());
    }
}
