//! Which requests may be compared by their time.

/// What the time of a request depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// On the service alone.
    Prompt,
    /// On a run, because the client waits for its change.
    Held,
    /// On the client, which sends an archive.
    Upload,
}

impl RequestKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Held => "held",
            Self::Upload => "upload",
        }
    }
}
