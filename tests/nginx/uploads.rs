//! Large uploads through nginx: their bytes reach the API while they arrive, and are stored once.

use std::io;
use std::path::Path;
use std::time::Duration;

use assize_config::Config;
use assize_domain::output::{Entry, EntryId, OutputEntry, blob_key};
use assize_domain::run::StageName;
use assize_protocol::event::Stream;
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, ClientBuilder};
use sqlx::PgPool;

use crate::front::{self, PROTOCOLS};
use crate::harness::{Setup, json, until, zips};

const MIB: usize = 1 << 20;

/// The pause of a slow reader between two pieces.
const DRIP: Duration = Duration::from_millis(20);

/// A template with room for the archive of these tests.
const ROOMY: &str = r#"
    description = "Unit tests"
    class = "B"
    image = "assize/unit"
    limits = { cpus = 1.0, memory_mib = 512, pids = 16, workspace_mib = 128, workspace_inodes = 100, tmp_mib = 8 }
    stages = [{ name = "tests", command = ["true"], timeout_s = 1 }]
    results = { format = "exit_code" }
    global = { timeout_s = 10 }
"#;

/// A line of 1 MiB.
fn long_line(number: u64) -> Entry {
    let id = EntryId { attempt: 1, number };
    OutputEntry { id, stage: StageName::Tests, stream: Stream::Stdout, offset: 0, text: "x".repeat(MIB) }.into()
}

/// Returns the sizes of the uploads that this process stores in this folder at the moment. They have no names.
fn spooled(folder: &Path) -> Vec<u64> {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let files = files.filter(|file| std::fs::read_link(file.path()).is_ok_and(|target| target.starts_with(folder)));
    files.filter_map(|file| Some(std::fs::metadata(file.path()).ok()?.len())).collect()
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn an_upload_of_95_mib_reaches_the_api_while_it_arrives_and_is_written_once(pool: PgPool) {
    let config = Config { min_free_disk_mib: 0, ..Config::default() };
    let (server, front) = front::start(pool, Setup { config, template: ROOMY, ..Setup::default() }).await;
    let archive = Bytes::from(zips::stored("main.bin", 95 * MIB));
    let spool = server.folder().join("spool");
    for (change, version) in PROTOCOLS {
        let (pieces, folder) = (archive.clone(), spool.clone());
        let stream = async_stream::stream! {
            for begin in (0..60 * MIB).step_by(MIB) {
                yield Ok::<_, io::Error>(pieces.slice(begin..begin + MIB));
            }
            // The rest is sent only after the API has stored most of the first part.
            until(|| spooled(&folder).iter().any(|bytes| *bytes >= 50 * MIB as u64)).await;
            assert_eq!(spooled(&folder).len(), 1);
            yield Ok(pieces.slice(60 * MIB..));
        };
        let part = Part::stream_with_length(Body::wrap_stream(stream), archive.len() as u64).file_name("project.zip");
        let form = Form::new().text("template", "unit").text("user", "ada").part("archive", part);
        let request = front.client(change).post(format!("{}/v1/submissions", front.url()));
        let answer = request.bearer_auth(&server.key).multipart(form).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (202, version), "{}", front.log("error.log"));
        assert_eq!(json(answer).await["submission"]["archive_bytes"], archive.len());
        assert_eq!(spooled(&spool), Vec::<u64>::new());
    }
    // nginx warns about each body and each answer that it writes to a file.
    let errors = front.log("error.log");
    assert!(!errors.contains("temporary file"), "{errors}");
    let (submissions, _, _, blobs, _) = server.left_behind().await;
    assert_eq!((submissions, blobs), (2, 1), "the same archive twice");
}

#[sqlx::test(migrations = "crates/store/sql/migrations")]
async fn a_long_answer_to_a_slow_reader_is_written_to_no_file(pool: PgPool) {
    let (server, front) = front::start(pool, Setup::default()).await;
    let run = server.insert_runs(1).await[0];
    let lease = server.running().await;
    let blob: Vec<u8> = (1..=32).flat_map(|number| long_line(number).line()).collect();
    server.blobs.put_output(&blob_key(run, 1), blob.clone().into()).await.unwrap();
    server.complete(lease).await;
    let client = front.client(ClientBuilder::http1_only);
    let request = client.get(format!("{}/v1/runs/{run}/output?format=ndjson", front.url()));
    let mut answer = request.bearer_auth(&server.key).send().await.unwrap();
    // A reader that takes its time at first: nginx would read ahead into a file meanwhile.
    let mut ticks = tokio::time::interval(DRIP);
    let (mut length, mut pieces) = (0, 0);
    while let Some(piece) = answer.chunk().await.unwrap() {
        length += piece.len();
        pieces += 1;
        if pieces < 20 {
            ticks.tick().await;
        }
    }
    assert_eq!(length, blob.len());
    let errors = front.log("error.log");
    assert!(!errors.contains("temporary file"), "{errors}");
}
