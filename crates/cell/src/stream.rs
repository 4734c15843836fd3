//! The byte stream of one cell: frames in, events out.

use std::pin::Pin;

use assize_protocol::artifacts::{ArtifactEnded, ArtifactStarted};
use assize_protocol::egress::FromCell;
use assize_protocol::event::{End, Hello, Output, ResultsFileStarted, StageEnded, StageReady, StageStarted};
use assize_protocol::frame::{self, Decoder, Frame, Kind, MAX_PAYLOAD};
use assize_protocol::mask;
use assize_protocol::plan::Plan;
use assize_protocol::progress::Progress;
use bollard::container::{AttachContainerResults, LogOutput};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A cell that was started: its two ends, which may be used side by side.
pub struct Cell {
    pub id: String,
    /// `None` if it has exited.
    pub input: Option<CellInput>,
    pub output: CellOutput,
}

/// What a warden said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Hello(Hello),
    StageStarted(StageStarted),
    StageReady(StageReady),
    Output(Output),
    /// Lines that a stage wrote about its tests.
    Progress(Progress),
    StageEnded(StageEnded),
    /// The next pieces are of another results file.
    ResultsFile(ResultsFileStarted),
    /// A piece of a results file.
    Results(Vec<u8>),
    /// The next pieces are of an artifact.
    ArtifactStarted(ArtifactStarted),
    /// A piece of an artifact.
    Artifact(Vec<u8>),
    /// No more pieces of that artifact come.
    ArtifactEnded(ArtifactEnded),
    /// What the proxy of a stage has to say.
    Tunnel(FromCell),
    End(End),
}

/// Why a cell cannot be talked to any more.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the stream from the cell broke: {0}")]
    Broken(String),
    #[error("the cell ended without a report")]
    Ended,
    #[error("the cell does not speak as a warden does: {0}")]
    Garbled(String),
    #[error("the archive could not be read: {0}")]
    Archive(String),
}

type Write = Pin<Box<dyn AsyncWrite + Send>>;
type Read = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// The way into a cell.
pub struct CellInput {
    write: Write,
}

/// The way out of a cell.
pub struct CellOutput {
    pub(super) read: Read,
    decoder: Decoder,
    /// Events that were taken out so far.
    pub heard: u64,
    /// Events at the beginning that were heard before, through a stream that broke.
    old: u64,
    /// What the warden's own stderr said: a panic, if anything.
    complaint: Vec<u8>,
}

impl Cell {
    pub(super) fn new(id: String, attached: AttachContainerResults) -> Self {
        Self { id, input: Some(CellInput { write: attached.input }), output: CellOutput::new(attached.output) }
    }

    /// A cell that is gone on with: `journal` begins with its first byte.
    pub(super) fn resumed(id: String, input: Option<Write>, journal: Read) -> Self {
        Self { id, input: input.map(|write| CellInput { write }), output: CellOutput::new(journal) }
    }
}

impl CellInput {
    /// Sends the plan, then each input whole.
    ///
    /// # Errors
    /// [`StreamError::Broken`] if the cell is gone, [`StreamError::Archive`] if an input is.
    pub async fn deliver<E: std::fmt::Display>(
        &mut self,
        plan: &Plan,
        inputs: Vec<BoxStream<'static, Result<Bytes, E>>>,
    ) -> Result<(), StreamError> {
        let plan = serde_json::to_vec(plan).map_err(|error| StreamError::Garbled(error.to_string()))?;
        let mut frames = Vec::with_capacity(plan.len() + 64);
        for piece in plan.chunks(MAX_PAYLOAD) {
            frame::encode(Kind::Plan, piece, &mut frames);
        }
        frame::encode(Kind::PlanEnd, &[], &mut frames);
        for (number, mut pieces) in (0_u8..).zip(inputs) {
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| StreamError::Archive(error.to_string()))?;
                for part in piece.chunks(MAX_PAYLOAD - 1) {
                    let mut payload = Vec::with_capacity(part.len() + 1);
                    payload.push(number);
                    payload.extend_from_slice(part);
                    frame::encode(Kind::Input, &payload, &mut frames);
                    if frames.len() >= MAX_PAYLOAD {
                        self.send(&frames).await?;
                        frames.clear();
                    }
                }
            }
            frame::encode(Kind::InputEnd, &[number], &mut frames);
        }
        self.send(&frames).await
    }

    /// Tells the warden to stop what runs and to report.
    ///
    /// # Errors
    /// [`StreamError::Broken`] if the cell is gone.
    pub async fn finish(&mut self) -> Result<(), StreamError> {
        let mut bytes = Vec::new();
        frame::encode(Kind::Finish, &[], &mut bytes);
        self.send(&bytes).await
    }

    /// Sends whole frames.
    ///
    /// # Errors
    /// [`StreamError::Broken`] if the cell is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let sent = async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        };
        sent.await.map_err(|error| StreamError::Broken(error.to_string()))
    }
}

