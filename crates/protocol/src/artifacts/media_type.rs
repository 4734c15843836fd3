//! The kinds of file that may be artifacts. The type of an artifact is that of its name, never that of its content.

/// Each extension that an artifact may have, with its media type. A browser is to read texts as UTF-8.
const KINDS: [(&str, &str); 14] = [
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("txt", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("csv", "text/csv; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("svg", "image/svg+xml"),
    ("tap", "text/plain; charset=utf-8"),
];

/// Every extension that an artifact may have.
pub fn extensions() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(extension, _)| *extension)
}

/// The media type of an extension; `None` if no artifact has it.
#[must_use]
pub fn media_type_of(extension: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == extension).map(|(_, media_type)| *media_type)
}

/// The extension of a file's name as [`extensions`] has it; `None` if no artifact has it. Upper and lower case are the
/// same, and `jpeg` is `jpg`.
#[must_use]
pub fn extension_of(name: &str) -> Option<&'static str> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let (stem, extension) = file.rsplit_once('.')?;
    let wanted = if extension.eq_ignore_ascii_case("jpeg") { "jpg" } else { extension };
    extensions().find(|known| !stem.is_empty() && wanted.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_known_in_either_case() {
        for extension in extensions() {
            assert_eq!(extension_of(&format!("a/b.{}", extension.to_uppercase())), Some(extension));
        }
        assert_eq!((media_type_of("png"), media_type_of("exe")), (Some("image/png"), None));
    }

    #[test]
    fn the_type_is_that_of_the_name() {
        for (name, extension) in [
            ("a.jpeg", Some("jpg")),
            ("a.html.txt", Some("txt")),
            ("a.png/b", None),
            ("out/.png", None),
            ("png", None),
            ("a.exe", None),
            ("a.", None),
            ("a.htm", None),
        ] {
            assert_eq!(extension_of(name), extension, "{name}");
        }
    }
}
