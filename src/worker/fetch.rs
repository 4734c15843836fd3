//! A submission by the address of a repository gets its archive: from a cell of its own, before any cell of
//! the project, once. From then on it is a submission like any other.
//!
//! The cell runs [`git`] and nothing of the project; the one host that it reaches is the repository's. What
//! comes out is not trusted: it goes through the scan of uploads. A worker that dies leaves nothing that
//! counts until the archive stands in the row, so whoever takes the run over fetches anew in the same attempt.

pub mod git;

use std::io::ErrorKind;
use std::sync::Arc;

use assize_protocol::event::ResultsStatus;
use bytes::Bytes;

use super::attempt::{Attempt, Stop, patiently};
use super::cells::Cells;
use super::conversation::{Conversation, Step};
use super::execute::piece;
use crate::intake::keep::{KeepError, keep};
use crate::intake::repository::{self, Allowed, Repository};
use crate::intake::spool::{Spool, SpoolError, Spooled};
use assize_archive as archive;
use assize_cell::Role;
use assize_config::Config;
use assize_domain::run::{Failure, FailureCode, StageName};
use assize_observe::event;
use assize_signing::Envelope;
use assize_signing::statement::{InToto, RECEIPT, Receipt, Source, to_micros};
use assize_store::leases::Fetched;

/// Sees that the submission of a run has its archive.
pub async fn fetch(attempt: &mut Attempt<'_>, cells: &mut Cells<'_>) -> Result<(), Stop> {
    let claim = &attempt.claim;
    let (None, Some(url), Some(reference)) = (&claim.archive_sha256, &claim.repository_url, &claim.repository_ref)
    else {
        return Ok(());
    };
    // What cannot be evaluated here need not be fetched.
    let template = attempt.template()?;
    let worker = attempt.worker;
    // By the rules of this worker too: who can write to the database cannot make it dial.
    let repository = repository::check(url, reference, Allowed::of(&worker.config))
        .map_err(|problem| failed(FailureCode::FetchFailed, problem))?;
    let (plan, limits) = (git::plan(&repository, &worker.config), git::limits(&worker.config));
    let ready = cells.fetcher(attempt, &plan, limits).await?;
    let id = ready.cell.id.clone();

    let mut arrival = Arrival::begin(&worker.config)?;
    let rules = worker.exit.only(&repository, git::quota(&worker.config));
    let rules = rules.map_err(|why| failed(FailureCode::FetchFailed, why))?;
    let inputs = plan.inputs.iter().map(|_| piece(&worker.exit.certificates())).collect();
    let mut talk = Conversation::begin(Role::Fetch, ready, plan, limits, inputs, rules, attempt.cancelled.clone());
    let report = loop {
        let heard = talk.next().await;
        match talk.take(attempt, heard).await? {
            Step::Piece(piece) => arrival.push(&piece).await?,
            Step::Ended(report) => break report,
            Step::Going | Step::Ready => {}
        }
    };
    if let ResultsStatus::Refused { reason } = report.status {
        return Err(failed(FailureCode::FetchFailed, format!("packed, the repository is too large: {reason}")));
    }
    let (commit, archive) = arrival.finish().await?;
    // One cell at a time: the project's joins the same namespace.
    cells.remove_fetcher(&id).await?;

    let limits = template.scan_limits(&worker.config);
    let file = Arc::clone(&archive.file);
    let scanned = tokio::task::spawn_blocking(move || archive::scan(&file, &limits)).await;
    let summary = scanned.map_err(|error| failed(FailureCode::WorkerLost, error))?.map_err(|problem| {
        let ours = problem.is_infrastructure();
        failed(if ours { FailureCode::HostOutOfDisk } else { FailureCode::ArchiveRejected }, problem)
    })?;
    keep(&worker.store, &worker.blobs, &archive).await.map_err(|error| match error {
        KeepError::Blob(error) => Stop::from(error),
        KeepError::Store(error) => Stop::from(error),
    })?;
    let bytes = i64::try_from(archive.bytes).unwrap_or(i64::MAX);
    let receipt = receipt(attempt, &repository, &commit, &archive.sha256, bytes);
    let entries = i64::try_from(summary.entries).unwrap_or(i64::MAX);
    let fetched = Fetched { sha256: archive.sha256, bytes, entries, commit, receipt };
    let lease = attempt.lease;
    // Made twice it is the same, so a reply that was lost needs no other look.
    let kept = patiently(&worker.store, lease, |_| None, || worker.store.keep_fetched(lease, &fetched)).await?;
    event::repository_fetched(&attempt.subject, attempt.taken(), &kept.commit);
    attempt.claim.archive_sha256 = Some(kept.archive_sha256);
    Ok(())
}

