//! The artifacts of an attempt on their way from its cells to the blob store.
//!
//! The bytes of all files lie one after another in an unnamed file, which is gone with this worker: until the end of the run
//! is written, the journals of the cells have everything, and a successor reads it from there. Nothing that happens to an
//! artifact here fails a run. A cell that does not keep to the protocol is lost, as it is with results.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use assize_domain::artifact::{Artifact, LeftOut, LeftOutArtifact, Origin, RunArtifacts};
use assize_domain::run::FailureCode;
use assize_domain::verdict::Visibility;
use assize_protocol::artifacts::{
    ArtifactEnded, ArtifactsReport, MAX_LEFT_OUT, extension_of, media_type_of, name_problem, quoted,
};
use assize_store::Store;
use sha2::{Digest, Sha256};

use super::stop::Stop;
use crate::intake::blob::Blobs;

/// Bytes that are gathered before they are written: one hop to the blocking pool for each.
const GATHER: usize = 256 * 1024;

/// The longest reason of a file that was left out, in characters.
const MAX_REASON_CHARS: usize = 200;

/// The artifacts that an attempt has received so far.
pub struct Artifacts {
    folder: PathBuf,
    visibility: Visibility,
    file: Option<Arc<File>>,
    /// Bytes of the whole files so far.
    end: u64,
    begun: Option<Begun>,
    received: Vec<Received>,
    left_out: LeftOut,
}

/// A file that is still coming.
struct Begun {
    origin: Origin,
    name: String,
    hash: Sha256,
    bytes: u64,
    gathered: Vec<u8>,
    /// Why it cannot be kept.
    problem: Option<String>,
}

/// A whole file.
struct Received {
    artifact: Artifact,
    from: u64,
}

impl Artifacts {
    /// None so far. Their bytes will lie in `folder`.
    pub fn none(folder: PathBuf, visibility: Visibility) -> Self {
        Self { folder, visibility, file: None, end: 0, begun: None, received: Vec::new(), left_out: LeftOut::default() }
    }

    /// A file begins.
    pub fn begin(&mut self, origin: Origin, name: String) -> Result<(), Stop> {
        let is_known = |received: &Received| received.artifact.origin == origin && received.artifact.name == name;
        let problem = match name_problem(&name) {
            None if extension_of(&name).is_none() => Some("its kind is none of an artifact"),
            None if self.begun.is_some() => Some("another one has not ended"),
            None if self.received.iter().any(is_known) => Some("it was sent before"),
            problem => problem,
        };
        if let Some(problem) = problem {
            return Err(garbled(&format!("sent the artifact {}: {problem}", quoted(name.as_bytes()))));
        }
        let (hash, gathered) = (Sha256::new(), Vec::new());
        self.begun = Some(Begun { origin, name, hash, bytes: 0, gathered, problem: None });
        Ok(())
    }

