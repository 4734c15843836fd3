//! The list of extra fields of a header (APPNOTE 4.5).

/// A field of the list: its id and its content.
type Field<'a> = (u16, &'a [u8]);

/// The fields of a list; `None` in the place of one that is malformed, and then nothing more. Aligners pad the list with
/// up to three zeros.
pub fn fields(list: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        let &[id_low, id_high, len_low, len_high, ref after @ ..] = rest else {
            let is_padding = rest.iter().all(|&byte| byte == 0);
            rest = &[];
            return if is_padding { None } else { Some(None) };
        };
        let len = usize::from(u16::from_le_bytes([len_low, len_high]));
        let field = after.split_at_checked(len);
        rest = field.map_or(&[], |(_, next)| next);
        Some(field.map(|(content, _)| (u16::from_le_bytes([id_low, id_high]), content)))
    })
}

#[cfg(test)]
mod tests {
    use super::fields;

    #[test]
    fn fields_are_listed_up_to_the_first_malformed_one() {
        let list = |bytes: &[u8]| {
            fields(bytes).map(|field| field.map(|(id, content)| (id, content.to_vec()))).collect::<Vec<_>>()
        };
        assert_eq!(list(&[]), []);
        assert_eq!(list(&[0, 0, 0]), []);
        assert_eq!(list(&[1, 0, 1, 0, 9, 0]), [Some((1, vec![9]))]);
        assert_eq!(list(&[1, 0, 1, 0, 9, 7]), [Some((1, vec![9])), None]);
        assert_eq!(list(&[1, 0, 2, 0, 9]), [None]);
        assert_eq!(list(&[2, 1, 0, 0, 1, 0, 0, 0]), [Some((258, vec![])), Some((1, vec![]))]);
    }
}