/// That the project was received, and which commit it was.
fn receipt(
    attempt: &Attempt<'_>,
    repository: &Repository,
    commit: &str,
    archive_sha256: &str,
    archive_bytes: i64,
) -> Option<Envelope> {
    let claim = &attempt.claim;
    attempt.worker.signer.as_ref()?.sign(|key_id| {
        let receipt = Receipt {
            submission_id: claim.project_submission_id,
            run_id: claim.id,
            organization_id: claim.organization_id,
            user: claim.user.clone(),
            template: claim.template.clone(),
            archive_bytes,
            received_at: to_micros(claim.submitted_at),
            source: Some(Source {
                repository_url: repository.url.clone(),
                reference: repository.reference.clone(),
                commit: commit.to_owned(),
            }),
            key_id: key_id.to_owned(),
        };
        InToto::about(claim.project_submission_id, archive_sha256, RECEIPT, receipt)
    })
}

fn failed(code: FailureCode, why: impl std::fmt::Display) -> Stop {
    let mut failure = Failure::new(code, why.to_string());
    failure.evidence.stage = Some(StageName::Fetch);
    Stop::Failed(failure)
}

/// What comes out of the cell: a commit, a line feed, and the archive, which is never whole in memory.
struct Arrival {
    /// Until the line feed.
    header: Vec<u8>,
    commit: Option<String>,
    spool: Spool,
}

impl Arrival {
    fn begin(config: &Config) -> Result<Self, Stop> {
        let spool = Spool::begin(&config.spool_dir, config.max_archive_bytes)?;
        Ok(Self { header: Vec::new(), commit: None, spool })
    }

    async fn push(&mut self, piece: &[u8]) -> Result<(), Stop> {
        if self.commit.is_some() {
            return Ok(self.spool.write(&Bytes::copy_from_slice(piece)).await?);
        }
        self.header.extend_from_slice(piece);
        let Some(end) = self.header.iter().position(|byte| *byte == b'\n') else {
            return if self.header.len() as u64 > git::HEADER_BYTES { Err(unnamed()) } else { Ok(()) };
        };
        let archive = self.header.split_off(end + 1);
        self.header.truncate(end);
        let commit = String::from_utf8(std::mem::take(&mut self.header)).map_err(|_| unnamed())?;
        let is_hex = commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex || !matches!(commit.len(), 40 | 64) {
            return Err(unnamed());
        }
        self.commit = Some(commit);
        Ok(self.spool.write(&archive.into()).await?)
    }

    async fn finish(self) -> Result<(String, Spooled), Stop> {
        let commit = self.commit.ok_or_else(unnamed)?;
        Ok((commit, self.spool.finish().await?))
    }
}

fn unnamed() -> Stop {
    // Whatever comes out of that cell is made of what the repository sent.
    failed(FailureCode::FetchFailed, "what came out of the cell that fetched the repository names no commit")
}

impl From<SpoolError> for Stop {
    fn from(error: SpoolError) -> Self {
        let code = match &error {
            SpoolError::TooLong { .. } => FailureCode::FetchFailed,
            SpoolError::Io(error) if error.kind() == ErrorKind::NotFound => FailureCode::WorkerLost,
            SpoolError::Io(_) => FailureCode::HostOutOfDisk,
        };
        failed(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn arrived(pieces: &[&[u8]]) -> Result<(String, Spooled), Stop> {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { spool_dir: folder.path().to_owned(), max_archive_bytes: 10, ..Config::default() };
        let mut arrival = Arrival::begin(&config)?;
        for piece in pieces {
            arrival.push(piece).await?;
        }
        arrival.finish().await
    }

    #[tokio::test]
    async fn a_commit_and_its_archive_arrive_however_they_are_cut() {
        let whole = [&[b'a'; 40][..], b"\nPK\n!"].concat();
        for cut in 0..whole.len() {
            let (one, other) = whole.split_at(cut);
            let (commit, archive) = arrived(&[one, other]).await.unwrap();
            assert_eq!((commit.len(), archive.bytes), (40, 4), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn what_names_no_commit_or_is_too_long_is_refused() {
        let digits = [b'a'; 64];
        for (pieces, code) in [
            (&[&b"PK"[..]][..], FailureCode::FetchFailed),
            (&[b"\nPK"], FailureCode::FetchFailed),
            (&[b"main\nPK"], FailureCode::FetchFailed),
            (&[&digits[..39], b"\nPK"], FailureCode::FetchFailed),
            (&[&digits[..39], b"A\nPK"], FailureCode::FetchFailed),
            (&[&digits, b"aa"], FailureCode::FetchFailed),
            (&[&digits, b"\n", b"12345678901"], FailureCode::FetchFailed),
        ] {
            match arrived(pieces).await {
                Err(Stop::Failed(failure)) => assert_eq!(failure.code, code, "{pieces:?}"),
                other => panic!("{pieces:?}: {other:?}"),
            }
        }
    }
}
