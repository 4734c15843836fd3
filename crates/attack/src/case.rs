//! A case of the attack, and its outcome.

use serde::Serialize;

/// The group of a case, which is the first part of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Archives,
    Git,
    Http,
    Results,
    Code,
    Blame,
    Limits,
}

impl Group {
    /// Every group, in the order in which the attack runs them.
    pub const ALL: [Self; 7] =
        [Self::Archives, Self::Git, Self::Http, Self::Results, Self::Code, Self::Blame, Self::Limits];

    /// The part of a case's id before the slash.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archives => "archives",
            Self::Git => "git",
            Self::Http => "http",
            Self::Results => "results",
            Self::Code => "code",
            Self::Blame => "blame",
            Self::Limits => "limits",
        }
    }
}

/// A case: one hostile act, and the control that must stop it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// `<group>/<name>`; stable between releases.
    pub id: String,
    /// The group of the case.
    pub group: Group,
    /// What is tried, for a person.
    pub tried: String,
    /// The control that must stop it, for a person.
    pub control: String,
}

impl Case {
    /// Creates a case; `name` is the part of the id after the slash.
    pub fn new(group: Group, name: &str, tried: impl Into<String>, control: impl Into<String>) -> Self {
        Self { id: format!("{}/{name}", group.as_str()), group, tried: tried.into(), control: control.into() }
    }
}

/// The outcome of a case. The text is what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "seen", rename_all = "snake_case")]
pub enum CaseOutcome {
    /// The control stopped the case.
    Contained(String),
    /// The case did what the control must prevent.
    Escaped(String),
    /// The case could not be tried to its end, so nothing is proven.
    Inconclusive(String),
}

impl CaseOutcome {
    /// [`CaseOutcome::Contained`] if `holds`, else [`CaseOutcome::Escaped`].
    pub fn contained_if(holds: bool, seen: impl Into<String>) -> Self {
        if holds { Self::Contained(seen.into()) } else { Self::Escaped(seen.into()) }
    }

    /// What was observed.
    #[must_use]
    pub fn seen(&self) -> &str {
        match self {
            Self::Contained(seen) | Self::Escaped(seen) | Self::Inconclusive(seen) => seen,
        }
    }
}

/// A case and its outcome, as the attack reports them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseResult {
    #[serde(flatten)]
    pub case: Case,
    #[serde(flatten)]
    pub outcome: CaseOutcome,
}

/// Whether a pattern selects this id. A pattern without `*` must occur in the id; a pattern with `*` must match all of it.
#[must_use]
pub fn matches(pattern: &str, id: &str) -> bool {
    if !pattern.contains('*') {
        return id.contains(pattern);
    }
    let escaped: Vec<String> = pattern.split('*').map(globset::escape).collect();
    globset::Glob::new(&escaped.join("*")).is_ok_and(|glob| glob.compile_matcher().is_match(id))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_is_a_part_of_an_id_or_has_stars() {
        for (pattern, id, expected) in [
            ("mount", "code/mount-tmpfs", true),
            ("code/", "code/mount-tmpfs", true),
            ("code/*", "code/mount-tmpfs", true),
            ("code/*tmpfs", "code/mount-tmpfs", true),
            ("code/*-t*s", "code/mount-tmpfs", true),
            ("tmpfs*", "code/mount-tmpfs", false),
            ("http", "code/mount-tmpfs", false),
            ("*", "x", true),
            ("code/*unt*x", "code/mount-tmpfs", false),
        ] {
            assert_eq!(matches(pattern, id), expected, "{pattern} {id}");
        }
    }
}
