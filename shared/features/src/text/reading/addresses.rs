//! Words in web addresses, hosts, handles and hashtags.

use super::letters::ascii_letters;
use super::words::{self, cut};
use super::{Mark, invisible, letter_for};

/// Longer runs of letters and digits in an address are no words but data.
const LONGEST_RUN: usize = 256;

/// Parts of addresses that say where something lies, not what it is, and the most visited hosts.
const ROUTINE: &[&str] = &[
    "http",
    "https",
    "www",
    "com",
    "org",
    "net",
    "html",
    "htm",
    "php",
    "asp",
    "aspx",
    "jsp",
    "cgi",
    "index",
    "amp",
    "utm",
    "source",
    "medium",
    "campaign",
    "content",
    "ref",
    "src",
    "status",
    "statuses",
    "watch",
    "article",
    "articles",
    "wiki",
    "user",
    "users",
    "post",
    "posts",
    "comments",
    "comment",
    "page",
    "pages",
    "topic",
    "thread",
    "threads",
    "forum",
    "forums",
    "blog",
    "news",
    "story",
    "video",
    "videos",
    "photo",
    "photos",
    "image",
    "images",
    "img",
    "jpg",
    "jpeg",
    "png",
    "gif",
    "pdf",
    "mp",
    "share",
    "search",
    "view",
    "feature",
    "app",
    "web",
    "mobile",
    "static",
    "media",
    "channel",
    "playlist",
    "list",
    "feed",
    "tag",
    "tags",
    "category",
    "archive",
    "files",
    "file",
    "download",
    "home",
    "profile",
    "youtube",
    "youtu",
    "twitter",
    "facebook",
    "instagram",
    "reddit",
    "google",
    "wikipedia",
    "amazon",
    "example",
    "name",
    "username",
    "number",
    "text",
    "data",
    "id",
    "site",
    "bsky",
    "social",
    "mastodon",
];

/// Ends of hosts that are written without a scheme.
const HOSTS: &[&str] = &[
    "com", "org", "net", "info", "biz", "io", "co", "me", "tv", "xyz", "site", "online", "club", "app", "dev",
    "example", "test", "de", "uk", "us", "eu", "ru", "fr", "ca", "au", "gg", "ly", "social",
];

/// The text with addresses, handles and hashtags replaced by their words; `None` where none has a word.
pub(super) fn words_of_addresses(marks: &[Mark]) -> Option<Vec<Mark>> {
    if !marks.iter().any(|mark| matches!(mark.c, '@' | '#' | '.' | '/' | '＠' | '＃' | '．' | '／')) {
        return None;
    }
    let mut last = ' ';
    let seen = |mark: &&Mark| {
        let kept = !(last.is_ascii() && invisible(mark.c));
        last = if kept { mark.c } else { last };
        kept
    };
    let marks = ascii_letters(&marks.iter().filter(seen).copied().collect::<Vec<_>>());
    let mut out = Vec::with_capacity(marks.len());
    let mut found = false;
    let mut at = 0;
    let mut before = ' ';
    while let Some(mark) = marks.get(at) {
        let rest = marks.get(at..).unwrap_or_default();
        let (length, said) = if before.is_alphanumeric() { (1, None) } else { address(rest) };
        let taken = rest.get(..length).unwrap_or(rest);
        before = taken.last().map_or(mark.c, |last| last.c);
        match said {
            Some(said) => {
                found = true;
                out.extend(said);
            }
            None => out.extend_from_slice(taken),
        }
        at += taken.len().max(1);
    }
    found.then_some(out)
}

