//! Fetches the archive of a submission that was made by the address of a repository. The fetch runs in a cell of its
//! own, once, before any cell of the project. From then on the submission is like any other.
//!
//! The cell runs [`git`] and no code of the project, and it reaches only the repository's host. The archive that comes
//! out is not trusted: it passes the scan of uploads. A fetch has no effect until the row names the archive, so a
//! worker that takes the run over fetches anew in the same attempt.

pub mod git;
mod policy;

use std::io::ErrorKind;
use std::sync::Arc;

use assize_archive::{self as archive, ArchiveSummary};
use assize_config::Config;
use assize_domain::run::{Failure, FailureCode, StageName};
use assize_observe::event;
use assize_protocol::event::ResultsStatus;
use assize_signing::Envelope;
use assize_signing::receipt::{ReceivedProject, sign_receipt};
use assize_signing::statement::{Source, to_micros};
use assize_store::run_writes::Fetched;
use bytes::Bytes;

use super::attempt::Attempt;
use super::cell_session::{CellSession, SessionProgress};
use super::cells::Cells;
use super::execute::in_memory;
use super::fenced_write::retry_fenced_write;
use super::stop::Stop;
use crate::intake::keep::{KeepError, keep};
use crate::intake::repository::{self, Allowed, Repository};
use crate::intake::spool::{Spool, SpoolError, Spooled};
use policy::FetchPolicy;

/// Makes sure that the submission of a run has its archive.
pub async fn fetch(attempt: &mut Attempt<'_>, cells: &mut Cells<'_>) -> Result<(), Stop> {
    let claim = &attempt.claim;
    let (None, Some(url), Some(reference)) = (&claim.archive_sha256, &claim.repository_url, &claim.repository_ref)
    else {
        return Ok(());
    };
    // A project whose template is missing here cannot be evaluated, so it is not fetched.
    let template = &*attempt.template()?;
    // The address is checked by the rules of this worker too: a writer of the database cannot make it dial any host.
    let repository = repository::check(url, reference, Allowed::from_config(&attempt.worker.config))
        .map_err(|problem| failed(FailureCode::FetchFailed, format!("{problem}; {}", problem.advice())))?;
    let (commit, archive) = run_fetch(attempt, cells, &repository).await?;
    let summary = scan(&archive, template.scan_limits(&attempt.worker.config)).await?;
    store(attempt, &repository, commit, archive, &summary).await
}

/// Runs Git in a cell. Returns the commit and the spooled archive.
async fn run_fetch(
    attempt: &mut Attempt<'_>,
    cells: &mut Cells<'_>,
    repository: &Repository,
) -> Result<(String, Spooled), Stop> {
    let worker = attempt.worker;
    let (plan, limits) = (git::plan(repository, &worker.config), git::limits(&worker.config));
    let started = cells.launch_fetch_cell(attempt, git::FETCH_IMAGE, &plan, limits).await?;
    let id = started.cell.id.clone();

    let mut fetched = FetchedBytes::begin(&worker.config)?;
    let rules = worker.egress.only_repository(repository, git::allowance(&worker.config));
    let rules = rules.map_err(|why| failed(FailureCode::FetchFailed, why))?;
    let inputs = plan.inputs.iter().map(|_| in_memory(&worker.egress.certificates())).collect();
    let policy = FetchPolicy::default();
    let mut session = CellSession::begin(policy, started, plan, limits, inputs, rules, attempt);
    let report = loop {
        let event = session.next().await;
        match session.handle(attempt, event).await? {
            SessionProgress::ResultsPiece(piece) => fetched.push(&piece).await?,
            SessionProgress::Ended(report) => break report,
            SessionProgress::Continue | SessionProgress::Ready => {}
        }
    };
    if let ResultsStatus::Refused { reason } = report.status {
        return Err(failed(FailureCode::FetchFailed, format!("packed, the repository is too large: {reason}")));
    }
    let fetched = fetched.finish().await?;
    // The next cell of this attempt joins the same namespace, so this cell is removed first.
    cells.remove_fetch_cell(&id).await?;
    Ok(fetched)
}

