//! A body of a submission: the parser of multipart, and what the API makes of it.
//!
//! The first byte says into pieces of how many bytes the body is cut, as a network might.

#![no_main]

use std::cell::RefCell;
use std::path::Path;

use assize::api::fuzzing;
use assize::template::Templates;
use assize_config::Config;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

/// Bytes of an archive: few, so that the limit is met.
const MAX_BYTES: u64 = 2048;

struct Ground {
    runtime: Runtime,
    config: Config,
    templates: Templates,
}

impl Ground {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().expect("a runtime");
        let templates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../templates"));
        let config = Config { spool_dir: std::env::temp_dir(), max_archive_bytes: MAX_BYTES, ..Config::default() };
        Self { runtime, config, templates: Templates::load(templates).expect("templates") }
    }
}

thread_local!(static GROUND: RefCell<Ground> = RefCell::new(Ground::new()));

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, body)) = bytes.split_first() else { return };
    let pieces = body.chunks(usize::from(cut).max(1)).map(|piece| piece.to_vec().into()).collect();
    GROUND.with_borrow(|Ground { runtime, config, templates }| {
        let read = fuzzing::form(config, templates, "multipart/form-data; boundary=b", pieces);
        if let Ok(form) = runtime.block_on(read) {
            assert!(form.archive_bytes <= MAX_BYTES && form.archive_bytes <= body.len() as u64);
            assert!(templates.get(&form.template).is_some());
            assert!((1..=200).contains(&form.user.chars().count()) && !form.user.chars().any(char::is_control));
            assert!(form.metadata.is_object() && form.metadata.to_string().len() <= body.len() * 6);
        }
    });
});
