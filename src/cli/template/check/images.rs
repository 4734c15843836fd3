//! What the container engine knows of a template's images: whether they exist, and have the programs of the stages.

use std::collections::BTreeSet;

use assize_cell::{Engine, EngineError};
use assize_config::Config;

use crate::template::{Complaint, Severity, TEMPLATE_FILE, Template};
use crate::worker::PATH;

/// A program that the template starts in one of its images.
struct Program<'t> {
    /// The key of the template that names it.
    key: String,
    name: &'t str,
    /// The folders in which a name without a folder is looked for.
    path: &'t str,
}

/// An image of the template, with what is started in it.
struct Image<'t> {
    key: &'static str,
    name: &'t str,
    programs: Vec<Program<'t>>,
}

/// Looks up the images of a template, if an engine answers.
pub(super) async fn complaints(template: &Template, config: &Config) -> Vec<Complaint> {
    let images = images(template);
    let engine = match Engine::connect(config).await {
        Ok(engine) => engine,
        Err(error) => {
            let names: BTreeSet<&str> = images.iter().map(|image| image.name).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let message = format!("whether there is an image {names} was not tried: {error}");
            let advice = "check the template again where the container engine answers";
            return vec![Complaint::error(TEMPLATE_FILE, "image", message, advice).with(Severity::Note)];
        }
    };
    let mut complaints = Vec::new();
    for image in &images {
        complaints.extend(complaints_of(image, &engine).await);
    }
    complaints
}

async fn complaints_of(image: &Image<'_>, engine: &Engine) -> Vec<Complaint> {
    let Image { key, name, programs } = image;
    let failed = |error: EngineError| match error {
        EngineError::ImageMissing { .. } => {
            let message = format!("the container engine has no image {name}");
            Complaint::error(TEMPLATE_FILE, key, message, format!("build or pull {name}, or name another image"))
        }
        error => Complaint::error(TEMPLATE_FILE, key, error.to_string(), format!("correct {key}")),
    };
    if let Err(error) = engine.check_image(name).await {
        return vec![failed(error)];
    }
    let places: Vec<Vec<String>> = programs.iter().map(Program::places).collect();
    let found = match engine.files_of_image(name, &places).await {
        Ok(found) => found,
        Err(error) => return vec![failed(error)],
    };
    let missing = programs.iter().zip(found).filter(|(_, is_there)| !is_there);
    let complaint = |(program, _): (&Program<'_>, bool)| {
        let message = format!("the image {name} has no program {}", program.name);
        let advice = format!("install {} in the image, or correct {}", program.name, program.key);
        Complaint::error(TEMPLATE_FILE, &program.key, message, advice)
    };
    missing.map(complaint).collect()
}

fn images(template: &Template) -> Vec<Image<'_>> {
    let stages = template.stages.iter().filter_map(|stage| {
        let key = format!("stages.{}.command", stage.name.as_str());
        let path = stage.env.get("PATH").map_or(PATH, String::as_str);
        Some(Program { key, name: stage.command.first()?, path })
    });
    let mut images = vec![Image { key: "image", name: &template.image, programs: stages.collect() }];
    if let Some(driver) = &template.driver {
        let commands = [("driver.command", &driver.command), ("driver.checker", &driver.checker)];
        let path = driver.env.get("PATH").map_or(PATH, String::as_str);
        let programs = commands
            .into_iter()
            .filter_map(|(key, command)| Some(Program { key: key.to_owned(), name: command.first()?, path }));
        images.push(Image { key: "driver.image", name: &driver.image, programs: programs.collect() });
    }
    for image in &mut images {
        image.programs.retain(Program::is_of_image);
    }
    images
}

impl Program<'_> {
    /// Whether it must be in the image: neither the project nor the grader brings it.
    fn is_of_image(&self) -> bool {
        let is_brought = ["/workspace/", "/grader/", "/tmp/"].iter().any(|folder| self.name.starts_with(folder));
        let is_relative = self.name.contains('/') && !self.name.starts_with('/');
        !is_brought && !is_relative && !self.path.split(':').any(|folder| !folder.starts_with('/'))
    }

    /// Where it can be.
    fn places(&self) -> Vec<String> {
        if self.name.starts_with('/') {
            return vec![self.name.to_owned()];
        }
        self.path.split(':').map(|folder| format!("{}/{}", folder.trim_end_matches('/'), self.name)).collect()
    }
}
