//! Code page 437, in which the zip format has names that are not UTF-8 (APPNOTE D.1).

/// The characters of the bytes 0x80 to 0xff. Those below are ASCII.
const UPPER: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', //
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', //
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', //
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐', //
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', //
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', //
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', //
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
];

/// The text of these bytes. Every byte has a character.
pub(super) fn decode(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| UPPER.get(usize::from(byte).wrapping_sub(0x80)).copied().unwrap_or(char::from(byte)))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn letters_are_those_of_the_code_page() {
        assert_eq!(super::decode(b"L\x94sung \x81ber \xe1.txt"), "Lösung über ß.txt");
        let all: Vec<u8> = (0..=255).collect();
        let text = super::decode(&all);
        assert_eq!(text.chars().count(), 256);
        assert_eq!(text.chars().collect::<std::collections::BTreeSet<_>>().len(), 256, "two bytes have one character");
    }
}
