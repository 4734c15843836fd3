//! Archives that no scan has seen: the warden's own checks must stop them in the cell even if the scan is wrong.
//!
//! No switch turns the scan off. The archive is put into the blob store and the submission inserted past the API, or the
//! cell is given the archive directly.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use assize::intake::blob::Blobs;
use assize_archive::{ScanLimits, scan};
use assize_cell::{Berth, CellSpec, Engine, Event, Role};
use assize_config::Config;
use assize_corpus::hostile::{self, HostileArchive, ScanAnswer, UnscannedAnswer};
use assize_corpus::{Ending, Member, archive, file};
use assize_domain::limits::CellLimits;
use assize_protocol::content::Content;
use assize_protocol::event::EndStatus;
use assize_protocol::names::NameRules;
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

/// The archives of the corpus for cells: name, bytes, and words of the reason that the warden rejects the archive with.
/// The template `strict` and [`plan`] have the limits that the corpus names.
fn cases() -> Vec<(String, Vec<u8>, &'static str)> {
    let rejected = |archive: HostileArchive| match archive.unscanned {
        UnscannedAnswer::Rejected(words) => (archive.name, archive.bytes, words),
        UnscannedAnswer::Contained => panic!("{}: an archive for cells has no reason", archive.name),
    };
    hostile::for_cells().into_iter().map(rejected).collect()
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
        source: NewSource::Archive {
            sha256: &archive_sha256,
            bytes: i64::try_from(bytes.len()).unwrap(),
            entries: 1,
            contents: &serde_json::json!({}),
        },
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
        // Their limit on files and folders is as many inodes as the workspace has, and its own folder takes one.
        if matches!(what.as_str(), "cell-folders" | "cell-entries") {
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
        .map(|number| Member { data: Vec::new(), packed: 0, unpacked: 0, crc: 0, ..file(&format!("f{number}")) })
        .collect();
    let mut runs = Vec::new();
    for (what, bytes) in [
        ("longer than its longest file", zips::stored("a.bin", 20_000_000)),
        ("as long as its longest file", zips::stored("a.bin", (17 << 20) - 200)),
        ("archive and file together are its memory", zips::stored("a.bin", 12 << 20)),
        ("all that the workspace has", zips::stored("a.bin", 16 << 20)),
        ("inodes", archive(&many, &Ending::default())),
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
        max_archive_bytes: hostile::CELL_MAX_ARCHIVE_BYTES,
        max_entries: hostile::CELL_MAX_ENTRIES,
        max_bytes: hostile::CELL_MAX_BYTES,
        deny_content: vec![Content::Program, Content::Archive],
        names: Some(NameRules::default()),
        before: None,
    };
    Plan {
        version: VERSION,
        inputs: vec![input],
        stages: Vec::new(),
        global_timeout_ms: 20_000,
        grace_ms: 100,
        results: None,
        artifacts: None,
        disks: Vec::new(),
        writable: Vec::new(),
        exec: None,
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
            artifact_bytes: 0,
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
    let cgroups = assize_cell::counters::Cgroups::detect(&engine).await.unwrap();
    assize::maintenance::stale_cgroups::remove_parents(&cgroups);
}

/// The scan refuses every archive for cells, except those that only inflating shows and those whose folders no entry
/// names.
#[test]
fn the_scan_refuses_the_same_archives() {
    let limits = ScanLimits {
        max_entries: hostile::CELL_MAX_ENTRIES,
        max_unpacked_bytes: hostile::CELL_MAX_BYTES,
        max_archive_bytes: hostile::CELL_MAX_ARCHIVE_BYTES,
        ..ScanLimits::default()
    };
    for archive in hostile::for_cells() {
        let scanned = scan(&spooled(&archive.bytes), &limits);
        assert_eq!(scanned.is_ok(), archive.scan == ScanAnswer::Accepted, "{}: {scanned:?}", archive.name);
    }
}
