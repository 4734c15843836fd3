//! Memory does not grow with what is handed in.

use std::io::{Cursor, Write};
use std::time::Duration;

use reqwest::multipart::Form;
use zip::write::SimpleFileOptions;

use crate::harness::{id_of, json, zip_part};
use crate::site::{Setup, Site};

/// What either process may add to its peak for an archive of any size, in KiB.
const MAX: u64 = 32 * 1024;

const ARCHIVE: usize = 95 << 20;

/// Bytes that no method makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn archive() -> Vec<u8> {
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::with_capacity(ARCHIVE + 4096)));
    zip.start_file("run.sh", stored).unwrap();
    zip.write_all(format!("test $(stat -c %s noise) = {ARCHIVE}").as_bytes()).unwrap();
    zip.start_file("noise", stored).unwrap();
    zip.write_all(&noise(ARCHIVE)).unwrap();
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn an_archive_of_95_mib_costs_api_and_worker_less_than_32_mib() {
    let site = Site::start(Setup { settings: vec![("worker_slots", "1".to_owned())], ..Setup::default() });
    // What everything costs once is no part of the question.
    let small = site.run("roomy", &[("run.sh", "exit 0")]).await;
    assert_eq!(small["score"], 1.0, "{small}");
    let before = (site.api.peak_memory_kib(), site.worker().peak_memory_kib());
    let form = Form::new().text("template", "roomy").text("user", "ada").part("archive", zip_part(archive()));
    let request = site.post("/v1/submissions").multipart(form).timeout(Duration::from_secs(60));
    let run = site.ended(id_of(&json(request.send().await.unwrap()).await["run"])).await;
    assert_eq!(run["score"], 1.0, "{run}");
    let after = (site.api.peak_memory_kib(), site.worker().peak_memory_kib());
    let (api, worker) = (after.0 - before.0, after.1 - before.1);
    println!("peak memory: api {} + {api} KiB, worker {} + {worker} KiB", before.0, before.1);
    assert!(api <= MAX && worker <= MAX, "api {api} KiB, worker {worker} KiB");
}
