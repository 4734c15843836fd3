//! The way into a cell: one writer, so that no frame is cut while it lives.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use assize_cell::CellInput;

/// Frames that wait for the writer, each at most one piece of a connection. Who has more waits.
const QUEUE: usize = 32;

/// Where frames for a cell go. They wait until the cell has its plan and the way is [`Stdin::open`]ed; the
/// writer ends when the cell is gone, or when nobody can send any more.
pub struct Stdin {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Option<mpsc::Receiver<Vec<u8>>>,
    finish: CancellationToken,
}

impl Stdin {
    pub fn new() -> Self {
        let (frames, queue) = mpsc::channel(QUEUE);
        Self { frames, waiting: Some(queue), finish: CancellationToken::new() }
    }

    /// Writes `first`, then what waits and what comes.
    pub fn open(&mut self, input: CellInput, first: Vec<u8>) {
        if let Some(queue) = self.waiting.take() {
            tokio::spawn(write(input, first, queue, self.finish.clone()));
        }
    }

    pub fn is_open(&self) -> bool {
        self.waiting.is_none()
    }

    /// A way in of one's own.
    pub fn frames(&self) -> mpsc::Sender<Vec<u8>> {
        self.frames.clone()
    }

    /// Tells the warden to stop what runs and to report, before anything that waits. Whether it was
    /// heard shows in what the cell says.
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
