//! Banks of signals: what is found, what is not, and what a bank is refused for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail by panicking")]

use domain::{SignalRecord, Timestamp, Unsearched, View};
use features::signals::{Bank, Banks, ImageHash, Ready, merged};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const HEAD: &str = "schema: bank/1\nname: made_up\nowner: nobody\npurpose: tests\n";

fn bank(body: &str) -> Bank {
    Bank::load(&format!("{HEAD}{body}")).unwrap()
}

/// What is found of a text, as it is written.
fn found(bank: &Bank, text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let (matches, complete) = bank.find(&Ready::of(text));
    assert!(complete);
    matches.into_iter().map(|found| chars[found.raw].iter().collect()).collect()
}

#[test]
fn words_and_phrases_are_found_as_words() {
    let bank = bank(
        "[words]\nblorp\nzug88\n88\ncoon\nkike\n黑鬼\nnégrillon\nไอ้มืด\n[phrases]\nkill all blorps\ndon't feed\n[patterns]\n\\b14[ ./-]?88\\b\n",
    );
    for (text, expected) in [
        ("a blorp.", &["blorp"][..]),
        ("BLORP!", &["BLORP"]),
        ("blorps blorpy xblorp", &[]),
        ("the-blorp-club", &["blorp"]),
        ("blorp1 2blorp", &["blorp"]),
        ("Zug88 zug 88", &["Zug88", "88"]),
        ("A88 88B 1988 x.88", &["88"]),
        ("we kill all\nblorps, kill-all-blorps", &["kill all\nblorps"]),
        ("skill all blorps, kill all blorpsies, killall blorps", &[]),
        ("dont feed, don't feed", &["dont feed"]),
        ("con conn cocoon raccoon", &[]),
        ("cooooon", &["cooooon"]),
        ("他是黑鬼吗", &["黑鬼"]),
        ("黑 鬼", &[]),
        ("un negrillon", &["negrillon"]),
        ("คนไอ้มืดมา", &["ไอ้มืด"]),
        ("14/88 1488 x1488", &["14/88", "88"]),
        ("the rapist", &[]),
        ("@blorp", &["blorp"]),
        ("https://a.example/x/blorp-1", &["blorp"]),
        ("#blorp", &["blorp"]),
        ("", &[]),
    ] {
        assert_eq!(found(&bank, text), expected, "{text:?}");
    }
}

#[test]
fn disguised_words_are_found() {
    let bank = bank("[words]\nblorp\ncoon\nfrazzle\n");
    for text in [
        "b l o r p",
        "b.l.o.r.p",
        "b-l-o-r-p",
        "b  l  o  r  p",
        "b\nl\no\nr\np",
        "b 🌷 l 🌷 o 🌷 r 🌷 p",
        "bl\u{200b}orp",
        "b\u{ad}lorp",
        "ｂｌｏｒｐ",
        "𝐛𝐥𝐨𝐫𝐩",
        "bl0rp",
        "b1orp",
        "8lorp",
        "bloooorp",
        "blorrrrp",
        "bbbblllloooorrrrpppp",
        "blo.rp",
        "blo_rp",
        "blo-rp",
        "bl*o*rp",
        "<b>bl</b>orp",
        "bl&#111;rp",
        "blоrр",
        "a b l o r p x",
        "BL0RP",
        "\u{202e}prolb\u{202c}",
        "b̶l̶o̶r̶p̶",
        "co0n",
        "c00n",
        "c.o.o.n",
        "c000n",
        "frzazle",
        "fr4zzl3",
        "frazlze",
        "#FrazzleBlorp",
        "bl(o)rp",
        "bl*rp",
        "bl**p",
        "fr*zzle",
    ] {
        assert!(!found(&bank, text).is_empty(), "{text:?}");
    }
}

#[test]
fn english_forms_are_found_where_the_bank_says_so() {
    let forms =
        bank("inflect: yes\n[words]\nblorp\nzap\nhatey\nblame\nzorry\nfixed | inflect: no\n[phrases]\nkill a blorp\n");
    for (text, expected) in [
        ("blorps blorped blorping blorpings", 1),
        ("blorping", 1),
        ("blorp's", 1),
        ("zapped", 1),
        ("zapping", 1),
        ("blaming", 1),
        ("blamed", 1),
        ("zorries", 1),
        ("kill a blorps", 2),
        ("b l o r p s", 1),
        ("bl0rps", 1),
        ("fixeds blorpin blorper blorpers blorpish zappy blorpless unblorp", 0),
    ] {
        assert_eq!(found(&forms, text).len(), expected, "{text}");
    }
    let bare = bank("[words]\nblorp\n");
    assert!(found(&bare, "blorps blorping").is_empty() && found(&bare, "blorp's").len() == 1);
}

