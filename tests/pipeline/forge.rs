//! A Git server on the loopback: real repositories behind `git http-backend`, and hosts that mean harm.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Gone with its repositories when dropped.
pub struct Forge {
    /// `host:port`, as the settings want it.
    pub host: String,
    scheme: &'static str,
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Forge {
    fn drop(&mut self) {
        // Tests are asynchronous, where a runtime cannot be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Shared {
    root: PathBuf,
    /// Requests for what is held back.
    held: AtomicUsize,
    gate: watch::Sender<bool>,
}

/// Connections of clients that took the certificate; the others are let go.
struct Handshakes {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Handshakes {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// An entry of a tree: mode, kind, name and what it names.
pub type Entry<'a> = (&'a str, &'a str, &'a str, &'a str);

impl Forge {
    pub fn start() -> Self {
        Self::start_as("http", async |listener, router| axum::serve(listener, router).await.unwrap())
    }

    /// The same over TLS.
    pub fn start_tls(acceptor: TlsAcceptor) -> Self {
        Self::start_as("https", async |listener, router| {
            axum::serve(Handshakes { listener, acceptor }, router).await.unwrap();
        })
    }

    /// Takes connections, as for TLS, and says nothing.
    pub fn start_mute() -> Self {
        Self::start_as("https", async |listener, _| {
            let mut kept = Vec::new();
            while let Ok(taken) = listener.accept().await {
                kept.push(taken);
            }
        })
    }

    fn start_as<S: Future<Output = ()> + Send + 'static>(
        scheme: &'static str,
        serve: impl FnOnce(TcpListener, Router) -> S,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (gate, _) = watch::channel(false);
        let shared = Arc::new(Shared { root: folder.path().to_owned(), held: AtomicUsize::new(0), gate });
        // Of its own, so that it outlives the test that happens to start it.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = {
            let _entered = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        runtime.spawn(serve(listener, router));
        Self { host, scheme, folder, shared, runtime: Some(runtime) }
    }

    /// The address of a repository; a name that begins with what [`answer`] knows has that done to it.
    pub fn url(&self, name: &str) -> String {
        format!("{}://{}/{name}", self.scheme, self.host)
    }

    /// Requests that wait for the gate.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    pub fn open(&self) {
        self.shared.gate.send_replace(true);
    }

    /// Git's plumbing in a repository of this forge.
    pub fn git(&self, name: &str, arguments: &[&str], input: &[u8]) -> String {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(self.folder.path()).env("GIT_DIR", self.folder.path().join(name));
        for role in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{role}_NAME"), "ada").env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        git.stdin.take().unwrap().write_all(input).unwrap();
        let said = git.wait_with_output().unwrap();
        assert!(said.status.success(), "git {arguments:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    pub fn init(&self, name: &str) {
        self.git(name, &["init", "--quiet", "--bare", "--initial-branch=main"], b"");
        self.git(name, &["config", "uploadpack.allowAnySHA1InWant", "true"], b"");
    }

    pub fn blob(&self, name: &str, content: &str) -> String {
        self.git(name, &["hash-object", "-w", "--stdin"], content.as_bytes())
    }

    pub fn tree(&self, name: &str, entries: &[Entry<'_>]) -> String {
        let lines: String =
            entries.iter().map(|(mode, kind, path, object)| format!("{mode} {kind} {object}\t{path}\0")).collect();
        self.git(name, &["mktree", "-z", "--missing"], lines.as_bytes())
    }

    /// A commit of this tree, which `main` and HEAD then name.
    pub fn commit(&self, name: &str, tree: &str) -> String {
        let commit = self.git(name, &["commit-tree", "-m", "work", tree], b"");
        self.git(name, &["update-ref", "refs/heads/main", &commit], b"");
        commit
    }

    /// A repository of plain files. Its commit.
    pub fn repository(&self, name: &str, files: &[(&str, &str)]) -> String {
        self.init(name);
        let blobs: Vec<_> = files.iter().map(|(path, text)| (*path, self.blob(name, text))).collect();
        let entries: Vec<Entry<'_>> =
            blobs.iter().map(|(path, blob)| ("100644", "blob", *path, blob.as_str())).collect();
        let tree = self.tree(name, &entries);
        self.commit(name, &tree)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
    let is_pack = path.ends_with("/git-upload-pack");
    match first.split('-').next().unwrap_or_default() {
        // To where the rest of the name leads: `redirect-<host>_<port>`.
        "redirect" => {
            let to = first.trim_start_matches("redirect-").replace('_', ":");
            let query = request.uri().query().unwrap_or_default();
            let location = format!("http://{to}/good.git/info/refs?{query}");
            Response::builder().status(StatusCode::FOUND).header("location", location).body(Body::empty()).unwrap()
        }
        "broken" => status(StatusCode::SERVICE_UNAVAILABLE),
        "closed" => status(StatusCode::UNAUTHORIZED),
        "held" if is_pack => {
            shared.held.fetch_add(1, Ordering::SeqCst);
            shared.gate.subscribe().wait_for(|open| *open).await.unwrap();
            backend(&shared, request).await
        }
        // A pack that never ends: as fast as it is taken, or just fast enough not to have stalled.
        "flood" if is_pack => endless(request, std::time::Duration::ZERO, 8192).await,
        "drip" if is_pack => endless(request, std::time::Duration::from_millis(100), 512).await,
        _ => backend(&shared, request).await,
    }
}

fn status(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

/// The real answer to what comes before a pack, and then a pack of one blob without end.
async fn endless(request: Request, pause: std::time::Duration, piece: usize) -> Response<Body> {
    let asked = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let asked = String::from_utf8_lossy(&asked);
    let packet = |content: &[u8]| [format!("{:04x}", content.len() + 4).as_bytes(), content].concat();
    if asked.contains("command=ls-refs") {
        let refs = format!("{} HEAD symref-target:refs/heads/main\n", "a".repeat(40));
        let main = format!("{} refs/heads/main\n", "a".repeat(40));
        let body = [packet(refs.as_bytes()), packet(main.as_bytes()), b"0000".to_vec()].concat();
        return Response::builder()
            .header("content-type", "application/x-git-upload-pack-result")
            .body(body.into())
            .unwrap();
    }
    let stream = async_stream::stream! {
        let shallow = format!("shallow {}", "a".repeat(40));
        let head = [
            packet(b"shallow-info\n"),
            packet(shallow.as_bytes()),
            b"0001".to_vec(),
            packet(b"packfile\n"),
            // Version 2, one object: a blob of 2^60 bytes, stored without compression.
            packet(b"\x01PACK\0\0\0\x02\0\0\0\x01\xb0\x80\x80\x80\x80\x80\x80\x80\x80\x01\x78\x01"),
        ];
        yield Ok::<_, std::io::Error>(Bytes::from(head.concat()));
        let length = u16::try_from(piece).unwrap();
        let block = [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &vec![0; piece]].concat();
        loop {
            yield Ok(Bytes::from(packet(&[&[1][..], &block].concat())));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    };
    Response::builder()
        .header("content-type", "application/x-git-upload-pack-result")
        .body(Body::from_stream(stream))
        .unwrap()
}

/// `git http-backend`, spoken to as a web server does.
async fn backend(shared: &Shared, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut git = tokio::process::Command::new("git");
    git.arg("http-backend")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"));
    let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdin = git.stdin.take().unwrap();
    tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut stdin, &body).await });
    let said = git.wait_with_output().await.unwrap().stdout;
    let end = said.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
    let mut response = Response::builder();
    for line in String::from_utf8_lossy(&said[..end]).lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    response.body(said[end + 4..].to_vec().into()).unwrap()
}
