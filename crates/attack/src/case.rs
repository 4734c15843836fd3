//! One thing that is tried, and what became of it.

use serde::Serialize;

/// What an attack is made of.
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
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 7] =
        [Self::Archives, Self::Git, Self::Http, Self::Results, Self::Code, Self::Blame, Self::Limits];

    /// As it stands before the slash of a case's name.
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

/// One thing that is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// `<group>/<name>`, stable.
    pub id: String,
    pub group: Group,
    /// What is tried, for a person.
    pub tried: String,
    /// What must stop it.
    pub wall: String,
}

impl Case {
    /// A case of a group; `name` is without the group.
    pub fn new(group: Group, name: &str, tried: impl Into<String>, wall: impl Into<String>) -> Self {
        Self { id: format!("{}/{name}", group.as_str()), group, tried: tried.into(), wall: wall.into() }
    }
}

/// What became of a case; the text is what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "seen", rename_all = "snake_case")]
pub enum Judgement {
    /// Stopped, by what is said.
    Contained(String),
    /// It did something that it must not be able to.
    Escaped(String),
    /// Nothing can be said: the case could not be tried to its end.
    Unjudged(String),
}

impl Judgement {
    /// Contained if `holds`, else an escape.
    pub fn of(holds: bool, seen: impl Into<String>) -> Self {
        if holds { Self::Contained(seen.into()) } else { Self::Escaped(seen.into()) }
    }

    /// What was seen.
    #[must_use]
    pub fn seen(&self) -> &str {
        match self {
            Self::Contained(seen) | Self::Escaped(seen) | Self::Unjudged(seen) => seen,
        }
    }
}

/// A case with its judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    #[serde(flatten)]
    pub case: Case,
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// Whether `id` is meant by a pattern: a part of it, or with `*` the whole.
#[must_use]
pub fn matches(pattern: &str, id: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return id.contains(pattern) };
    let Some(mut left) = id.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = pieces.split_last() else { return true };
    for piece in middle {
        match left.find(piece) {
            Some(at) => left = &left[at + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_pattern_is_a_part_or_has_stars() {
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