/// Towns, surnames, foreign words and others that have a listed word inside or look like one in disguise. Nothing of them counts.
const INNOCENT: [&str; 64] = [
    "Scunthorpe",
    "Penistone",
    "Lightwater",
    "Clitheroe",
    "Cockermouth",
    "Sussex",
    "Essex",
    "Middlesex",
    "Twatt",
    "Shitterton",
    "Cafe Negro",
    "Montenegro",
    "Rio Negro",
    "Negroni",
    "Denegro",
    "Kike Hernandez",
    "Kikelomo",
    "Kikerino",
    "Kiev",
    "Dyker Heights",
    "Van Dyke",
    "Dykstra",
    "Hancock",
    "Babcock",
    "Hitchcock",
    "Cockburn",
    "Dickens",
    "Dickinson",
    "Sackville",
    "Assisi",
    "Assad",
    "Bassist",
    "classic",
    "passage",
    "cocktail",
    "shuttlecock",
    "cockpit",
    "titanic",
    "constitution",
    "Niger",
    "Nigeria",
    "nigella",
    "niggardly",
    "snigger",
    "spice",
    "auspicious",
    "Spicer",
    "despicable",
    "conspicuous",
    "raccoon",
    "tycoon",
    "cocoon",
    "Kowloon",
    "chinks in the armour",
    "Chinkiang",
    "gooky",
    "retardant",
    "flame-retardant",
    "fagot of wood",
    "Fagin",
    "Sluter",
    "Slutsk",
    "grape",
    "therapist",
];

/// The towns, people and dishes that are the word itself.
const ALLOWED: &str = "[allow]\nDyker Heights\nCafe Negro\nRio Negro\nKike Hernandez\nVan Dyke\nTwatt\nchinks in the armour\nflame-retardant\n";
const SLURS: &str = "[words]\ncunt\npenis\ntwat\nshit\nnegro\nkike\ndyke\ncock\ndick\nass\ntit\nnigger\nspic\ncoon\nchink\ngook\nretard\nfag\nfaggot\nslut\nrape\nrapist\n";

#[test]
fn names_towns_and_foreign_words_do_not_count() {
    let bank = bank(&format!("inflect: yes\n{SLURS}{ALLOWED}"));
    for name in INNOCENT {
        for text in [
            name.to_owned(),
            name.to_lowercase(),
            name.to_uppercase(),
            format!("We went to {name} in May, it was great."),
            format!("{name}, {name}"),
            format!("<b>{name}</b>"),
        ] {
            assert_eq!(found(&bank, &text), Vec::<String>::new(), "{text:?}");
        }
    }
    for (text, expected) in [
        ("a negro", 1),
        ("Cafe Negro and a negro", 1),
        ("Sc.unt horpe c.u.n.t", 1),
        ("scunthorpe.example is fine", 0),
        ("https://www.scunthorpe.example/visit", 0),
        ("kike hernandez is no kike", 1),
    ] {
        assert_eq!(found(&bank, text).len(), expected, "{text}");
    }
}

#[derive(Deserialize)]
struct Evasions {
    pairs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    trick: String,
    hateful: String,
    harmless: String,
}

const PEOPLE: &str = "[words]\nmuslim\njew\nblack\ngay\nimmigrant\nwoman\nwomen\nfaggot\ntranny\nnigger\nape\nrat\nvermin\ndisgusting\nfilthy\nanimal\n";

/// Whether a twin speaks of what is listed, in the words of the twenty and the fifty.
fn harmless_too(entry: &str) -> bool {
    ["black", "woman", "women", "immigrant", "animal", "muslim", "jew", "gay"].contains(&entry)
}

