//! Images that were replaced: what `images/build` made before, and nothing uses any more.

use std::collections::HashMap;

use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};

use super::engine::{Engine, EngineError, bounded};

/// Every image that `images/build` makes has this label: the SHA-256 of what it was built from.
pub const LABEL_INPUTS: &str = "assize.inputs";

impl Engine {
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
