//! Patterns in which one sign, `*`, stands for any number of bytes or characters.

/// Whether a whole name matches a pattern in which `star` stands for any number of units, where `is_same` compares two
/// others. Takes time in proportion to the product of both lengths at the most, and no memory.
pub(crate) fn matches<T: Copy + PartialEq>(pattern: &[T], name: &[T], star: T, is_same: impl Fn(T, T) -> bool) -> bool {
    // One position to go back to is enough: what an earlier `*` could take, the latest can take too.
    let (mut at, mut seen, mut back) = (0, 0, None);
    while let Some(wanted) = name.get(seen) {
        match pattern.get(at) {
            Some(unit) if *unit == star => {
                at += 1;
                back = Some((at, seen));
            }
            Some(unit) if is_same(*unit, *wanted) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((after, from)) = back else { return false };
                (at, seen) = (after, from + 1);
                back = Some((after, from + 1));
            }
        }
    }
    pattern.get(at..).is_none_or(|rest| rest.iter().all(|unit| *unit == star))
}
