//! Banks of signals: what is found, what is not, and what a bank is refused for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use features::signals::{Bank, Ready};

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
    let bank = bank("[words]\nblorp\nzug88\n88\ncoon\nkike\n黑鬼\nnégrillon\nไอ้มืด\n[phrases]\nkill all blorps\ndon't feed\n[patterns]\n\\b14[ ./-]?88\\b\n");
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
        ("14/88 1488 x1488", &["14/88"]),
        ("the rapist", &[]),
        ("@blorp https://a.example/blorp", &["blorp"]),
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
        "b l o r p", "b.l.o.r.p", "b-l-o-r-p", "b  l  o  r  p", "b\nl\no\nr\np", "b 🌷 l 🌷 o 🌷 r 🌷 p", "bl\u{200b}orp", "b\u{ad}lorp", "ｂｌｏｒｐ", "𝐛𝐥𝐨𝐫𝐩",
        "bl0rp", "b1orp", "8lorp", "błørþ".trim_end_matches('þ'), "bloooorp", "blorrrrp", "bbbblllloooorrrrpppp", "blo.rp", "blo_rp", "blo-rp", "bl*o*rp",
        "<b>bl</b>orp", "bl&#111;rp", "blоrр", "a b l o r p x", "BL0RP", "\u{202e}prolb\u{202c}", "dɹolq", "b̶l̶o̶r̶p̶", "co0n", "c00n", "c.o.o.n", "c000n",
        "frzazle", "fr4zzl3", "frazlze", "#FrazzleBlorp", "bl(o)rp",
    ] {
        let expected = text != "błør";
        assert_eq!(!found(&bank, text).is_empty(), expected, "{text:?}");
    }
}
