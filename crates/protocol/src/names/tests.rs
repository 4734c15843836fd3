use super::*;

fn survey<'r>(rules: &'r NameRules, names: &[&str]) -> Reading<'r> {
    let mut survey = Survey::new(Some(rules));
    names.iter().for_each(|name| survey.add(name));
    survey.finish()
}

/// What a name comes to: its path in the project, or why it has none.
fn outcome(reading: &Reading<'_>, name: &str) -> String {
    match reading.place(name) {
        Err(fault) => format!("{fault:?}"),
        Ok(Place::Ignored(pattern)) => format!("ignored by {pattern}"),
        Ok(Place::Beside(_)) => "beside".to_owned(),
        Ok(Place::Above(_)) => "above".to_owned(),
        Ok(Place::Project(name)) => name.in_project().join("/") + if name.is_folder { "/" } else { "" },
    }
}

fn outcomes(rules: &NameRules, names: &[&str]) -> Vec<String> {
    let reading = survey(rules, names);
    names.iter().map(|name| outcome(&reading, name)).collect()
}

fn rules(ignore: &[&str], root: &[&str]) -> NameRules {
    let owned = |list: &[&str]| list.iter().map(|pattern| (*pattern).to_owned()).collect();
    NameRules { ignore: owned(ignore), root: owned(root) }
}

#[test]
fn a_single_folder_becomes_the_top_whatever_is_ignored_beside_it() {
    let names = ["hw3/", "hw3/app.py", "__MACOSX/hw3/._app.py", "hw3/.DS_Store", "hw3/static/a.css"];
    let expected = ["/", "app.py", "ignored by __MACOSX/", "ignored by .DS_Store", "static/a.css"];
    assert_eq!(outcomes(&NameRules::default(), &names), expected);
    for stays in [&["a/b", "c"][..], &["a/b", "c/d"], &["a/b", "c/"], &["a"], &["a/b", "a"]] {
        assert!(survey(&NameRules::default(), stays).top().is_empty(), "{stays:?}");
    }
    assert_eq!(survey(&NameRules::default(), &["a/b/c/d"]).top(), ["a"]);
}

#[test]
fn the_folder_with_every_mark_becomes_the_top() {
    let marked = rules(&["node_modules/"], &["package.json", "src/"]);
    let names = ["x/", "x/app/package.json", "x/app/src/a.js", "x/notes.txt", "x/app/node_modules/b/package.json", "y"];
    let expected = ["above", "package.json", "src/a.js", "beside", "ignored by node_modules/", "beside"];
    assert_eq!(outcomes(&marked, &names), expected);
    for (names, top) in [
        // The outermost one that has them all.
        (&["a/package.json", "a/src/x", "a/b/package.json", "a/b/src/y", "c"][..], "a"),
        (&["package.json", "src/a", "b/package.json", "b/src/c"], ""),
        // Two of them: as without marks.
        (&["a/package.json", "a/src/x", "b/package.json", "b/src/x"], ""),
        (&["a/b/package.json", "a/b/src/x", "a/c/package.json", "a/c/src/x"], "a"),
        // Not all marks in one folder.
        (&["a/package.json", "b/src/x"], ""),
        // A folder by the name of a file, and the other way round.
        (&["a/package.json/x", "a/src", "b"], ""),
    ] {
        assert_eq!(survey(&marked, names).top().join("/"), top, "{names:?}");
    }
    // A template whose projects are one folder keeps it.
    assert!(survey(&rules(&[], &["src/"]), &["src/a.py", "src/b.py"]).top().is_empty());
}

#[test]
fn backslashes_separate_where_no_name_has_a_slash() {
    let all = |names: &[&str]| outcomes(&NameRules::default(), names);
    assert_eq!(all(&["app.py", "static\\a.css", "static\\"]), ["app.py", "static/a.css", "static/"]);
    assert_eq!(all(&["hw3\\app.py", "hw3\\.git\\config"]), ["app.py", "ignored by .git"]);
    assert_eq!(all(&["a/b", "z", "c\\d"]), ["a/b", "z", "Backslash"]);
    assert_eq!(all(&["..\\a"]), ["Outside"]);
    assert_eq!(all(&["\\\\server\\share"]), ["Network"]);
    assert_eq!(all(&["\\a", "C:\\a", "a\\\\b"]), ["Absolute", "Drive", "EmptyComponent"]);
    // What is ignored has a say in that too.
    assert_eq!(all(&["__MACOSX/a", "b\\c"]), ["ignored by __MACOSX/", "Backslash"]);
}

