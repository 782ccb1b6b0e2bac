//! Markup as it is shown: HTML entities and tags, BBCode, Markdown. Each step gives the marks that are seen, so places
//! in the raw text survive; parsers of whole documents give no places for what stands inside a word.

use std::collections::BTreeMap;

use super::{Mark, PLACEHOLDERS, push};

/// A tag, an entity or a link's address that is longer is read as text.
const LONGEST_TAG: usize = 1024;
/// Characters of the longest name of an entity, with its signs.
const LONGEST_ENTITY: usize = 34;

/// What is seen of a text with markup; the same marks where there is none. With `links`, the addresses that links lead to
/// stay, at the end of the line.
pub(super) fn render(marks: &[Mark], links: bool) -> Vec<Mark> {
    let marked = |mark: &Mark| matches!(mark.c, '<' | '&' | '[' | '*' | '~' | '|' | '_' | '`');
    if !marks.iter().any(marked) {
        return marks.to_vec();
    }
    emphasis(&brackets(&tags(&uncommented(&entities(marks)), links), links))
}

/// HTML entities become what they stand for. From right to left, so that `&amp;amp;lt;` is undone in one go.
fn entities(marks: &[Mark]) -> Vec<Mark> {
    if !marks.iter().any(|mark| mark.c == '&') {
        return marks.to_vec();
    }
    // What was read, its end first.
    let mut out: Vec<Mark> = Vec::with_capacity(marks.len());
    for mark in marks.iter().rev() {
        out.push(*mark);
        while out.last().is_some_and(|last| last.c == '&') {
            let Some((length, said)) = entity(&out) else { break };
            let taken = out.split_off(out.len() - length);
            let mut shown = Vec::new();
            push(&mut shown, &taken, &said);
            let again = shown.first().is_some_and(|first| first.c == '&');
            out.extend(shown.into_iter().rev());
            if !again {
                break;
            }
        }
    }
    out.reverse();
    out
}

/// Names that browsers take without a semicolon.
const OLD: &[&str] = &["&shy", "&nbsp", "&amp", "&lt", "&gt", "&quot"];

