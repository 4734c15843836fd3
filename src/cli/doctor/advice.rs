//! What an operator should do about an error.

use std::fmt::Display;

use crate::intake::blob::BlobError;
use crate::redis::RedisError;
use crate::template::TemplateError;
use assize_cell::EngineError;
use assize_config::ConfigError;
use assize_signing::KeyFileError;
use assize_store::StoreError;

/// An error whose message ends with advice, after a semicolon, where it has any.
pub(super) trait Advised: Display {
    /// Returns the advice alone.
    fn advice(&self) -> Option<String>;

    /// Returns the message without the advice.
    fn problem(&self) -> String {
        let message = self.to_string();
        let advice = self.advice().map_or_else(String::new, |advice| format!("; {advice}"));
        message.strip_suffix(&advice).unwrap_or(&message).to_owned()
    }
}

impl Advised for ConfigError {
    fn advice(&self) -> Option<String> {
        self.advice.clone()
    }
}

/// A template's message names the file and what to correct in it.
impl Advised for TemplateError {
    fn advice(&self) -> Option<String> {
        self.advice.map(str::to_owned)
    }
}

macro_rules! advised {
    ($($error:ty),+) => {$(
        impl Advised for $error {
            fn advice(&self) -> Option<String> {
                self.advice().map(str::to_owned)
            }
        }
    )+};
}

advised!(StoreError, EngineError, RedisError, BlobError, KeyFileError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_and_its_advice_are_separate() {
        let error = StoreError::Unavailable { query: "ping", reason: "refused; twice".to_owned() };
        assert_eq!(error.problem(), "Postgres did not answer ping (refused; twice)");
        assert_eq!(Advised::advice(&error).as_deref(), Some("check that it runs and that database_url is right"));
        let error = StoreError::Address("no host; no port".to_owned());
        assert_eq!(error.problem(), "database_url is not a Postgres address: no host; no port");
        assert_eq!(Advised::advice(&error), None);
    }

    #[test]
    fn every_advice_ends_its_message() {
        let path = || std::path::PathBuf::from("/etc/assize");
        let errors: Vec<Box<dyn Advised>> = vec![
            Box::new(StoreError::Schema("it is older".to_owned())),
            Box::new(EngineError::ImageMissing { image: "a".to_owned() }),
            Box::new(EngineError::Warden { path: path(), reason: "is missing".to_owned() }),
            Box::new(EngineError::Unavailable { what: "answer", reason: "refused".to_owned() }),
            Box::new(EngineError::UnknownRuntime { whose: "it".to_owned(), name: "a".to_owned(), known: Vec::new() }),
            Box::new(EngineError::ImageVolume { image: "a".to_owned(), volume: "/b".to_owned() }),
            Box::new(RedisError::late(std::time::Duration::from_millis(5))),
            Box::new(BlobError::Address { url: "ftp:".to_owned(), reason: "unknown scheme".to_owned() }),
            Box::new(KeyFileError::Missing(path())),
            Box::new(KeyFileError::Exists(path())),
            Box::new(KeyFileError::NotAFile(path())),
            Box::new(KeyFileError::Open { path: path(), mode: 0o644 }),
            Box::new(TemplateError { path: path(), reason: "empty".to_owned(), advice: Some("set templates_dir") }),
        ];
        for error in errors {
            let advice = error.advice().unwrap_or_else(|| panic!("{error} has no advice"));
            assert_eq!(error.to_string(), format!("{}; {advice}", error.problem()));
        }
    }
}