    /// A piece of the file that began last.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), Stop> {
        let begun = self.begun.as_mut().ok_or_else(|| garbled("sent a piece of no artifact"))?;
        if begun.problem.is_none() {
            begun.gathered.extend_from_slice(piece);
            if begun.gathered.len() >= GATHER {
                self.flush().await;
            }
        }
        Ok(())
    }

    /// The file that began last is whole, or does not count.
    pub async fn finish(&mut self, ended: ArtifactEnded) -> Result<(), Stop> {
        self.flush().await;
        let begun = self.begun.take().ok_or_else(|| garbled("ended an artifact that it had not begun"))?;
        match (ended, begun.problem) {
            // The report at the end has the reason.
            (ArtifactEnded::LeftOut(_), _) => {}
            (ArtifactEnded::Bytes(_), Some(problem)) => self.leave_out(begun.origin, &begun.name, &problem),
            (ArtifactEnded::Bytes(bytes), None) if bytes != begun.bytes => {
                return Err(garbled(&format!("ended an artifact of {} bytes after {bytes}", begun.bytes)));
            }
            (ArtifactEnded::Bytes(bytes), None) => {
                let media_type = extension_of(&begun.name).and_then(media_type_of).unwrap_or_default().to_owned();
                let sha256 = hex::encode(begun.hash.finalize());
                let Begun { name, origin, .. } = begun;
                let artifact = Artifact { name, origin, sha256, bytes, media_type, visibility: self.visibility };
                self.received.push(Received { artifact, from: self.end });
                self.end += bytes;
            }
        }
        Ok(())
    }

    /// What a cell says that it left out.
    pub fn report(&mut self, origin: Origin, report: ArtifactsReport) {
        let named = report.left_out.len() as u64;
        for one in report.left_out {
            self.leave_out(origin, &one.name, &one.reason);
        }
        self.left_out.count += report.left_out_count.saturating_sub(named);
    }

    /// A cell ended before it had handed out everything.
    pub fn cut_off(&mut self, origin: Origin) {
        if let Some(begun) = self.begun.take() {
            self.leave_out(origin, &begun.name, "the cell ended before it was sent");
        }
        self.leave_out(origin, "/", "the cell did not hand out everything in time");
    }

    /// Stores what was received, and returns it. What the store does not take is left out.
    pub async fn store(&mut self, store: &Store, blobs: &Blobs) -> RunArtifacts {
        let received = std::mem::take(&mut self.received);
        let mut files = Vec::new();
        let mut is_refused = false;
        let sha256s: Vec<String> = received.iter().map(|one| one.artifact.sha256.clone()).collect();
        if !sha256s.is_empty()
            && let Err(error) = store.use_artifacts(&sha256s).await
        {
            tracing::warn!(%error, "the artifacts of a run were not stored");
            is_refused = true;
        }
        for Received { artifact, from } in received {
            // A store that does not take one is not asked about every other.
            if let (false, Some(file)) = (is_refused, &self.file)
                && let Err(error) = blobs.put_artifact(&artifact.sha256, file, from, artifact.bytes).await
            {
                tracing::warn!(%error, "an artifact of a run was not stored");
                is_refused = true;
            }
            if is_refused {
                self.leave_out(artifact.origin, &artifact.name, "it could not be stored");
            } else {
                files.push(artifact);
            }
        }
        self.file = None;
        RunArtifacts { files, left_out: std::mem::take(&mut self.left_out) }
    }

    fn leave_out(&mut self, origin: Origin, name: &str, reason: &str) {
        self.left_out.count += 1;
        if self.left_out.first.len() < 2 * MAX_LEFT_OUT {
            // A jsonb holds no NUL, and what a warden sends is not trusted to have none.
            let reason = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
            let name = if name.contains(char::is_control) { quoted(name.as_bytes()) } else { name.to_owned() };
            let name = name.chars().take(assize_protocol::artifacts::MAX_NAME_BYTES).collect();
            self.left_out.first.push(LeftOutArtifact { name, origin, reason });
        }
    }

    /// Writes what was gathered. An error becomes the problem of the file.
    async fn flush(&mut self) {
        let (folder, file) = (self.folder.clone(), self.file.clone());
        let Some(begun) = self.begun.as_mut().filter(|begun| begun.problem.is_none()) else { return };
        let (gathered, mut hash) = (std::mem::take(&mut begun.gathered), std::mem::take(&mut begun.hash));
        let (at, length) = (self.end + begun.bytes, gathered.len() as u64);
        let work = tokio::task::spawn_blocking(move || {
            let file = file.map_or_else(|| tempfile::tempfile_in(folder).map(Arc::new), Ok)?;
            hash.update(&gathered);
            file.write_all_at(&gathered, at)?;
            io::Result::Ok((file, hash))
        });
        match work.await.map_err(io::Error::other).flatten() {
            Ok((file, hash)) => {
                self.file = Some(file);
                begun.hash = hash;
                begun.bytes += length;
            }
            Err(error) => {
                tracing::warn!(%error, "an artifact could not be written to the spool folder");
                begun.problem = Some("the worker had no room for it".to_owned());
            }
        }
    }
}

