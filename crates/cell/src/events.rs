//! The engine's stream of events, listened to for its end alone: that is how one learns at once that an
//! engine is gone.

use std::collections::HashMap;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;

use super::engine::Engine;

impl Engine {
    /// Returns when the engine ends the connection, or does not take one. An engine that hangs keeps it.
    pub async fn until_cut(&self) {
        // Of its own doings only: what becomes of containers would be hundreds of events a second.
        let filters = HashMap::from([("type", vec!["daemon"])]);
        let options = EventsOptionsBuilder::new().filters(&filters).build();
        let mut events = std::pin::pin!(self.docker.events(Some(options)));
        while let Some(Ok(_)) = events.next().await {}
    }
}
