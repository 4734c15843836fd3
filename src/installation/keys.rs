//! The keys of an installation: the API key of its administrator, and the signing key.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use assize_domain::key::{self, KeyRole};
use assize_signing::{KeyFileError, PrivateKey, key_file};
use assize_store::keys::NewKey;
use assize_store::{Store, StoreError};
use uuid::Uuid;

use super::InstallationError;

/// An API key that was just issued.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// The organisation that the key belongs to.
    pub organization: Uuid,
    /// The key as a client sends it.
    pub text: String,
}

/// Creates an API key with this role for an organisation, which is created if it does not exist. The database stores
/// only a hash of the key.
///
/// # Errors
/// [`StoreError`] if the database cannot store it.
pub async fn create_key(
    store: &Store,
    organization: &str,
    role: KeyRole,
    label: &str,
) -> Result<IssuedKey, StoreError> {
    let organization = store.ensure_organization(organization).await?;
    let minted = key::mint();
    let new = NewKey {
        id: minted.id,
        organization_id: organization,
        role,
        secret_sha256: &minted.secret_sha256,
        label,
        expires_at: None,
    };
    store.insert_key(new).await?;
    Ok(IssuedKey { organization, text: minted.text().to_owned() })
}

/// Creates a signing key at `path`, unless the file exists.
///
/// # Errors
/// [`KeyFileError`] if the file cannot be written.
pub fn ensure_signing_key(path: &Path) -> Result<(), KeyFileError> {
    if path.exists() { Ok(()) } else { key_file::create(path, &PrivateKey::generate()) }
}

/// Returns the administrator's key that `path` stores, if the database has it; otherwise creates a key and stores it
/// there. The database may be newer than the file.
pub(super) async fn stored_admin_key(
    store: &Store,
    organization: &str,
    path: &Path,
) -> Result<IssuedKey, InstallationError> {
    if let Ok(text) = std::fs::read_to_string(path)
        && is_valid(store, text.trim()).await?
    {
        let organization = store.ensure_organization(organization).await?;
        return Ok(IssuedKey { organization, text: text.trim().to_owned() });
    }
    let created = create_key(store, organization, KeyRole::Admin, "assize up").await?;
    write_private(path, &created.text).map_err(|error| InstallationError::KeyFile { path: path.to_owned(), error })?;
    Ok(created)
}

/// Returns whether the database has this key.
async fn is_valid(store: &Store, text: &str) -> Result<bool, StoreError> {
    let Some(presented) = key::Presented::read(text) else { return Ok(false) };
    Ok(store.find_key(presented.id).await?.is_some_and(|stored| presented.proves(&stored.secret_sha256)))
}

/// Writes the whole text or nothing. The file is never readable for another user.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(file, "{text}")?;
    std::fs::rename(&new, path)
}
