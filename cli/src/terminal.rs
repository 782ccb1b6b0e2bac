//! What is printed. Ids, texts and other foreign words must not drive the terminal that shows them, nor look like
//! lines of ours. Everything this program prints goes through here; clippy refuses `println!` elsewhere.

use serde::de::IgnoredAny;
use std::fmt::{Arguments, Write as _};

/// Prints a line on standard output, as `println!` does.
macro_rules! say {
    ($($told:tt)*) => { $crate::terminal::out(format_args!($($told)*)) };
}

/// Prints a line on standard error, as `eprintln!` does.
macro_rules! tell {
    ($($told:tt)*) => { $crate::terminal::err(format_args!($($told)*)) };
}

pub(crate) use {say, tell};

/// For [`say`].
#[expect(clippy::print_stdout, reason = "the one place that prints")]
pub fn out(told: Arguments<'_>) {
    println!("{}", lines(&told.to_string()));
}

/// For [`tell`].
#[expect(clippy::print_stderr, reason = "the one place that prints")]
pub fn err(told: Arguments<'_>) {
    eprintln!("{}", lines(&told.to_string()));
}

/// A text on one line: what a terminal obeys, what breaks a line and what nobody sees stands as `\u001b` does in JSON.
pub fn line(text: &str) -> String {
    escaped(text, |_| None)
}

/// The same, but lines stay lines. In JSON that was written by a program this changes no value: such a character is part of a string
/// there.
pub fn lines(text: &str) -> String {
    escaped(text, |c| (c == '\n').then_some('\n'))
}

/// JSON that somebody else wrote, on one line, with the same values; `None` where the text is no JSON.
pub fn json_line(text: &str) -> Option<String> {
    json(text, ' ')
}

/// The same in the lines that it has.
pub fn json_lines(text: &str) -> Option<String> {
    json(text, '\n')
}

/// Between the values of JSON stand breaks and tabs as they are; inside a string none can.
fn json(text: &str, line_break: char) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(escaped(text, |c| match c {
        '\n' => Some(line_break),
        '\r' | '\t' => Some(' '),
        _ => None,
    }))
}

fn escaped(text: &str, instead: impl Fn(char) -> Option<char>) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_unseen(c) {
            shown.push(c);
        } else if let Some(instead) = instead(c) {
            shown.push(instead);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

/// Controls (which a terminal obeys), ends of lines, signs of direction, and what has no width: by itself it is not seen, and two
/// ids that differ by it look alike. Among them are joiners and selectors of emoji, which then fall apart into their parts.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn nothing_printed_is_obeyed_or_unseen() {
        let cases = [
            ("plain ünïcödé 🔪 здравствуй", "plain ünïcödé 🔪 здравствуй"),
            // Clears the screen, renames the window, moves up and overwrites.
            ("\u{1b}[2J\u{1b}]0;owned\u{7}", "\\u001b[2J\\u001b]0;owned\\u0007"),
            ("a\rb\u{8}c\u{7f}\0", "a\\u000db\\u0008c\\u007f\\u0000"),
            // The same as escape and a bracket, in one character.
            ("\u{9b}2J\u{85}", "\\u009b2J\\u0085"),
            // Lines that are none of ours.
            ("p-1\nerror: all posts lost", "p-1\\u000aerror: all posts lost"),
            ("a\u{2028}b\u{2029}c\u{b}d\u{c}e", "a\\u2028b\\u2029c\\u000bd\\u000ce"),
            // Shown from right to left.
            ("a\u{202e}gpj.exe", "a\\u202egpj.exe"),
            ("\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}", "\\u061c\\u200e\\u200f\\u2066\\u2069"),
            ("p\u{200b}-\u{feff}1\u{ad}\u{2060}", "p\\u200b-\\ufeff1\\u00ad\\u2060"),
            // Letters that only machines read.
            ("\u{e0041}\u{fe0f}", "\\udb40\\udc41\\ufe0f"),
            ("tab\tbed", "tab\\u0009bed"),
        ];
        for (text, shown) in cases {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("one\ntwo\r\n"), "one\ntwo\\u000d\n");
    }

    #[test]
    fn json_of_others_keeps_its_values() {
        let pretty = "{\r\n\t\"a\\n\u{202e}\": [1.0,\n\"\\\\\u{9b}\\u001b\"]\n}";
        let shown = json_line(pretty).unwrap();
        assert_eq!(shown, "{   \"a\\n\\u202e\": [1.0, \"\\\\\\u009b\\u001b\"] }");
        assert_eq!(json_lines(pretty).unwrap().lines().count(), 4);
        for json in [shown, json_lines(pretty).unwrap()] {
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), serde_json::from_str::<Value>(pretty).unwrap());
        }
        for text in ["", "{", "\u{feff}{}", "{}\n{}", "no json\n{}"] {
            assert_eq!(json_line(text), None);
        }
    }

    /// Any JSON, from strings of any characters.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            hostile().prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((hostile(), inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    /// Text in which every other character is one that should not be seen.
    fn hostile() -> impl Strategy<Value = String> {
        let bad = prop::char::ranges(
            vec!['\0'..='\u{9f}', '\u{2000}'..='\u{206f}', '\u{fe00}'..='\u{ffff}', '\u{e0000}'..='\u{e0fff}'].into(),
        );
        prop::collection::vec(prop_oneof![any::<char>(), bad], 0..12).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn what_is_printed_has_no_control_but_line_breaks(text in hostile()) {
            prop_assert!(!line(&text).contains(is_unseen));
            let shown = lines(&text);
            prop_assert!(!shown.contains(|c: char| c != '\n' && (c.is_control() || is_unseen(c))));
            prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
            // Once is enough.
            prop_assert_eq!(lines(&shown), shown.clone());
        }

        #[test]
        fn json_parses_back_to_the_same(value in any_json(), blank in "[ \n\r\t]{0,3}") {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), format!("{blank}{value}{blank}")] {
                let one = json_line(&text).unwrap();
                prop_assert!(!one.contains(is_unseen));
                let many = json_lines(&text).unwrap();
                prop_assert!(!many.contains(|c: char| c != '\n' && is_unseen(c)));
                prop_assert_eq!(&serde_json::from_str::<Value>(&one).unwrap(), &value);
                prop_assert_eq!(&serde_json::from_str::<Value>(&many).unwrap(), &value);
            }
            prop_assert_eq!(&serde_json::from_str::<Value>(&lines(&serde_json::to_string_pretty(&value).unwrap())).unwrap(), &value);
        }
    }
}
