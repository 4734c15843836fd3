//! What no header shows: the scan takes these in, and the warden must end them inside the cell.

use std::io::{Cursor, Write};

use super::{TEMPLATE, members};
use crate::case::{Case, Group};
use crate::templates;
use crate::trial::{Must, Trial};
use assize_corpus::{Ending, Member, archive, file, numbers};
use assize_domain::run::FailureCode;

const REJECTED: &[FailureCode] = &[FailureCode::ArchiveRejected];

fn inside(name: &str, tried: &str, wall: &str, members: &[Member], must: Must) -> Trial {
    let case = Case::new(Group::Archives, name, tried, wall);
    Trial { case, template: TEMPLATE, archive: archive(members, &Ending::default()), must }
}

/// A member whose CRC is right.
fn honest(name: &str, data: &[u8]) -> Member {
    let length = u32::try_from(data.len()).unwrap_or_default();
    Member { data: data.to_vec(), packed: length, unpacked: length, crc: crc(data), ..file(name) }
}

/// Deflated data, with its CRC; empty if it cannot be packed.
fn deflated(data: &[u8]) -> (Vec<u8>, u32) {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    let packed = writer
        .start_file("x", options)
        .and_then(|()| Ok(writer.write_all(data)?))
        .and_then(|()| writer.finish())
        .map(Cursor::into_inner)
        .unwrap_or_default();
    // A local header of 30 bytes, the name, and what its own fields say.
    let field = |at: usize, width: usize| {
        packed.get(at..at + width).unwrap_or_default().iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let begin = 30 + field(26, 2) + field(28, 2);
    let crc = u32::try_from(field(14, 4)).unwrap_or_default();
    (packed.get(begin..begin + field(18, 4)).unwrap_or_default().to_vec(), crc)
}

/// A file that deflates to about a hundredth: less than the scan would ask about.
fn repetitive(bytes: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let block = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let block: Vec<u8> = block.take(30_000).collect();
    block.into_iter().cycle().take(bytes).collect()
}

/// CRC-32 as zip has it.
fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

pub(super) fn all() -> Vec<Trial> {
    let script = || honest("run.sh", b"exit 1");
    let lying = |data: &[u8], unpacked: u32| {
        let (data, crc) = deflated(data);
        let packed = u32::try_from(data.len()).unwrap_or_default();
        Member { method: 8, data, packed, unpacked, crc, ..file("bomb") }
    };
    let bomb = || lying(&[0; 8 << 20], 1_000);
    let broken = Member { data: vec![0xff; 64], method: 8, packed: 64, unpacked: 3_000, ..file("broken") };
    let nested = archive(&[bomb()], &Ending::default());
    let counting = honest("run.sh", b"test \"$(ls | wc -l)\" = 2 && test -f inner.zip && exit 0; exit 1");
    let hard_link = Member { extra: [numbers(&[0x000d, 13]), vec![0; 13]].concat(), ..honest("a", b"abc") };
    let loose = Member { mode: 0o100_000, ..honest("secret", b"x") };
    let listed = honest("run.sh", b"test \"$(stat -c %a run.sh)\" = 644 && exit 0; exit 1");
    let full: Vec<Member> = std::iter::once(script())
        .chain((0..templates::WORKSPACE_INODES + 50).map(|number| honest(&format!("f{number}"), b"x")))
        .collect();
    let warden = "the warden, in the cell: archive_rejected";
    vec![
        inside(
            "inflates-further",
            "an entry that says 1,000 bytes and inflates to 8 MiB",
            "the warden counts what it unpacks, and the tmpfs ends it",
            &[script(), bomb()],
            Must::Fail(&[FailureCode::ArchiveRejected, FailureCode::OutOfDisk]),
        ),
        inside(
            "inflates-less",
            "an entry that inflates to less than it says",
            "the warden: refused, or the bytes that there are",
            &[script(), lying(&[0; 2_000], 5_000)],
            Must::GainNothing,
        ),
        inside(
            "crc-wrong",
            "a file whose CRC is wrong in both headers",
            warden,
            &[script(), Member { crc: 7, ..honest("a", b"abc") }],
            Must::Fail(REJECTED),
        ),
        inside("deflate-broken", "data that is no deflate stream", warden, &[script(), broken], Must::Fail(REJECTED)),
        inside(
            "fills-workspace",
            "5 MiB for a workspace of 4 MiB",
            "the scan: archive_exceeds_workspace",
            &[script(), lying(&repetitive(5 << 20), 5 << 20)],
            Must::BeRefused("archive_exceeds_workspace"),
        ),
        inside(
            "fills-inodes",
            "more files than the workspace has inodes",
            "the scan: archive_exceeds_inodes",
            &full,
            Must::BeRefused("archive_exceeds_inodes"),
        ),
        inside(
            "nested",
            "an archive in an archive, a bomb",
            "it stays a file: the project counts two",
            &[counting, honest("inner.zip", &nested)],
            Must::Score(1.0),
        ),
        members("hard-link", "a hard link in an extra field", "archive_hard_link", &[script(), hard_link]),
        inside(
            "modes",
            "files with modes of their own",
            "the warden gives every file its own mode",
            &[listed, loose],
            Must::Score(1.0),
        ),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_packed_here_has_the_crc_of_the_field() {
        assert_eq!(super::crc(b"123456789"), 0xcbf4_3926);
        let (packed, _) = super::deflated(&[0; 100_000]);
        assert!((50..1000).contains(&packed.len()), "{}", packed.len());
    }
}