fn garbled(what: &str) -> Stop {
    Stop::failed(FailureCode::CellLost, format!("the cell {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn send(artifacts: &mut Artifacts, origin: Origin, name: &str, pieces: &[&[u8]]) -> Result<(), Stop> {
        artifacts.begin(origin, name.to_owned())?;
        for piece in pieces {
            artifacts.push(piece).await?;
        }
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        artifacts.finish(ArtifactEnded::Bytes(bytes)).await
    }

    fn none(folder: &tempfile::TempDir) -> Artifacts {
        Artifacts::none(folder.path().to_owned(), Visibility::Visible)
    }

    #[tokio::test]
    async fn files_lie_one_after_another_and_have_their_digests() {
        let folder = tempfile::tempdir().unwrap();
        let mut artifacts = none(&folder);
        let large = vec![7_u8; 3 * GATHER + 5];
        send(&mut artifacts, Origin::Driver, "workspace/a.txt", &[b"one", b" two"]).await.unwrap();
        artifacts.begin(Origin::Driver, "workspace/b.txt".to_owned()).unwrap();
        artifacts.push(b"half of it").await.unwrap();
        artifacts.finish(ArtifactEnded::LeftOut("it grew".to_owned())).await.unwrap();
        send(&mut artifacts, Origin::Driver, "workspace/c.png", &large.chunks(60_000).collect::<Vec<_>>())
            .await
            .unwrap();
        send(&mut artifacts, Origin::Subject, "workspace/a.txt", &[]).await.unwrap();
        let file = artifacts.file.clone().unwrap();
        let seen: Vec<_> = artifacts.received.iter().map(|one| (one.from, &one.artifact)).collect();
        for ((from, artifact), content) in seen.iter().zip([&b"one two"[..], &large, b""]) {
            let mut bytes = vec![0; content.len()];
            file.read_exact_at(&mut bytes, *from).unwrap();
            assert_eq!((bytes, artifact.bytes), (content.to_vec(), content.len() as u64), "{artifact:?}");
            assert_eq!(artifact.sha256, hex::encode(Sha256::digest(content)));
        }
        assert_eq!((seen.len(), seen[1].1.media_type.as_str()), (3, "image/png"));
    }

    #[tokio::test]
    async fn a_cell_that_does_not_keep_to_the_protocol_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "/etc/passwd", "a/../b.txt", "a\nb.txt", "a.exe"] {
            assert!(none(&folder).begin(Origin::Driver, name.to_owned()).is_err(), "{name:?}");
        }
        let mut artifacts = none(&folder);
        assert!(artifacts.push(b"x").await.is_err(), "of no file");
        assert!(artifacts.finish(ArtifactEnded::Bytes(0)).await.is_err(), "of no file");
        send(&mut artifacts, Origin::Driver, "a.txt", &[b"x"]).await.unwrap();
        assert!(artifacts.begin(Origin::Driver, "a.txt".to_owned()).is_err(), "twice");
        artifacts.begin(Origin::Driver, "b.txt".to_owned()).unwrap();
        assert!(artifacts.begin(Origin::Driver, "c.txt".to_owned()).is_err(), "within another");
        artifacts.push(b"xy").await.unwrap();
        assert!(artifacts.finish(ArtifactEnded::Bytes(3)).await.is_err(), "of another length");
    }

    #[tokio::test]
    async fn a_folder_without_room_leaves_files_out() {
        let mut artifacts = Artifacts::none("/no/such/folder".into(), Visibility::Visible);
        send(&mut artifacts, Origin::Subject, "a.txt", &[b"x"]).await.unwrap();
        assert_eq!((artifacts.received.len(), artifacts.left_out.count), (0, 1));
        assert_eq!(artifacts.left_out.first[0].reason, "the worker had no room for it");
    }

    #[test]
    fn what_cells_left_out_is_kept_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let mut artifacts = none(&folder);
        let mut report = ArtifactsReport::default();
        for _ in 0..5 {
            report.leave_out(b"a", "because");
        }
        report.left_out_count = 1_000_000;
        report.left_out[0].name = "a\0\u{1b}".repeat(10_000);
        report.left_out[0].reason = "\0why".repeat(10_000);
        artifacts.report(Origin::Driver, report);
        artifacts.cut_off(Origin::Subject);
        let left_out = &artifacts.left_out;
        assert_eq!((left_out.count, left_out.first.len()), (1_000_001, 6));
        assert!(left_out.first.iter().all(|one| one.name.len() + one.reason.len() < 2_000));
        assert!(!left_out.first.iter().any(|one| one.name.contains(char::is_control) || one.reason.contains('\0')));
    }
}
