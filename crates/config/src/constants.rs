//! Values that no operator sets. Tests set them to reach a limit sooner.

/// Values that are the same in every installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constants {
    /// A key or an address may send the requests of this many seconds at once. A class of students that submits within
    /// the same minute stays below this limit.
    pub rate_burst_s: u32,
    /// A berth is replaced after this many runs, so that what the engine or the kernel loses with each run is bounded.
    pub max_runs_per_berth: u32,
    /// The first bytes of a stage's output, which are stored and sent live. Head and tail of three stages must fit into
    /// half of a cell's journal, which the engine limits to 64 MiB.
    pub output_head_bytes: u64,
    /// The last bytes of a stage's output, which are stored.
    pub output_tail_bytes: u64,
}

impl Default for Constants {
    fn default() -> Self {
        Self { rate_burst_s: 50, max_runs_per_berth: 200, output_head_bytes: 512 * 1024, output_tail_bytes: 512 * 1024 }
    }
}
