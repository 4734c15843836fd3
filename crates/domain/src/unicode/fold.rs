//! Folding of names that count as one.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::is_hidden;

/// Longest folded name, in characters. A longer one is replaced by its digest, so that it fits the index.
const MAX_CHARS: usize = 200;

/// Largest number of rounds. Two rounds suffice for every single character; the bound guards against the rest.
const MAX_ROUNDS: usize = 8;

/// The name that `name` is counted as: without hidden characters, in one case and one form (after Unicode's
/// `NFKC_Casefold`), with single spaces between its words and none around. Empty if nothing of it is seen.
///
/// Letters of other scripts that look alike (a Cyrillic `а`) stay different: which of them are one is a question
/// of fonts and languages, and to count two people as one is worse than to count one as two.
#[must_use]
pub fn fold(name: &str) -> String {
    let mut folded = name.to_owned();
    for _ in 0..MAX_ROUNDS {
        let next = round(&folded);
        if next == folded {
            break;
        }
        folded = next;
    }
    if folded.chars().count() <= MAX_CHARS {
        return folded;
    }
    let digest = Sha256::digest(&folded);
    format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn round(name: &str) -> String {
    // Whitespace first, for some of it is a control character too.
    let spaced = name.nfkc().map(|c| if c.is_whitespace() { ' ' } else { c });
    let seen = spaced.filter(|c| !is_hidden(*c));
    // Down, up and down again: capital sharp s has no capital of its own, long s has no small letter.
    let cased = seen.flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    let formed: String = cased.nfkc().collect();
    let mut words = formed.split_whitespace().map(Cow::from);
    let first = words.next().unwrap_or_default().into_owned();
    words.fold(first, |name, word| name + " " + &word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_alike_is_one_name() {
        for alike in [
            "ada lovelace",
            "Ada Lovelace",
            "ADA LOVELACE",
            " ada  lovelace\t",
            "ada\u{a0}lovelace",
            "ada\u{3000}lovelace",
            "ada\u{2028}lovelace",
            "a\u{200b}da love\u{ad}lace",
            "ada lovelace\u{e0041}\u{e007f}",
            "ada lovelace\u{fe0f}\u{3164}\u{ffa0}\u{115f}\u{2800}",
            "\u{202e}ada lovelace\u{202c}",
            "\u{feff}ada\u{180e} lovelace\u{61c}\u{2060}\u{fff9}",
            "ａｄａ　ｌｏｖｅｌａｃｅ",
            "𝐚𝐝𝐚 𝓵𝓸𝓿𝓮𝓵𝓪𝓬𝓮",
            "ⓐⓓⓐ lovelace",
            "ada lovelace\u{f8ff}",
        ] {
            assert_eq!(fold(alike), "ada lovelace", "{alike:?}");
        }
        for (one, other) in [
            ("straße", "STRASSE"),
            ("STRAẞE", "strasse"),
            ("ſam", "SAM"),
            ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
            ("\u{212a}im", "kim"),
            ("e\u{301}", "É"),
            ("ﬁn", "FIN"),
            ("x²", "X2"),
            ("\u{1f80}", "\u{1f88}"),
            ("한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
    }

    #[test]
    fn what_does_not_is_not() {
        for (one, other) in [("ada", "adam"), ("ada lovelace", "adalovelace"), ("ada", "аda"), ("é", "e"), ("1", "2")]
        {
            assert_ne!(fold(one), fold(other));
        }
        assert_eq!(fold("\u{200b}\u{3164} \u{202e}"), "");
    }

    #[test]
    fn a_name_that_folds_to_many_is_counted_by_its_digest() {
        let long = fold(&"\u{fdfa}".repeat(200));
        assert!(long.starts_with("sha256:") && long.len() == 71, "{long}");
        assert_ne!(long, fold(&"\u{fdfa}".repeat(199)));
        assert_eq!(fold(&"é".repeat(200)).chars().count(), 200);
    }

    proptest! {
        #[test]
        fn a_folded_name_folds_to_itself(name in "\\PC{0,40}") {
            let folded = fold(&name);
            prop_assert_eq!(fold(&folded), folded.clone());
            prop_assert_eq!(fold(&name.to_uppercase()), folded.clone());
            prop_assert!(!folded.chars().any(is_hidden));
        }
    }
}
