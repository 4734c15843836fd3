//! What the processes report to the service manager, and the sockets that they inherit from it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::processes::{Process, assize};
use crate::site::{Setup, Site, postgres_socket};

/// The longest that a message may take: twice the period of the slowest loop.
const MESSAGE: Duration = Duration::from_secs(15);

/// The requests of the test that restarts the API.
const REQUESTS: usize = 10_000;

/// The service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(MESSAGE)).unwrap();
        Self { socket }
    }

    /// Waits for a message with this line, and returns the whole message.
    fn wait_for(&self, wanted: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted:?}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.lines().any(|line| line == wanted) {
                return message;
            }
        }
    }
}

/// A site whose worker reports to a service manager.
fn site_with_manager(folder: &Path) -> (Manager, Site) {
    let manager = Manager::listen(&folder.join("notify"));
    // The socket of Postgres, behind a link that the test can take away.
    std::os::unix::fs::symlink(postgres_socket().parent().unwrap(), folder.join("postgres")).unwrap();
    let mut site = Site::start(Setup { postgres_folder: Some(folder.join("postgres")), ..Setup::default() });
    drop(site.take_worker());
    site.environment.push(("NOTIFY_SOCKET", folder.join("notify").display().to_string()));
    site.environment.push(("WATCHDOG_USEC", "60000000".to_owned()));
    (manager, site)
}

#[tokio::test]
async fn a_worker_reports_its_start_its_state_and_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, mut site) = site_with_manager(folder.path());
    site.start_worker();
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=active runs: 0, slots: 4"), "{ready}");
    manager.wait_for("WATCHDOG=1");
    let run = site.submit("long", &[("run.sh", "echo begun; sleep 30")]).await;
    site.reached(run, "running").await;
    manager.wait_for("STATUS=active runs: 1, slots: 4");
    site.cancel(run).await;
    site.worker().terminate();
    let stopping = manager.wait_for("STOPPING=1");
    assert!(stopping.contains("EXTEND_TIMEOUT_USEC=30000000"), "{stopping}");
}

#[tokio::test]
async fn a_database_that_is_away_does_not_stop_the_watchdogs_pings() {
    let folder = tempfile::tempdir().unwrap();
    let (manager, mut site) = site_with_manager(folder.path());
    site.start_worker();
    manager.wait_for("READY=1");
    // New connections fail from now on, and those that exist are cut.
    std::fs::rename(folder.path().join("postgres"), folder.path().join("away")).unwrap();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::query(cut).execute(&mut site.database().await).await.unwrap();
    manager.wait_for("STATUS=active runs: 0, slots: 4; postgres does not answer");
    for _ in 0..2 {
        manager.wait_for("WATCHDOG=1");
    }
}

/// Starts an API that inherits the listening socket.
fn start_api(site: &Site, listener: &TcpListener) -> Process {
    let mut command = assize(&site.settings);
    command.env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", listener.as_raw_fd().to_string());
    command.env("LISTEN_FDNAMES", "http").args(["api", "--lifeline"]);
    let api = Process::start("assize api", &mut command);
    // It serves once its other listener exists.
    api.port_on([127, 0, 0, 2]);
    api
}

/// One request on a connection of its own. Returns whether it was answered.
fn is_answered(address: SocketAddr) -> bool {
    let mut answer = String::new();
    let asked = TcpStream::connect(address).and_then(|mut socket| {
        socket.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        socket.read_to_string(&mut answer)
    });
    asked.is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

/// Sets the flag when it is dropped, in a panic too.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_api_that_is_restarted_on_an_inherited_socket_refuses_nobody() {
    let site = Site::start(Setup::default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // Rust closes sockets in child processes unless it is asked not to.
    rustix::io::fcntl_setfd(&listener, rustix::io::FdFlags::empty()).unwrap();
    let mut api = start_api(&site, &listener);
    let (asked, refused, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let restarts = std::thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    refused.fetch_add(usize::from(!is_answered(address)), Ordering::Relaxed);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut restarts = 0;
        while restarts < 3 || asked.load(Ordering::Relaxed) < REQUESTS {
            let next = start_api(&site, &listener);
            api.terminate();
            assert!(api.exit(MESSAGE).success());
            api = next;
            restarts += 1;
        }
        restarts
    });
    let (asked, refused) = (asked.into_inner(), refused.into_inner());
    println!("{restarts} restarts: {refused} of {asked} requests were refused");
    assert_eq!(refused, 0, "of {asked}");
}
