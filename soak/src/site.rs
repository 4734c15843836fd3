//! The folders below `target/`, each used by one process at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::signals;

/// Returns the folder of the build. This program is in `<target>/<profile>/`.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).unwrap_or(Path::new("target")).to_owned()
}

/// Returns the name of the build profile, which is the folder of this program.
pub fn profile() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let folder = program.parent().and_then(Path::file_name);
    folder.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Creates a folder and locks it for as long as the result lives.
pub async fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder)?;
    let lock = File::create(folder.join("lock"))?;
    ensure!(lock.try_lock().is_ok(), "another process uses {}; wait until it has ended", folder.display());
    stop_earlier_engine(folder).await;
    Ok(lock)
}

/// Stops the engine of an earlier run of this program that was killed. The folder in its command line identifies it.
async fn stop_earlier_engine(folder: &Path) {
    let ours = folder.join("site/engine").display().to_string();
    for program in ["dockerd", "containerd"] {
        for pid in signals::with_words(program, &ours) {
            println!("soak: stopping the {program} of an earlier run that was killed (process {pid})");
            signals::send(pid, rustix::process::Signal::TERM);
            while !signals::command_line(pid).is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
