//! The form of a submission.
//!
//! A multipart form is read as it arrives: the archive goes straight to the spool, and the size of every other field is
//! limited. Each field may appear once, in any order. A submission of a repository may be a JSON object instead.

mod fields;
mod json;
mod multipart;
mod schema;

use assize_config::Config;
use serde_json::Value;

use super::problem::Problem;
use super::queue_quota::QueueQuotaCheck;
use super::request_body::BodyProgress;
use crate::intake::repository::{self, Allowed, DEFAULT_REF, Repository};
use crate::intake::spool::Spooled;
use crate::template::Templates;

pub(super) use json::{JsonSubmission, read_json};
pub(super) use multipart::read_multipart;
pub(super) use schema::FormSchema;

/// A complete and valid form. The content of the archive has not been checked yet.
#[derive(Debug)]
pub(super) struct SubmissionForm {
    pub project: Project,
    pub template: String,
    pub user: String,
    /// A JSON object.
    pub metadata: Value,
}

/// The project to evaluate.
#[derive(Debug)]
pub(super) enum Project {
    Archive(Spooled),
    /// A worker fetches it when the run starts.
    Repository(Repository),
}

/// What a form is checked against.
pub(super) struct FormContext<'a> {
    pub config: &'a Config,
    pub templates: &'a Templates,
    pub progress: &'a BodyProgress,
    /// The check of the queue for the form's user; `None` checks nothing.
    pub quota: Option<&'a QueueQuotaCheck<'a>>,
}

impl FormContext<'_> {
    fn check_template(&self, name: &str) -> Result<(), Problem> {
        match self.templates.get(name) {
            Some(_) => Ok(()),
            None => Err(Problem::unknown_template(name, &self.templates.names())),
        }
    }

    fn check_repository(&self, url: &str, reference: Option<&str>) -> Result<Project, Problem> {
        let reference = reference.unwrap_or(DEFAULT_REF);
        Ok(Project::Repository(repository::check(url, reference, Allowed::from_config(self.config))?))
    }
}

/// The metadata of a form without this field: an empty object.
fn no_metadata() -> Value {
    Value::Object(serde_json::Map::new())
}
