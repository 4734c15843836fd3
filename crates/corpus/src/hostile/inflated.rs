//! Archives whose headers agree with each other. The scan accepts them by its default limits, unless a header declares
//! what the archive must not hold; the warden finds the rest when it inflates them inside the cell.

use super::{HostileArchive, ScanAnswer, members};
use crate::{Ending, Member, archive, deflated, file, numbers, stored};

/// Inodes of the workspace that [`ScanAnswer::RefusedForWorkspace`] assumes: those of the attack's small templates.
pub const WORKSPACE_INODES: usize = 100;

fn answered(name: &str, what: &str, scan: ScanAnswer, list: &[Member]) -> HostileArchive {
    HostileArchive { scan, ..members(name, what, "", list) }
}

fn accepted(name: &str, what: &str, list: &[Member]) -> HostileArchive {
    answered(name, what, ScanAnswer::Accepted, list)
}

/// Bytes that deflate to about a hundredth: below the ratio that the scan refuses.
fn repetitive(bytes: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let block = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let block: Vec<u8> = block.take(30_000).collect();
    block.into_iter().cycle().take(bytes).collect()
}

pub(super) fn all() -> Vec<HostileArchive> {
    let script = || stored("run.sh", b"exit 1");
    let bomb = || deflated("bomb", &[0; 8 << 20], 1_000);
    let broken = Member { data: vec![0xff; 64], method: 8, packed: 64, unpacked: 3_000, ..file("broken") };
    let nested = archive(&[bomb()], &Ending::default());
    let counting = stored("run.sh", b"test \"$(ls | wc -l)\" = 2 && test -f inner.zip && exit 0; exit 1");
    let hard_link = Member { extra: [numbers(&[0x000d, 13]), vec![0; 13]].concat(), ..file("a") };
    let loose = Member { mode: 0o100_000, ..stored("secret", b"x") };
    let listed = stored("run.sh", b"test \"$(stat -c %a run.sh)\" = 644 && exit 0; exit 1");
    let full: Vec<Member> = std::iter::once(script())
        .chain((0..WORKSPACE_INODES + 50).map(|number| stored(&format!("f{number}"), b"x")))
        .collect();
    vec![
        accepted("inflates-further", "an entry that declares 1,000 bytes and inflates to 8 MiB", &[script(), bomb()]),
        accepted(
            "inflates-less",
            "an entry that inflates to fewer bytes than it declares",
            &[script(), deflated("bomb", &[0; 2_000], 5_000)],
        ),
        accepted("crc-wrong", "a file whose CRC is wrong in both headers", &[script(), Member { crc: 7, ..file("a") }]),
        accepted("deflate-broken", "data that is not a deflate stream", &[script(), broken]),
        answered(
            "fills-workspace",
            "5 MiB for a workspace of 4 MiB",
            ScanAnswer::RefusedForWorkspace("archive_exceeds_workspace"),
            &[script(), deflated("bomb", &repetitive(5 << 20), 5 << 20)],
        ),
        answered(
            "fills-inodes",
            "more files than the workspace has inodes",
            ScanAnswer::RefusedForWorkspace("archive_exceeds_inodes"),
            &full,
        ),
        accepted("nested", "an archive in an archive, a bomb", &[counting, stored("inner.zip", &nested)]),
        members("hard-link", "a hard link in an extra field", "archive_hard_link", &[script(), hard_link]),
        accepted("modes", "files with modes of their own", &[listed, loose]),
    ]
}
