//! The images that cells are made from, and those that were replaced: what `images/build` made before, and
//! nothing uses any more.

use std::collections::HashMap;

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};

use super::call::{EngineError, bounded};
use super::engine::Engine;

/// Every image that `images/build` makes has this label: the SHA-256 of what it was built from.
pub const LABEL_INPUTS: &str = "assize.inputs";

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

    /// Ids of the images with our label that have no tag and no image on top of them, and were made before
    /// `before` (seconds since 1970).
    ///
    /// # Errors
    /// [`EngineError`] without an answer.
    pub async fn dangling_images(&self, before: i64) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("dangling", vec!["true".to_owned()]), ("label", vec![LABEL_INPUTS.to_owned()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let images = bounded("list images", self.docker.list_images(Some(options))).await?;
        Ok(images.into_iter().filter(|image| image.created < before).map(|image| image.id).collect())
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
