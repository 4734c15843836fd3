//! An nginx for one test, with the files that are shipped.
//!
//! Only what belongs to a host is replaced in them: folders, addresses and the certificate. Its folders for temporary
//! files do not exist while it runs, so that a request fails whose body or answer it would write to a disk.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Version};
use sqlx::PgPool;

use crate::harness::client::ApiClient;
use crate::harness::processes::{PROCESS_TIMEOUT, Process};
use crate::harness::{Server, Setup, until};

/// The name in the certificate.
pub const NAME: &str = "assize.test";

/// The time limit of a whole request of a test. It is longer than a large upload takes on a busy host.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A change of a client.
pub type ClientChange = fn(ClientBuilder) -> ClientBuilder;

/// The protocols that nginx speaks, and what makes a client speak each.
pub const PROTOCOLS: [(ClientChange, Version); 2] =
    [(ClientBuilder::http1_only, Version::HTTP_11), (|client| client, Version::HTTP_2)];

/// The files of `nginx/`, and where they are installed below `/etc/nginx`.
const FILES: [(&str, &str); 5] = [
    ("nginx.conf", "nginx.conf"),
    ("assize.conf", "conf.d/assize.conf"),
    ("snippets/assize-tls.conf", "snippets/assize-tls.conf"),
    ("snippets/assize-problems.conf", "snippets/assize-problems.conf"),
    ("snippets/assize-problem-headers.conf", "snippets/assize-problem-headers.conf"),
];

/// A running nginx.
pub struct Front {
    pub address: SocketAddr,
    /// The certificate, which clients must trust.
    pub certificate: rcgen::Certificate,
    folder: tempfile::TempDir,
    process: Option<Process>,
}

/// Starts an API that trusts the nginx in front of it. All requests of the server's methods pass through it.
pub async fn start(pool: PgPool, setup: Setup) -> (Server, Front) {
    start_with(pool, setup, &[]).await
}

/// Starts both, with other values in the files: each text is replaced by the other.
pub async fn start_with(pool: PgPool, mut setup: Setup, changes: &[(&str, &str)]) -> (Server, Front) {
    setup.config.trusted_proxies = "127.0.0.1".to_owned();
    let mut server = Server::start_with(pool, setup).await;
    let front = Front::start(server.address, changes).await;
    (server.url, server.client) = (front.url(), ApiClient::from(front.client(|client| client)));
    (server, front)
}

impl Front {
    /// Starts nginx in front of this address.
    pub async fn start(api: SocketAddr, changes: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = own_address();
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        for name in ["conf.d", "snippets", "tls", "log", "temporary"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("tls/assize.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("tls/assize.key"), made.signing_key.serialize_pem()).unwrap();
        install(folder.path(), address, api, changes);
        let mut front = Self { address, certificate: made.cert, folder, process: None };
        front.run().await;
        front
    }

    /// Starts nginx at the same address as before.
    pub async fn run(&mut self) {
        let process = Process::start("nginx", self.command().args(["-g", "daemon off;"]));
        until(|| process.has_ended() || TcpStream::connect(self.address).is_ok()).await;
        assert!(!process.has_ended(), "nginx did not start:\n{}", process.tail());
        std::fs::remove_dir_all(self.folder.path().join("temporary")).unwrap();
        self.process = Some(process);
    }

    /// Stops nginx at once, with all connections.
    pub fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.terminate();
        process.exit(PROCESS_TIMEOUT);
        std::fs::create_dir_all(self.folder.path().join("temporary")).unwrap();
    }

    /// Lets nginx read its files again. It returns when new worker processes answer, and the old ones only finish.
    pub async fn reload(&self) {
        std::fs::create_dir_all(self.folder.path().join("temporary")).unwrap();
        let old = self.workers();
        let reloaded = self.command().args(["-s", "reload"]).output().unwrap();
        assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
        // A process that has ended has no title.
        let title = |pid: &String| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_old = |title: String| title.is_empty() || title.contains("shutting down");
        until(|| old.iter().all(|pid| is_old(title(pid)))).await;
    }

    /// Returns the ids of the worker processes.
    fn workers(&self) -> Vec<String> {
        let pid = self.process.as_ref().unwrap().pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().map(str::to_owned).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nginx");
        // nginx lies where only the PATH of root leads.
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        let folder = self.folder.path();
        command.args(["-e", "stderr", "-p"]).arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        command
    }

    pub fn url(&self) -> String {
        format!("https://{NAME}:{}", self.address.port())
    }

    /// Returns a client that finds nginx and trusts its certificate. It prefers HTTP/2.
    pub fn client(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let certificate = Certificate::from_der(self.certificate.der()).unwrap();
        let client = Client::builder().timeout(REQUEST_TIMEOUT).resolve(NAME, self.address);
        change(client.tls_certs_only([certificate])).build().unwrap()
    }

    /// Returns the access log as soon as it has this many lines. nginx writes a line after it has answered.
    pub async fn requests(&self, count: usize) -> String {
        until(|| self.log("assize.log").lines().count() >= count).await;
        self.log("assize.log")
    }

    /// Returns what nginx logged: requests, and errors.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("log").join(name)).unwrap()
    }
}

/// Returns an address that no other process uses: nginx cannot choose a port itself.
fn own_address() -> SocketAddr {
    static PORT: AtomicU16 = AtomicU16::new(8443);
    let [_, a, b, c] = std::process::id().to_be_bytes();
    // The bit keeps away from 127.0.0.1.
    SocketAddr::from((Ipv4Addr::new(127, a | 0x80, b, c), PORT.fetch_add(1, Ordering::Relaxed)))
}

/// Writes the files with the folders and addresses of this test.
fn install(folder: &Path, address: SocketAddr, api: SocketAddr, changes: &[(&str, &str)]) {
    let inside = |name: &str| format!("{}/{name}", folder.display());
    let of_host = [
        ("/etc/nginx/", inside("")),
        ("/run/nginx.pid", inside("nginx.pid")),
        ("/var/log/nginx/", inside("log/")),
        ("/var/lib/nginx/", inside("temporary/")),
        ("listen [::]:443 ssl http2;", String::new()),
        ("listen 443 ", format!("listen {address} ")),
        ("server 127.0.0.1:7700 ", format!("server {api} ")),
    ];
    let mut texts = FILES.map(|(shipped, _)| std::fs::read_to_string(Path::new("nginx").join(shipped)).unwrap());
    let changes = changes.iter().map(|(from, to)| (*from, (*to).to_owned()));
    for (from, to) in of_host.into_iter().chain(changes) {
        assert!(texts.iter().any(|text| text.contains(from)), "nginx/ does not contain {from:?}");
        texts = texts.map(|text| text.replace(from, &to));
    }
    for ((_, installed), text) in FILES.iter().zip(texts) {
        std::fs::write(folder.join(installed), text).unwrap();
    }
}
