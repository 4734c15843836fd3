//! Checks Postgres, Redis, the blob store, the spool folder and the signing key.

use std::path::Path;

use uuid::Uuid;

use super::Report;
use crate::intake::blob::{BlobError, Blobs};
use crate::redis::Redis;
use assize_client::terminal::bytes;
use assize_config::Config;
use assize_host as host;
use assize_host::clock::{Clock, Stopwatch};
use assize_signing::key_file;
use assize_store::Store;

/// The round trip to Postgres, in ms, above which claims become noticeably slower.
const SLOW_MS: u128 = 50;

/// The largest difference between the clocks of the database and this host, in ms. Leases use only the database's
/// clock, but operators compare its times with logs of this host.
const CLOCK_DIFFERENCE_MS: i64 = 2_000;

/// The free disk space that is required, in uploads of the maximum size.
const SPOOLED_UPLOADS: u64 = 10;

pub(super) async fn postgres(config: &Config, report: &mut Report) {
    let store = match Store::open(&config.database_url, 1) {
        Ok(store) => store,
        Err(error) => return report.fault("postgres", &error),
    };
    let version = match store.server_version().await {
        Ok(version) => version,
        Err(error) => return report.fault("postgres", &error),
    };
    let begun = Stopwatch::start();
    if let Err(error) = store.ping().await {
        return report.fault("postgres", &error);
    }
    let taken = begun.elapsed();
    let seen = format!("version {version}, answers in {:.1} ms", taken.as_secs_f64() * 1000.0);
    if taken.as_millis() > SLOW_MS {
        report.warn("postgres", seen, "check its load and the network between it and this host");
    } else {
        report.ok("postgres", seen);
    }
    match store.check_schema().await {
        Ok(()) => report
            .ok("schema", store.schema_version().await.map_or_else(|_| String::new(), |at| format!("version {at}"))),
        Err(error) => report.fault("schema", &error),
    }
    let before = Clock::system().wall();
    if let Ok(theirs) = store.now().await {
        let ours = before + (Clock::system().wall() - before) / 2;
        let difference = (theirs - ours).num_milliseconds();
        let seen = format!("the clocks of the database and this host differ by {difference} ms");
        if difference.abs() > CLOCK_DIFFERENCE_MS {
            report.warn("clock", seen, "run a time service (chrony, systemd-timesyncd) on both hosts");
        } else {
            report.ok("clock", seen);
        }
    }
}

pub(super) async fn redis(config: &Config, report: &mut Report) {
    let redis = match Redis::open(&config.redis_url, &config.instance) {
        Ok(redis) => redis,
        Err(error) => return report.fault("redis", &error),
    };
    let begun = Stopwatch::start();
    match redis.ping().await {
        Ok(()) => report.ok("redis", format!("answers in {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0)),
        Err(error) => report.fault("redis", &error),
    }
}

/// Stores, reads and removes a blob under a unique name.
pub(super) async fn blobs(config: &Config, report: &mut Report) {
    let key = format!("doctor/{}", Uuid::now_v7());
    let begun = Stopwatch::start();
    let tried = async {
        let blobs = Blobs::open(&config.blob_url)?;
        let content = bytes::Bytes::from(key.clone());
        blobs.put_output(&key, content.clone()).await?;
        let read = blobs.output(&key).await?;
        blobs.delete(&key).await?;
        Ok::<bool, BlobError>(read == content)
    };
    match tried.await {
        Ok(true) => {
            let taken = begun.elapsed().as_millis();
            report.ok("blobs", format!("{} stores, reads and removes a blob in {taken} ms", config.blob_url));
        }
        Ok(false) => {
            report.fail("blobs", format!("{} returned other bytes than were stored", config.blob_url), "check blob_url")
        }
        Err(error) => report.fault("blobs", &error),
    }
}

pub(super) fn spool(config: &Config, report: &mut Report) {
    let folder = &config.spool_dir;
    let writable = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    if let Err(error) = writable {
        return report.fail("spool", format!("cannot write to {}: {error}", folder.display()), "set spool_dir");
    }
    match free(folder, config) {
        Ok((seen, true)) => report.ok("spool", seen),
        Ok((seen, false)) => {
            report.warn("spool", seen, "free disk space before submissions are rejected with 507, or set spool_dir")
        }
        Err(error) => report.warn(
            "spool",
            format!("free space of {} is not known: {error}", folder.display()),
            "check it with df",
        ),
    }
}

pub(super) fn signing_key(config: &Config, report: &mut Report) {
    let path = &config.signing_key_file;
    if path.as_os_str().is_empty() {
        return report.warn("signing", "receipts and verdicts are not signed", "set signing_key_file");
    }
    match key_file::read(path) {
        Ok((key, _)) => report.ok("signing", format!("{} signs as {}", path.display(), key.id())),
        Err(error) => report.fault("signing", &error),
    }
}

fn free(folder: &Path, config: &Config) -> std::io::Result<(String, bool)> {
    let free = host::free_bytes(folder)?;
    let wanted = config.max_archive_bytes.saturating_mul(SPOOLED_UPLOADS).max(config.min_free_disk_mib << 20);
    let seen = format!(
        "{} is writable, {} free (required for {SPOOLED_UPLOADS} uploads and min_free_disk_mib: {})",
        folder.display(),
        bytes(free),
        bytes(wanted)
    );
    Ok((seen, free >= wanted))
}