/// Scans the archive as an uploaded one.
async fn scan(archive: &Spooled, limits: archive::ScanLimits) -> Result<ArchiveSummary, Stop> {
    let file = Arc::clone(&archive.file);
    let scanned = tokio::task::spawn_blocking(move || archive::scan(&file, &limits)).await;
    scanned.map_err(|error| failed(FailureCode::WorkerLost, error))?.map_err(|problem| {
        let ours = problem.is_infrastructure();
        let code = if ours { FailureCode::HostOutOfDisk } else { FailureCode::ArchiveRejected };
        failed(code, format!("{problem}; {}", problem.advice()))
    })
}

/// Stores the archive, signs its receipt, and writes both to the submission.
async fn store(
    attempt: &mut Attempt<'_>,
    repository: &Repository,
    commit: String,
    archive: Spooled,
    summary: &ArchiveSummary,
) -> Result<(), Stop> {
    let worker = attempt.worker;
    keep(&worker.store, &worker.blobs, &archive).await.map_err(|error| match error {
        KeepError::Blob(error) => Stop::from(error),
        KeepError::Store(error) => Stop::from(error),
    })?;
    let bytes = i64::try_from(archive.bytes).unwrap_or(i64::MAX);
    let receipt = receipt(attempt, repository, &commit, &archive.sha256, bytes);
    let entries = i64::try_from(summary.entries).unwrap_or(i64::MAX);
    let contents = serde_json::to_value(&summary.contents).map_err(|error| failed(FailureCode::WorkerLost, error))?;
    let fetched = Fetched { sha256: archive.sha256, bytes, entries, contents, commit, receipt };
    let lease = attempt.lease;
    // A second write of the same values changes nothing, so a lost reply needs no look at the row.
    let stored = retry_fenced_write(
        &worker.clock,
        &worker.store,
        lease,
        |_| None,
        || worker.store.keep_fetched(lease, &fetched),
    )
    .await?;
    event::repository_fetched(&attempt.identity, attempt.elapsed(), &stored.commit);
    attempt.claim.archive_sha256 = Some(stored.archive_sha256);
    Ok(())
}

/// The receipt of a project that was fetched: which commit it was, and when the submission was made.
fn receipt(
    attempt: &Attempt<'_>,
    repository: &Repository,
    commit: &str,
    archive_sha256: &str,
    archive_bytes: i64,
) -> Option<Envelope> {
    let claim = &attempt.claim;
    let received = ReceivedProject {
        submission_id: claim.project_submission_id,
        run_id: claim.id,
        organization_id: claim.organization_id,
        user: &claim.user,
        template: &claim.template,
        archive_sha256,
        archive_bytes,
        received_at: to_micros(claim.submitted_at),
        source: Some(Source {
            repository_url: repository.url.clone(),
            reference: repository.reference.clone(),
            commit: commit.to_owned(),
        }),
    };
    sign_receipt(attempt.worker.signer.as_ref()?, received)
}

fn failed(code: FailureCode, why: impl std::fmt::Display) -> Stop {
    let mut failure = Failure::new(code, why.to_string());
    failure.evidence.stage = Some(StageName::Fetch);
    Stop::Failed(failure)
}

/// The bytes that come out of the cell: a commit, a line feed, and the archive, which is never whole in memory.
struct FetchedBytes {
    /// The bytes before the line feed, while it has not come.
    header: Vec<u8>,
    commit: Option<String>,
    spool: Spool,
}

impl FetchedBytes {
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
    // The repository's content decides what comes out of this cell.
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

    async fn fetched(pieces: &[&[u8]]) -> Result<(String, Spooled), Stop> {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { spool_dir: folder.path().to_owned(), max_archive_bytes: 10, ..Config::default() };
        let mut fetched = FetchedBytes::begin(&config)?;
        for piece in pieces {
            fetched.push(piece).await?;
        }
        fetched.finish().await
    }

    #[tokio::test]
    async fn a_commit_and_its_archive_arrive_however_they_are_cut() {
        let whole = [&[b'a'; 40][..], b"\nPK\n!"].concat();
        for cut in 0..whole.len() {
            let (one, other) = whole.split_at(cut);
            let (commit, archive) = fetched(&[one, other]).await.unwrap();
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
            match fetched(pieces).await {
                Err(Stop::Failed(failure)) => assert_eq!(failure.code, code, "{pieces:?}"),
                other => panic!("{pieces:?}: {other:?}"),
            }
        }
    }
}
