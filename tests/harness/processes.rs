//! The processes that a test starts: their output, their exit codes, and that they end with the test.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use assize_host as host;
use assize_host::clock::Clock;

/// The time limit for a process to become ready, or to end after a signal.
pub const PROCESS_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of lines of a process's output that a failing test prints.
const PRINTED_LINES: usize = 60;

/// A process of this test. It ends when its stdin closes, and so when the test ends in any way.
pub struct Process {
    name: &'static str,
    child: Child,
    output: Arc<Output>,
}

/// The output of a process so far, and a signal for each change of it.
#[derive(Default)]
struct Output {
    lines: Mutex<OutputLines>,
    changed: Condvar,
}

#[derive(Default)]
struct OutputLines {
    lines: Vec<String>,
    /// How many of stdout and stderr have ended. Both end with the process, because it has no children.
    ended: usize,
}

impl Output {
    fn read(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                output.change(|seen| seen.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            output.change(|seen| seen.ended += 1);
        });
    }

    fn change(&self, change: impl FnOnce(&mut OutputLines)) {
        change(&mut self.lines.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits until the condition holds, the process has ended or the time is over. Returns whether the condition holds.
    fn wait(&self, timeout: Duration, holds: impl Fn(&OutputLines) -> bool) -> bool {
        let deadline: Instant = Clock::system().monotonic() + timeout;
        let mut seen = self.lines.lock().unwrap();
        loop {
            if holds(&seen) {
                return true;
            }
            let left = deadline.saturating_duration_since(Clock::system().monotonic());
            if left.is_zero() || seen.ended == 2 {
                return false;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap().0;
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
        let output = Arc::new(Output::default());
        output.read(child.stdout.take().unwrap());
        output.read(child.stderr.take().unwrap());
        Self { name, child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with this text.
    pub fn wait_for(&self, text: &str) {
        let found = self.output.wait(PROCESS_TIMEOUT, |seen| seen.lines.iter().any(|line| line.contains(text)));
        assert!(found, "{} did not print {text:?}:\n{}", self.name, self.tail());
    }

    pub fn terminate(&self) {
        host::signal(self.child.id(), host::Signal::Terminate);
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end without sending a signal.
    pub fn exit(&mut self, timeout: Duration) -> ExitStatus {
        assert!(self.ended(timeout), "{} did not end within {timeout:?}:\n{}", self.name, self.tail());
        self.child.wait().unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.ended(Duration::ZERO)
    }

    fn ended(&self, timeout: Duration) -> bool {
        self.output.wait(timeout, |seen| seen.ended == 2)
    }

    /// Returns all lines of stdout and stderr so far.
    pub fn output(&self) -> String {
        self.output.lines.lock().unwrap().lines.join("\n")
    }

    /// Returns the last lines of the output.
    pub fn tail(&self) -> String {
        let seen = self.output.lines.lock().unwrap();
        seen.lines[seen.lines.len().saturating_sub(PRINTED_LINES)..].join("\n")
    }

    /// Returns the peak resident memory in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until the process listens at this IPv4 address, and returns the port.
    pub fn port_on(&self, address: [u8; 4]) -> u16 {
        let wanted = format!("{:08X}", u32::from_le_bytes(address));
        let deadline = Clock::system().monotonic() + PROCESS_TIMEOUT;
        loop {
            if let Some(port) = self.listening_on(&wanted) {
                return port;
            }
            let over = self.output.wait(Duration::from_millis(5), |seen| seen.ended == 2);
            let waiting = !over && Clock::system().monotonic() < deadline;
            assert!(waiting, "{} does not listen:\n{}", self.name, self.tail());
        }
    }

    fn listening_on(&self, address: &str) -> Option<u16> {
        /// The state LISTEN in `/proc/net/tcp`.
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

/// Returns a command for the binary under test, with the given settings only.
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

/// Returns the path of the warden (PID 1 of the cells), which lies beside the binary.
pub fn warden_path() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_assize")).with_file_name("assize-warden")
}

pub fn check_warden() {
    let warden = warden_path();
    assert!(warden.is_file(), "there is no {}: run `make warden`", warden.display());
}

/// A Redis server for one test.
pub struct RedisServer {
    folder: tempfile::TempDir,
    process: Option<Process>,
    /// The password that clients must send.
    password: Option<String>,
    arguments: &'static [&'static str],
}

impl RedisServer {
    pub fn start() -> Self {
        Self::start_with_password(None)
    }

    /// Starts a server that requires this password.
    pub fn start_with_password(password: Option<String>) -> Self {
        Self::start_as(password, &[])
    }

    /// Starts a server with the memory limit and the eviction policy of the embedded one.
    pub fn start_small() -> Self {
        Self::start_as(None, &["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
    }

    fn start_as(password: Option<String>, arguments: &'static [&'static str]) -> Self {
        let mut server = Self { folder: tempfile::tempdir().unwrap(), process: None, password, arguments };
        server.restart();
        server
    }

    /// Starts the server again, without data.
    pub fn restart(&mut self) {
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