/// How many characters belong together at the start, and their words, where they are an address with some.
fn address(rest: &[Mark]) -> (usize, Option<Vec<Mark>>) {
    let at = |place: usize| rest.get(place).map_or(' ', |mark| mark.c);
    let first = at(0);
    let until = |from: usize, inside: &dyn Fn(char) -> bool| {
        from + rest.iter().skip(from).take_while(|mark| inside(mark.c)).count()
    };
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let starts =
        |sign: &str| sign.chars().zip(rest).filter(|(c, mark)| mark.c.eq_ignore_ascii_case(c)).count() == sign.len();
    if ["http://", "https://", "www."].iter().any(|scheme| starts(scheme)) {
        let length = until(0, &|c| !c.is_whitespace() && !matches!(c, '<' | '>' | '"'));
        return (length, said(rest.get(..length).unwrap_or_default(), Kind::Address));
    }
    if first == '@' {
        let mut length = until(1, &name);
        // A host may follow: "@name@host", "@name.host".
        while length > 3 && matches!(at(length), '@' | '.' | '-') && at(length + 1).is_alphanumeric() {
            length = until(length + 1, &name);
        }
        return if length > 3 {
            (length, said(rest.get(..length).unwrap_or_default(), Kind::Handle))
        } else {
            (1, None)
        };
    }
    if first == '#' {
        let length = until(1, &name);
        return (length, said(rest.get(..length).unwrap_or_default(), Kind::Hashtag));
    }
    if matches!(first, 'u' | 'r') && at(1) == '/' {
        let length = until(2, &|c| name(c) || c == '-');
        let found = if length > 4 { said(rest.get(2..length).unwrap_or_default(), Kind::Handle) } else { None };
        return (length, found);
    }
    if !first.is_alphanumeric() {
        return (1, None);
    }
    let host = until(0, &|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '@' | '_'));
    let word = until(0, &char::is_alphanumeric);
    if host == word {
        return (word.max(1), None);
    }
    let text: String = rest.iter().take(host).map(|mark| mark.c.to_ascii_lowercase()).collect();
    let text = text.trim_end_matches(['.', '-', '_']);
    let end = text.rsplit('.').next().unwrap_or_default();
    if end.len() == text.len() || !HOSTS.contains(&end) {
        return (host, None);
    }
    let length = if at(text.len()) == '/' { until(text.len(), &|c| !c.is_whitespace()) } else { text.len() };
    (length, said(rest.get(..length).unwrap_or_default(), Kind::Host))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Host,
    Handle,
    Hashtag,
}

/// The words of an address, apart from its neighbours.
fn said(address: &[Mark], kind: Kind) -> Option<Vec<Mark>> {
    let address = decoded(address);
    let place =
        |sign: &[char]| address.windows(sign.len()).position(|w| w.iter().map(|m| m.c).eq(sign.iter().copied()));
    let host = place(&[':', '/', '/']).map_or(0, |scheme| scheme + 3);
    let path = address.iter().skip(host).position(|mark| matches!(mark.c, '/' | '?' | '#'));
    let path = path.map_or(address.len(), |path| path + host);
    let mut found: Vec<(Vec<Mark>, bool)> = Vec::new();
    let mut glued = false;
    let mut at = 0;
    for run in address.chunk_by(|a, b| a.c.is_alphanumeric() == b.c.is_alphanumeric()) {
        let (start, end) = (at, at + run.len());
        at = end;
        let text: String = run.iter().take(LONGEST_RUN).map(|mark| mark.c.to_ascii_lowercase()).collect();
        let is_host = matches!(kind, Kind::Address | Kind::Host) && start >= host && end <= path;
        let last_label = is_host && end == path && start > host;
        let routine = kind != Kind::Hashtag && ROUTINE.contains(&text.as_str());
        if run.len() > LONGEST_RUN || start < host || last_label || routine {
            continue;
        }
        match words_of_run(run) {
            Some(words) => {
                glued |= words.len() > 1;
                found.extend(words.into_iter().map(|word| (word, true)));
            }
            // A name, or a word that the list lacks.
            None if (4..=20).contains(&run.len()) && run.iter().all(|mark| mark.c.is_ascii_lowercase()) => {
                found.push((run.to_vec(), false));
            }
            None => {}
        }
    }
    let telling = |word: &[Mark]| word.len() > 2;
    let known = found.iter().filter(|(word, known)| *known && telling(word)).count();
    let enough = match kind {
        Kind::Hashtag => glued,
        // A name with a dot may be the end of one sentence and the start of the next.
        Kind::Host => known > 1,
        Kind::Address | Kind::Handle => known > 0,
    };
    if !enough {
        return None;
    }
    let edge = |mark: Option<&Mark>, c: char| mark.map(|mark| Mark { c, ..*mark });
    let mut out: Vec<Mark> = Vec::new();
    if kind == Kind::Hashtag {
        out.extend(edge(address.first(), '#'));
    }
    for (word, known_word) in found {
        if known_word || known > 1 {
            if out.last().is_some_and(|last| last.c != '#') {
                out.extend(edge(word.first(), ' ').map(|space| Mark { to: space.from, ..space }));
            }
            out.extend(word);
        }
    }
    if matches!(kind, Kind::Address | Kind::Host) {
        out.insert(0, edge(address.first(), ' ')?);
        out.extend(edge(address.last(), ' '));
    }
    Some(out)
}

