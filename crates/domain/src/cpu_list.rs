//! Lists of processors as the kernel writes them: `0-3,8`.

use std::collections::BTreeSet;

/// The word of the setting `cells_cpuset` that binds cells to no processors.
pub const NONE: &str = "none";

/// Ids must be below this number: more processors than any host has.
const MAX_CPUS: u32 = 4096;

/// Returns the ids of a list such as `0-3,8`.
///
/// # Errors
/// The message names the form of a list and quotes this one.
pub fn parse(list: &str) -> Result<BTreeSet<u32>, String> {
    let wrong =
        || format!("a list of processors is written like 0-3,8 with numbers below {MAX_CPUS}, this is {list:?}");
    let mut ids = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|id| *id < MAX_CPUS).ok_or_else(wrong);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        ids.extend(first..=last);
    }
    Ok(ids)
}

/// Writes the list of these ids: `0-3,8`.
#[must_use]
pub fn written(ids: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for id in ids {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *id => *last = *id,
            _ => ranges.push((*id, *id)),
        }
    }
    let range = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

/// Checks the setting `cells_cpuset`: empty, [`NONE`] or a list.
///
/// # Errors
/// The message names the form of a list and quotes this one.
pub fn check(setting: &str) -> Result<(), String> {
    if setting.is_empty() || setting == NONE { Ok(()) } else { parse(setting).map(|_| ()) }
}
