//! A submission as multipart/form-data.

use axum::extract::multipart::{Field, Multipart, MultipartError};
use serde_json::Value;

use super::fields::{MAX_METADATA_BYTES, MAX_TEMPLATE_BYTES, MAX_USER_BYTES, check_user, parse_metadata};
use super::{FormContext, Project, SubmissionForm, no_metadata};
use crate::api::problem::Problem;
use crate::intake::repository::{MAX_REF, MAX_URL};
use crate::intake::spool::{Spool, Spooled};

/// Reads a multipart form. The spooled archive is deleted when the form, or the error, is dropped. If the field user
/// comes before the archive and the user's queue is full, the archive is not read.
pub(in crate::api) async fn read_multipart(
    context: &FormContext<'_>,
    multipart: &mut Multipart,
) -> Result<SubmissionForm, Problem> {
    let mut form = FormBuilder::new(context);
    let mut reader = FieldReader { context };
    while let Some(field) = reader.next(multipart).await? {
        form.add(&mut reader, field).await?;
    }
    form.build()
}

/// The fields that were read so far.
struct FormBuilder<'a> {
    context: &'a FormContext<'a>,
    archive: FieldSlot<Spooled>,
    template: FieldSlot<String>,
    user: FieldSlot<String>,
    metadata: FieldSlot<Value>,
    repository_url: FieldSlot<String>,
    reference: FieldSlot<String>,
}

impl<'a> FormBuilder<'a> {
    const fn new(context: &'a FormContext<'a>) -> Self {
        Self {
            context,
            archive: FieldSlot::empty("archive"),
            template: FieldSlot::empty("template"),
            user: FieldSlot::empty("user"),
            metadata: FieldSlot::empty("metadata"),
            repository_url: FieldSlot::empty("repository_url"),
            reference: FieldSlot::empty("ref"),
        }
    }

    /// Reads and checks one field.
    async fn add(&mut self, reader: &mut FieldReader<'_>, mut field: Field<'_>) -> Result<(), Problem> {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "archive" => {
                self.archive.require_empty()?;
                if let (Some(user), Some(quota)) = (self.user.value.as_deref(), self.context.quota) {
                    quota.check(Some(user)).await?;
                }
                self.archive.value = Some(reader.spool(&mut field).await?);
            }
            "template" => {
                let name = self.template.read(reader, &mut field, MAX_TEMPLATE_BYTES).await?;
                self.context.check_template(&name)?;
                self.template.value = Some(name);
            }
            "user" => {
                let user = self.user.read(reader, &mut field, MAX_USER_BYTES).await?;
                self.user.value = Some(check_user(user)?);
            }
            "metadata" => {
                let text = self.metadata.read(reader, &mut field, MAX_METADATA_BYTES).await?;
                self.metadata.value = Some(parse_metadata(&text)?);
            }
            // Twice the limit, so that a value that is too long is rejected with the code of repositories.
            "repository_url" => {
                self.repository_url.value = Some(self.repository_url.read(reader, &mut field, 2 * MAX_URL).await?);
            }
            "ref" => self.reference.value = Some(self.reference.read(reader, &mut field, 2 * MAX_REF).await?),
            other => return Err(Problem::unknown_field(other)),
        }
        Ok(())
    }

    /// Checks that the fields belong together and that none is missing.
    fn build(self) -> Result<SubmissionForm, Problem> {
        let reference = self.reference.value.as_deref();
        let project = match (self.archive.value, self.repository_url.value) {
            (None, None) => return Err(Problem::missing_field("archive")),
            (Some(_), Some(_)) => {
                return Err(Problem::bad_field("repository_url", "cannot be combined with archive; send one of them"));
            }
            (Some(_), None) if reference.is_some() => {
                return Err(Problem::bad_field("ref", "cannot be combined with archive; it belongs to repository_url"));
            }
            (Some(archive), None) => Project::Archive(archive),
            (None, Some(url)) => self.context.check_repository(&url, reference)?,
        };
        Ok(SubmissionForm {
            project,
            template: self.template.require()?,
            user: self.user.require()?,
            metadata: self.metadata.value.unwrap_or_else(no_metadata),
        })
    }
}

/// The place of one field, which may be filled once.
struct FieldSlot<T> {
    name: &'static str,
    value: Option<T>,
}

impl<T> FieldSlot<T> {
    const fn empty(name: &'static str) -> Self {
        Self { name, value: None }
    }

    fn require_empty(&self) -> Result<(), Problem> {
        if self.value.is_some() { Err(Problem::repeated_field(self.name)) } else { Ok(()) }
    }

    fn require(self) -> Result<T, Problem> {
        self.value.ok_or_else(|| Problem::missing_field(self.name))
    }

    /// Reads the text of the field, if the slot is empty.
    async fn read(&self, reader: &mut FieldReader<'_>, field: &mut Field<'_>, limit: usize) -> Result<String, Problem> {
        self.require_empty()?;
        reader.text(self.name, field, limit).await
    }
}

/// Reads fields, and reports to the reader of the body that the parser makes progress.
struct FieldReader<'a> {
    context: &'a FormContext<'a>,
}

impl FieldReader<'_> {
    async fn next<'m>(&mut self, multipart: &'m mut Multipart) -> Result<Option<Field<'m>>, Problem> {
        let field = multipart.next_field().await.map_err(|error| self.problem(&error))?;
        self.context.progress.parsed();
        Ok(field)
    }

    async fn spool(&mut self, field: &mut Field<'_>) -> Result<Spooled, Problem> {
        let config = self.context.config;
        let mut spool = Spool::begin(&config.spool_dir, config.max_archive_bytes)?;
        while let Some(chunk) = self.chunk(field).await? {
            spool.write(&chunk).await?;
        }
        Ok(spool.finish().await?)
    }

    async fn text(&mut self, name: &'static str, field: &mut Field<'_>, limit: usize) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(field).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                return Err(Problem::field_too_long(name, limit as u64, bytes.len() as u64));
            }
        }
        String::from_utf8(bytes).map_err(|_| Problem::bad_field(name, "is not UTF-8"))
    }

    async fn chunk(&mut self, field: &mut Field<'_>) -> Result<Option<bytes::Bytes>, Problem> {
        let chunk = field.chunk().await.map_err(|error| self.problem(&error))?;
        self.context.progress.parsed();
        Ok(chunk)
    }

    /// Prefers the reason why the body ended early: the parser only sees that it ended.
    fn problem(&self, error: &MultipartError) -> Problem {
        self.context.progress.error().map_or_else(|| Problem::multipart(error), Problem::from)
    }
}
