//! What readings say, and the laws that they keep.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use proptest::prelude::*;

use super::*;

fn fold_text(text: &str) -> String {
    folded(text).unwrap_or_else(|| plain(text)).text().to_owned()
}

#[test]
fn the_plain_reading_names_what_a_model_cannot_see() {
    for (raw, read) in [
        ("", ""),
        ("Hi there, YOU", "Hi there, YOU"),
        ("see https://x.example/a?b=c now", "see http now"),
        ("@some_one: hi <user> [URL] <number>", "@user: hi @user http number"),
        ("a@b.c @ll of them", "a@b.c @ll of them"),
        ("I 🔪 you", "I kitchen knife you"),
        ("no🏳️‍🌈!", "no rainbow !"),
        ("ze\u{200b}ro \u{202e}wid\u{2060}th", "zero width"),
        ("5 © naïve", "5 copyright naïve"),
    ] {
        assert_eq!(plain(raw).text().replace("  ", " "), read, "{raw}");
    }
}

#[test]
fn the_folded_reading_undoes_tricks() {
    for (raw, read) in [
        ("k1ll th3m @ll", "kill them all"),
        ("f4gg0ts", "faggots"),
        ("h.a.t.e  k i l l", "hate  kill"),
        ("k-i-l-l", "kill"),
        ("kiiiillll themmmm", "kill themm"),
        ("\u{43c}u\u{455}l\u{456}ms", "muslims"),
        ("ｍｕｓｌｉｍｓ 𝓴𝓲𝓵𝓵 ⓚⓘⓛⓛ ᴋɪʟʟ", "muslims kill kill kill"),
        ("f*cking b*tch", "fucking bitch"),
        ("mu_slims n.igger", "muslims nigger"),
        ("mu\"slims mu((slims mu\u{201c}\u{201d}slims k]ill", "muslims muslims muslims kill"),
        ("mu-\nslims mu\u{2010} \r\n slims", "muslims muslims"),
        ("mu\u{1f337}slims mu\u{1f337}\u{1f389}slims", "muslims muslims"),
        ("imm*gr*nts and d*nk*ys", "immigrants and donkeys"),
        ("#KillAllBugs", "#Kill All Bugs"),
        ("runKillAllBugs(3)", "run Kill All Bugs(3)"),
        ("\u{202e}snoitargimmi\u{202c} now", "immigrations now"),
        ("1ove a11", "love a11"),
    ] {
        assert_eq!(fold_text(raw), read, "{raw}");
    }
}

#[test]
fn what_is_no_trick_is_left_alone() {
    for raw in [
        "Good morning, everyone!",
        "the 2nd at 10pm in the 90s",
        "covid19 and mp3",
        "3.5 or 10.000",
        "self-made man. Then",
        "I do, a lot",
        "1 2 3 4 5",
        "C+ you!",
        "soon, all good",
        "the member(s) of f(x), said \"we\" (or so) and print(\"it\")",
        "a line -\nand another -- and\n\nmore",
        "YouTube, McDonald and an iPhone",
        "*all* of **it** and 2*x*y",
    ] {
        assert!(folded(raw).is_none(), "{raw} became {}", fold_text(raw));
    }
}

#[test]
fn a_stretch_of_a_reading_leads_back_to_the_raw_text() {
    let raw = "I k1ll 🔪 h a t e soooo";
    let reading = folded(raw).unwrap();
    let back = |word: &str| {
        let byte = reading.text().find(word).unwrap();
        let start = reading.text()[..byte].chars().count();
        let range = reading.raw(start..start + word.chars().count());
        raw.chars().skip(range.start).take(range.len()).collect::<String>()
    };
    assert_eq!(back("kill"), "k1ll");
    assert_eq!(back("kitchen knife"), "🔪");
    assert_eq!(back("hate"), "h a t e");
    assert_eq!(back("so"), "soooo");
    assert_eq!(reading.raw(500..600), 0..0);
}

