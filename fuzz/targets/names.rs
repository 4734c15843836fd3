//! The names of an archive: nothing panics, an accepted name stays below the folder, and no name has two readings.

#![no_main]

use assize_protocol::names::{MAX_COMPONENT, NameRules, Place, RawName, Reading, Survey};
use libfuzzer_sys::fuzz_target;

const MAX_NAMES: usize = 64;

/// Cuts off a piece whose length the first byte tells.
fn piece<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&len, rest) = bytes.split_first()?;
    let (piece, rest) = rest.split_at_checked(len.into())?;
    *bytes = rest;
    Some(piece)
}

fn read<'r>(rules: &'r NameRules, texts: &[String], backwards: bool) -> Reading<'r> {
    let mut survey = Survey::new(Some(rules));
    if backwards {
        texts.iter().rev().for_each(|text| survey.add(text))
    } else {
        texts.iter().for_each(|text| survey.add(text))
    }
    survey.finish()
}

fn check(place: &Place<'_>, reading: &Reading<'_>, has_slash: bool, text: &str) {
    let (Place::Project(name) | Place::Beside(name) | Place::Above(name)) = place else { return };
    for component in &name.components {
        assert!(!matches!(component.as_str(), "" | "." | "..") && component.len() <= MAX_COMPONENT, "{name:?}");
        assert!(!component.contains(['/', '\\', '\0']) && !component.chars().any(char::is_control), "{name:?}");
    }
    assert!(has_slash || !text.contains('/'));
    assert!(name.components.ends_with(name.in_project()));
    let again = name.path() + if name.is_folder { "/" } else { "" };
    if let Place::Project(project) = place {
        assert!(project.is_folder || !project.in_project().is_empty(), "a file in the place of the top: {name:?}");
        assert!(name.components.starts_with(reading.top()));
    }
    // What came out of a name is read as itself, but for a name of nothing but `./`.
    if !name.components.is_empty() {
        assert_eq!(reading.place(&again).as_ref(), Ok(place), "{text:?}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let list = |bytes: Option<&[u8]>| -> Vec<String> {
        let text = String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        text.split('|').filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect()
    };
    let own = NameRules { ignore: list(piece(&mut rest)), root: list(piece(&mut rest)) };
    let is_usable = own.check().is_ok();
    let rules = if is_usable { own } else { NameRules::default() };
    let mut texts = Vec::new();
    while let (Some(raw), Some(extra)) = (piece(&mut rest), piece(&mut rest)) {
        for flags in [0, 1 << 11] {
            let Some(Ok(text)) = RawName::new(raw, flags, extra).map(|name| name.decode()) else { continue };
            // Whatever says that it is UTF-8 and is, reads the same without saying so.
            let plain = RawName::new(raw, 0, extra).map(|name| name.decode().map(|text| text.into_owned()));
            assert_eq!(plain, Some(Ok(text.clone().into_owned())));
            if flags == 0 && texts.len() < MAX_NAMES {
                texts.push(text.into_owned());
            }
        }
    }
    let (reading, backwards) = (read(&rules, &texts, false), read(&rules, &texts, true));
    assert_eq!(reading, backwards, "the order of names decides how they are read");
    let has_slash = texts.iter().any(|text| text.contains('/'));
    for text in &texts {
        if let Ok(place) = reading.place(text) {
            check(&place, &reading, has_slash, text);
        }
    }
    let plain = Survey::new(None).finish();
    for text in &texts {
        if let Ok(Place::Project(name)) = plain.place(text) {
            assert!(!name.components.iter().any(|component| matches!(component.as_str(), "" | "." | "..")), "{name:?}");
        }
    }
});
