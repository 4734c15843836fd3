//! Saving artifacts. The service is not trusted with where files go: every name is checked, no link in the folder is
//! followed, and a file appears under its name only when all of it is there and its digest is right.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use assize_domain::artifact::{Artifact, api_path};
use assize_protocol::artifacts::name_problem;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::client::Client;
use crate::outcome::Fault;
use crate::terminal::printable;

/// Saves every artifact as `folder`/origin/name.
///
/// # Errors
/// [`Fault`] for the first that cannot be saved. Those before it stay.
pub async fn save_all(
    client: &Client,
    run: Uuid,
    artifacts: &[Artifact],
    folder: &Path,
    replace: bool,
) -> Result<(), Fault> {
    std::fs::create_dir_all(folder).map_err(|error| unwritten(folder, &error))?;
    for artifact in artifacts {
        let target = target_of(folder, artifact)?;
        if !replace && target.symlink_metadata().is_ok() {
            return Err(exists(&target));
        }
        let file = download(client, run, artifact, &target).await?;
        keep(file, &target, replace)?;
    }
    Ok(())
}

/// The path of the file. Its folders exist afterwards, and lie in `folder` whatever links are there.
fn target_of(folder: &Path, artifact: &Artifact) -> Result<PathBuf, Fault> {
    let name = &artifact.name;
    if let Some(problem) = name_problem(name) {
        let shown = printable(&format!("{name:?}"));
        return Err(Fault::infrastructure(format!("the service sent an artifact with the name {shown}: {problem}")));
    }
    let mut path = folder.join(artifact.origin.as_str());
    let mut components = name.split('/');
    let file = components.next_back().unwrap_or_default();
    make_folder(&path)?;
    for component in components {
        path.push(component);
        make_folder(&path)?;
    }
    Ok(path.join(file))
}

fn make_folder(path: &Path) -> Result<(), Fault> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => {
                let path = path.display();
                Err(Fault::usage(format!("{path} is a link or not a folder; remove it, or save in another folder")))
            }
            Err(error) => Err(unwritten(path, &error)),
        },
        Err(error) => Err(unwritten(path, &error)),
    }
}

/// Reads an artifact into a file beside its target, and checks its length and its digest.
async fn download(client: &Client, run: Uuid, artifact: &Artifact, target: &Path) -> Result<NamedTempFile, Fault> {
    let beside = target.parent().unwrap_or(target);
    let mut file = NamedTempFile::new_in(beside).map_err(|error| unwritten(beside, &error))?;
    let mut response = client.open(&api_path(run, &artifact.name, artifact.origin)).await?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(piece) = client.piece(&mut response).await? {
        bytes += piece.len() as u64;
        if bytes > artifact.bytes {
            break;
        }
        hash.update(&piece);
        file.write_all(&piece).map_err(|error| unwritten(target, &error))?;
    }
    let seen = hex::encode(hash.finalize());
    if bytes == artifact.bytes && seen == artifact.sha256 {
        return Ok(file);
    }
    let (name, wanted) = (printable(&artifact.name), printable(&artifact.sha256));
    Err(Fault::infrastructure(format!(
        "the artifact {name} is not what the list says: it has {bytes} bytes and the SHA-256 {seen}, the list says \
         {} and {wanted}; try again, and report it to the operator of the service",
        artifact.bytes
    )))
}

/// Gives a whole file its name.
fn keep(file: NamedTempFile, target: &Path, replace: bool) -> Result<(), Fault> {
    let kept = if replace { file.persist(target) } else { file.persist_noclobber(target) };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(exists(target)),
        Err(error) => Err(unwritten(target, &error.error)),
    }
}

fn exists(target: &Path) -> Fault {
    Fault::usage(format!("{} exists; replace it with --force, or save in another folder", target.display()))
}

fn unwritten(path: &Path, error: &std::io::Error) -> Fault {
    Fault::usage(format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use assize_domain::artifact::Origin;
    use assize_domain::verdict::Visibility;

    use super::*;

    fn artifact(name: &str) -> Artifact {
        Artifact {
            name: name.to_owned(),
            origin: Origin::Driver,
            sha256: String::new(),
            bytes: 1,
            media_type: "text/plain".to_owned(),
            visibility: Visibility::Visible,
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["../a.txt", "/etc/passwd", "a/../../b.txt", "a//b", "", ".", "a\nb.txt", "a\u{1b}[2J.txt", "a\\..\\b"]
        {
            let fault = target_of(folder.path(), &artifact(name)).unwrap_err();
            assert!(!fault.to_string().contains(char::is_control), "{fault:?}");
        }
        let target = target_of(folder.path(), &artifact("workspace/out/..a.txt")).unwrap();
        assert_eq!(target, folder.path().join("driver/workspace/out/..a.txt"));
        assert!(folder.path().join("driver/workspace/out").is_dir());
    }

    #[test]
    fn no_link_in_the_folder_is_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path().join("driver")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("driver/workspace")).unwrap();
        let fault = target_of(folder.path(), &artifact("workspace/a.txt")).unwrap_err();
        assert!(fault.to_string().contains("is a link or not a folder"), "{fault}");
        // A link in the place of the file is replaced, and what it leads to is not.
        let victim = outside.path().join("victim");
        std::fs::write(&victim, "mine").unwrap();
        let target = folder.path().join("driver/a.txt");
        std::os::unix::fs::symlink(&victim, &target).unwrap();
        let new = || {
            let mut file = NamedTempFile::new_in(folder.path()).unwrap();
            file.write_all(b"new").unwrap();
            file
        };
        assert!(keep(new(), &target, false).unwrap_err().to_string().contains("exists; replace it with --force"));
        keep(new(), &target, true).unwrap();
        assert_eq!(
            (std::fs::read(&target).unwrap(), std::fs::read(&victim).unwrap()),
            (b"new".to_vec(), b"mine".to_vec())
        );
    }

    #[test]
    fn a_file_that_exists_stays() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.txt");
        std::fs::write(&target, "old").unwrap();
        let fault = keep(NamedTempFile::new_in(folder.path()).unwrap(), &target, false).unwrap_err();
        assert!(fault.to_string().contains("--force"), "{fault}");
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
    }
}