/// Of the evasions that the model is held to: in which a listed word is found, and in which of their twins.
fn evaded(file: &str) -> (usize, usize, usize) {
    let source = format!("{HEAD}inflect: yes\n{PEOPLE}");
    let bank = Bank::load(&source).unwrap();
    let entries = |text: &str| -> Vec<&str> {
        let (found, _) = bank.find(&Ready::of(text));
        found.iter().map(|found| source.lines().nth(found.line as usize - 1).unwrap()).collect()
    };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scoring/behaviours").join(file);
    let evasions: Evasions = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let all = evasions.pairs.len();
    let (mut caught, mut wrong) = (0, 0);
    for Pair { trick, hateful, harmless } in evasions.pairs {
        let (bad, good) = (entries(&hateful), entries(&harmless));
        if bad.is_empty() {
            println!("missed, {trick}: {hateful:?}");
        }
        // Some twins speak of black coffee, of women or of immigrants; that is what such a bank finds.
        let other = good.iter().any(|entry| !harmless_too(entry));
        if other {
            println!("wrongly, {trick}: {harmless:?}: {good:?}");
        }
        caught += usize::from(!bad.is_empty());
        wrong += usize::from(other);
    }
    println!("{file}: {caught} of {all}, {wrong} twins");
    (caught, wrong, all)
}

#[test]
fn listed_words_are_found_in_the_evasions_that_the_model_is_held_to() {
    let (caught, wrong, all) = evaded("evasions.json");
    assert!((caught, all) == (20, 20) && wrong <= 1);
    let (caught, wrong, all) = evaded("evasions_more.json");
    assert!(caught >= 49 && all == 50 && wrong <= 4);
}

/// The tricks of the evasions, each on a word.
fn tricks(word: &str) -> Vec<(&'static str, String)> {
    let apart = |by: &str| word.chars().map(String::from).collect::<Vec<_>>().join(by);
    let with = |pairs: &[(char, char)]| -> String {
        word.chars().map(|c| pairs.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to)).collect()
    };
    let styled = |start: u32| -> String {
        word.chars().map(|c| char::from_u32(start + u32::from(c) - u32::from('a')).unwrap()).collect()
    };
    let half = word.len() / 2;
    let (left, right) = word.split_at(half);
    let swapped: String = {
        let mut chars: Vec<char> = word.chars().collect();
        chars.swap(1, 2);
        chars.into_iter().collect()
    };
    let mut tricks = vec![
        ("spaces", apart(" ")),
        ("two spaces", apart("  ")),
        ("dots", apart(".")),
        ("hyphens", apart("-")),
        ("underscores", apart("_")),
        ("slashes", apart("/")),
        ("bars", apart("|")),
        ("stars", apart("*")),
        ("lines", apart("\n")),
        ("empty lines", apart("\n\n")),
        ("emoji", apart("\u{1f337}")),
        ("spaces and emoji", apart(" \u{1f337} ")),
        ("zero width", apart("\u{200b}")),
        ("word joiner", format!("{left}\u{2060}{right}")),
        ("soft hyphen", format!("{left}\u{ad}{right}")),
        ("struck", apart("\u{336}") + "\u{336}"),
        ("a dot inside", format!("{left}.{right}")),
        ("a hyphen inside", format!("{left}-{right}")),
        ("a star inside", format!("{left}*{right}")),
        (
            "leetspeak",
            with(&[('o', '0'), ('e', '3'), ('a', '4'), ('s', '5'), ('t', '7'), ('i', '1'), ('g', '9'), ('b', '8')]),
        ),
        ("one digit", with(&[('o', '0')])),
        (
            "look-alikes",
            with(&[
                ('a', '\u{430}'),
                ('e', '\u{435}'),
                ('o', '\u{43e}'),
                ('c', '\u{441}'),
                ('p', '\u{440}'),
                ('i', '\u{456}'),
                ('s', '\u{455}'),
            ]),
        ),
        ("accents", with(&[('a', 'á'), ('e', 'ë'), ('o', 'ö'), ('i', 'ï'), ('u', 'ü')])),
        ("wide", styled(0xff41)),
        ("bold", styled(0x1d41a)),
        ("circled", styled(0x24d0)),
        ("capitals", word.to_uppercase()),
        ("stretched", word.chars().map(|c| c.to_string().repeat(if "aeiou".contains(c) { 5 } else { 1 })).collect()),
        ("stretched all", word.chars().map(|c| c.to_string().repeat(4)).collect()),
        ("backwards", format!("\u{202e}{}\u{202c}", word.chars().rev().collect::<String>())),
        ("markup", format!("<b>{left}</b>{right}")),
        ("entities", word.chars().map(|c| format!("&#{};", u32::from(c))).collect()),
        ("emphasis", format!("{left}**{right}**")),
        ("hashtag", format!("#{word}")),
        ("handle", format!("@{word}")),
        ("address", format!("https://a.example/{word}")),
        ("quoted", format!("\u{201c}{word}\u{201d}")),
    ];
    if word.len() > 4 {
        tricks.push(("letters swapped", swapped));
    }
    tricks
}

