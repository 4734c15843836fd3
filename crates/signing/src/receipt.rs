//! Signing the receipt of a project that was received.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::statement::{InToto, RECEIPT, Receipt, Source};
use super::{Envelope, Signer};

/// A project that was received, by upload or from a repository.
#[derive(Debug, Clone)]
pub struct ReceivedProject<'a> {
    /// The submission.
    pub submission_id: Uuid,
    /// The first run of the submission.
    pub run_id: Uuid,
    /// The organisation of the submission.
    pub organization_id: Uuid,
    /// The user, in the platform's words.
    pub user: &'a str,
    /// Name of the template.
    pub template: &'a str,
    /// 64 lower-case hexadecimal digits.
    pub archive_sha256: &'a str,
    /// Length of the archive, in bytes.
    pub archive_bytes: i64,
    /// By the database's clock, in whole microseconds.
    pub received_at: DateTime<Utc>,
    /// Where the project was fetched from, if it was not uploaded.
    pub source: Option<Source>,
}

/// Signs the receipt of a project. `None` if the statement cannot be signed.
#[must_use]
pub fn sign_receipt(signer: &Signer, received: ReceivedProject<'_>) -> Option<Envelope> {
    signer.sign(|key_id| {
        let receipt = Receipt {
            submission_id: received.submission_id,
            run_id: received.run_id,
            organization_id: received.organization_id,
            user: received.user.to_owned(),
            template: received.template.to_owned(),
            archive_bytes: received.archive_bytes,
            received_at: received.received_at,
            source: received.source,
            key_id: key_id.to_owned(),
        };
        InToto::about(received.submission_id, received.archive_sha256, RECEIPT, receipt)
    })
}
