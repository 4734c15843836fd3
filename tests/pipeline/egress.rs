//! What a stage reaches through the tunnel of its cell, and what it does not.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use assize_host::clock::Stopwatch;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::id_of;
use crate::site::{Setup, Site, failure, message};

/// On this host and no other, and not where a cell would find itself.
const HERE: &str = "127.0.0.2";

/// Bytes of `/big`.
const BIG: usize = 64 << 20;

/// A little web server of this host. `/held` is answered once it is let go.
pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Server {
    /// `files` is told the port.
    pub fn start_with(files: impl FnOnce(u16) -> HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, held) = (Arc::new(Mutex::new(Vec::new())), Arc::new((Mutex::new(true), Condvar::new())));
        let files = Arc::new(files(port));
        std::thread::spawn({
            let (asked, held) = (Arc::clone(&asked), Arc::clone(&held));
            move || {
                for stream in listener.incoming().flatten() {
                    let (asked, held, files) = (Arc::clone(&asked), Arc::clone(&held), Arc::clone(&files));
                    std::thread::spawn(move || serve(stream, &asked, &held, &files));
                }
            }
        });
        Self { port, asked, held }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn let_go(&self) {
        *self.held.0.lock().unwrap() = false;
        self.held.1.notify_all();
    }
}

fn serve(
    mut stream: TcpStream,
    asked: &Mutex<Vec<String>>,
    held: &(Mutex<bool>, Condvar),
    files: &HashMap<String, Vec<u8>>,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    let body = match path.as_str() {
        "/held" => {
            let _held = held.1.wait_while(held.0.lock().unwrap(), |held| *held).unwrap();
            b"let go".to_vec()
        }
        "/big" => (0..=u8::MAX).cycle().take(BIG).collect(),
        path => match files.get(path) {
            Some(body) => body.clone(),
            None => {
                let _hung_up =
                    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                return;
            }
        },
    };
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _hung_up = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    let _hung_up = stream.shutdown(std::net::Shutdown::Write);
    let _hung_up = stream.read(&mut [0; 1]);
}

fn hello() -> Server {
    Server::start_with(|_| HashMap::from([("/hello".to_owned(), b"hello from outside".to_vec())]))
}

/// A site with one template: `install.py` may reach the server, `run.py` nothing.
fn site(server: &Server, private_hosts: &str, extra: &str) -> (Site, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("reaching")).unwrap();
    let port = server.port;
    let text = format!(
        r#"description = "reaching"
class = "A"
image = "assize/python-api:1"
limits = {{ cpus = 1.0, memory_mib = 256, pids = 64, workspace_mib = 128, workspace_inodes = 500, tmp_mib = 16 }}
results = {{ format = "exit_code" }}
global = {{ timeout_s = 60 }}
[[stages]]
name = "install"
command = ["python3", "-u", "install.py"]
timeout_s = 40
egress = [{{ host = "{HERE}", port = {port} }}]
{extra}
[[stages]]
name = "tests"
command = ["python3", "-u", "run.py"]
timeout_s = 10
"#
    );
    std::fs::write(folder.path().join("reaching/template.toml"), text).unwrap();
    let settings = vec![("egress_private_hosts", private_hosts.to_owned()), ("worker_slots", "2".to_owned())];
    let templates_dir = Some(folder.path().to_owned());
    (Site::start(Setup { templates_dir, settings, ..Setup::default() }), folder)
}

/// The connections that the run's events list, in the order of their ids.
pub async fn recorded(site: &Site, run: Uuid) -> Vec<Value> {
    let query = "SELECT evidence FROM run_events WHERE run_id = $1 AND evidence ? 'egress' ORDER BY id";
    let rows: Vec<Value> = sqlx::query_scalar(query).bind(run).fetch_all(&mut site.database().await).await.unwrap();
    let mut all: Vec<Value> = rows.iter().flat_map(|row| row["egress"].as_array().unwrap().clone()).collect();
    all.sort_by_key(|connection| connection["id"].as_u64());
    all
}

