//! Archives that no scan has seen: what the warden's own checks hold, in the cell, when the scan is wrong.
//!
//! No switch turns the scan off. The archive is put into the blob store and the submission inserted past the API, or the
//! cell is given the archive directly.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Cursor, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assize::intake::blob::Blobs;
use assize_archive::{ArchiveProblem, ArchiveSummary, ScanLimits, scan};
use assize_cell::{Berth, CellSpec, Engine, Event, Role};
use assize_config::Config;
use assize_corpus::{Ending, Member, archive, file, folder};
use assize_domain::limits::CellLimits;
use assize_protocol::content::Content;
use assize_protocol::event::EndStatus;
use assize_protocol::plan::{Input, Plan, VERSION};
use assize_store::Store;
use assize_store::submissions::{NewSource, NewSubmission};
use futures_util::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use uuid::Uuid;

use crate::harness::processes::warden_path;
use crate::harness::zips;
use crate::site::{Setup, Site, docker, shared};

fn spooled(bytes: &[u8]) -> File {
    let mut spool = tempfile::tempfile().unwrap();
    spool.write_all(bytes).unwrap();
    spool
}

/// A stored file of three bytes with the CRC that they have: the warden reads what the scan does not.
fn real(name: &str) -> Member {
    Member { crc: 0x3524_41c2, ..file(name) }
}

fn plain(members: &[Member]) -> Vec<u8> {
    archive(members, &Ending::default())
}

fn deflated(name: &str, data: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(data).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Claims `unpacked` bytes in both headers for a file that has more.
fn understated(mut bytes: Vec<u8>, real: u32, claimed: u32) -> Vec<u8> {
    let real = real.to_le_bytes();
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|&at| bytes[at..at + 4] == real).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 4].copy_from_slice(&claimed.to_le_bytes());
    }
    bytes
}

/// What each archive is, and words of the reason that it is refused for. CellLimits as [`input`] and the template `strict`
/// have them: 60 inodes, 50,000 bytes unpacked, 100,000 bytes packed.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let link = |name: &str, target: &str| {
        let size = u32::try_from(target.len()).unwrap();
        Member { mode: 0o120_777, data: target.into(), packed: size, unpacked: size, ..real(name) }
    };
    let device = |mode| plain(&[Member { mode, ..real("escaped") }]);
    let many: Vec<Member> = (0..900).map(|i| real(&format!("f{i}"))).collect();
    let folders: Vec<Member> = (0..20).map(|i| real(&format!("a{i}/b/c/d/e"))).collect();
    let zeros = vec![0; 64 << 20];
    let elf = [b"\x7fELF".as_slice(), &[0; 2000]].concat();
    vec![
        ("..", plain(&[real("first"), real("../escaped")]), "`..`"),
        (".. in the middle", plain(&[real("a/../../tmp/escaped")]), "`..`"),
        ("absolute", plain(&[real("/tmp/escaped")]), "absolute"),
        ("absolute to the tests", plain(&[real("/grader/escaped")]), "absolute"),
        ("drive", plain(&[real("C:/escaped")]), "drive letter"),
        ("backslash", plain(&[real("..\\escaped")]), "backslash"),
        ("NUL", plain(&[real("a\0/../escaped")]), "NUL"),
        ("symlink", plain(&[link("escaped", "/tmp")]), "neither a plain file"),
        ("symlink as a folder", plain(&[Member { mode: 0o120_777, ..folder("a/") }]), "neither a plain file"),
        (
            "chained symlink",
            plain(&[link("a", ".."), link("a/b", "../tmp"), real("a/b/escaped")]),
            "neither a plain file",
        ),
        (
            "chained over folders",
            plain(&[folder("d/"), link("d/up", "../.."), real("d/up/tmp/escaped")]),
            "neither a plain",
        ),
        ("FIFO", device(0o010_644), "neither a plain file"),
        ("character device", device(0o020_666), "neither a plain file"),
        ("block device", device(0o060_660), "neither a plain file"),
        ("socket", device(0o140_755), "neither a plain file"),
        ("twice", plain(&[real("a"), real("a")]), "comes twice"),
        ("file, then folder", plain(&[real("a"), real("a/b")]), "is a file as well"),
        ("folder, then file", plain(&[real("a/b"), real("a")]), "exists already"),
        ("overlap", plain(&[real("a"), Member { offset: Some(0), ..real("a") }]), "comes twice"),
        ("deep", plain(&[real(&format!("{}a", "d/".repeat(100)))]), "101 levels deep, the limit is 64"),
        ("long name", plain(&[real(&"n".repeat(5000))]), "5000 bytes, the limit is 4096"),
        ("encrypted", plain(&[Member { flags: 1, ..real("a") }]), "encrypted"),
        ("entries bomb", plain(&many), "900 files and folders or more, the limit is 60"),
        ("folders bomb", plain(&folders), "files and folders or more, the limit is 60"),
        ("zip bomb", deflated("a.txt", &zeros), "bytes or more, the limit is 50000"),
        ("zip bomb that claims little", understated(deflated("a.txt", &zeros), 64 << 20, 10), "a.txt"),
        ("oversize", zips::stored("a.bin", 60_000), "limit is 50000"),
        ("packed oversize", zips::stored("a.bin", 200_000), "the limit is 100000"),
        ("wrong CRC", plain(&[file("a")]), "cannot be read"),
        ("a program under another name", deflated("notes.txt", &elf), "of the kind `program`"),
        ("an archive within", deflated("photo.txt", &plain(&[real("a")])), "of the kind `archive`"),
        ("no zip", b"PK, but nothing else".to_vec(), "cannot be read as zip"),
    ]
}

