//! Makes a backup.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use assize_config::Config;
use assize_host as host;
use assize_store::Store;

use super::blobs::{self, Before, Copied};
use super::digests::{self, Digests};
use super::set::{self, BLOBS, BackupSet, DUMP, FILES, FORMAT, MANIFEST, Manifest, PARTIAL, SUMS};
use super::{BackupError, postgres_tools};
use crate::intake::blob::local_folder;

/// The largest of the files that are copied beside the blobs: settings, keys and templates are small.
const MAX_FILE: u64 = 64 << 20;

/// The most of these files.
const MAX_FILES: usize = 10_000;

/// What a backup is made of, and where to.
#[derive(Debug, Clone)]
pub struct BackupPlan {
    /// The folder of all backups.
    pub to: PathBuf,
    /// The number of complete backups that stay, this one included.
    pub keep: usize,
    /// Files and folders that are copied besides: settings and keys.
    pub include: Vec<PathBuf>,
    /// Whether the blobs are copied.
    pub with_blobs: bool,
}

/// Makes a backup of the database and the blobs. Nothing has to stop for it.
///
/// # Errors
/// [`BackupError`] says what is missing. What was copied until then is removed by the next backup.
pub async fn create(config: &Config, plan: &BackupPlan) -> Result<BackupSet, BackupError> {
    let fault = |error: std::io::Error| BackupError::io(&plan.to, &error);
    private_folder(&plan.to)?;
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(plan.to.join("lock"))
        .map_err(fault)?;
    lock.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => BackupError::InUse(plan.to.clone()),
        std::fs::TryLockError::Error(error) => fault(error),
    })?;
    let source = if plan.with_blobs { Some(blob_folder(config)?) } else { None };
    let folder = plan.to.join(PARTIAL);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| BackupError::io(&folder, &error))?;
    }
    private_folder(&folder)?;

    let store = Store::open(config.owner_database_url(), 2)?;
    let snapshot = store.snapshot().await?;
    postgres_tools::dump(config.owner_database_url(), &snapshot.id, &folder.join(DUMP)).await?;
    let (taken_at, facts) = (snapshot.taken_at, snapshot.facts.clone());
    snapshot.release().await?;

    // Only now: a blob is there before the row that names it.
    let mut manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: config.instance.clone(),
        taken_at,
        database: facts,
        has_blobs: source.is_some(),
        blobs: 0,
        blob_bytes: 0,
        linked_blobs: 0,
        archive_retention_days: config.archive_retention_days,
        output_retention_days: config.output_retention_days,
    };
    let (to, include) = (plan.to.clone(), plan.include.clone());
    let (copied, manifest) = tokio::task::spawn_blocking(move || {
        let copied = copy_files(&to, source.as_deref(), &include)?;
        manifest.blobs = copied.blobs;
        manifest.blob_bytes = copied.bytes;
        manifest.linked_blobs = copied.linked;
        seal(&to.join(PARTIAL), &manifest)?;
        Ok::<_, BackupError>((copied, manifest))
    })
    .await
    .map_err(|error| BackupError::Io { path: plan.to.clone(), reason: error.to_string() })??;
    let done = plan.to.join(set::name(taken_at));
    std::fs::rename(&folder, &done).map_err(|error| BackupError::io(&done, &error))?;
    File::open(&plan.to).and_then(|folder| folder.sync_all()).map_err(fault)?;
    remove_old(&plan.to, plan.keep)?;
    drop(lock);
    match copied.damaged.first() {
        None => Ok(BackupSet { folder: done, manifest }),
        Some(first) => Err(BackupError::Damaged { count: copied.damaged.len(), first: first.clone() }),
    }
}

fn blob_folder(config: &Config) -> Result<PathBuf, BackupError> {
    local_folder(&config.blob_url).map(Path::to_owned).ok_or(BackupError::NoFolder)
}

/// Copies blobs and files into the unfinished set, and writes the digests of all that it has.
fn copy_files(root: &Path, source: Option<&Path>, include: &[PathBuf]) -> Result<Copied, BackupError> {
    let folder = root.join(PARTIAL);
    let before = set::complete(root)?.pop().map(|name| root.join(name));
    let before = before.and_then(|folder| Some(Before { digests: digests::read(&folder.join(SUMS)).ok()?, folder }));
    let dump = folder.join(DUMP);
    private(&dump, 0o600)?;
    let mut digests = Digests::new();
    digests.insert(DUMP.to_owned(), digests::of_file(&dump).map_err(|error| BackupError::io(&dump, &error))?);
    let copied = match source {
        Some(source) => blobs::copy(source, &folder.join(BLOBS), before.as_ref(), &mut digests)?,
        None => Copied::default(),
    };
    let mut left = MAX_FILES;
    for path in include {
        include_path(path, &folder.join(FILES), &mut digests, &mut left)?;
    }
    digests::write(&folder.join(SUMS), &digests)?;
    Ok(copied)
}