impl CellOutput {
    fn new(read: Read) -> Self {
        Self { read, decoder: Decoder::default(), heard: 0, old: 0, complaint: Vec::new() }
    }

    /// Goes on after the first `heard` events of the journal.
    #[must_use]
    pub const fn after(mut self, heard: u64) -> Self {
        self.old = heard;
        self
    }

    /// The next event. Cancelling this loses nothing.
    ///
    /// # Errors
    /// [`StreamError`] when the stream ended or cannot be understood; there is no event after it.
    pub async fn next(&mut self) -> Result<Event, StreamError> {
        /// Of a warden's complaint, in bytes.
        const MAX_COMPLAINT: usize = 4096;
        loop {
            let frame = self.decoder.next_frame().map_err(|error| StreamError::Garbled(error.to_string()))?;
            if let Some(frame) = frame {
                self.heard += 1;
                if self.heard <= self.old {
                    continue;
                }
                return read(frame);
            }
            match self.read.next().await {
                Some(Ok(LogOutput::StdOut { message })) => self.decoder.feed(&message),
                Some(Ok(LogOutput::StdErr { message })) => {
                    let room = MAX_COMPLAINT.saturating_sub(self.complaint.len());
                    self.complaint.extend(message.iter().take(room));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(StreamError::Broken(error.to_string())),
                None if self.complaint.is_empty() => return Err(StreamError::Ended),
                None => return Err(StreamError::Garbled(String::from_utf8_lossy(&self.complaint).trim().to_owned())),
            }
        }
    }
}

fn read(frame: Frame) -> Result<Event, StreamError> {
    fn json<T: serde::de::DeserializeOwned>(kind: Kind, payload: &[u8]) -> Result<T, StreamError> {
        serde_json::from_slice(payload).map_err(|error| StreamError::Garbled(format!("{kind:?}: {error}")))
    }
    let kind = frame.kind;
    let payload = mask::decode(frame).ok_or_else(|| StreamError::Garbled(format!("{kind:?} without a mask")))?;
    Ok(match kind {
        Kind::Hello => Event::Hello(json(kind, &payload)?),
        Kind::StageStarted => Event::StageStarted(json(kind, &payload)?),
        Kind::StageReady => Event::StageReady(json(kind, &payload)?),
        Kind::StageEnded => Event::StageEnded(json(kind, &payload)?),
        Kind::Output => {
            Event::Output(Output::decode(&payload).ok_or_else(|| StreamError::Garbled("short output".to_owned()))?)
        }
        Kind::Progress => Event::Progress(
            Progress::decode(&payload).ok_or_else(|| StreamError::Garbled("short progress".to_owned()))?,
        ),
        Kind::ResultsFile => Event::ResultsFile(json(kind, &payload)?),
        Kind::Results => Event::Results(payload),
        Kind::ArtifactStarted => Event::ArtifactStarted(json(kind, &payload)?),
        Kind::Artifact => Event::Artifact(payload),
        Kind::ArtifactEnded => Event::ArtifactEnded(json(kind, &payload)?),
        Kind::FromTunnel => {
            Event::Tunnel(FromCell::decode(&payload).ok_or_else(|| StreamError::Garbled("a broken tunnel".to_owned()))?)
        }
        Kind::End => Event::End(json(kind, &payload)?),
        Kind::Plan | Kind::PlanEnd | Kind::Input | Kind::InputEnd | Kind::Finish | Kind::ToTunnel => {
            return Err(StreamError::Garbled(format!("{kind:?} goes the other way")));
        }
        Kind::Call
        | Kind::CallInput
        | Kind::CallStart
        | Kind::CallCancel
        | Kind::CallStdout
        | Kind::CallStderr
        | Kind::CallEnded
        | Kind::CallFile
        | Kind::CallFileData => {
            return Err(StreamError::Garbled(format!("{kind:?} goes from cell to cell")));
        }
    })
}
