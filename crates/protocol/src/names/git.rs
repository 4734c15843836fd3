//! Names that Git would take for its own folder, on some file system.

/// Whether a component is `.git` to Git on some file system: in any case, by the short name of Windows, with what
/// Windows takes off the end, or with what HFS+ does not see.
#[must_use]
pub fn is_git(component: &str) -> bool {
    let seen: String = component.chars().filter(|c| !is_unseen(*c)).collect();
    let without_stream = seen.split(':').next().unwrap_or_default();
    let plain = without_stream.trim_end_matches(['.', ' ']);
    plain.eq_ignore_ascii_case(".git") || plain.eq_ignore_ascii_case("git~1")
}

/// Characters that HFS+ leaves out of a comparison, as Git lists them.
const fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::is_git;

    #[test]
    fn every_spelling_of_the_folder_is_known() {
        for name in [
            ".git",
            ".GIT",
            ".Git",
            "git~1",
            "GIT~1",
            ".g\u{200c}it",
            "\u{200e}.git",
            ".git.",
            ".git ",
            ".git. .",
            ".git::$INDEX_ALLOCATION",
        ] {
            assert!(is_git(name), "{name:?}");
        }
        for name in [".gitignore", ".github", "git", "git~2", "a.git", ".gi", "", "..git"] {
            assert!(!is_git(name), "{name:?}");
        }
    }
}
