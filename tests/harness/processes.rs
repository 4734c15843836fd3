//! Processes that a test starts: what they say, how they end, and that they end with the test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use assize_host as host;
use assize_host::clock;

/// How long a process may take to become ready, or to end when it is told to.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Lines that are shown of the process's log when a test fails.
const SHOWN: usize = 60;

/// A process of this test. Its stdin is a lifeline: it ends when the test does, however that goes.
pub struct Process {
    name: &'static str,
    child: Child,
    log: Arc<Log>,
}

/// All that a process has said so far.
#[derive(Default)]
struct Log {
    said: Mutex<Said>,
    more: Condvar,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    /// How many of stdout and stderr have ended: with the process, for it has no children.
    ended: usize,
}

impl Log {
    fn read(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                log.change(|said| said.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            log.change(|said| said.ended += 1);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Said)) {
        change(&mut self.said.lock().unwrap());
        self.more.notify_all();
    }

    /// Waits until `holds`, or the process has ended, or `patience` is at its end; whether it holds.
    fn wait(&self, patience: Duration, holds: impl Fn(&Said) -> bool) -> bool {
        let deadline: Instant = clock::monotonic() + patience;
        let mut said = self.said.lock().unwrap();
        loop {
            if holds(&said) {
                return true;
            }
            let left = deadline.saturating_duration_since(clock::monotonic());
            if left.is_zero() || said.ended == 2 {
                return false;
            }
            said = self.more.wait_timeout(said, left).unwrap().0;
        }
    }
}

impl Process {
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let log = Arc::new(Log::default());
        log.read(child.stdout.take().unwrap());
        log.read(child.stderr.take().unwrap());
        Self { name, child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with this text.
    pub fn wait_for(&self, text: &str) {
        let said = self.log.wait(PATIENCE, |said| said.lines.iter().any(|line| line.contains(text)));
        assert!(said, "{} did not say {text:?}:\n{}", self.name, self.tail());
    }

    pub fn terminate(&self) {
        host::signal(self.child.id(), host::Signal::Terminate);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end without telling it to.
    pub fn exit(&mut self, patience: Duration) -> ExitStatus {
        assert!(self.ended(patience), "{} did not end within {patience:?}:\n{}", self.name, self.tail());
        self.child.wait().unwrap()
    }

    fn ended(&self, patience: Duration) -> bool {
        self.log.wait(patience, |said| said.ended == 2)
    }

    pub fn said(&self) -> String {
        self.log.said.lock().unwrap().lines.join("\n")
    }

    pub fn tail(&self) -> String {
        let said = self.log.said.lock().unwrap();
        said.lines[said.lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// The most memory that it ever held, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The port that it listens on at this IPv4 address, once it does.
    pub fn port_on(&self, address: [u8; 4]) -> u16 {
        let wanted = format!("{:08X}", u32::from_le_bytes(address));
        let deadline = clock::monotonic() + PATIENCE;
        loop {
            if let Some(port) = self.listening_on(&wanted) {
                return port;
            }
            let over = self.log.wait(Duration::from_millis(5), |said| said.ended == 2);
            let waiting = !over && clock::monotonic() < deadline;
            assert!(waiting, "{} does not listen:\n{}", self.name, self.tail());
        }
    }

    fn listening_on(&self, address: &str) -> Option<u16> {
        /// As `/proc/net/tcp` has it.
        const LISTENING: &str = "0A";
        let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.pid())).ok()?;
        let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .ok()?
            .filter_map(|entry| Some(std::fs::read_link(entry.ok()?.path()).ok()?.to_string_lossy().into_owned()))
            .collect();
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (at, port) = fields.get(1)?.split_once(':')?;
            let socket = format!("socket:[{}]", fields.get(9)?);
            let ours = at == address && fields.get(3) == Some(&LISTENING) && sockets.contains(&socket);
            if ours { u16::from_str_radix(port, 16).ok() } else { None }
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.terminate();
        if !self.ended(Duration::from_secs(10)) {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}

/// The binary under test, with no settings but the given ones.
pub fn assize(settings: &[(String, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_assize"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("ASSIZE_") || name.ends_with("_MAX_ACTIVE") || name.starts_with("MAX_ACTIVE") {
            command.env_remove(name);
        }
    }
    command.current_dir(std::env::temp_dir());
    command.envs(settings.iter().map(|(key, value)| (format!("ASSIZE_{}", key.to_uppercase()), value.clone())));
    command
}

/// PID 1 of the cells, beside the binary.
pub fn warden_path() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_assize")).with_file_name("assize-warden")
}

pub fn check_warden() {
    let warden = warden_path();
    assert!(warden.is_file(), "there is no {}: run `make warden`", warden.display());
}

/// A Redis of a test's own.
pub struct RedisServer {
    folder: tempfile::TempDir,
    process: Option<Process>,
    /// What it asks of its clients.
    password: Option<String>,
    arguments: &'static [&'static str],
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_asking(None)
    }

    /// One that asks for this password.
    pub fn start_asking(password: Option<String>) -> Self {
        Self::start_as(password, &[])
    }

    /// One that has as much room as the embedded one, and drops as that one does.
    pub fn start_small() -> Self {
        Self::start_as(None, &["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
    }

    fn start_as(password: Option<String>, arguments: &'static [&'static str]) -> Self {
        let mut server = Self { folder: tempfile::tempdir().unwrap(), process: None, password, arguments };
        server.again();
        server
    }

    /// Starts it, empty.
    pub fn again(&mut self) {
        let socket = self.folder.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--daemonize", "no", "--unixsocket"]).arg(socket);
        command.args(self.arguments);
        if let Some(password) = &self.password {
            command.arg("--requirepass").arg(password);
        }
        let process = Process::start("redis-server", command.current_dir(self.folder.path()));
        process.wait_for("ready to accept connections");
        self.process = Some(process);
    }

    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| format!("?pass={password}")).unwrap_or_default();
        format!("redis+unix://{}{password}", self.folder.path().join("redis.sock").display())
    }
}