/// The entity that the reversed marks end with: its length and what it stands for.
fn entity(reversed: &[Mark]) -> Option<(usize, String)> {
    let name = |mark: &&Mark| mark.c.is_ascii_alphanumeric() || mark.c == '#';
    let mut text = String::from("&");
    text.extend(reversed.iter().rev().skip(1).take(LONGEST_ENTITY).take_while(name).map(|mark| mark.c));
    let closed = reversed.iter().rev().nth(text.len()).is_some_and(|mark| mark.c == ';');
    let length = text.len() + usize::from(closed);
    if !closed {
        // Browsers take numbers and old names without the semicolon.
        let number = text.starts_with("&#") && text.len() > 2;
        let old = OLD.iter().find(|old| text.starts_with(**old) && (text.len() == old.len() || **old == "&shy"));
        if let Some(old) = old {
            text.truncate(old.len());
        } else if number {
            let hex = text.get(2..3).is_some_and(|x| x.eq_ignore_ascii_case("x"));
            let digit = |c: char| if hex { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
            let digits = text.chars().skip(if hex { 3 } else { 2 }).take_while(|c| digit(*c)).count();
            text.truncate(if hex { 3 } else { 2 } + digits);
        } else {
            return None;
        }
    }
    let length = if closed { length } else { text.len() };
    text.push(';');
    let said = html_escape::decode_html_entities(&text);
    (said != text).then(|| (length, said.into_owned()))
}

/// Comments of HTML are not shown.
fn uncommented(marks: &[Mark]) -> Vec<Mark> {
    let is = |at: usize, sign: &str| {
        sign.chars().enumerate().all(|(place, c)| marks.get(at + place).is_some_and(|mark| mark.c == c))
    };
    let mut out = Vec::with_capacity(marks.len());
    let mut at = 0;
    let mut open = true;
    while let Some(mark) = marks.get(at) {
        if open && mark.c == '<' && is(at, "<!--") {
            match (at + 4..marks.len()).find(|end| is(*end, "-->")) {
                Some(end) => {
                    at = end + 3;
                    continue;
                }
                // No other comment ends either.
                None => open = false,
            }
        }
        out.push(*mark);
        at += 1;
    }
    out
}

/// Tags of HTML are not shown. Those of paragraphs and lines break the line.
fn tags(marks: &[Mark], links: bool) -> Vec<Mark> {
    let mut out: Vec<Mark> = Vec::with_capacity(marks.len());
    // Where tags may have started.
    let mut opened: Vec<usize> = Vec::new();
    let mut kept = Vec::new();
    for mark in marks {
        if mark.c == '\n' && links {
            out.append(&mut kept);
        }
        match mark.c {
            '<' => opened.push(out.len()),
            '>' => {
                let tag = opened.pop().and_then(|start| Some((start, out.get(start..)?)));
                if let Some((start, tag)) = tag.filter(|(_, tag)| is_tag(tag)) {
                    let tag: Vec<Mark> = tag.iter().chain([mark]).copied().collect();
                    out.truncate(start);
                    shown_of_tag(&tag, &mut out, &mut kept);
                    continue;
                }
                opened.clear();
            }
            _ => {}
        }
        out.push(*mark);
    }
    if links {
        out.append(&mut kept);
    }
    out
}

fn is_tag(tag: &[Mark]) -> bool {
    let second = tag.get(1).map_or(' ', |mark| mark.c);
    if !(second.is_ascii_alphabetic() || matches!(second, '/' | '!' | '?')) || tag.len() > LONGEST_TAG {
        return false;
    }
    !PLACEHOLDERS.iter().any(|(name, _)| {
        name.len() == tag.len() + 1 && name.chars().zip(tag).all(|(c, mark)| mark.c.to_ascii_lowercase() == c)
    })
}

/// Tags that start or end a line.
const BLOCKS: &[&str] = &[
    "br",
    "p",
    "div",
    "li",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "tr",
    "td",
    "th",
    "table",
    "hr",
    "blockquote",
    "pre",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
];

fn shown_of_tag(tag: &[Mark], out: &mut Vec<Mark>, kept: &mut Vec<Mark>) {
    let name: String = tag
        .iter()
        .map(|mark| mark.c.to_ascii_lowercase())
        .skip_while(|c| matches!(c, '<' | '/' | '[' | '!'))
        .take_while(char::is_ascii_alphanumeric)
        .take(LONGEST_ENTITY)
        .collect();
    if BLOCKS.contains(&name.as_str()) {
        push(out, tag, "\n");
    }
    keep_address(tag, kept);
}

/// Keeps an address in a tag or link for later, set apart.
fn keep_address(link: &[Mark], kept: &mut Vec<Mark>) {
    let starts = |rest: &[Mark], sign: &str| {
        rest.len() > sign.len() && sign.chars().zip(rest).all(|(c, mark)| mark.c.to_ascii_lowercase() == c)
    };
    let found = (0..link.len()).find_map(|at| {
        let rest = link.get(at..)?;
        ["http://", "https://", "www."].iter().any(|scheme| starts(rest, scheme)).then_some(rest)
    });
    let Some(rest) = found else { return };
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | ']' | ')');
    let address = rest.get(..rest.iter().take_while(|mark| !ends(mark.c)).count()).unwrap_or_default();
    push(kept, address.get(..1).unwrap_or_default(), " ");
    kept.extend_from_slice(address);
    push(kept, address.get(address.len().saturating_sub(1)..).unwrap_or_default(), " ");
}

/// Tags of BBCode.
const BBCODE: &[&str] = &[
    "b",
    "i",
    "u",
    "s",
    "color",
    "colour",
    "size",
    "font",
    "url",
    "img",
    "quote",
    "spoiler",
    "code",
    "center",
    "left",
    "right",
    "list",
    "sup",
    "sub",
    "highlight",
    "hide",
    "email",
    "strike",
    "em",
    "strong",
    "bold",
];

/// Tags of BBCode and the brackets of Markdown's links are not shown; the address of a link is kept at the end of the
/// line.
fn brackets(marks: &[Mark], links: bool) -> Vec<Mark> {
    if !marks.iter().any(|mark| mark.c == ']') {
        return marks.to_vec();
    }
    let closes_url = |at: usize| {
        marks
            .get(at..at + 6)
            .is_some_and(|tag| "[/url]".chars().zip(tag).all(|(c, mark)| mark.c.eq_ignore_ascii_case(&c)))
    };
    let has_url = (0..marks.len()).any(closes_url);
    let closes = marks.windows(2).any(|pair| pair.iter().map(|mark| mark.c).eq(['[', '/']));
    let mut out: Vec<Mark> = Vec::with_capacity(marks.len());
    let mut opened: Vec<usize> = Vec::new();
    // The first closing parenthesis and the first white space at or after a place that was asked for.
    let (mut parenthesis, mut space) = (0, 0);
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(mark) = marks.get(at) {
        at += 1;
        if mark.c == '\n' && links {
            out.append(&mut kept);
        }
        match mark.c {
            '[' => opened.push(out.len()),
            ']' => {
                let Some(start) = opened.pop() else {
                    out.push(*mark);
                    continue;
                };
                let inside = out.get(start + 1..).unwrap_or_default();
                if is_bbcode(inside, closes, has_url) {
                    let tag: Vec<Mark> = out.split_off(start).into_iter().chain([*mark]).collect();
                    keep_address(&tag, &mut kept);
                    continue;
                }
                if marks.get(at).is_some_and(|next| next.c == '(') {
                    let next = |from: usize, is: fn(char) -> bool| {
                        let rest = marks.get(from..).unwrap_or_default();
                        rest.iter().position(|mark| is(mark.c)).map_or(marks.len(), |place| place + from)
                    };
                    if parenthesis <= at {
                        parenthesis = next(at + 1, |c| c == ')');
                    }
                    if space <= at {
                        space = next(at + 1, char::is_whitespace);
                    }
                    if parenthesis < space && parenthesis - at <= LONGEST_TAG {
                        let link = marks.get(at + 1..parenthesis).unwrap_or_default();
                        if let Some(bracket) = out.get_mut(start) {
                            bracket.c = GONE;
                        }
                        keep_address(link, &mut kept);
                        at = parenthesis + 1;
                        continue;
                    }
                }
            }
            _ => {}
        }
        out.push(*mark);
    }
    if links {
        out.append(&mut kept);
    }
    out
}

