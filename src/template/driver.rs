//! The cell that decides, as a template describes it.

use std::collections::BTreeMap;

use assize_domain::limits::CellLimits;
use serde::Deserialize;

/// The cell that decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    pub image: String,
    /// How it reaches the project.
    #[serde(default)]
    pub subject: Reached,
    /// Each call of a program gets its own copy of the built workspace.
    #[serde(default)]
    pub fresh: bool,
    /// Who decides: a command of the grader's, or the cases.
    #[serde(default)]
    pub kind: DriverKind,
    #[serde(default)]
    pub command: Vec<String>,
    /// What cases run, unless they name a command of their own.
    #[serde(default)]
    pub program: Vec<String>,
    /// What decides about cases whose output is compared by a checker.
    #[serde(default)]
    pub checker: Vec<String>,
    /// How long the checker may take for one case.
    #[serde(default = "default_checker_timeout_s")]
    pub checker_timeout_s: u32,
    pub timeout_s: u64,
    pub limits: CellLimits,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Driver {
    /// Whether it calls the project's programs.
    #[must_use]
    pub fn is_calling(&self) -> bool {
        self.subject == Reached::Exec || self.kind == DriverKind::Cases
    }
}

/// What runs in the cell of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverKind {
    /// A command of the grader's.
    #[default]
    Command,
    /// The cases in `tests/cases`.
    Cases,
}

/// How a driver reaches the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// By the service that the start stage runs.
    #[default]
    Service,
    /// By calling the project's programs with `assize-exec`.
    Exec,
}

const fn default_checker_timeout_s() -> u32 {
    10
}
