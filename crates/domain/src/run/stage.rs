//! The stages of a run.

use serde::{Deserialize, Serialize};

use crate::names;

/// The stages of a run, in the order in which they run. Templates do not define the first stage: if the project is
/// submitted as the address of a repository, a cell of its own fetches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// Fetches the repository, in a cell of its own.
    Fetch,
    /// Installs dependencies.
    Install,
    /// Builds the project.
    Build,
    /// Starts the project's service.
    Start,
    /// Runs the tests.
    Tests,
}

names!(StageName, "stage", {
    Fetch => "fetch",
    Install => "install",
    Build => "build",
    Start => "start",
    Tests => "tests",
});
