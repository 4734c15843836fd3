//! The data folder: its lock, its layout and its owner.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::EmbeddedError;
use assize_host as host;

/// The longest path of a folder for sockets, in bytes. A socket path may have 107 bytes, and Postgres appends
/// `/.s.PGSQL.5432.lock`.
const MAX_SOCKET_FOLDER: usize = 85;

/// The system user that the servers run as when this program is root.
const SERVICE_USER: &str = "postgres";

/// The user that the servers run as, if it is not the user of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Service {
    uid: u32,
    gid: u32,
}

/// A data folder that only this process uses.
pub struct Folder {
    root: PathBuf,
    sockets: PathBuf,
    service: Option<Service>,
    /// The kernel releases the lock when the process ends, even if it was killed.
    _lock: File,
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it.
    ///
    /// # Errors
    /// [`EmbeddedError::InUse`] if another process has locked it, [`EmbeddedError::Folder`] if it cannot be used.
    pub fn open(data: &Path) -> Result<Self, EmbeddedError> {
        let fault = |error: std::io::Error| EmbeddedError::Folder { path: data.to_owned(), reason: error.to_string() };
        std::fs::create_dir_all(data).map_err(fault)?;
        let root = data.canonicalize().map_err(fault)?;
        if root.to_str().is_none() {
            let reason =
                "its path is not UTF-8, as database addresses require; use another folder with --data".to_owned();
            return Err(EmbeddedError::Folder { path: root, reason });
        }
        let lock = lock(&root)?;
        let service = if host::is_root() { Some(service_user(&root)?) } else { None };
        let sockets = socket_folder(&root);
        let folder = Self { root, sockets, service, _lock: lock };
        folder.make_owned(&folder.redis())?;
        folder.make_owned(&folder.sockets)?;
        std::fs::create_dir_all(folder.logs()).map_err(fault)?;
        Ok(folder)
    }

    /// Returns the absolute path of the folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the folder of the sockets that both servers listen on.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// Returns the folder of the database.
    #[must_use]
    pub fn postgres(&self) -> PathBuf {
        self.root.join("postgres")
    }

    /// Returns the working folder of Redis, which contains only the file with its process id.
    #[must_use]
    pub fn redis(&self) -> PathBuf {
        self.root.join("redis")
    }

    /// Returns the folder of the logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Returns a short name that is derived from the path, so that it is the same every time. It distinguishes two
    /// installations on one engine.
    #[must_use]
    pub fn short_name(&self) -> String {
        short_name(&self.root)
    }

    /// Creates a command that runs as the servers' user.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The other user may not be able to enter the current folder.
        command.current_dir("/");
        if let Some(service) = self.service {
            command.uid(service.uid).gid(service.gid);
        }
        command
    }

    /// Creates a folder that only the servers' user can enter.
    pub(super) fn make_owned(&self, path: &Path) -> Result<(), EmbeddedError> {
        let fault = |reason: String| EmbeddedError::Folder { path: path.to_owned(), reason };
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(fault(error.to_string())),
            _ => {}
        }
        // A socket folder may be in /tmp, where other users can create files too.
        let about = std::fs::symlink_metadata(path).map_err(|error| fault(error.to_string()))?;
        let owners = [Some(host::uid()), self.service.map(|service| service.uid)];
        if !about.is_dir() || !owners.contains(&Some(about.uid())) {
            return Err(fault(format!("it belongs to user {}, or is not a folder; remove it", about.uid())));
        }
        if let Some(service) = self.service {
            std::os::unix::fs::chown(path, Some(service.uid), Some(service.gid))
                .map_err(|error| fault(error.to_string()))?;
        }
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).map_err(|error| fault(error.to_string()))
    }
}

impl Drop for Folder {
    /// Removes a socket folder outside the data folder. The servers have removed the sockets before.
    fn drop(&mut self) {
        if !self.sockets.starts_with(&self.root)
            && let Err(error) = std::fs::remove_dir(&self.sockets)
        {
            tracing::debug!(folder = %self.sockets.display(), %error, "the folder of the sockets was not removed");
        }
    }
}

/// Locks the folder, and writes the process id into the lock file, for the error of a process that finds it locked.
fn lock(root: &Path) -> Result<File, EmbeddedError> {
    let path = root.join("lock");
    let fault = |error: std::io::Error| EmbeddedError::Folder { path: path.clone(), reason: error.to_string() };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(fault)?;
            return Err(EmbeddedError::InUse { folder: root.to_owned(), holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(fault(error)),
    }
    file.set_len(0).map_err(fault)?;
    file.rewind().map_err(fault)?;
    writeln!(file, "{}", std::process::id()).map_err(fault)?;
    Ok(file)
}

fn short_name(root: &Path) -> String {
    hex::encode(Sha256::digest(root.as_os_str().as_encoded_bytes()))[..10].to_owned()
}

fn socket_folder(root: &Path) -> PathBuf {
    let near = root.join("run");
    if near.as_os_str().len() <= MAX_SOCKET_FOLDER {
        return near;
    }
    std::env::temp_dir().join(format!("assize-{}", short_name(root)))
}

/// Returns the ids of the servers' user, after checking that this user can enter the folder.
fn service_user(root: &Path) -> Result<Service, EmbeddedError> {
    const ADVICE: &str = "root cannot run Postgres: install Debian's postgresql package, which creates the user, or start assize as another user";
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let service = find_service_user(&users)
        .ok_or(EmbeddedError::Missing { what: "a system user named postgres", advice: ADVICE })?;
    for folder in root.ancestors() {
        let about = std::fs::metadata(folder)
            .map_err(|error| EmbeddedError::Folder { path: folder.to_owned(), reason: error.to_string() })?;
        let mode = about.permissions().mode();
        let may_enter = match (about.uid() == service.uid, about.gid() == service.gid) {
            (true, _) => mode & 0o100,
            (false, true) => mode & 0o010,
            (false, false) => mode & 0o001,
        };
        if may_enter == 0 {
            let shut = folder.display();
            let reason = format!(
                "Postgres runs as the user {SERVICE_USER}, who cannot enter {shut} (mode {:o}); use another folder with --data",
                mode & 0o7777
            );
            return Err(EmbeddedError::Folder { path: root.to_owned(), reason });
        }
    }
    Ok(service)
}

fn find_service_user(passwd: &str) -> Option<Service> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == SERVICE_USER).then_some(())?;
        let mut ids = fields.skip(1);
        Some(Service { uid: ids.next()?.parse().ok()?, gid: ids.next()?.parse().ok()? })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_locked_folder_names_the_process() {
        let data = tempfile::tempdir().unwrap();
        let _held = lock(data.path()).unwrap();
        let error = lock(data.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    }

    #[test]
    fn a_folder_with_a_long_path_has_its_sockets_elsewhere() {
        let short = Path::new("/srv/data");
        assert_eq!(socket_folder(short), Path::new("/srv/data/run"));
        let long = Path::new("/srv").join("x".repeat(100));
        assert!(socket_folder(&long).as_os_str().len() <= MAX_SOCKET_FOLDER);
        assert_ne!(socket_folder(&long), socket_folder(&Path::new("/srv").join("y".repeat(100))));
    }

    #[test]
    fn the_service_user_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\npostgresx:x:1:1::/:/\npostgres:x:104:110:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find_service_user(passwd), Some(Service { uid: 104, gid: 110 }));
        assert_eq!(find_service_user("postgres:x:no:1"), None);
    }
}