#[test]
fn each_rule_holds() {
    let rules_by_default = NameRules::default();
    let reading = survey(&rules_by_default, &["a/b", "c"]);
    let long = "n".repeat(256);
    for (name, expected) in [
        ("./a", "a"),
        ("a/./b", "a/b"),
        ("./", "/"),
        ("a/./", "a/"),
        (".", "Dot"),
        ("a/.", "Dot"),
        ("", "Empty"),
        ("/", "Absolute"),
        ("//a", "Network"),
        ("a//b", "EmptyComponent"),
        ("../a", "Outside"),
        ("a/../b", "Outside"),
        ("a/..", "Outside"),
        ("C:/a", "Drive"),
        ("c:", "Drive"),
        ("./C:/a", "Drive"),
        ("a/C:/b", "a/C:/b"),
        ("a: plan.md", "a: plan.md"),
        ("c:a", "c:a"),
        ("aux.c", "aux.c"),
        ("draft. ", "draft. "),
        ("docs/...", "docs/..."),
        ("a\0b", "Nul"),
        ("a\nb", "Control"),
        ("a\u{85}", "Control"),
        ("a\u{202e}b", "Invisible"),
        ("a\u{2066}b", "Invisible"),
        ("a\u{200b}b", "Invisible"),
        ("\u{200e}00000012-PHOTO.jpg", "\u{200e}00000012-PHOTO.jpg"),
        ("\u{1f469}\u{200d}\u{1f4bb}.png", "\u{1f469}\u{200d}\u{1f4bb}.png"),
        ("a/.GIT/config", "ignored by .git"),
        (".g\u{200c}it/config", "Git"),
        ("git~1/config", "Git"),
        (".git. /config", "Git"),
        ("Icon\r", "ignored by Icon\r"),
        (long.as_str(), "ComponentTooLong(256)"),
        ("__MACOSX/../../a", "ignored by __MACOSX/"),
        ("/.git/a", "ignored by .git"),
    ] {
        assert_eq!(outcome(&reading, name), expected, "{name:?}");
    }
    // Where a template ignores nothing, a Git folder is refused.
    assert_eq!(outcomes(&rules(&[], &[]), &[".git/config", "a"]), ["Git", "a"]);
}

#[test]
fn an_archive_of_this_service_is_taken_as_it_is() {
    let mut survey = Survey::new(None);
    ["tests/.git/x", "tests/node_modules/y"].iter().for_each(|name| survey.add(name));
    let reading = survey.finish();
    for (name, expected) in [
        ("tests/.git/x", "tests/.git/x"),
        ("tests/node_modules/y", "tests/node_modules/y"),
        ("a\nb", "a\nb"),
        ("../a", "Outside"),
        ("a\\b", "Backslash"),
    ] {
        assert_eq!(outcome(&reading, name), expected, "{name:?}");
    }
}

#[test]
fn a_name_is_decoded_by_what_its_header_says() {
    const UTF8: u16 = 1 << 11;
    let second = |sum: u32, name: &str| {
        let len = u16::try_from(name.len() + 5).unwrap();
        [&0x7075_u16.to_le_bytes()[..], &len.to_le_bytes(), &[1], &sum.to_le_bytes(), name.as_bytes()].concat()
    };
    let raw = b"L\x94sung.txt";
    let sum = crc32fast::hash(raw);
    for (bytes, flags, extra, expected) in [
        ("größe".as_bytes(), UTF8, vec![], Ok("größe")),
        ("größe".as_bytes(), 0, vec![], Ok("größe")),
        (raw, 0, vec![], Ok("Lösung.txt")),
        (raw, UTF8, vec![], Err(NameFault::NotUtf8)),
        (raw, 0, second(sum, "Lösung (neu).txt"), Ok("Lösung (neu).txt")),
        (raw, UTF8, second(sum, "a"), Err(NameFault::NotUtf8)),
        (raw, 0, second(sum + 1, "a"), Err(NameFault::SecondName)),
        (raw, 0, [0x75, 0x70, 6, 0, 1, 0, 0, 0, 0, 0xff].to_vec(), Err(NameFault::SecondName)),
        (raw, 0, [0x75, 0x70, 1, 0, 1].to_vec(), Err(NameFault::SecondName)),
        (b"a", 0, second(0, "a"), Ok("a")),
        (b"a", 0, second(crc32fast::hash(b"a"), "b"), Err(NameFault::SecondName)),
        (b"\x81\x40\xc4\xe3.txt", 0, vec![], Ok("ü@─π.txt")),
    ] {
        let name = RawName::new(bytes, flags, &extra).unwrap();
        assert_eq!(name.decode().as_deref(), expected.as_ref().copied(), "{bytes:?}");
    }
    let twice = [second(0, "a"), second(0, "a")].concat();
    assert!(RawName::new(b"a", 0, &twice).is_none() && RawName::new(b"a", 0, &[1, 0, 9, 0]).is_none());
}

#[test]
fn lists_that_cannot_work_are_named() {
    assert_eq!(NameRules::default().check(), Ok(()));
    for (rules, words) in [
        (rules(&["a/b"], &[]), "archive.ignore has \"a/b\"; a pattern is"),
        (rules(&[], &["*"]), "archive.root has \"*\""),
        (rules(&["a"; 101], &[]), "archive.ignore has 101 patterns, the limit is 100"),
        (rules(&[], &["a"; 17]), "archive.root has 17 patterns, the limit is 16"),
    ] {
        let error = rules.check().unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
