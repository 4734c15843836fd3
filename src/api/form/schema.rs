//! The description of a multipart form in the OpenAPI document.

use utoipa::ToSchema;

/// The fields of a submission: an archive, or a repository.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = SubmissionForm)]
#[expect(dead_code, reason = "describes the fields that `form` reads")]
pub(in crate::api) enum FormSchema {
    Archive(ArchiveFormSchema),
    Repository(RepositoryFormSchema),
}

/// A submission of an archive.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ArchiveForm)]
#[expect(dead_code, reason = "describes the fields that `form` reads")]
pub(in crate::api) struct ArchiveFormSchema {
    /// The project as a zip file.
    #[schema(value_type = String, content_media_type = "application/zip")]
    archive: Vec<u8>,
    /// The name of a template.
    #[schema(min_length = 1, max_length = 64)]
    template: String,
    /// The person whose project it is, by any name that the platform uses: 1 to 200 characters, no control characters
    /// and at least one visible character.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    user: String,
    /// A JSON object that is stored and returned unchanged: at most 16 KiB and 16 levels of nesting.
    #[schema(value_type = Object, required = false)]
    metadata: serde_json::Value,
}

/// A submission of a repository, as a form.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RepositoryForm)]
#[expect(dead_code, reason = "describes the fields that `form` reads")]
pub(in crate::api) struct RepositoryFormSchema {
    /// `https://host/path`; the setting `git_hosts` lists the allowed hosts.
    #[schema(max_length = 1024, pattern = r"^https?://[!-~]+$")]
    repository_url: String,
    /// A branch, a tag or a whole commit id. Without it, the default branch of the repository.
    #[schema(min_length = 1, max_length = 255, required = false)]
    r#ref: String,
    /// The name of a template.
    #[schema(min_length = 1, max_length = 64)]
    template: String,
    /// The person whose project it is, by any name that the platform uses: 1 to 200 characters, no control characters
    /// and at least one visible character.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    user: String,
    /// A JSON object that is stored and returned unchanged: at most 16 KiB and 16 levels of nesting.
    #[schema(value_type = Object, required = false)]
    metadata: serde_json::Value,
}
