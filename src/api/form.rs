//! The form of a submission, read from multipart as it comes: the archive straight to the spool,
//! the other fields bounded, each at most once and in any order. Without an archive it may be JSON too.

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use futures_util::StreamExt;
use serde_json::Value;

use super::ApiState;
use super::body::Progress;
use super::problem::Problem;
use super::quota::Door;
use crate::intake::repository::{self, Allowed, DEFAULT_REF, MAX_REF, MAX_URL, Repository};
use crate::intake::spool::{Spool, Spooled};
use crate::template::Templates;
use assize_config::Config;
use assize_domain::unicode::fold;

/// Characters of a user's name; the column has the same limit.
const USER_CHARS: usize = 200;
/// Its bytes, at four to a character.
const USER_BYTES: usize = 4 * USER_CHARS;
/// Bytes of a template's name; the column has the same limit.
const TEMPLATE_BYTES: usize = 64;
/// Bytes of the metadata, as JSON.
const METADATA_BYTES: usize = 16 * 1024;
/// Objects and lists within each other in the metadata, the outermost included.
const METADATA_DEPTH: usize = 16;

/// Bytes of a form as JSON: its fields at their longest, and escapes.
const JSON_BYTES: usize = 64 * 1024;

/// A form that is whole and in order; the archive has not been looked into.
#[derive(Debug)]
pub(super) struct Form {
    pub project: Project,
    pub template: String,
    pub user: String,
    /// An object.
    pub metadata: Value,
}

/// What a form is held to.
pub(super) struct Rules<'a> {
    pub config: &'a Config,
    pub templates: &'a Templates,
    pub progress: &'a Progress,
    /// What the user has to pass, if anything.
    pub door: Option<&'a Door<'a>>,
}

/// What is to be evaluated.
#[derive(Debug)]
pub(super) enum Project {
    Archive(Spooled),
    /// To be fetched when its turn comes.
    Repository(Repository),
}

/// A form without an archive, as JSON.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RepositorySubmission)]
pub(super) struct JsonForm {
    /// The name of a template.
    template: String,
    /// Whose project it is, in the platform's words: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200)]
    user: String,
    /// `https://host/path`; the host must be one of `git_hosts`.
    repository_url: String,
    /// A branch, a tag or a whole commit; else the repository's default branch.
    r#ref: Option<String>,
    /// Kept and shown as it is: at most 16 KiB and 16 levels.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

/// Reads a form that is JSON.
pub(super) async fn read_json(api: &ApiState, body: Body, progress: &Progress) -> Result<Form, Problem> {
    let (mut pieces, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Some(piece) = pieces.next().await {
        let broken = |_| progress.fault().map_or_else(|| Problem::malformed_json("it broke off"), Problem::from);
        bytes.extend_from_slice(&piece.map_err(broken)?);
        if bytes.len() > JSON_BYTES {
            return Err(Problem::body_too_long(JSON_BYTES as u64, bytes.len() as u64));
        }
    }
    let form: JsonForm = serde_json::from_slice(&bytes).map_err(Problem::malformed_json)?;
    if api.templates.get(&form.template).is_none() {
        return Err(Problem::unknown_template(&form.template, &api.templates.names()));
    }
    let metadata = form.metadata.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let seen = metadata.to_string().len();
    if seen > METADATA_BYTES {
        return Err(Problem::field_too_long("metadata", METADATA_BYTES as u64, seen as u64));
    }
    Ok(Form {
        project: repository(&api.config, &form.repository_url, form.r#ref.as_deref())?,
        template: form.template,
        user: check_user(form.user)?,
        metadata: check_metadata(metadata)?,
    })
}

fn repository(config: &Config, url: &str, reference: Option<&str>) -> Result<Project, Problem> {
    let reference = reference.unwrap_or(DEFAULT_REF);
    Ok(Project::Repository(repository::check(url, reference, Allowed::of(config))?))
}

/// Reads the form. The spooled archive is gone when the form, or the error, is. Where the user comes
/// before the archive, the archive of one whose queue is full is not read.
pub(super) async fn read(rules: &Rules<'_>, multipart: &mut Multipart) -> Result<Form, Problem> {
    let Rules { config, templates, progress, door } = *rules;
    let mut reader = Reader { progress };
    let (mut archive, mut template, mut user, mut metadata) = (None, None, None::<String>, None);
    let (mut url, mut reference) = (None::<String>, None::<String>);
    while let Some(mut field) = reader.next(multipart).await? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "archive" => {
                once("archive", archive.is_some())?;
                if let (Some(user), Some(door)) = (user.as_deref(), door) {
                    door.check(Some(user)).await?;
                }
                archive = Some(reader.spool(&mut field, config).await?);
            }
            "template" => {
                once("template", template.is_some())?;
                let name = reader.text("template", &mut field, TEMPLATE_BYTES).await?;
                if templates.get(&name).is_none() {
                    return Err(Problem::unknown_template(&name, &templates.names()));
                }
                template = Some(name);
            }
            "user" => {
                once("user", user.is_some())?;
                user = Some(check_user(reader.text("user", &mut field, USER_BYTES).await?)?);
            }
            "metadata" => {
                once("metadata", metadata.is_some())?;
                metadata = Some(parse_metadata(&reader.text("metadata", &mut field, METADATA_BYTES).await?)?);
            }
            "repository_url" => {
                once("repository_url", url.is_some())?;
                // A little more, so that one that is too long is refused as such an address.
                url = Some(reader.text("repository_url", &mut field, 2 * MAX_URL).await?);
            }
            "ref" => {
                once("ref", reference.is_some())?;
                reference = Some(reader.text("ref", &mut field, 2 * MAX_REF).await?);
            }
            other => return Err(Problem::unknown_field(other)),
        }
    }
    let project = match (archive, url) {
        (None, None) => return Err(Problem::missing_field("archive")),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_field("repository_url", "came beside archive; send one of them"));
        }
        (Some(_), None) if reference.is_some() => {
            return Err(Problem::bad_field("ref", "came beside archive; it belongs to repository_url"));
        }
        (Some(archive), None) => Project::Archive(archive),
        (None, Some(url)) => repository(config, &url, reference.as_deref())?,
    };
    Ok(Form {
        project,
        template: template.ok_or_else(|| Problem::missing_field("template"))?,
        user: user.ok_or_else(|| Problem::missing_field("user"))?,
        metadata: metadata.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
    })
}

