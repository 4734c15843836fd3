//! Patterns in which each `*` stands for any number of bytes.

/// Whether a whole name matches a pattern, where `is_same` compares two bytes. Takes time in proportion to the product of
/// both lengths at the most, and no memory.
pub(crate) fn matches(pattern: &[u8], name: &[u8], is_same: impl Fn(u8, u8) -> bool) -> bool {
    // One position to go back to is enough: what an earlier `*` could take, the latest can take too.
    let (mut at, mut seen, mut back) = (0, 0, None);
    while let Some(wanted) = name.get(seen) {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                back = Some((at, seen));
            }
            Some(byte) if is_same(*byte, *wanted) => {
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
    pattern.get(at..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}
