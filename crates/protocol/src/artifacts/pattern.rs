//! Patterns for the paths of artifacts: `*` and `?` within a component, `**` for any number of components.

use crate::wildcard;

/// The longest pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 256;

/// The most components of a pattern.
pub const MAX_PATTERN_PARTS: usize = 32;

/// A pattern for absolute paths. It matches a whole path, and a `*` or `?` never a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// The components before the first that is not plain, or before the last.
    folder: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of components, also none.
    Any,
    /// One component.
    One(Vec<char>),
}

/// How far a walk along a path has come in a pattern: the parts that the next component may be matched by, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked(u64);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = || text.chars().take(80).collect::<String>();
        if text.len() > MAX_PATTERN_BYTES {
            return Err(format!("{:?}.. has {} bytes, the limit is {MAX_PATTERN_BYTES}", shown(), text.len()));
        }
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("{:?} is not an absolute path", shown()));
        };
        let components: Vec<&str> = path.split('/').collect();
        if components.len() > MAX_PATTERN_PARTS {
            return Err(format!("{:?} has more than {MAX_PATTERN_PARTS} components, the limit", shown()));
        }
        for component in &components {
            if matches!(*component, "" | "." | "..") {
                return Err(format!("{:?} has a component {component:?}, which names no file", shown()));
            }
            if *component != "**" && component.contains("**") {
                return Err(format!("{:?} has `**` beside other characters; it must be a whole component", shown()));
            }
            if component.contains(|c: char| c.is_control() || c == '\\') {
                return Err(format!("{:?} has a control character or a backslash", shown()));
            }
        }
        let is_plain = |component: &&&str| !component.contains(['*', '?']);
        let plain = components.iter().take_while(is_plain).count().min(components.len() - 1);
        let folder = components.iter().take(plain).map(|component| (*component).to_owned()).collect();
        let part = |component: &&str| match *component {
            "**" => Part::Any,
            component => Part::One(component.chars().collect()),
        };
        Ok(Self { parts: components.iter().map(part).collect(), folder })
    }

    /// The folder beneath which all matches lie, as components from the root on.
    #[must_use]
    pub fn folder(&self) -> &[String] {
        &self.folder
    }

    /// The walk before the first component.
    #[must_use]
    pub fn begin(&self) -> Walked {
        self.past_any(1)
    }

    /// The walk after one more component.
    #[must_use]
    pub fn step(&self, walked: Walked, component: &str) -> Walked {
        let name: Vec<char> = component.chars().collect();
        let mut next = 0;
        for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| walked.0 & (1 << at) != 0) {
            next |= match part {
                Part::Any => 1 << at,
                Part::One(wanted) if is_match(wanted, &name) => 1 << (at + 1),
                Part::One(_) => 0,
            };
        }
        self.past_any(next)
    }

    /// Whether the path so far is matched whole.
    #[must_use]
    pub fn is_match(&self, walked: Walked) -> bool {
        walked.0 & (1 << self.parts.len()) != 0
    }

    /// Whether a longer path may be matched.
    #[must_use]
    pub fn may_match_beneath(&self, walked: Walked) -> bool {
        walked.0 & ((1 << self.parts.len()) - 1) != 0
    }

    /// `**` also stands for no component.
    fn past_any(&self, mut bits: u64) -> Walked {
        for (at, part) in self.parts.iter().enumerate() {
            if *part == Part::Any && bits & (1 << at) != 0 {
                bits |= 1 << (at + 1);
            }
        }
        Walked(bits)
    }
}

fn is_match(pattern: &[char], name: &[char]) -> bool {
    wildcard::matches(pattern, name, '*', |wanted, seen| wanted == '?' || wanted == seen)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap();
        let components = path.trim_start_matches('/').split('/');
        pattern.is_match(components.fold(pattern.begin(), |walked, component| pattern.step(walked, component)))
    }

    #[test]
    fn a_pattern_matches_a_whole_path() {
        for (pattern, path, expected) in [
            ("/workspace/out/**", "/workspace/out/a.png", true),
            ("/workspace/out/**", "/workspace/out/a/b/c.png", true),
            ("/workspace/out/**", "/workspace/outer/a.png", false),
            ("/workspace/*.log", "/workspace/a.log", true),
            ("/workspace/*.log", "/workspace/a/b.log", false),
            ("/workspace/**/*.log", "/workspace/b.log", true),
            ("/workspace/**/*.log", "/workspace/a/b/c.log", true),
            ("/workspace/**/*.log", "/workspace/a/b/c.txt", false),
            ("/workspace/**/x/**/y", "/workspace/a/x/b/x/y", true),
            ("/workspace/**/x/**/y", "/workspace/a/b/y", false),
            ("/workspace/?.txt", "/workspace/é.txt", true),
            ("/workspace/?.txt", "/workspace/ab.txt", false),
            ("/workspace/?.txt", "/workspace/.txt", false),
            ("/workspace/a*b*c", "/workspace/aXbYbZc", true),
            ("/workspace/report.html", "/workspace/report.html", true),
            ("/workspace/report.html", "/workspace/report.htm", false),
            ("/workspace/*/shot.png", "/workspace/.hidden/shot.png", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_walk_ends_where_nothing_can_match() {
        let pattern = Pattern::parse("/workspace/*/shots/*.png").unwrap();
        let walk = |path: &str| path.split('/').fold(pattern.begin(), |walked, part| pattern.step(walked, part));
        for (path, more) in [
            ("workspace", true),
            ("tmp", false),
            ("workspace/a", true),
            ("workspace/a/shots", true),
            ("workspace/a/node_modules", false),
            ("workspace/a/shots/x.png", false),
        ] {
            assert_eq!(pattern.may_match_beneath(walk(path)), more, "{path}");
        }
        assert_eq!(pattern.folder(), ["workspace"]);
        assert_eq!(Pattern::parse("/workspace/out/a.png").unwrap().folder(), ["workspace", "out"]);
        assert_eq!(Pattern::parse("/tmp/**").unwrap().folder(), ["tmp"]);
    }

    #[test]
    fn what_cannot_be_a_pattern_is_refused() {
        let (long, deep) = (format!("/{}", "a".repeat(256)), "/a".repeat(33));
        for (text, why) in [
            ("workspace/a", "not an absolute path"),
            ("", "not an absolute path"),
            ("/", "names no file"),
            ("/workspace/", "names no file"),
            ("/workspace//a", "names no file"),
            ("/workspace/../etc/passwd", "names no file"),
            ("/workspace/./a", "names no file"),
            ("/workspace/a**", "`**` beside"),
            ("/workspace/***", "`**` beside"),
            ("/workspace/a\\b", "backslash"),
            ("/workspace/a\nb", "control character"),
            (&long, "the limit is 256"),
            (&deep, "more than 32 components"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn a_path_matches_itself_and_whatever_lies_above_leads_to_it(
            parts in prop::collection::vec("[a-z]{1,3}", 1..8), stars in prop::collection::vec(any::<bool>(), 8),
        ) {
            let path = format!("/{}", parts.join("/"));
            let with_stars: String =
                parts.iter().zip(stars).map(|(part, star)| if star { "/**".to_owned() } else { format!("/{part}") }).collect();
            prop_assert!(matches(&path, &path) && matches(&with_stars, &path));
            let pattern = Pattern::parse(&with_stars).unwrap();
            let mut walked = pattern.begin();
            for part in &parts {
                prop_assert!(pattern.may_match_beneath(walked));
                walked = pattern.step(walked, part);
            }
        }
    }
}
