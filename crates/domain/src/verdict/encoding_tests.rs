//! Reports in other encodings than UTF-8.

use super::*;

const REPORT: &str = "<testsuite><testcase name='Größe'/></testsuite>";

fn name(bytes: &[u8]) -> Result<String, ParseError> {
    let verdict = parse(Format::Junit, bytes, Integrity::Isolated, &Limits::default())?;
    Ok(verdict.tests.into_iter().next().map(|test| test.name).unwrap_or_default())
}

fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn utf_16_is_known_by_its_mark_or_its_first_bytes() {
    let marked = format!("\u{feff}{REPORT}");
    let declared = format!("<?xml version='1.0' encoding='UTF-16'?>{REPORT}");
    for text in [marked.as_str(), REPORT, &declared] {
        for bytes in [utf_16(text, u16::to_le_bytes), utf_16(text, u16::to_be_bytes)] {
            assert_eq!(name(&bytes).as_deref(), Ok("Größe"), "{text}");
        }
        assert_eq!(name(text.as_bytes()).as_deref(), Ok("Größe"), "{text}: the bytes are UTF-8 whatever it declares");
    }
    // PowerShell writes so what is redirected into a file.
    let tap = utf_16("\u{feff}1..1\r\nok 1 - Größe\r\n", u16::to_le_bytes);
    let verdict = parse(Format::Tap, &tap, Integrity::Isolated, &Limits::default()).expect("it is read");
    assert_eq!(verdict.tests[0].name, "Größe");
    let json = utf_16(r#"{"score": 1, "max_score": 2}"#, u16::to_le_bytes);
    let verdict = parse(Format::Gradescope, &json, Integrity::Isolated, &Limits::default()).expect("it is read");
    assert_eq!(verdict.score, 1.0);
}

#[test]
fn a_declaration_names_the_encoding() {
    for (label, sz) in
        [("ISO-8859-1", b"\xF6\xDF"), ("windows-1252", b"\xF6\xDF"), ("cp1252", b"\xF6\xDF"), ("ibm866", b"?!")]
    {
        let head =
            format!("<?xml version=\"1.0\" encoding = \"{label}\" standalone='yes'?><testsuite><testcase name='Gr");
        let bytes = [head.as_bytes(), sz, b"e'/></testsuite>"].concat();
        let right = if label == "ibm866" { "Gr?!e" } else { "Größe" };
        assert_eq!(name(&bytes).as_deref(), Ok(right), "{label}");
    }
    for fine in ["<?xml version='1.0' encoding='Utf-8'?>", "<?xml version='1.0' encoding='US-ASCII'?>", "\u{feff}"] {
        assert!(name(format!("{fine}{REPORT}").as_bytes()).is_ok(), "{fine}");
    }
    // Only XML has a declaration.
    let tap = b"1..1\nok 1 - <?xml encoding='utf-7'?>\n";
    assert!(parse(Format::Tap, tap, Integrity::Isolated, &Limits::default()).is_ok());
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    for label in ["utf-7", "ISO-2022-JP", "hz-gb-2312", "x-user-defined-2", "", "EBCDIC-CP-US"] {
        let report = format!("<?xml version='1.0' encoding='{label}'?>{REPORT}");
        assert_eq!(name(report.as_bytes()), Err(ParseError::Encoding { seen: label.to_owned() }), "{label}");
    }
    let utf_32: Vec<u8> = REPORT.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    for bytes in [utf_32.clone(), [&[0xFF, 0xFE, 0, 0], utf_32.as_slice()].concat()] {
        assert!(matches!(name(&bytes), Err(ParseError::Encoding { seen }) if seen.starts_with("UTF-32")));
    }
}