const ASK: &str = r#"
import http.client, os, socket, urllib.request
from urllib.parse import urlsplit
proxy = urlsplit(os.environ['http_proxy'])
def connect(target):
    with socket.create_connection((proxy.hostname, proxy.port), 20) as s:
        s.sendall(f'CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n'.encode())
        return int(s.makefile('rb').readline().split()[1])
def get(path):
    return urllib.request.urlopen(URL + path, timeout=30).read()
"#;

fn install(server: &Server, body: &str) -> String {
    format!("{ASK}\nURL = 'http://{HERE}:{}'\n{body}\n", server.port)
}

const CLOSED: &str = "import os, socket\n\
    assert 'http_proxy' not in os.environ\n\
    try:\n    socket.create_connection(('127.0.0.1', 3128), 1)\nexcept ConnectionRefusedError:\n    print('closed')\n";

#[tokio::test]
async fn egress_reaches_what_is_listed_while_its_stage_lasts_and_nothing_else() {
    let server = hello();
    let (site, _folder) = site(&server, &format!("{HERE}:{}", server.port), "");
    let targets = [
        "127.0.0.1:22",
        "169.254.169.254:80",
        "localhost:5432",
        "[::1]:80",
        "2130706433:80",
        "0x7f.1:80",
        "example.com:443",
    ];
    let port = server.port;
    let body = format!(
        "print(get('/hello').decode())\n\
         print(connect('{HERE}:{port}'), connect('{HERE}:{other}'))\n\
         for target in {targets:?}: print(target, connect(target))\n",
        other = port ^ 1,
    );
    let run = site.run("reaching", &[("install.py", &install(&server, &body)), ("run.py", CLOSED)]).await;
    let id = id_of(&run);
    let text = site.text(id, "").await;
    assert_eq!(run["score"], 1.0, "{run} {text}");
    let mut lines = text.lines();
    assert_eq!((lines.next(), lines.next()), (Some("hello from outside"), Some("200 403")), "{text}");
    for target in targets {
        let line = lines.next().unwrap();
        assert!(line == format!("{target} 403") || line == format!("{target} 400"), "{line}");
    }
    assert_eq!(lines.next(), Some("closed"), "{text}");
    assert_eq!(server.asked(), ["/hello"], "a tunnel without a request asks for nothing");

    let all = recorded(&site, id).await;
    assert_eq!(all.len(), 3 + targets.len(), "{all:?}");
    assert_eq!((all[0]["host"].as_str(), all[0]["port"].as_u64()), (Some(HERE), Some(port.into())));
    assert_eq!(all[0]["address"], format!("{HERE}:{port}"));
    assert_eq!(all[0]["outcome"], "closed");
    assert!(all[0]["down"].as_u64().unwrap() > 18 && all[0]["up"].as_u64().unwrap() > 18, "{}", all[0]);
    for refused in &all[2..] {
        assert_eq!((refused["outcome"].as_str(), refused.get("address")), (Some("refused"), None), "{refused}");
    }
    // They are events of the run, and no moves.
    let moves = site.states(id).await;
    assert_eq!(moves, ["queued", "preparing", "running", "parsing", "completed"]);
}

