//! Symbolic links of an archive. They are never made: one that stays inside becomes a plain file that holds its target,
//! as in a fetched repository, and any other is left out.

/// The longest target in bytes: Linux's `PATH_MAX`.
pub const MAX_TARGET: u64 = 4096;

/// The most bytes that a target is packed into. Deflate adds a few bytes to what does not get smaller.
pub const MAX_PACKED: u64 = 2 * MAX_TARGET;

/// The upper half of an entry's attributes is a Unix mode; these bits are the type of the file.
const TYPE: u32 = 0o170_000;
const SYMLINK: u32 = 0o120_000;

/// Whether an entry with this Unix mode is a symbolic link.
#[must_use]
pub const fn is_link(mode: u32) -> bool {
    mode & TYPE == SYMLINK
}

/// Whether a target is short enough to be looked at, by the sizes that the archive declares.
#[must_use]
pub const fn is_short(packed: u64, unpacked: u64) -> bool {
    packed <= MAX_PACKED && unpacked <= MAX_TARGET
}

/// Whether a link leads to somewhere in the archive: its target is relative and never climbs above the archive's
/// folder. `components` is the name of the link in the archive.
#[must_use]
pub fn stays_inside(components: &[String], target: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") || target.contains(&0) {
        return false;
    }
    let depth = target.split(|&byte| byte == b'/').try_fold(components.len().saturating_sub(1), |depth, component| {
        match component {
            b"" | b"." => Some(depth),
            b".." => depth.checked_sub(1),
            _ => Some(depth + 1),
        }
    });
    depth.is_some()
}

#[cfg(test)]
mod tests {
    use super::stays_inside;

    #[test]
    fn a_target_never_climbs_above_the_archive() {
        let inside = |name: &str, target: &str| {
            let components: Vec<String> = name.split('/').map(str::to_owned).collect();
            stays_inside(&components, target.as_bytes())
        };
        for (name, target, expected) in [
            ("a", "b", true),
            ("a", "./b/../c", true),
            ("a/b", "../c", true),
            ("node_modules/.bin/x", "../x/bin/cmd.js", true),
            ("a", "..", false),
            ("a", "b/../../c", false),
            ("a/b", "../../c/../a/d", false),
            ("a", "/etc/passwd", false),
            ("a", "", false),
            ("a", "b\0c", false),
            ("a/b", "..//.", true),
        ] {
            assert_eq!(inside(name, target), expected, "{name} -> {target:?}");
        }
    }
}