/// Ways to bury it, as those in which law 10 is tested.
const BURIED: [&str; 8] = [
    "{}",
    "The bus was late again. {} It rained all day and my sister played the piano.",
    "winter beads paper lamp river bread {} window carpet apple music letter garden",
    "😀 🎉 🌞 {} 👍 🎶",
    "https://a.example/1 {} https://a.example/2",
    "| day | hours |\n|---|---|\n| Mon | 4 |\n{}\n| Tue | 6 |",
    "- eggs\n- {}\n- milk",
    "```\nfor x in y:\n    pass\n```\n{}",
];

#[test]
fn disguised_forms_of_listed_words_are_found_wherever_they_are_buried() {
    // Words that English has, words that no model has seen, and a name.
    let words = [
        "vermin",
        "parasites",
        "blorpian",
        "zugger",
        "frazzle",
        "quimble",
        "snorf",
        "kraplet",
        "muslim",
        "tranny",
        "wogdar",
        "gleebo",
    ];
    let bank = bank(&format!("[words]\n{}\n", words.join("\n")));
    let (mut all, mut caught) = (0_usize, 0_usize);
    let mut missed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for word in words {
        for (trick, disguised) in tricks(word) {
            for way in BURIED {
                all += 1;
                let text = way.replace("{}", &disguised);
                if found(&bank, &text).is_empty() {
                    *missed.entry((trick, word)).or_default() += 1;
                } else {
                    caught += 1;
                }
            }
        }
    }
    let share = caught as f64 / all as f64;
    println!("{share:.4} of {all} found; missed {missed:?}");
    assert!(share >= 0.98, "{share:.4}");
}

#[test]
fn a_bank_is_refused_with_its_line() {
    for (body, line, words) in [
        ("[words]\nblorp\n\nBlorp\n", 8, "says the same as line 6"),
        ("[words]\nkill all\n", 6, "under [phrases]"),
        ("[words]\n!!!\n", 6, "no letter and no digit"),
        ("[words]\nx\n", 6, "one letter"),
        ("[words]\nblorp | label: \u{7}\n", 6, "label"),
        ("[words]\nblorp | inflect: maybe\n", 6, "`yes` or `no`"),
        ("[wrods]\nblorp\n", 5, "no heading; there are [words]"),
        ("blorp\n", 5, "entries stand under a heading"),
        ("colour: red\n", 5, "there are `schema`"),
        ("until: next week\n", 5, "last day"),
        ("[patterns]\n(?=x)y\n", 6, "look-around"),
        ("[patterns]\n(a\n", 6, "unclosed group"),
        ("[patterns]\nx*\n", 6, "found in every text"),
        ("[patterns]\n(?:\\w{50}){50}\n", 6, "too large a pattern"),
        ("[images]\n0f0f\n", 6, "64 hexadecimal digits"),
        ("[words]\nblorp\n[matches]\nblorp\nfrazzle\n", 9, "has to match"),
        ("[words]\nblorp\n[misses]\nhello\na blorp\n", 9, "the entry of line 6"),
    ] {
        let error = Bank::load(&format!("{HEAD}{body}")).map(|_| ()).unwrap_err();
        assert!(error.line == line && error.problem.contains(words), "{body:?}: {error}");
    }
    assert!(Bank::load("").unwrap_err().problem.contains("`schema: …`"));
    assert!(Bank::load("schema: bank/2").unwrap_err().problem.contains("bank/1"));
    assert!(Bank::load("schema: bank/1\nname: Slurs!").unwrap_err().line == 2);
}

#[test]
fn the_examples_pass_their_own() {
    let bank = Bank::load(include_str!("../../domain/policies/examples/campaign.bank")).unwrap();
    assert_eq!((bank.name(), bank.len()), ("campaign", 6));
    assert_eq!(bank.label(13), Some("invented people"));
    let slogans = Bank::load(include_str!("../../domain/policies/examples/slogans.bank")).unwrap();
    assert_eq!((slogans.name(), slogans.len()), ("slogans", 15));
}

fn records(bank: Option<&str>, texts: &[&str], images: &[Option<&str>]) -> BTreeMap<String, SignalRecord> {
    let bank = bank.map(|body| Arc::new(Bank::load(&format!("{HEAD}{body}")).unwrap()));
    let banks: Banks = [("made_up".to_owned(), bank)].into_iter().collect();
    let mut search = banks.search(Timestamp::from_millis(0));
    texts.iter().for_each(|text| search.text(View::Text, text, None));
    for image in images {
        match image {
            Some(hash) => search.image(View::Image(0), hash.parse::<ImageHash>().ok().as_ref()),
            None => search.unseen_image(),
        }
    }
    search.done()
}

