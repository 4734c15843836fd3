//! The images that cells are made from, and those that were replaced: what `images/build` made before, and
//! nothing uses any more.

use std::collections::HashMap;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use uuid::Uuid;

use super::call::{EngineError, bounded};
use super::engine::Engine;

/// Every image that `images/build` makes has this label: the SHA-256 of what it was built from.
pub const LABEL_INPUTS: &str = "assize.inputs";

/// An image that was replaced: it has no tag, and no other image is built on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DanglingImage {
    /// What the engine calls it.
    pub id: String,
    /// Bytes on disk; other images may share some of them.
    pub bytes: u64,
}

impl Engine {
    /// Whether the engine has this image, and nothing in it opens a cell.
    ///
    /// # Errors
    /// [`EngineError::ImageMissing`] if it has not, [`EngineError::ImageVolume`] if it brings a volume.
    pub async fn check_image(&self, image: &str) -> Result<(), EngineError> {
        let found = bounded("look up an image", self.docker.inspect_image(image)).await;
        let found = found.map_err(|error| match error {
            EngineError::Missing { .. } => EngineError::ImageMissing { image: image.to_owned() },
            other => other,
        })?;
        match found.config.and_then(|config| config.volumes).unwrap_or_default().into_iter().next() {
            None => Ok(()),
            Some(volume) => Err(EngineError::ImageVolume { image: image.to_owned(), volume }),
        }
    }

    /// Whether an image has at least one file of each group of paths. Nothing is started.
    ///
    /// # Errors
    /// [`EngineError`] without an answer, or if there is no such image.
    pub async fn files_of_image(&self, image: &str, groups: &[Vec<String>]) -> Result<Vec<bool>, EngineError> {
        let name = format!("assize-check-{}", Uuid::now_v7());
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // The engine wants a command, also of an image that has none.
            cmd: Some(vec!["true".to_owned()]),
            network_disabled: Some(true),
            ..ContainerCreateBody::default()
        };
        let id = self.create(&name, &body).await?;
        let found = self.files_of_container(&id, groups).await;
        self.remove(&id).await?;
        found
    }

    async fn files_of_container(&self, id: &str, groups: &[Vec<String>]) -> Result<Vec<bool>, EngineError> {
        let mut found = Vec::new();
        for paths in groups {
            let mut is_there = false;
            for path in paths {
                let options = ContainerArchiveInfoOptionsBuilder::default().path(path).build();
                let asked = self.docker.get_container_archive_info(id, Some(options));
                is_there = match bounded("look up a file of an image", asked).await {
                    Ok(_) => true,
                    Err(EngineError::Missing { .. }) => false,
                    Err(error) => return Err(error),
                };
                if is_there {
                    break;
                }
            }
            found.push(is_there);
        }
        Ok(found)
    }

    /// The images with our label that have no tag and no image on top of them, and were made before
    /// `before` (seconds since 1970).
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn dangling_images(&self, before: i64) -> Result<Vec<DanglingImage>, EngineError> {
        let filters = HashMap::from([("dangling", vec!["true".to_owned()]), ("label", vec![LABEL_INPUTS.to_owned()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = bounded("list images", self.docker.list_images(Some(options))).await?;
        let dangling = images.into_iter().filter(|image| image.created < before);
        let dangling =
            dangling.map(|image| DanglingImage { id: image.id, bytes: u64::try_from(image.size).unwrap_or(0) });
        Ok(dangling.collect())
    }

    /// Removes an image; false if a container uses it.
    ///
    /// # Errors
    /// [`EngineError`] if the engine does not answer.
    pub async fn remove_image(&self, id: &str) -> Result<bool, EngineError> {
        let options = RemoveImageOptionsBuilder::new().force(false).noprune(false).build();
        match bounded("remove an image", self.docker.remove_image(id, Some(options), None)).await {
            Ok(_) | Err(EngineError::Missing { .. }) => Ok(true),
            Err(EngineError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