/// In the place of a bracket that is not shown: without width, so that reading drops it.
const GONE: char = '\u{200b}';

fn is_bbcode(inside: &[Mark], closes: bool, has_url: bool) -> bool {
    let slash = usize::from(inside.first().is_some_and(|mark| mark.c == '/'));
    let word = |mark: &&Mark| mark.c.is_ascii_alphabetic();
    let name: String = inside.iter().skip(slash).take(LONGEST_ENTITY).take_while(word).map(|mark| mark.c).collect();
    let name = name.to_ascii_lowercase();
    let after = inside.get(slash + name.len()).map(|mark| mark.c);
    if !BBCODE.contains(&name.as_str()) || inside.len() > LONGEST_TAG {
        return false;
    }
    // "[i]" is an index and "[url]" a placeholder, where nothing closes them.
    match after {
        None => slash > 0 || (closes && (name != "url" || has_url)),
        Some('=') => slash == 0,
        Some(_) => false,
    }
}

/// Signs around stressed, struck, hidden or literal words are not shown. What CommonMark says of `*` and `_` and chats of `__`, but for
/// products such as `2*3*4`, and for stars in two different words, which mask letters.
fn emphasis(marks: &[Mark]) -> Vec<Mark> {
    let sign = |c: char| matches!(c, '*' | '_' | '~' | '|' | '`');
    if !marks.iter().any(|mark| sign(mark.c)) {
        return marks.to_vec();
    }
    let mut shown = vec![true; marks.len()];
    let mut opened: BTreeMap<(char, usize), Delimiter> = BTreeMap::new();
    let mut space = 0;
    let mut at = 0;
    while let Some(c) = marks.get(at).map(|mark| mark.c) {
        let length = marks.get(at..).unwrap_or_default().iter().take_while(|mark| mark.c == c).count();
        if c == '\n' {
            opened.clear();
        }
        if c.is_whitespace() {
            space = at + length;
        }
        let fits = match c {
            '*' | '_' | '`' => length <= 3,
            '~' => length <= 2,
            '|' => length == 2,
            _ => false,
        };
        if fits {
            let before = at.checked_sub(1).and_then(|before| marks.get(before)).map_or(' ', |mark| mark.c);
            let after = marks.get(at + length).map_or(' ', |mark| mark.c);
            let inside = before.is_alphanumeric() && after.is_alphanumeric();
            let digits = before.is_ascii_digit() && after.is_ascii_digit();
            let (opens, closes) = match c {
                '`' | '|' => (true, true),
                '_' if length == 1 => (
                    !before.is_alphanumeric() && !after.is_whitespace(),
                    !before.is_whitespace() && !after.is_alphanumeric(),
                ),
                _ => (!after.is_whitespace() && !digits, !before.is_whitespace() && !digits),
            };
            let pair = opened.get(&(c, length)).copied().filter(|open| {
                closes && open.end < at && !(length == 1 && open.inside && inside && space > open.end && c != '`')
            });
            if let Some(open) = pair {
                for place in (open.end - length..open.end).chain(at..at + length) {
                    if let Some(shown) = shown.get_mut(place) {
                        *shown = false;
                    }
                }
                opened.remove(&(c, length));
            } else if opens {
                opened.insert((c, length), Delimiter { end: at + length, inside });
            }
        }
        at += length;
    }
    marks.iter().zip(shown).filter(|(_, shown)| *shown).map(|(mark, _)| *mark).collect()
}

/// Signs that may start a stretch.
#[derive(Clone, Copy)]
struct Delimiter {
    end: usize,
    inside: bool,
}
