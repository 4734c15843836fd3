//! Metrics for the textfile collector of the node exporter.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::BackupError;

/// A metric without labels.
#[derive(Debug, Clone, Copy)]
pub struct Gauge {
    pub name: &'static str,
    pub help: &'static str,
    pub value: f64,
}

/// Replaces the file in one step, readable by the exporter: a collector never sees half of it.
///
/// # Errors
/// [`BackupError::Io`] if the folder cannot be written to.
pub fn write(path: &Path, gauges: &[Gauge]) -> Result<(), BackupError> {
    let mut text = String::new();
    for Gauge { name, help, value } in gauges {
        // Writing to a String does not fail.
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}").ok();
    }
    let written = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".assize-").tempfile_in(folder)?;
        // Whatever the umask of this process is.
        file.as_file().set_permissions(PermissionsExt::from_mode(0o644))?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(|error: std::io::Error| BackupError::io(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("assize.prom");
        for value in [1.0, 1_764_500_000.0] {
            write(&path, &[Gauge { name: "assize_x_seconds", help: "A time.", value }]).unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "# HELP assize_x_seconds A time.\n# TYPE assize_x_seconds gauge\nassize_x_seconds 1764500000\n"
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(&folder.path().join("none/a"), &[]).is_err());
    }
}
