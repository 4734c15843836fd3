//! The load of the plan: 30 % of class A, 40 % of class B and 30 % of class C, with the samples of real templates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use assize_domain::run::{Class, FailureCode, Status};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::Deserialize;

use super::projects::{self, Expected, Project};

/// The classes with their weights, the template of each, and the project of chaos that stands in for a template whose
/// image is missing.
const CLASSES: [(Class, u32, &str, &str); 3] = [
    (Class::A, 30, "python-api", "pass"),
    (Class::B, 40, "node-web", "staged"),
    (Class::C, 30, "fullstack-browser", "heavy"),
];

/// The samples with their weights; a template that has no sample of a name goes without it.
const SAMPLES: [(&str, u32); 6] = [
    ("passing", 78),
    ("partly-failing", 14),
    ("build-failing", 3),
    ("install-failing", 2),
    ("not-starting", 2),
    ("memory-hog", 1),
];

/// The name of the file that makes each archive another one.
const MARK: &str = "submission.txt";

/// The files of a sample, and how its run must end.
#[derive(Debug, Clone)]
struct Sample {
    weight: u32,
    project: Project,
}

/// The template of a class.
#[derive(Debug, Clone)]
struct Part {
    class: Class,
    weight: u32,
    template: String,
    image: Option<String>,
    /// Empty for a synthetic class.
    samples: Vec<Sample>,
    stand_in: &'static str,
}

/// Draws projects.
#[derive(Debug, Clone)]
pub struct Mix {
    seed: u64,
    parts: Vec<Part>,
}

/// An entry of `sample/expect.toml`.
#[derive(Deserialize)]
struct Expectation {
    status: Status,
    failure_code: Option<FailureCode>,
    score: Option<f64>,
    max_score: Option<f64>,
}

impl Mix {
    /// Reads the samples of each class whose template has an image among `images`.
    pub fn read(templates: &Path, images: &[String], seed: u64) -> Result<Self> {
        let parts = CLASSES.iter().map(|(class, weight, template, stand_in)| {
            let image = format!("assize/{template}:1");
            let real = images.contains(&image);
            let samples = if real { samples(&templates.join(template), template)? } else { Vec::new() };
            let name = if real { (*template).to_owned() } else { format!("{stand_in} (synthetic)") };
            let image = real.then_some(image);
            Ok(Part { class: *class, weight: *weight, template: name, image, samples, stand_in })
        });
        Ok(Self { seed, parts: parts.collect::<Result<_>>()? })
    }

    /// Returns the project of a number.
    pub fn draw(&self, number: u64) -> Project {
        let mut random = StdRng::seed_from_u64(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Ok(part) = self.parts.choose_weighted(&mut random, |part| part.weight) else {
            return projects::project("pass", &mut random);
        };
        let Ok(sample) = part.samples.choose_weighted(&mut random, |sample| sample.weight) else {
            return projects::project(part.stand_in, &mut random);
        };
        let mut project = sample.project.clone();
        project.files.push((MARK.to_owned(), format!("submission {number} of seed {}\n", self.seed).into_bytes()));
        project
    }

    /// Returns the template of each class.
    pub fn templates(&self) -> BTreeMap<Class, String> {
        self.parts.iter().map(|part| (part.class, part.template.clone())).collect()
    }

    /// Returns the names of the real templates, and their images.
    pub fn real(&self) -> (Vec<String>, Vec<String>) {
        let real = || self.parts.iter().filter(|part| part.image.is_some());
        (real().map(|part| part.template.clone()).collect(), real().filter_map(|part| part.image.clone()).collect())
    }
}

fn samples(folder: &Path, template: &str) -> Result<Vec<Sample>> {
    let path = folder.join("sample/expect.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let all: BTreeMap<String, Expectation> = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut found = Vec::new();
    for (name, weight) in SAMPLES {
        let Some(expectation) = all.get(name) else { continue };
        let mut files = Vec::new();
        read_files(&folder.join("sample").join(name), "", &mut files)?;
        let expected = match (expectation.score, expectation.max_score, expectation.failure_code) {
            (Some(score), Some(max_score), None) if expectation.status == Status::Completed => {
                Expected::Scored { score, max_score }
            }
            (None, None, Some(code)) => Expected::Ended { code },
            _ => bail!("{}: [{name}] names neither a score nor a failure code", path.display()),
        };
        let project = Project { name: format!("{template}/{name}"), template: template.to_owned(), files, expected };
        found.push(Sample { weight, project });
    }
    Ok(found)
}

/// Reads all files below a folder, with their paths in it.
fn read_files(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            read_files(&path, &format!("{prefix}{name}/"), files)?;
        } else {
            files.push((format!("{prefix}{name}"), std::fs::read(&path)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates")
    }

    fn images() -> Vec<String> {
        CLASSES.iter().map(|(_, _, template, _)| format!("assize/{template}:1")).collect()
    }

    #[test]
    fn the_classes_have_their_shares_and_each_archive_is_another_one() {
        let mix = Mix::read(&repository(), &images(), 7).unwrap();
        let drawn: Vec<Project> = (0..2000).map(|number| mix.draw(number)).collect();
        for (_, weight, template, _) in CLASSES {
            let count = drawn.iter().filter(|project| project.template == template).count();
            let wanted = usize::try_from(weight).unwrap() * 20;
            assert!(count.abs_diff(wanted) < 80, "{template}: {count} of 2000, {wanted} were wanted");
        }
        assert!(drawn.iter().any(|project| project.name == "node-web/partly-failing"));
        let archives: std::collections::BTreeSet<Vec<u8>> =
            drawn.iter().take(200).map(|project| project.archive().unwrap()).collect();
        assert_eq!(archives.len(), 200);
        assert_eq!(mix.draw(5).files, Mix::read(&repository(), &images(), 7).unwrap().draw(5).files);
    }

    #[test]
    fn a_class_without_its_image_is_synthetic_and_says_so() {
        let mix = Mix::read(&repository(), &images()[..2], 7).unwrap();
        assert_eq!(mix.templates()[&Class::C], "heavy (synthetic)");
        assert_eq!(mix.real().0, ["python-api", "node-web"]);
        assert!((0..100).any(|number| mix.draw(number).template == "heavy"));
    }
}
