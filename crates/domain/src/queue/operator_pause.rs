//! The pauses that an operator sets by a command, and the words for them.

/// The pauses of an operator that hold for one worker, each with its reason, which may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorPauses {
    /// Every worker is paused.
    pub every_worker: Option<String>,
    /// This worker drains.
    pub this_worker: Option<String>,
}

/// Explains a pause of every worker to those whose runs wait.
#[must_use]
pub fn paused_by_operator(reason: &str) -> String {
    with_reason("paused by operator", reason)
}

/// Explains why one worker drains.
#[must_use]
pub fn drained_by_operator(reason: &str) -> String {
    with_reason("drained by operator", reason)
}

fn with_reason(words: &str, reason: &str) -> String {
    if reason.is_empty() { words.to_owned() } else { format!("{words}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_without_a_reason_is_explained_too() {
        assert_eq!(paused_by_operator("new disks"), "paused by operator: new disks");
        assert_eq!(drained_by_operator(""), "drained by operator");
    }
}