/// The words that letters and digits without a sign between them are, where they are words.
fn words_of_run(run: &[Mark]) -> Option<Vec<Vec<Mark>>> {
    let small = |marks: &[Mark]| -> Vec<u8> {
        let letter = |mark: &Mark| if mark.c.is_ascii_digit() { letter_for(mark.c).unwrap_or('?') } else { mark.c };
        marks.iter().map(|mark| u8::try_from(letter(mark).to_ascii_lowercase()).unwrap_or(b'?')).collect()
    };
    let cut_marks = |marks: &[Mark]| -> Option<Vec<Vec<Mark>>> {
        let letters = small(marks);
        let read = |mark: &Mark| match letter_for(mark.c).filter(|_| mark.c.is_ascii_digit()) {
            Some(c) => Mark { c, ..*mark },
            None => *mark,
        };
        let marks: Vec<Mark> = marks.iter().map(read).collect();
        if words::known(&letters) {
            return Some(vec![marks]);
        }
        let cut = cut(&letters);
        cut.is_words().then(|| cut.words.iter().filter_map(|word| Some(marks.get(word.clone())?.to_vec())).collect())
    };
    let digits = run.iter().filter(|mark| mark.c.is_ascii_digit()).count();
    if digits * 2 < run.len()
        && let Some(words) = cut_marks(run)
    {
        return Some(words);
    }
    let mut out = Vec::new();
    let (mut known, mut all) = (0, 0);
    for part in run.chunk_by(|a, b| a.c.is_ascii_digit() == b.c.is_ascii_digit()) {
        if part.iter().any(|mark| mark.c.is_ascii_digit()) || (digits > 0 && part.len() < 4) {
            continue;
        }
        all += part.len();
        if let Some(words) = cut_marks(part) {
            known += part.len();
            out.extend(words);
            continue;
        }
        // "DonaldFamily": words by their capitals.
        for word in part.chunk_by(|a, b| !(a.c.is_lowercase() && b.c.is_uppercase())) {
            if let Some(words) = cut_marks(word).filter(|_| word.len() > 2 || words::known(&small(word))) {
                known += word.len();
                out.extend(words);
            } else {
                out.push(word.to_vec());
            }
        }
    }
    (known > 2 && known * 4 >= all * 3).then_some(out)
}

/// What stands in hexadecimal after percent signs, as the characters that it is.
fn decoded(marks: &[Mark]) -> Vec<Mark> {
    let byte = |rest: &[Mark]| match rest {
        [percent, high, low, ..] if percent.c == '%' => {
            u8::try_from(high.c.to_digit(16)? * 16 + low.c.to_digit(16)?).ok()
        }
        _ => None,
    };
    let mut out = Vec::with_capacity(marks.len());
    let mut rest = marks;
    while let Some(first) = rest.first() {
        let mut bytes = Vec::new();
        while let Some(next) = byte(rest.get(bytes.len() * 3..).unwrap_or_default()) {
            bytes.push(next);
        }
        if bytes.is_empty() {
            out.push(*first);
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let taken = rest.get(..bytes.len() * 3).unwrap_or_default();
        super::push(&mut out, taken, &String::from_utf8_lossy(&bytes));
        rest = rest.get(taken.len()..).unwrap_or_default();
    }
    ascii_letters(&out)
}
