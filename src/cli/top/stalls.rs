//! How long the processes of this host wait for processors, memory and disks, as the kernel reports it.

use serde_json::{Value, json};

/// Percent of the last 10 s in which processes waited for one resource.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stall {
    /// At least one process waited.
    pub some: f64,
    /// All processes that were not idle waited; absent where the kernel does not report it.
    pub full: Option<f64>,
}

/// The stalls of this host; `None` where the kernel does not report them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stalls {
    pub cpu: Option<Stall>,
    pub memory: Option<Stall>,
    pub io: Option<Stall>,
}

impl Stalls {
    /// Reads `/proc/pressure`.
    #[must_use]
    pub fn read() -> Self {
        let of = |name: &str| parse(&std::fs::read_to_string(format!("/proc/pressure/{name}")).unwrap_or_default());
        Self { cpu: of("cpu"), memory: of("memory"), io: of("io") }
    }

    /// Returns the resources with their stalls.
    #[must_use]
    pub const fn all(&self) -> [(&'static str, Option<Stall>); 3] {
        [("cpu", self.cpu), ("memory", self.memory), ("disks", self.io)]
    }

    /// Returns the stalls as a JSON document.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let stall = |stall: Option<Stall>| stall.map(|Stall { some, full }| json!({ "some": some, "full": full }));
        json!({ "cpu": stall(self.cpu), "memory": stall(self.memory), "io": stall(self.io) })
    }
}

/// Reads the values `avg10` of a file of `/proc/pressure`.
fn parse(text: &str) -> Option<Stall> {
    let average = |kind: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        line.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
    };
    Some(Stall { some: average("some ")?, full: average("full ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_kernel_is_read_and_another_is_not() {
        let text = "some avg10=1.50 avg60=0.13 avg300=3.20 total=1\nfull avg10=0.75 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(parse(text), Some(Stall { some: 1.5, full: Some(0.75) }));
        assert_eq!(parse("some avg10=2.00 avg60=0.13 avg300=3.20 total=1\n"), Some(Stall { some: 2.0, full: None }));
        for wrong in ["", "full avg10=0.75", "some avg10=much", "some"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
