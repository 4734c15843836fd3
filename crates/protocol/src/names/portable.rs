//! Names that only some systems mind.

/// Names that Windows gives to devices, with any extension (Microsoft, "Naming Files, Paths, and Namespaces").
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Why Windows does not have a name as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortableFault {
    /// The component has one of the characters `< > : " | ? *`.
    Character,
    /// The component ends in a dot or a space, which Windows removes.
    TrailingDot,
    /// The component is the name of a device.
    Reserved,
}

/// Holds a component to what Windows accepts too.
///
/// # Errors
/// The first [`PortableFault`].
pub fn check_portable(component: &str) -> Result<(), PortableFault> {
    if component.ends_with(['.', ' ']) {
        return Err(PortableFault::TrailingDot);
    }
    if is_device(component) {
        return Err(PortableFault::Reserved);
    }
    if component.contains(['<', '>', ':', '"', '|', '?', '*']) {
        return Err(PortableFault::Character);
    }
    Ok(())
}

/// Whether `component` is a device on Windows: a device's name up to the first dot or colon.
fn is_device(component: &str) -> bool {
    let stem = component.split(['.', ':']).next().unwrap_or_default().trim_end().to_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    DEVICES.contains(&stem.as_str())
        || port
            .is_some_and(|digit| matches!(digit, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"))
}