/// Copies a file, or every plain file below a folder, under its absolute path. Links are not followed.
fn include_path(path: &Path, to: &Path, digests: &mut Digests, left: &mut usize) -> Result<(), BackupError> {
    let fault = |error: std::io::Error| BackupError::io(path, &error);
    let path = std::path::absolute(path).map_err(fault)?;
    let about = std::fs::symlink_metadata(&path).map_err(fault)?;
    if about.is_dir() {
        for entry in std::fs::read_dir(&path).map_err(fault)? {
            include_path(&entry.map_err(fault)?.path(), to, digests, left)?;
        }
        return Ok(());
    }
    let Some(name) = path.to_str().filter(|name| digests::is_plain(name)) else { return Ok(()) };
    let listed = format!("{FILES}/{}", name.trim_start_matches('/'));
    // What was named twice is copied once.
    if !about.is_file() || digests.contains_key(&listed) {
        return Ok(());
    }
    if about.len() > MAX_FILE || *left == 0 {
        let reason = format!(
            "only {MAX_FILES} files of at most {MAX_FILE} bytes are copied besides the blobs, this one has {}",
            about.len()
        );
        return Err(BackupError::Io { path, reason });
    }
    *left -= 1;
    let below: PathBuf = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let target = to.join(&below);
    if let Some(folder) = target.parent() {
        private_folder(folder)?;
    }
    let copy = || {
        let mut source = File::open(&path)?;
        let mut target = File::options().write(true).create_new(true).mode(0o600).open(&target)?;
        digests::copy(&mut source, &mut target)
    };
    let digest = copy().map_err(|error| BackupError::io(&path, &error))?;
    digests.insert(listed, digest);
    Ok(())
}

/// Writes the manifest and waits until everything is on the disk.
fn seal(folder: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = folder.join(MANIFEST);
    let fault = |error: std::io::Error| BackupError::io(&path, &error);
    let text = serde_json::to_string_pretty(manifest).map_err(|error| fault(error.into()))?;
    std::fs::write(&path, text + "\n").map_err(fault)?;
    private(&path, 0o600)?;
    host::sync_file_system(&File::open(folder).map_err(fault)?).map_err(fault)
}

/// Removes the oldest backups until `keep` are left.
fn remove_old(root: &Path, keep: usize) -> Result<(), BackupError> {
    let names = set::complete(root)?;
    for name in &names[..names.len().saturating_sub(keep.max(1))] {
        let folder = root.join(name);
        // Without its manifest a set is not complete, should the removal break off.
        std::fs::remove_file(folder.join(MANIFEST))
            .and_then(|()| std::fs::remove_dir_all(&folder))
            .map_err(|error| BackupError::io(&folder, &error))?;
    }
    Ok(())
}

fn private(path: &Path, mode: u32) -> Result<(), BackupError> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| BackupError::io(path, &error))
}

fn private_folder(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| BackupError::io(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_backups_stay() {
        let root = tempfile::tempdir().unwrap();
        for day in 1..=5 {
            let folder = root.path().join(format!("2026-11-0{day}T03-30-00.123Z"));
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(MANIFEST), "{}").unwrap();
        }
        std::fs::create_dir(root.path().join("others")).unwrap();
        remove_old(root.path(), 2).unwrap();
        assert_eq!(set::complete(root.path()).unwrap(), ["2026-11-04T03-30-00.123Z", "2026-11-05T03-30-00.123Z"]);
        assert!(root.path().join("others").exists());
        remove_old(root.path(), 0).unwrap();
        assert_eq!(set::complete(root.path()).unwrap().len(), 1);
    }

    #[test]
    fn keys_and_settings_are_copied_for_their_owner_alone() {
        let root = tempfile::tempdir().unwrap();
        let (settings, to) = (root.path().join("etc"), root.path().join("files"));
        std::fs::create_dir_all(settings.join("keys")).unwrap();
        std::fs::write(settings.join("assize.toml"), "instance = \"a\"\n").unwrap();
        std::fs::write(settings.join("keys/api.key"), "secret").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", settings.join("link")).unwrap();
        let (mut digests, mut left) = (Digests::new(), 10);
        include_path(&settings, &to, &mut digests, &mut left).unwrap();
        include_path(&settings.join("assize.toml"), &to, &mut digests, &mut left).unwrap();
        assert_eq!((digests.len(), left), (2, 8));
        for name in digests.keys() {
            let path = root.path().join(name);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        let refused = include_path(&settings, &root.path().join("again"), &mut Digests::new(), &mut 1);
        assert!(matches!(refused, Err(BackupError::Io { .. })));
    }
}
