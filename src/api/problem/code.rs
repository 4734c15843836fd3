//! The list of all problem codes: the single source for answers, for the OpenAPI document and for `docs/problems.md`.

mod archive;
mod input;
mod limit;
mod repository;
mod service;

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

pub use archive::for_archive;
pub use repository::for_repository;

pub mod constants {
    //! The codes that the API uses by name.
    pub use super::input::*;
    pub use super::limit::*;
    pub use super::service::*;

    /// All codes of archives.
    pub const ARCHIVE: &[super::ProblemCode] = super::archive::ALL;

    /// All codes of repositories.
    pub const REPOSITORY: &[super::ProblemCode] = super::repository::ALL;
}

/// A stable word for what was wrong with a request, with everything that a client needs to handle it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemCode {
    /// The word in the member `code` of a problem document.
    pub name: &'static str,
    /// The HTTP status that every answer with this code has.
    pub status: u16,
    /// What was wrong, as one sentence.
    pub meaning: &'static str,
    /// What the client can do, as one or two sentences.
    pub advice: &'static str,
}

/// Declares codes as constants, and the list of them as `ALL`.
macro_rules! codes {
    ($($constant:ident: $name:literal, $status:literal, $meaning:literal, $advice:literal;)+) => {
        $(pub const $constant: super::ProblemCode =
            super::ProblemCode { name: $name, status: $status, meaning: $meaning, advice: $advice };)+

        /// All codes of this file, in the order in which the documentation lists them.
        pub const ALL: &[super::ProblemCode] = &[$($constant),+];
    };
}
use codes;

impl ProblemCode {
    /// Returns all codes with the heading of each part of the list.
    pub fn sections() -> [(&'static str, &'static [Self]); 5] {
        [
            ("The request", input::ALL),
            ("Limits", limit::ALL),
            ("The archive", archive::ALL),
            ("The repository", repository::ALL),
            ("The service", service::ALL),
        ]
    }

    /// Returns all codes.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::sections().into_iter().flat_map(|(_, codes)| codes.iter().copied())
    }
}

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        names(Self::all()).description(Some("A stable word for what was wrong. `docs/problems.md` lists all.")).into()
    }
}

impl ToSchema for ProblemCode {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ProblemCode")
    }
}

/// The schema of a string that is one of these codes.
pub(super) fn names(codes: impl Iterator<Item = ProblemCode>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(codes.map(|code| code.name).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_one_plain_word_with_a_meaning_and_an_advice() {
        let mut seen = BTreeSet::new();
        for code in ProblemCode::all() {
            let ProblemCode { name, status, meaning, advice } = code;
            assert!(seen.insert(name), "{name} is in the list twice");
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{name}"
            );
            assert!((400..600).contains(&status), "{name}: {status}");
            for sentence in [meaning, advice] {
                assert!(sentence.ends_with('.') && sentence.starts_with(|first: char| !first.is_lowercase()), "{name}");
            }
        }
    }
}
