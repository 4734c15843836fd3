//! What the engine keeps of a cell's stdout: read again from the first frame.

use bollard::query_parameters::{AttachContainerOptionsBuilder, LogsOptionsBuilder};

use super::call::{CALL_TIMEOUT, EngineError, bounded};
use super::engine::Engine;
use super::stream::{Cell, Event, StreamError};

/// What the engine says of a cell that is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub runs: bool,
    pub oom_killed: bool,
}

impl Engine {
    /// Goes on with a cell that another worker started: its journal from the first frame on, then
    /// what it says live, and its stdin if it still runs.
    ///
    /// # Errors
    /// [`EngineError`] if the cell is gone or the engine does not answer.
    pub async fn resume(&self, id: &str) -> Result<(Cell, Seen), EngineError> {
        let state = self.inspect(id).await?.state.unwrap_or_default();
        let seen = Seen { runs: state.running == Some(true), oom_killed: state.oom_killed == Some(true) };
        let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
        let journal = self.docker.logs(id, Some(options));
        let mut input = None;
        if seen.runs {
            let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).build();
            let attached = bounded("attach to a cell", self.docker.attach_container(id, Some(options))).await;
            // One that exits at this moment has said all it will; its journal holds it.
            input = attached.ok().map(|attached| attached.input);
        }
        Ok((Cell::resumed(id.to_owned(), input, Box::pin(journal)), seen))
    }

    /// Whether the warden of a cell has begun its first stage, as far as the journal knows. One that is
    /// gone has not: a worker that had lost its lease removed what it had only created.
    ///
    /// # Errors
    /// [`EngineError`] if the engine does not answer.
    pub async fn has_begun(&self, id: &str) -> Result<bool, EngineError> {
        match self.inspect(id).await {
            Ok(_) => {}
            Err(EngineError::Missing { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        let options = LogsOptionsBuilder::new().stdout(true).build();
        let mut cell = Cell::resumed(id.to_owned(), None, Box::pin(self.docker.logs(id, Some(options))));
        let begun = async {
            loop {
                match cell.output.next().await {
                    Ok(Event::StageStarted(_)) => return Ok(true),
                    Ok(_) => {}
                    Err(StreamError::Broken(reason)) => {
                        return Err(EngineError::Unavailable { what: "show a journal", reason });
                    }
                    Err(_) => return Ok(false),
                }
            }
        };
        let late = |_| EngineError::Unavailable { what: "show a journal", reason: "no answer in time".to_owned() };
        tokio::time::timeout(CALL_TIMEOUT, begun).await.map_err(late)?
    }

    /// Ends a cell where it is, and says whether its first stage had begun: nothing can begin after.
    ///
    /// # Errors
    /// [`EngineError`] if the engine does not answer.
    pub async fn kill_unbegun(&self, id: &str) -> Result<bool, EngineError> {
        match bounded("kill a container", self.docker.kill_container(id, None)).await {
            // 409: it does not run.
            Ok(()) | Err(EngineError::Refused { code: 409, .. }) => self.has_begun(id).await,
            Err(EngineError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
