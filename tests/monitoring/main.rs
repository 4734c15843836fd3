//! The monitoring: the rules in `prometheus/`, the boards in `grafana/`, the pages in `docs/runbooks/`, and the metrics
//! that they name. It needs `promtool`; the test of the live metrics also needs Postgres (`DATABASE_URL`), Redis
//! (`REDIS_URL`), the engine and the warden.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod alerts;
mod boards;
#[path = "../pipeline/site/database.rs"]
#[allow(dead_code, reason = "the tests of the pipeline use more of it")]
mod database;
mod live;
mod names;
#[path = "../harness/processes.rs"]
mod processes;
mod promtool;
mod runbooks;

use std::path::{Path, PathBuf};

/// A path below the root of the repository.
fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file with one of these endings in this folder and below it: its path from the root, and its text.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let walk = ignore::WalkBuilder::new(root(folder)).sort_by_file_name(Ord::cmp).build().map(Result::unwrap);
    let paths = walk.map(ignore::DirEntry::into_path).filter(|path| path.is_file());
    let paths = paths.filter(|path| endings.iter().any(|end| path.extension().is_some_and(|seen| seen == *end)));
    paths
        .map(|path| {
            let name = path.strip_prefix(root("")).unwrap().display().to_string();
            let text = read(&name);
            (name, text)
        })
        .collect()
}
