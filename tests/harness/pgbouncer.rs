//! A PgBouncer of a test's own, before the Postgres of the tests.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use assize_host as host;

use super::processes::Process;

/// The first version that knows of prepared statements in transaction mode.
const SAFE: (u32, u32) = (1, 21);

/// Names the program, if it is not the one in PATH.
const PROGRAM: &str = "PGBOUNCER";

pub struct PgBouncer {
    folder: tempfile::TempDir,
    _process: Process,
}

impl PgBouncer {
    /// Starts one in this mode, before the server whose socket is in `socket_folder`.
    pub fn start(mode: &str, socket_folder: &Path, extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As root it gives up its rights and becomes the user that the server runs as, who alone may enter the folder of
        // the server's socket.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let ini = folder.path().join("pgbouncer.ini");
        let settings = format!(
            "[databases]\n* = host={} user=assize\n[pgbouncer]\npool_mode = {mode}\nlisten_addr =\nlisten_port = 5432\n\
             unix_socket_dir = {}\nauth_type = any\nignore_startup_parameters = extra_float_digits\n\
             default_pool_size = 20\nmax_client_conn = 200\nserver_check_delay = 0\n{extra}\n",
            socket_folder.display(),
            folder.path().display(),
        );
        std::fs::write(&ini, settings).unwrap();
        let mut command = Command::new(program());
        if host::is_root() {
            command.args(["-u", "postgres"]);
        }
        let process = Process::start("pgbouncer", command.arg(&ini).current_dir("/"));
        process.wait_for("process up");
        Self { folder, _process: process }
    }

    /// Returns the folder of its socket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the address of a database through it.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://assize@localhost/{database}?host={}", self.folder().display())
    }
}

/// Whether the installed PgBouncer is one that is safe in transaction mode.
pub fn is_safe_in_transaction_mode() -> bool {
    let output = Command::new(program()).arg("--version").output().expect("PgBouncer is installed (scripts/setup)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(1).expect("a version");
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap(), parts.next().unwrap()) >= SAFE
}

fn program() -> String {
    std::env::var(PROGRAM).unwrap_or_else(|_| {
        ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .unwrap_or("pgbouncer")
            .to_owned()
    })
}