struct Reader<'a> {
    progress: &'a Progress,
}

impl Reader<'_> {
    async fn next<'m>(&mut self, multipart: &'m mut Multipart) -> Result<Option<Field<'m>>, Problem> {
        let field = multipart.next_field().await.map_err(|error| self.fault(&error))?;
        self.progress.made();
        Ok(field)
    }

    async fn spool(&mut self, field: &mut Field<'_>, config: &Config) -> Result<Spooled, Problem> {
        let mut spool = Spool::begin(&config.spool_dir, config.max_archive_bytes)?;
        while let Some(piece) = self.piece(field).await? {
            spool.write(&piece).await?;
        }
        Ok(spool.finish().await?)
    }

    async fn text(&mut self, name: &'static str, field: &mut Field<'_>, limit: usize) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.piece(field).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > limit {
                return Err(Problem::field_too_long(name, limit as u64, bytes.len() as u64));
            }
        }
        String::from_utf8(bytes).map_err(|_| Problem::bad_field(name, "is not UTF-8"))
    }

    async fn piece(&mut self, field: &mut Field<'_>) -> Result<Option<bytes::Bytes>, Problem> {
        let piece = field.chunk().await.map_err(|error| self.fault(&error))?;
        self.progress.made();
        Ok(piece)
    }

    /// The parser only knows that the body ended; what ended it says more.
    fn fault(&self, error: &axum::extract::multipart::MultipartError) -> Problem {
        self.progress.fault().map_or_else(|| Problem::multipart(error), Problem::from)
    }
}

fn once(name: &'static str, again: bool) -> Result<(), Problem> {
    if again { Err(Problem::repeated_field(name)) } else { Ok(()) }
}

fn check_user(user: String) -> Result<String, Problem> {
    let chars = user.chars().count();
    if !(1..=USER_CHARS).contains(&chars) {
        return Err(Problem::bad_field("user", format_args!("has {chars} characters, it must have 1 to {USER_CHARS}")));
    }
    if user.chars().any(char::is_control) {
        return Err(Problem::bad_field("user", "has control characters; leave them out"));
    }
    // It would be counted as nobody.
    if fold(&user).is_empty() {
        return Err(Problem::bad_field("user", "has no character that is seen; send a name"));
    }
    Ok(user)
}

fn parse_metadata(text: &str) -> Result<Value, Problem> {
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Problem::bad_field("metadata", format_args!("is not JSON: {error}")))?;
    check_metadata(value)
}

fn check_metadata(value: Value) -> Result<Value, Problem> {
    if !value.is_object() {
        return Err(Problem::bad_field("metadata", "must be a JSON object"));
    }
    let depth = depth(&value);
    if depth > METADATA_DEPTH {
        return Err(Problem::bad_field(
            "metadata",
            format_args!("is {depth} levels deep, the limit is {METADATA_DEPTH}"),
        ));
    }
    // Postgres keeps no NUL in jsonb.
    if has_nul(&value) {
        return Err(Problem::bad_field("metadata", "has the character U+0000; leave it out"));
    }
    Ok(value)
}

/// Recursion is bounded by serde_json's own limit of 128 levels.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Array(items) => items.iter().any(has_nul),
        Value::String(text) => text.contains('\0'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn metadata_is_a_bounded_object() {
        assert!(parse_metadata(&nested(16)).is_ok());
        for wrong in
            [nested(17).as_str(), "[]", "1", "", "{", "{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}", "{\"a\":1e999}"]
        {
            assert!(parse_metadata(wrong).is_err(), "{wrong}");
        }
        assert!(parse_metadata(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn a_user_is_1_to_200_printable_characters() {
        assert!(check_user("é".repeat(200)).is_ok());
        for wrong in [
            String::new(),
            "u".repeat(201),
            "a\nb".to_owned(),
            "a\0".to_owned(),
            "\u{85}".to_owned(),
            "\u{3164}\u{202e} ".to_owned(),
        ] {
            assert!(check_user(wrong).is_err());
        }
    }
}