/// Puts an archive and a run of it where the API would have put them.
async fn insert(site: &Site, store: &Store, blobs: &Blobs, template: &str, bytes: &[u8]) -> Uuid {
    let archive_sha256 = hex::encode(Sha256::digest(bytes));
    blobs.put_archive(&archive_sha256, &Arc::new(spooled(bytes)), bytes.len() as u64).await.unwrap();
    let (id, run_id) = (Uuid::now_v7(), Uuid::now_v7());
    let new = NewSubmission {
        id,
        run_id,
        organization_id: store.ensure_organization("school").await.unwrap(),
        user: "ada",
        template,
        half_slots: 1,
        source: NewSource::Archive { sha256: &archive_sha256, bytes: i64::try_from(bytes.len()).unwrap(), entries: 1 },
        metadata: &serde_json::json!({}),
        idempotency: None,
        receipt: None,
    };
    store.insert_submission(&new).await.unwrap();
    assert!(site.read(run_id).await["id"].is_string());
    run_id
}

#[tokio::test]
async fn what_no_scan_has_seen_ends_as_archive_rejected() {
    let site = shared();
    let pool = PgPool::connect(&site.database_url).await.unwrap();
    let store = Store::on(pool.clone());
    let blob_url = &site.settings.iter().find(|(key, _)| key == "blob_url").unwrap().1;
    let blobs = Blobs::open(blob_url).unwrap();
    let mut runs = Vec::new();
    for (what, bytes, words) in cases() {
        runs.push((what, words, insert(&site, &store, &blobs, "strict", &bytes).await));
    }
    for (what, words, run) in runs {
        let ended: Value = site.ended(run).await;
        assert_eq!(ended["status"], "failed", "{what}: {ended}");
        // Its limit on entries is as many inodes as the workspace has: folders take the last one first.
        if what == "folders bomb" {
            assert_eq!(ended["failure"]["code"], "out_of_disk", "{what}: {ended}");
            continue;
        }
        assert_eq!(ended["failure"]["code"], "archive_rejected", "{what}: {ended}");
        let message = ended["failure"]["evidence"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{what}: {message}");
        assert!(ended["failure"]["transient"] == false && ended["attempt"] == 1, "{what}: {ended}");
    }
    pool.close().await;
}

/// FAILURES 33a: the scan lets none of these in. A cell that gets one all the same ends for what the archive is, and never
/// as a cell that was lost: not at the longest file, nor when its memory is used up while it takes the archive in.
#[tokio::test]
async fn what_a_cell_cannot_hold_is_the_submissions_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tight")).unwrap();
    let text = r#"description = "tight"
class = "A"
image = "assize/base:1"
limits = { cpus = 1.0, memory_mib = 24, pids = 16, workspace_mib = 16, workspace_inodes = 20000, tmp_mib = 2 }
stages = [{ name = "tests", command = ["sh", "run.sh"], timeout_s = 5 }]
results = { format = "exit_code" }
global = { timeout_s = 60 }
"#;
    std::fs::write(folder.path().join("tight/template.toml"), text).unwrap();
    let setup = Setup { templates_dir: Some(folder.path().to_owned()), ..Setup::default() };
    let site = Site::start(setup);
    let pool = PgPool::connect(&site.database_url).await.unwrap();
    let store = Store::on(pool.clone());
    let blob_url = &site.settings.iter().find(|(key, _)| key == "blob_url").unwrap().1;
    let blobs = Blobs::open(blob_url).unwrap();
    let many: Vec<Member> = (0..19_000)
        .map(|number| Member { data: Vec::new(), packed: 0, unpacked: 0, crc: 0, ..real(&format!("f{number}")) })
        .collect();
    let mut runs = Vec::new();
    for (what, bytes) in [
        ("longer than its longest file", zips::stored("a.bin", 20_000_000)),
        ("as long as its longest file", zips::stored("a.bin", (17 << 20) - 200)),
        ("archive and file together are its memory", zips::stored("a.bin", 12 << 20)),
        ("all that the workspace has", zips::stored("a.bin", 16 << 20)),
        ("inodes", plain(&many)),
    ] {
        runs.push((what, insert(&site, &store, &blobs, "tight", &bytes).await));
    }
    for (what, run) in runs {
        let ended: Value = site.ended(run).await;
        println!("{what}: {}", ended["failure"]);
        // So many inodes may fit into what the kernel counts here; then the project only has nothing to run.
        let is_own = ended["failure"]["cause"] == "submission" || (what == "inodes" && ended["score"] == 0.0);
        assert!(is_own, "{what}: {ended}");
        assert_eq!(ended["attempt"], 1, "{what}: {ended}");
    }
    pool.close().await;
}

