//! The way into a cell. One task writes all frames, so that no frame is cut in two.

use assize_cell::CellInput;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Frames that may wait for the writer, each at most one piece of a connection. A sender waits while the queue is full.
const MAX_QUEUED_FRAMES: usize = 32;

/// A queue of frames for a cell. The frames wait until the cell has its plan and the queue is [`Stdin::open`]ed. The
/// writer ends when the cell is gone, or when every sender is dropped.
pub struct Stdin {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Option<mpsc::Receiver<Vec<u8>>>,
    finish: CancellationToken,
}

impl Stdin {
    /// A queue that is not open yet.
    pub fn new() -> Self {
        let (frames, queue) = mpsc::channel(MAX_QUEUED_FRAMES);
        Self { frames, waiting: Some(queue), finish: CancellationToken::new() }
    }

    /// Starts the writer, which writes `first` and then every frame of the queue.
    pub fn open(&mut self, input: CellInput, first: Vec<u8>) {
        if let Some(queue) = self.waiting.take() {
            tokio::spawn(write(input, first, queue, self.finish.clone()));
        }
    }

    /// Whether the writer was started.
    pub fn is_open(&self) -> bool {
        self.waiting.is_none()
    }

    /// A sender of frames.
    pub fn frames(&self) -> mpsc::Sender<Vec<u8>> {
        self.frames.clone()
    }

    /// Asks the warden to stop its processes and to report, before any frame that waits. The events of the cell show
    /// whether the warden received this.
    pub fn finish(&self) {
        self.finish.cancel();
    }
}

async fn write(mut input: CellInput, first: Vec<u8>, mut queue: mpsc::Receiver<Vec<u8>>, finish: CancellationToken) {
    if !first.is_empty() && input.send(&first).await.is_err() {
        return;
    }
    let mut is_finished = false;
    loop {
        let sent = tokio::select! {
            biased;
            () = finish.cancelled(), if !is_finished => {
                is_finished = true;
                input.finish().await
            }
            frame = queue.recv() => match frame {
                Some(frame) => input.send(&frame).await,
                None => return,
            },
        };
        if sent.is_err() {
            return;
        }
    }
}