#[test]
fn what_was_found_before_and_since_is_counted_once_and_never_lost() {
    let hash = "0f".repeat(32);
    let body = format!("[words]\nblorp\nfrazzle\n[images]\n{hash}\n");
    let one = |records: &BTreeMap<String, SignalRecord>| (records["made_up"].found, records["made_up"].partial.clone());
    let first = records(Some(&body), &["blorp"], &[None]);
    assert_eq!(one(&first), (1, vec![Unsearched::Images]));
    // The same word in the picture is the same entry; another one and the picture itself are two more.
    let since = records(Some(&body), &["blorp frazzle"], &[Some(&hash)]);
    assert_eq!(one(&merged(&first, since.clone())), (3, vec![]));
    assert_eq!(one(&merged(&first, records(Some(&body), &[], &[None]))), (1, vec![Unsearched::Images]));
    // A bank that came or went in between.
    assert_eq!(one(&merged(&BTreeMap::new(), since)), (3, vec![Unsearched::Text]));
    assert_eq!(one(&merged(&first, BTreeMap::new())), (1, vec![Unsearched::Images]));
    assert_eq!(one(&merged(&first, records(None, &[], &[]))), (1, vec![Unsearched::Bank]));
    let unavailable = records(None, &[], &[None]);
    assert_eq!(one(&merged(&unavailable, records(Some(&body), &[], &[Some(&hash)]))), (1, vec![Unsearched::Bank]));
    // Another version: nobody can say which entries are the same.
    let other = records(Some(&format!("{body}# changed\n")), &["blorp"], &[]);
    assert_eq!(one(&merged(&first, other)).0, 2);
}

/// Patterns that make other engines take years, on texts made for them.
#[test]
fn slow_patterns_are_refused_or_end() {
    for pattern in
        ["(?:a?){30}a{30}", "[ab]*a[ab]{60}c", "(?:.*a){12}b", "(?:a|b|ab)*c", "(\\w+ )*x", "(?:x+x+)+y", "(?:a*)*b"]
    {
        let Ok(bank) = Bank::load(&format!("{HEAD}[patterns]\n{pattern}\n")) else { continue };
        for unit in ["a", "ab", "xxxx ", "aaaaaaa!"] {
            let text = unit.repeat(20_000 / unit.len());
            let _ = bank.find(&Ready::of(&text));
        }
    }
    // What is too long for patterns is said, not passed over.
    let bank = bank("[patterns]\nblorp\n");
    let (found, complete) = bank.find(&Ready::of(&"bread ".repeat(60_000)));
    assert!(found.is_empty() && !complete);
}

proptest! {
    /// Law 10: text before or behind a post, in lines of its own, never lowers what is found in it.
    #[test]
    fn what_is_added_never_lowers_the_count(
        before in "[a-zA-Z0-9 .,!?@#*<>&;:/\u{430}-\u{44f}\u{200b}😀é]{0,40}",
        after in "[a-zA-Z0-9 .,!?@#*<>&;:/\u{430}-\u{44f}\u{200b}😀é]{0,40}",
        which in 0usize..4,
    ) {
        let bank = bank("[words]\nblorp\nfrazzle\n[phrases]\nno more soup\n[patterns]\n\\b14.?88\\b\n");
        let text = ["a blorp", "fr4zzle and 14/88", "NO more soup", "b l o r p"][which];
        let alone = found(&bank, text).len();
        prop_assert!(alone > 0);
        let with = format!("{before}.\n\n{text}.\n\n{after}");
        prop_assert!(found(&bank, &with).len() >= alone, "{with:?}");
    }

    /// Any text is searched, and what is found lies in it.
    #[test]
    fn anything_is_searched(text in "\\PC{0,60}", body in "[a-z \n*|:#\\[\\]\\\\]{0,80}") {
        let long = bank("inflect: yes\n[words]\nblorp\n88\n[patterns]\n[aeiou]{2}\n");
        let chars = text.chars().count();
        let (matches, _) = long.find(&Ready::of(&text));
        prop_assert!(matches.iter().all(|found| found.raw.end <= chars));
        let _ = Bank::load(&format!("{HEAD}[words]\n{body}"));
    }
}