const LIMITS: CellLimits =
    CellLimits { cpus: 1.0, memory_mib: 128, pids: 24, workspace_mib: 4, workspace_inodes: 100, tmp_mib: 2 };

fn plan() -> Plan {
    let input = Input {
        into: "/workspace".to_owned(),
        max_archive_bytes: 100_000,
        max_entries: 60,
        max_bytes: 50_000,
        deny_content: vec![Content::Program, Content::Archive],
        before: None,
    };
    Plan {
        version: VERSION,
        inputs: vec![input],
        stages: Vec::new(),
        global_timeout_ms: 20_000,
        grace_ms: 100,
        results: None,
        disks: Vec::new(),
        writable: Vec::new(),
    }
}

/// Folders of a cell, held open: what is in them can be looked at when the cell is gone.
struct Held(Vec<(&'static str, File)>);

impl Held {
    fn open(pid: i64) -> Self {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let folders = ["workspace", "tmp", "grader", "dev/shm"];
        Self(folders.map(|name| (name, File::open(root.join(name)).unwrap())).into())
    }

    /// Everything below a folder, links not followed.
    fn below(&self, name: &str) -> Vec<PathBuf> {
        let (_, folder) = self.0.iter().find(|(held, _)| *held == name).unwrap();
        let root = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        let (mut found, mut left) = (Vec::new(), vec![root]);
        while let Some(folder) = left.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                assert!(kind.is_file() || kind.is_dir(), "{:?} is neither a file nor a folder", entry.path());
                left.extend(kind.is_dir().then(|| entry.path()));
                found.push(entry.path());
            }
        }
        found
    }
}

