//! The templates of this repository, embedded, for authors who begin with one.

/// A template that a new one can begin as.
pub(super) struct EmbeddedTemplate {
    pub(super) name: &'static str,
    /// The path of each file in the folder of the template, with its content.
    pub(super) files: &'static [(&'static str, &'static str)],
}

macro_rules! embedded {
    ($name:literal, $($path:literal),* $(,)?) => {
        EmbeddedTemplate {
            name: $name,
            files: &[$(($path, include_str!(concat!("../../../templates/", $name, "/", $path)))),*],
        }
    };
}

/// All of them, in the order in which the help lists them.
pub(super) const TEMPLATES: [EmbeddedTemplate; 9] = [
    embedded!(
        "python-unit",
        "ASSIGNMENT.md",
        "Dockerfile",
        "sample/empty/rational.py",
        "sample/endless-loop/rational.py",
        "sample/expect.toml",
        "sample/memory-hog/rational.py",
        "sample/not-starting/rational.py",
        "sample/output-flood/rational.py",
        "sample/partly-failing/rational.py",
        "sample/passing/rational.py",
        "sample/starter/rational.py",
        "template.toml",
        "tests/conftest.py",
        "tests/pytest.ini",
        "tests/test_rational.py",
    ),
    embedded!(
        "python-api",
        "ASSIGNMENT.md",
        "Dockerfile",
        "image/check-requirements",
        "sample/empty/app.py",
        "sample/endless-loop/app.py",
        "sample/expect.toml",
        "sample/install-failing/app.py",
        "sample/install-failing/requirements.txt",
        "sample/memory-hog/app.py",
        "sample/not-starting/app.py",
        "sample/output-flood/app.py",
        "sample/partly-failing/app.py",
        "sample/partly-failing/requirements.txt",
        "sample/passing/app.py",
        "sample/starter/app.py",
        "template.toml",
        "tests/driver.py",
    ),
    embedded!(
        "c-stdio",
        "ASSIGNMENT.md",
        "Dockerfile",
        "sample/build-failing/main.c",
        "sample/empty/README",
        "sample/endless-loop/main.c",
        "sample/expect.toml",
        "sample/hostile/main.c",
        "sample/memory-hog/main.c",
        "sample/partly-failing/main.c",
        "sample/passing/main.c",
        "sample/starter/main.c",
        "template.toml",
        "tests/cases/average/args",
        "tests/cases/average/case.toml",
        "tests/cases/average/in",
        "tests/cases/average/out",
        "tests/cases/counts/case.toml",
        "tests/cases/counts/in",
        "tests/cases/counts/out",
        "tests/cases/empty-input/case.toml",
        "tests/cases/empty-input/in",
        "tests/cases/empty-input/out",
        "tests/cases/hidden-average-of-nothing/args",
        "tests/cases/hidden-average-of-nothing/case.toml",
        "tests/cases/hidden-average-of-nothing/in",
        "tests/cases/hidden-average-of-nothing/out",
        "tests/cases/hidden-large/case.toml",
        "tests/cases/hidden-large/in",
        "tests/cases/hidden-large/out",
        "tests/cases/hidden-tabs/case.toml",
        "tests/cases/hidden-tabs/in",
        "tests/cases/hidden-tabs/out",
        "tests/cases/longest/args",
        "tests/cases/longest/case.toml",
        "tests/cases/longest/in",
        "tests/cases/longest/out",
        "tests/cases/no-line-feed/case.toml",
        "tests/cases/no-line-feed/in",
        "tests/cases/no-line-feed/out",
    ),
    embedded!(
        "node-api",
        "ASSIGNMENT.md",
        "Dockerfile",
        "image/check-package",
        "sample/empty/server.js",
        "sample/endless-loop/server.js",
        "sample/expect.toml",
        "sample/install-failing/package.json",
        "sample/install-failing/server.js",
        "sample/memory-hog/server.js",
        "sample/not-starting/server.js",
        "sample/output-flood/server.js",
        "sample/partly-failing/package.json",
        "sample/partly-failing/server.js",
        "sample/passing/server.js",
        "sample/starter/server.js",
        "template.toml",
        "tests/driver.mjs",
        "tests/report.mjs",
    ),
    embedded!(
        "node-web",
        "ASSIGNMENT.md",
        "Dockerfile",
        "image/install",
        "image/serve",
        "sample/build-failing/build.js",
        "sample/build-failing/package.json",
        "sample/empty/README",
        "sample/endless-loop/build.js",
        "sample/endless-loop/package.json",
        "sample/expect.toml",
        "sample/install-failing/package.json",
        "sample/memory-hog/build.js",
        "sample/memory-hog/package.json",
        "sample/not-starting/build.js",
        "sample/not-starting/package.json",
        "sample/output-flood/build.js",
        "sample/output-flood/package.json",
        "sample/partly-failing/build.js",
        "sample/partly-failing/package.json",
        "sample/passing/build.js",
        "sample/passing/package.json",
        "sample/reaching-out/build.js",
        "sample/reaching-out/package.json",
        "sample/reaching-out/reach.js",
        "sample/starter/build.js",
        "sample/starter/package.json",
        "template.toml",
        "tests/driver.mjs",
        "tests/report.mjs",
    ),
    embedded!(
        "fullstack-browser",
        "ASSIGNMENT.md",
        "Dockerfile",
        "sample/build-failing/build.js",
        "sample/build-failing/package.json",
        "sample/empty/README",
        "sample/endless-loop/package.json",
        "sample/endless-loop/server.js",
        "sample/expect.toml",
        "sample/hostile/forge.js",
        "sample/hostile/package.json",
        "sample/hostile/server.js",
        "sample/memory-hog/package.json",
        "sample/memory-hog/server.js",
        "sample/partly-failing/package.json",
        "sample/partly-failing/server.js",
        "sample/passing/build.js",
        "sample/passing/package.json",
        "sample/passing/server.js",
        "sample/passing/src/page.html",
        "sample/passing/src/page.js",
        "sample/passing/src/style.css",
        "sample/starter/build.js",
        "sample/starter/package.json",
        "sample/starter/server.js",
        "template.toml",
        "tests/browser.mjs",
        "tests/driver.mjs",
        "tests/report.mjs",
    ),
    embedded!(
        "sql-postgres",
        "ASSIGNMENT.md",
        "Dockerfile",
        "image/check-schema",
        "image/serve-postgres",
        "sample/build-failing/schema.sql",
        "sample/empty/README",
        "sample/endless-loop/queries/available.sql",
        "sample/endless-loop/queries/overdue.sql",
        "sample/endless-loop/queries/popular.sql",
        "sample/endless-loop/schema.sql",
        "sample/expect.toml",
        "sample/hostile/queries/available.sql",
        "sample/hostile/queries/idle.sql",
        "sample/hostile/queries/monthly.sql",
        "sample/hostile/queries/overdue.sql",
        "sample/hostile/queries/popular.sql",
        "sample/hostile/schema.sql",
        "sample/memory-hog/schema.sql",
        "sample/partly-failing/queries/available.sql",
        "sample/partly-failing/queries/idle.sql",
        "sample/partly-failing/queries/monthly.sql",
        "sample/partly-failing/queries/overdue.sql",
        "sample/partly-failing/queries/popular.sql",
        "sample/partly-failing/schema.sql",
        "sample/passing/queries/available.sql",
        "sample/passing/queries/idle.sql",
        "sample/passing/queries/monthly.sql",
        "sample/passing/queries/overdue.sql",
        "sample/passing/queries/popular.sql",
        "sample/passing/schema.sql",
        "sample/starter/queries/available.sql",
        "sample/starter/queries/idle.sql",
        "sample/starter/queries/monthly.sql",
        "sample/starter/queries/overdue.sql",
        "sample/starter/queries/popular.sql",
        "sample/starter/schema.sql",
        "template.toml",
        "tests/data.py",
        "tests/driver.py",
        "tests/reference/queries/available.sql",
        "tests/reference/queries/idle.sql",
        "tests/reference/queries/monthly.sql",
        "tests/reference/queries/overdue.sql",
        "tests/reference/queries/popular.sql",
        "tests/reference/schema.sql",
        "tests/report.py",
        "tests/server.py",
    ),
    embedded!(
        "notebook",
        "ASSIGNMENT.md",
        "Dockerfile",
        "image/ask-notebook",
        "image/check-notebook",
        "sample/build-failing/notebook.ipynb",
        "sample/empty/README",
        "sample/endless-loop/notebook.ipynb",
        "sample/expect.toml",
        "sample/hostile/notebook.ipynb",
        "sample/memory-hog/notebook.ipynb",
        "sample/partly-failing/measurements.csv",
        "sample/partly-failing/notebook.ipynb",
        "sample/passing/measurements.csv",
        "sample/passing/notebook.ipynb",
        "sample/starter/measurements.csv",
        "sample/starter/notebook.ipynb",
        "template.toml",
        "tests/driver.py",
        "tests/report.py",
    ),
    embedded!(
        "trivial",
        "ASSIGNMENT.md",
        "Dockerfile",
        "sample/empty/README",
        "sample/endless-loop/run.sh",
        "sample/expect.toml",
        "sample/memory-hog/run.sh",
        "sample/not-starting/README",
        "sample/output-flood/run.sh",
        "sample/partly-failing/run.sh",
        "sample/passing/run.sh",
        "sample/starter/run.sh",
        "template.toml",
    ),
];

impl EmbeddedTemplate {
    /// Whether a file is a program of the image.
    pub(super) fn is_program(path: &str) -> bool {
        path.starts_with("image/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn every_file_of_every_template_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        let mut found = BTreeMap::new();
        for entry in ignore::WalkBuilder::new(&folder).standard_filters(false).build().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_file() && !path.to_string_lossy().contains("__pycache__") {
                let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
                let is_program = path.metadata().unwrap().permissions().mode() & 0o100 != 0;
                found.insert(name, is_program);
            }
        }
        let embedded: BTreeMap<String, bool> = TEMPLATES
            .iter()
            .flat_map(|template| template.files.iter().map(|(path, _)| (template.name, *path)))
            .map(|(name, path)| (format!("{name}/{path}"), EmbeddedTemplate::is_program(path)))
            .collect();
        assert_eq!(embedded, found);
    }
}