#[tokio::test]
async fn egress_to_a_private_address_must_be_named_by_the_operator() {
    let server = hello();
    let (site, _folder) = site(&server, "", "");
    let body = format!(
        "import urllib.error\n\
         try:\n    get('/hello')\n\
         except urllib.error.HTTPError as error:\n    print(error.code, error.read().decode().strip())\n\
         print(connect('{HERE}:{}'))",
        server.port
    );
    let run = site.run("reaching", &[("install.py", &install(&server, &body)), ("run.py", CLOSED)]).await;
    let text = site.text(id_of(&run), "").await;
    let wanted = format!(
        "403 {HERE} resolves to {HERE}, the host itself, which egress_private_hosts does not name\n403\nclosed\n"
    );
    assert_eq!(text, wanted, "{run}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn egress_has_quotas_for_each_stage() {
    let server = hello();
    let quota = "egress_quota = { connections = 5, mib = 1 }";
    let (site, _folder) = site(&server, &format!("{HERE}:{}", server.port), quota);
    let body = format!(
        "try:\n    got = len(get('/big'))\nexcept (http.client.HTTPException, OSError) as error:\n    got = 0\n\
         print(got, [connect('{HERE}:{}') for _ in range(6)])",
        server.port
    );
    let run = site.run("reaching", &[("install.py", &install(&server, &body)), ("run.py", CLOSED)]).await;
    let text = site.text(id_of(&run), "").await;
    assert_eq!(text, "0 [429, 429, 429, 429, 429, 429]\nclosed\n", "{run}");
    let all = recorded(&site, id_of(&run)).await;
    assert!(all.iter().all(|connection| connection["outcome"] == "quota"), "{all:?}");
    assert!(all[0]["down"].as_u64().unwrap() <= 1 << 20, "{}", all[0]);
}

#[tokio::test]
async fn egress_that_finds_nobody_costs_the_project_nothing() {
    let server = hello();
    let port = server.port;
    let nobody = Server { port: port ^ 1, asked: Arc::default(), held: Arc::default() };
    drop(server);
    let (site, _folder) = site(&nobody, &format!("{HERE}:{}", nobody.port), "");
    let run = site.run("reaching", &[("install.py", &install(&nobody, "get('/hello')")), ("run.py", CLOSED)]).await;
    assert_eq!(failure(&run), ("failed", "registry_unreachable", "infrastructure"), "{run}");
    assert!(message(&run).contains("did not answer"), "{run}");
    assert_eq!(run["attempt"], 3, "it was tried again");
}

/// FAILURES 10 of the promises: a worker dies while a connection is open.
#[tokio::test]
async fn egress_goes_on_in_an_adopted_cell_and_dials_nothing_twice() {
    let server = hello();
    let (mut site, _folder) = site(&server, &format!("{HERE}:{}", server.port), "");
    let body = "print(get('/hello').decode())\n\
        print('holding')\n\
        try:\n    print(get('/held').decode())\n\
        except (http.client.HTTPException, OSError) as error:\n    print('cut off')\n\
        print(get('/hello').decode())\n";
    let run = site.submit("reaching", &[("install.py", &install(&server, body)), ("run.py", CLOSED)]).await;
    site.until("the connection is held", async || server.asked().len() == 2).await;
    site.take_worker().kill();
    site.start_worker();
    let ended = site.ended(run).await;
    server.let_go();
    let text = site.text(run, "").await;
    assert_eq!((ended["attempt"].as_i64(), ended["score"].as_f64()), (Some(1), Some(1.0)), "{ended} {text}");
    assert_eq!(text, "hello from outside\nholding\ncut off\nhello from outside\nclosed\n");
    assert_eq!(server.asked(), ["/hello", "/held", "/hello"]);
}

#[tokio::test]
async fn egress_carries_every_byte_at_a_useful_rate() {
    let server = hello();
    let (site, _folder) = site(&server, &format!("{HERE}:{}", server.port), "");
    let body = "import hashlib, time\n\
        begun = time.monotonic()\n\
        answer = urllib.request.urlopen(URL + '/big', timeout=30)\n\
        digest, total = hashlib.sha256(), 0\n\
        while piece := answer.read(1 << 16):\n    digest.update(piece); total += len(piece)\n\
        print(total, digest.hexdigest())\n\
        print(total / (time.monotonic() - begun) / 1e6)\n";
    let begun = Stopwatch::start();
    let run = site.run("reaching", &[("install.py", &install(&server, body)), ("run.py", CLOSED)]).await;
    let text = site.text(id_of(&run), "").await;
    let mut lines = text.lines();
    let whole: Vec<u8> = (0..=u8::MAX).cycle().take(BIG).collect();
    let wanted = format!("{BIG} {}", sha256(&whole));
    assert_eq!(lines.next(), Some(wanted.as_str()), "{run} {text}");
    let rate: f64 = lines.next().unwrap().parse().unwrap();
    println!("{rate:.1} MB/s through one connection; the whole run took {:?}", begun.elapsed());
    assert!(rate > 1.0, "{rate} MB/s");
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