/// What the engine says was changed in the cell's root.
async fn changes(id: &str) -> BTreeSet<String> {
    let changes = docker().container_changes(id).await.unwrap().unwrap_or_default();
    changes.into_iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect()
}

#[tokio::test]
async fn nothing_outside_the_workspace_is_touched() {
    let instance = format!("t{}", Uuid::now_v7().simple());
    let config = Config { instance: instance.clone(), warden_path: warden_path(), ..Config::default() };
    let engine = Engine::connect(&config).await.unwrap();
    let berth = Berth::launch(&engine, "test").await.unwrap();
    for (what, bytes, words) in cases() {
        let spec = CellSpec {
            run_id: Uuid::now_v7(),
            attempt: 1,
            worker: "test",
            role: Role::Subject,
            image: "assize/base:1",
            limits: LIMITS,
            runtime: None,
            grader_bytes: 1 << 20,
            berth: &berth.id,
            plan: "",
            place: None,
        };
        let wanted = || -> futures_util::future::BoxFuture<'static, bool> { Box::pin(std::future::ready(true)) };
        let mut cell = engine.launch(&spec.name(&engine), spec.body(&engine), &wanted).await.unwrap();
        assert!(matches!(cell.output.next().await.unwrap(), Event::Hello(_)));
        // The warden is up and waits for its plan.
        let pid = engine.inspect(&cell.id).await.unwrap().state.unwrap().pid.unwrap();
        let (held, before) = (Held::open(pid), changes(&cell.id).await);
        let pieces = futures_util::stream::iter([Ok::<_, String>(bytes.into())]).boxed();
        // A cell that refuses early stops to read; what it says is what counts.
        cell.input.take().unwrap().deliver(&plan(), vec![pieces]).await.ok();
        let end = loop {
            if let Event::End(end) = cell.output.next().await.unwrap() {
                break end;
            }
        };
        let EndStatus::Rejected { reason, .. } = end.status else { panic!("{what}: {:?}", end.status) };
        assert!(reason.contains(words), "{what}: {reason}");
        for folder in ["tmp", "grader", "dev/shm"] {
            assert_eq!(held.below(folder), Vec::<PathBuf>::new(), "{what}: in /{folder}");
        }
        let inside = held.below("workspace");
        assert!(inside.len() <= 61, "{what}: {} files and folders", inside.len());
        let length =
            |path: &PathBuf| path.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 });
        assert!(inside.iter().map(length).sum::<u64>() <= 50_000, "{what}: {inside:?}");
        assert_eq!(changes(&cell.id).await, before, "{what}: the root changed");
        assert!(!Path::new("/tmp/escaped").exists() && !Path::new("/escaped").exists(), "{what}: on the host");
        engine.remove(&cell.id).await.unwrap();
    }
    engine.remove(&berth.id).await.unwrap();
    let cgroups = assize_cell::counters::Cgroups::of(&engine).await.unwrap();
    assize::maintenance::stale_cgroups::remove_parents(&cgroups);
}

/// The scan, on the same archives: it lets none of them through to the cell.
#[test]
fn the_scan_refuses_the_same_archives() {
    let scanned = |bytes: &[u8]| -> Result<ArchiveSummary, ArchiveProblem> {
        let limits = ScanLimits {
            max_entries: 60,
            max_unpacked_bytes: 50_000,
            max_archive_bytes: 100_000,
            ..ScanLimits::default()
        };
        scan(&spooled(bytes), &limits)
    };
    // What only inflating shows, and folders that no entry names.
    let blind = [
        "wrong CRC",
        "a program under another name",
        "an archive within",
        "folders bomb",
        "zip bomb that claims little",
    ];
    for (what, bytes, _) in cases() {
        let accepted = scanned(&bytes).is_ok();
        assert_eq!(accepted, blind.contains(&what), "{what}: {:?}", scanned(&bytes));
    }
}