/// A reading that may be missing, as text.
fn read_as(reading: fn(&str) -> Option<Reading>, text: &str) -> String {
    reading(text).unwrap_or_else(|| plain(text)).text().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn table(reading: fn(&str) -> Option<Reading>, rows: &[(&str, &str)]) {
    for (raw, read) in rows {
        assert_eq!(read_as(reading, raw), *read, "{raw}");
    }
}

#[test]
fn emoji_say_nothing_of_whom_they_show() {
    table(
        |text| Some(plain(text)),
        &[
            ("Thanks 🙏🏽", "Thanks folded hands"),
            ("👩🏾‍🔬 at work", "scientist at work"),
            ("👨‍🦰👩‍🦳🧔🏿", "person person person"),
            ("👳🏾‍♂️ 👲 🧕🏻", "person person person"),
            ("🏃🏿‍♀️ 🏃", "person running person running"),
            ("👨‍👩‍👧‍👦 and 👨🏿‍👩🏿‍👧🏿", "family and family"),
            ("🇯🇵 food 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "food"),
            ("🏴‍☠️🏁", "pirate race"),
            ("👸🏼🤴🏿", "person with crown person with crown"),
            ("🏿 a 🏻", "a"),
            ("👧👦👵🏾", "child child older person"),
            ("🌮🏿!", "taco !"),
            ("🤷🏽♂", "person shrugging"),
        ],
    );
}

#[test]
fn words_of_addresses_are_read() {
    table(
        addressed,
        &[
            ("https://news.example/2024/all-women-are-liars.html", "all women are liars"),
            ("see http://burnthemosques.example now", "see burn the mosques now"),
            ("https://x.example/?q=gays%20should%20die&utm_source=x1", "gays should die"),
            ("HTTPS://X.EXAMPLE/Hang_The_Traitors", "Hang The Traitors"),
            ("@IHateRefugees @hate_all_jews", "I Hate Refugees hate all jews"),
            ("@k1llth3g4ys", "kill the gays"),
            ("#deportthemall #love", "#deport them all #love"),
            ("r/womenaretrash", "women are trash"),
            ("deportallimmigrants.com", "deport all immigrants"),
            ("@gas\u{200b}thejews", "gas the jews"),
            ("@кillаllmuslims", "kill all muslims"),
            ("@gasthejews.bsky.social", "gas the jews"),
            ("[click](https://x.example/kill-all-gays)", "click kill all gays"),
            ("<a href=\"https://x.example/kill-all-gays\">click</a>", "click kill all gays"),
        ],
    );
}

#[test]
fn addresses_without_words_have_no_reading() {
    for raw in [
        "https://t.co/aB3xY9kQz1",
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "www.example.com",
        "mail bob@example.com or see example.com",
        "<user> [URL] @user",
        "#love #tbt #1",
        "We met at 5.Then we ate.",
        "e.g. this, a.m. and 3.5/4.0",
        "@xq_77zz @ll",
        "https://x.example/0f8fad5b-d9cb-469f-a165-70867728950e",
    ] {
        assert!(addressed(raw).is_none(), "{raw} became {}", read_as(addressed, raw));
    }
}

#[test]
fn markup_is_read_as_it_is_shown() {
    table(
        rendered,
        &[
            ("Wo<i></i>men a<!-- > -->re liars", "Women are liars"),
            ("k<span class=\"x\">il</span>l", "kill"),
            ("&#x6b;&#105;ll &lt;3 &Eacute;t&eacute;", "kill <3 Ete"),
            ("&amp;amp;lt;b&amp;gt;kill", "kill"),
            ("ki&zwnj;ll ki&#8203;ll ki&shyll", "kill kill kill"),
            ("*k*ill ~~a~~ll `j`ews", "kill all jews"),
            ("h||a||te ***a***ll", "hate all"),
            ("__k__ill _all_", "kill all"),
            ("k[b]il[/b]l [color=#f00]a[/color]ll", "kill all"),
            ("[k](http://a.b)ill", "kill"),
            ("kill<br>all<p>jews</p>", "kill all jews"),
            ("kill&nbsp;all", "kill all"),
            ("<<b>b>kill", "kill"),
            ("**k1ll** th3m", "kill them"),
        ],
    );
}

#[test]
fn what_is_no_markup_is_not_rendered() {
    for raw in [
        "a < b and c > d",
        "I <3 you",
        "2*3*4",
        "snake_case_name",
        "[1] see [2]",
        "f*ck this sh*t",
        "AT&T, R&B; Q&A;",
        "a[i] | b",
        "~5 or ~6",
        "<user> said [url] <number>",
        "* one\n* two",
        ">_> :-) ;)",
        "&copy this & that &",
    ] {
        assert!(rendered(raw).is_none(), "{raw} became {}", read_as(rendered, raw));
    }
}

#[test]
fn letters_kept_apart_are_read_together() {
    table(
        folded,
        &[
            ("h a t e a l l w o m e n", "hate all women"),
            ("h;a;t;e  a;l;l", "hate all"),
            ("h\na\nt\ne\n\na\nl\nl", "hate all"),
            ("h\ta\tt\te   a\tl\tl", "hate all"),
            ("h🔪a🔪t🔪e a🔪l🔪l", "hate all"),
            ("h+a+t+e a=l=l", "hate all"),
            ("h . a . t . e   a . l . l", "hate all"),
            ("h.a:t;e  a+l-l", "hate all"),
            ("h->a->t->e  a->l->l", "hate all"),
            ("h*a*t*e a*l*l", "hate all"),
            ("h ! t  a l l  w 0 m e n", "hit all women"),
            ("х а т е  w o m e n", "xate women"),
            ("they h\u{200a}a\u{200a}t\u{200a}e us", "they hate us"),
        ],
    );
}

#[test]
fn alphabets_of_generators_are_read() {
    table(
        folded,
        &[
            ("ʇɐɥ ǝʇɐɥ", "hate hat"),
            ("ʇɐɥ pǝɹ ɐ", "a red hat"),
            ("⒣⒜⒯⒠ 🄗🄐🄣🄔", "hate HATE"),
            ("🅷🅰🆃🅴 🅗🅐🅣🅔 🄷🄰🅃🄴", "HATE HATE HATE"),
            ("Ⱨ₳₮Ɇ ₴₮Ʉł₮ Ⱡł₭Ɇ", "HatE stUit LikE"),
            ("ᴴᴬᵀᴱ ₕₐₜₑ ʜᴀᴛᴇ", "HATE hate hate"),
            ("ᎻᎪᎢᎬ", "HATE"),
            ("н α т є", "hate"),
            ("нαтє", "hate"),
            ("hͥa̷t̸ē̶", "hate"),
            ("🇭🇦🇹🇪 🇺🇸", "HATE US"),
            ("卄卂ㄒ乇", "hate"),
            ("ん𝕒𝕥𝕖 𝔥𝔞𝔱𝔢 𝐡𝐚𝐭𝐞", "hate hate hate"),
            ("ᕼᗩTE", "haTE"),
            ("ⲏⲁⲧⲉ", "hate"),
        ],
    );
}

#[test]
fn other_scripts_stay_what_they_are() {
    for raw in [
        "Привет, как дела? Сегодня хорошая погода",
        "Καλημέρα σε όλους, πώς είστε σήμερα",
        "שלום לכולם מה שלומכם",
        "مرحبا بكم جميعا",
        "今天天气很好，我们去公园玩吧",
        "今日はいい天気ですね。カタカナも",
        "안녕하세요 여러분",
        "สวัสดีครับ วันนี้อากาศดีมาก",
        "नमस्ते दोस्तों आज मौसम अच्छा है",
        "Բարեւ ձեզ, ինչպես եք",
    ] {
        assert_eq!(plain(raw).text(), raw);
        assert!(!fold_text(raw).chars().any(|c| c.is_ascii_alphanumeric()), "{raw} became {}", fold_text(raw));
    }
}

#[test]
fn what_has_no_ink_is_not_read() {
    for unseen in [
        '\u{ad}',
        '\u{34f}',
        '\u{61c}',
        '\u{115f}',
        '\u{1160}',
        '\u{17b4}',
        '\u{180b}',
        '\u{180e}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{200f}',
        '\u{202a}',
        '\u{2060}',
        '\u{2064}',
        '\u{206a}',
        '\u{2800}',
        '\u{3164}',
        '\u{fe00}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{fff0}',
        '\u{fff9}',
        '\u{fffc}',
        '\u{1bca0}',
        '\u{1d159}',
        '\u{1d173}',
        '\u{e0001}',
        '\u{e0061}',
        '\u{e01ef}',
        '\u{7f}',
        '\0',
    ] {
        let text = "they hate all women, always";
        let between: String = text.chars().flat_map(|c| [c, unseen]).collect();
        let within: Vec<String> = text
            .split(' ')
            .map(|word| word.chars().map(String::from).collect::<Vec<_>>().join(&unseen.to_string()))
            .collect();
        assert_eq!(plain(&between).text(), text, "{unseen:?}");
        assert_eq!(plain(&within.join(" ")).text(), text, "{unseen:?}");
    }
    // What is as wide as a space is one between words.
    assert_eq!(plain("hate\u{2800}all\u{3164}women").text(), "hate all women");
}

#[test]
fn a_skin_tone_never_changes_a_reading() {
    for emoji in emojis::iter() {
        let Some(tones) = emoji.skin_tones() else { continue };
        for toned in tones {
            for (before, behind) in [("", ""), ("Hi ", ""), ("", " there"), ("so", "good"), ("k ", " i l l")] {
                let text = |emoji: &str| format!("{before}{emoji}{behind}");
                let texts = |text: &str| readings(text).iter().map(|r| r.text().to_owned()).collect::<Vec<_>>();
                assert_eq!(texts(&text(toned.as_str())), texts(&text(emoji.as_str())), "{}", toned.as_str());
            }
        }
    }
}

#[test]
fn any_character_is_read() {
    let all: Vec<char> = ('\0'..=char::MAX).collect();
    for some in all.chunks(500) {
        for text in [some.iter().collect::<String>(), some.iter().flat_map(|c| ['k', *c, ' ']).collect()] {
            assert!(!readings(&text).is_empty());
        }
    }
}

#[test]
fn readings_are_the_plain_one_and_those_that_differ() {
    let texts = |text: &str| readings(text).iter().map(|r| r.text().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts("Good morning, everyone!"), ["Good morning, everyone!"]);
    assert_eq!(texts("@user see http"), ["@user see http"]);
    assert_eq!(texts("k1ll"), ["k1ll", "kill"]);
    assert_eq!(texts("<b>k</b>1ll @killall"), ["<b>k</b>1ll @user", "kill @user", "kill kill all"]);
}

#[test]
fn an_addressed_and_a_rendered_word_lead_back() {
    for (reading, raw, word, place) in [
        (addressed as fn(&str) -> Option<Reading>, "go @killallbugs", "bugs", "bugs"),
        (addressed, "see https://x.example/kill-all-bugs", "all", "all"),
        (addressed, "see https://x.example/%6bill", "kill", "%6bill"),
        (rendered, "a k<b>i</b>ll", "kill", "k<b>i</b>ll"),
        (rendered, "a &#107;ill", "kill", "&#107;ill"),
        (folded, "a k i l l", "kill", "k i l l"),
        (folded, "llᴉʞ oʇ", "kill", "llᴉʞ"),
    ] {
        let read = reading(raw).unwrap();
        let byte = read.text().find(word).unwrap_or_else(|| panic!("{}", read.text()));
        let start = read.text()[..byte].chars().count();
        let range = read.raw(start..start + word.chars().count());
        assert_eq!(raw.chars().skip(range.start).take(range.len()).collect::<String>(), place);
    }
}

/// A megabyte of each trick takes seconds at most; what looks back or ahead without a bound would take minutes.
#[test]
fn reading_takes_linear_time() {
    const MEGABYTE: usize = 1 << 20;
    let pieces = [
        "k i l l  a l l ",
        "1 2 ",
        "k\ni\nl\nl\n",
        "@killallmuslims ",
        "@",
        "#killall",
        "https://x.example/kill-them-all/",
        "https://",
        "<",
        "<a",
        "<b>",
        "<!--",
        "&amp;",
        "&",
        "&#71;",
        "[",
        "[a](",
        "](",
        "[b]",
        "*a",
        "**a**",
        "||",
        "`",
        "_a_",
        "ɐqɔ ",
        "🇰🇮🇱🇱",
        "👨🏿‍👩🏿‍👧🏿",
        "🏿",
        "\u{200b}",
        "ab\u{2800}",
        "\u{202e}ab",
        "₳₦",
        "привет",
        "a\u{301}",
        "www.",
        "killallmuslims",
        "aB",
        "a1b2",
        "%6b",
        "u/abc",
        "a😀",
        "f*ck ",
    ];
    for piece in pieces {
        let start = std::time::Instant::now();
        assert!(!readings(&piece.repeat(MEGABYTE / piece.len())).is_empty());
        assert!(start.elapsed().as_secs() < 60, "{piece}");
    }
    let nested = ["<a", "[", "&", "(", "*"].map(|open| open.repeat(100_000));
    let closed = [">", "](x)", "amp;", ")", "*"].map(|close| close.repeat(100_000));
    for (open, close) in nested.iter().zip(&closed) {
        let start = std::time::Instant::now();
        assert!(!readings(&format!("{open}x{close}")).is_empty());
        assert!(start.elapsed().as_secs() < 60);
    }
}

fn tricky() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z]{1,6}",
        3 => "[0-9@$!+*._ -]{1,3}",
        3 => "[a-z]{1,2}[ .:;\n|]{1,3}",
        3 => prop::sample::select(vec![
            "kill", "all", "the", "<b>", "</b>", "<", ">", "<!--", "-->", "&amp;", "&lt;", "&#60;", "&", ";", "amp;", "lt;", "[", "]", "(", ")",
            "](", "[b]", "[/b]", "[url=http://a.b]", "[/url]", "*", "**", "_", "~~", "||", "`", "%20", "%6b", "/", "#", "@", "u/", ".com", "'",
        ]).prop_map(str::to_owned),
        2 => Just(" ".to_owned()),
        2 => prop::sample::select(vec!["🔪", "🏳️‍🌈", "\u{200b}", "\u{202e}", "\u{202c}", "é", "е", "＠", "<user>", "http://a.b", "@name", "#AbcDef", "１", "🄰", "\u{301}", "ß", "İ", "ﬁ", "1️⃣", "www.", "ǝ", "ɐ", "ʞ", "u", "n", "₳", "ł", "🇰", "🇮", "🇱", "🏿", "👩🏿‍💻", "♂", "\u{2800}", "\u{fffc}", "⒦", "кот", "привет", "卂", "Ⓜ", "๏", "http://x/kill-all", "@killall", "#killall"]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(|c| c.to_string()),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

#[test]
fn what_runs_backwards_leads_back() {
    // An emoji of four characters, letters apart and a long letter, each shown from right to left.
    for text in
        ["a|\u{202e}0🏳\u{fe0f}\u{200d}🌈h", "\u{202e}l l i k", "\u{202e}l\u{2800}\u{2800}l i k", "\u{202e}hooooo"]
    {
        let count = text.chars().count();
        for reading in readings(text) {
            assert!(reading.places.iter().all(|place| place.0 <= place.1 && place.1 as usize <= count), "{text:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8000))]

    #[test]
    fn readings_settle_and_lead_back(text in tricky()) {
        let count = text.chars().count();
        let first = plain(&text);
        let second = plain(first.text());
        prop_assert_eq!(second.text(), first.text());
        for reading in [folded, rendered, addressed] {
            if let Some(once) = reading(&text) {
                let again = reading(once.text()).map_or_else(|| once.text().to_owned(), |again| again.text().to_owned());
                prop_assert_eq!(&again, once.text());
            }
        }
        let all = readings(&text);
        prop_assert!((1..=4).contains(&all.len()));
        prop_assert_eq!(all[0].text(), first.text());
        for (place, reading) in all.iter().enumerate() {
            prop_assert!(all[..place].iter().all(|before| before.text() != reading.text()));
            prop_assert_eq!(reading.places.len(), reading.text().chars().count());
            prop_assert!(reading.places.iter().all(|place| place.0 <= place.1 && place.1 as usize <= count));
        }
    }
}
