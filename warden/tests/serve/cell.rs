//! A warden driven over pipes, as the worker drives one through Docker. It is not PID 1 here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assize_protocol::event::{End, EndStatus, Output, ResultsStatus, StageEnded, StageExit};
use assize_protocol::frame::{Decoder, Frame, Kind, encode};
use assize_protocol::mask;
use assize_protocol::plan::{Input, OutputLimits, Plan, Ready, ResultsFile, Stage, VERSION};
use assize_protocol::progress::Progress;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How long a test waits for the next frame: only a failing test waits that long.
const FRAME_TIMEOUT: Duration = Duration::from_secs(20);

const WARDEN: &str = env!("CARGO_BIN_EXE_warden");

pub struct Cell {
    pub folder: TempDir,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Without their masks.
    frames: Receiver<Frame>,
    seen: Vec<Frame>,
    gate: Arc<Mutex<()>>,
}

/// Every frame that a warden sent.
pub struct Story {
    pub frames: Vec<Frame>,
    pub end: End,
    pub status: ExitStatus,
}

impl Cell {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self::drive(folder, Command::new(WARDEN).stdin(Stdio::piped()))
    }

    /// A warden whose longest file has this many KiB. As for PID 1, the limit causes an error and no signal.
    pub fn start_with_longest_file(kib: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\"", kib * 2);
        let mut command = Command::new("sh");
        Self::drive(folder, command.args(["-c", &script, WARDEN]).stdin(Stdio::piped()))
    }

    /// A warden whose stdin is a FIFO, as in Docker: it has an end of file as often as the last
    /// writer goes, and there is none to begin with.
    pub fn start_on_fifo(fifo: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Open for both, so that neither end waits for the other.
        let both = File::options().read(true).write(true).open(fifo).expect("a FIFO");
        let reader = File::open(fifo).expect("its reading end");
        let cell = Self::drive(folder, Command::new(WARDEN).stdin(reader));
        drop(both);
        cell
    }

    /// A warden that is PID 1 of a namespace, with a file system of 256 KiB and 20 inodes over its
    /// folder. It needs unprivileged user namespaces.
    pub fn start_as_init() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"])
            .args(["sh", "-c", "mount -t tmpfs -o size=256k,nr_inodes=20 none \"$1\" && exec \"$0\"", WARDEN])
            .arg(folder.path())
            .stdin(Stdio::piped());
        Self::drive(folder, &mut command)
    }

    fn drive(folder: TempDir, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the warden starts");
        let mut stdout = child.stdout.take().expect("piped");
        let (sender, frames) = channel();
        let gate = Arc::new(Mutex::new(()));
        let reading = Arc::clone(&gate);
        std::thread::spawn(move || {
            let mut decoder = Decoder::default();
            let mut bytes = [0; 8192];
            while let Ok(length @ 1..) = stdout.read(&mut bytes) {
                drop(reading.lock());
                decoder.feed(&bytes[..length]);
                while let Some(frame) = decoder.next_frame().expect("the warden sends frames") {
                    let kind = frame.kind;
                    let payload = mask::decode(frame).expect("a mask");
                    if sender.send(Frame { kind, payload }).is_err() {
                        return;
                    }
                }
            }
        });
        let stdin = child.stdin.take();
        let mut cell = Self { folder, child, stdin, frames, seen: Vec::new(), gate };
        assert_eq!(cell.wait(Kind::Hello).kind, Kind::Hello);
        cell
    }

    /// While it is locked nobody reads what the warden says, but for 8 KiB.
    pub fn gate(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.gate)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A plan without stages, inputs or results that would not hold anything up.
    pub fn empty_plan(&self) -> Plan {
        Plan {
            version: VERSION,
            inputs: vec![],
            stages: vec![],
            global_timeout_ms: 15_000,
            grace_ms: 100,
            results: None,
            artifacts: None,
            disks: vec![],
            writable: vec![],
            exec: None,
        }
    }

    /// A stage that runs a line of shell.
    pub fn shell(&self, line: &str) -> Stage {
        Stage {
            name: "stage".into(),
            command: ["/bin/sh", "-c", line].map(String::from).to_vec(),
            cwd: self.path().display().to_string(),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            timeout_ms: 10_000,
            output: OutputLimits { head: 4096, tail: 4096, limit: 1 << 30 },
            ready: None,
            egress: None,
            scratch: None,
            exec: None,
            progress: false,
        }
    }

    pub fn service(&self, line: &str, port: u16, http: Option<&str>) -> Stage {
        Stage { ready: Some(Ready { port, http: http.map(str::to_owned) }), ..self.shell(line) }
    }

    pub fn input(&self) -> Input {
        let into = self.path().join("into");
        std::fs::create_dir(&into).expect("a folder");
        Input {
            into: into.display().to_string(),
            max_archive_bytes: 1 << 20,
            max_entries: 20,
            max_bytes: 1 << 20,
            deny_content: Vec::new(),
            names: None,
            before: None,
        }
    }

    pub fn results(&self, name: &str) -> Option<ResultsFile> {
        Some(ResultsFile { path: self.path().join(name).display().to_string(), max_bytes: 1000 })
    }

    pub fn send(&mut self, kind: Kind, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(kind, payload, &mut bytes);
        self.send_raw(&bytes);
    }

    /// A warden that has ended no longer reads; its frames contain its reason.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.stdin {
            let _warden_gone = stdin.write_all(bytes);
        }
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub fn send_plan(&mut self, plan: &Plan) {
        self.send_raw(&plan_bytes(plan));
    }

    pub fn send_archive(&mut self, input: u8, archive: &[u8]) {
        for piece in archive.chunks(10_000) {
            self.send(Kind::Input, &[&[input], piece].concat());
        }
        self.send(Kind::InputEnd, &[input]);
    }

    /// The next frame of this kind; others before it are kept for the story.
    pub fn wait(&mut self, kind: Kind) -> Frame {
        self.wait_for(|frame| frame.kind == kind)
    }

    pub fn wait_for(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.frames.recv_timeout(FRAME_TIMEOUT).unwrap_or_else(|error| {
                panic!(
                    "no such frame ({error}); seen: {:?}",
                    self.seen.iter().map(|seen| seen.kind).collect::<Vec<_>>()
                )
            });
            self.seen.push(frame.clone());
            if wanted(&frame) {
                return frame;
            }
        }
    }

    pub fn wait_for_output(&mut self, text: &str) {
        self.wait_for(|frame| {
            frame.kind == Kind::Output && String::from_utf8_lossy(&frame.payload[18..]).contains(text)
        });
    }

    pub fn story(mut self) -> Story {
        let end = read(&self.wait(Kind::End));
        let status = self.child.wait().expect("it exits after its End");
        Story { frames: std::mem::take(&mut self.seen), end, status }
    }

    /// Sends the plan and waits for the end.
    pub fn run(mut self, plan: &Plan) -> Story {
        self.send_plan(plan);
        self.story()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

impl Story {
    pub fn all<T: DeserializeOwned>(&self, kind: Kind) -> Vec<T> {
        self.frames.iter().filter(|frame| frame.kind == kind).map(read).collect()
    }

    pub fn ended(&self) -> Vec<StageEnded> {
        self.all(Kind::StageEnded)
    }

    pub fn exits(&self) -> Vec<StageExit> {
        self.ended().into_iter().map(|ended| ended.exit).collect()
    }

    pub fn outputs(&self) -> Vec<Output> {
        let outputs = self.frames.iter().filter(|frame| frame.kind == Kind::Output);
        outputs.map(|frame| Output::decode(&frame.payload).expect("an output")).collect()
    }

    /// Everything that was kept of all stages' output.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.outputs().into_iter().flat_map(|output| output.bytes).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn results(&self) -> Vec<u8> {
        let frames = self.frames.iter().filter(|frame| frame.kind == Kind::Results);
        frames.flat_map(|frame| frame.payload.clone()).collect()
    }

    /// The lines that stages wrote about their tests.
    pub fn progress(&self) -> String {
        let frames = self.frames.iter().filter(|frame| frame.kind == Kind::Progress);
        let lines = frames.flat_map(|frame| Progress::decode(&frame.payload).expect("progress").lines);
        String::from_utf8(lines.collect()).expect("JSON")
    }

    pub fn rejection(&self) -> &str {
        match &self.end.status {
            EndStatus::Rejected { reason, .. } => reason,
            other => panic!("not rejected but {other:?}"),
        }
    }

    pub fn refusal(&self) -> &str {
        match &self.end.results {
            ResultsStatus::Refused { reason } => reason,
            other => panic!("not refused but {other:?}"),
        }
    }

    pub fn fault(&self) -> &str {
        match &self.end.status {
            EndStatus::Fault { error } => error,
            other => panic!("no fault but {other:?}"),
        }
    }
}

/// A plan in several frames, closed.
pub fn plan_bytes(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in serde_json::to_vec(plan).expect("a plan").chunks(700) {
        encode(Kind::Plan, piece, &mut bytes);
    }
    encode(Kind::PlanEnd, &[], &mut bytes);
    bytes
}

pub fn read<T: DeserializeOwned>(frame: &Frame) -> T {
    serde_json::from_slice(&frame.payload).expect("an event")
}

/// Whether a process is there and not yet collected.
pub fn is_alive(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).exists()
}
