//! JSON as producers write it: read leniently, so that a flaw beside the text does not lose the post.
//!
//! Taken besides JSON itself: a byte order mark; `NaN`, infinities and what other languages write for nothing, which count as `null`; other
//! bare words and numbers too large for a double, which count as texts; halves of surrogate pairs, which become U+FFFD; raw control
//! characters in strings; a comma before a closing bracket; nesting of any depth, of which a list of the texts stands for what lies below
//! [`MAX_DEPTH`]; one name several times, which has the list of its values; several documents one after the other. So nothing that a person
//! could read gets lost. No library was found that takes all of these and says that it did: `serde_json` takes none, `jiter` no
//! surrogates, `json5` no depth.

use crate::post::{MAX_POST_BYTES, PostError, PostErrorKind};
use serde_json::{Map, Number, Value};
use std::collections::BTreeSet;

/// Of values nested deeper than this only the texts are read: nothing has its place so deep, and reading recurses.
const MAX_DEPTH: usize = 64;
/// What programs write where there is nothing, although JSON has `null` for it.
const NOTHING: [&str; 7] = ["NaN", "nan", "Infinity", "-Infinity", "None", "nil", "undefined"];

/// What was repaired on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Something that is not JSON was read as if it were.
    pub json: bool,
    /// Something that is no character became U+FFFD.
    pub characters: bool,
}

impl Repairs {
    /// The repairs of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { json: self.json | other.json, characters: self.characters | other.characters }
    }
}

/// The documents in some bytes, and what of them could be read where they end badly.
pub struct Documents {
    /// Those that were read to their end.
    pub values: Vec<Value>,
    /// What was repaired in them.
    pub repairs: Repairs,
}

/// Bytes that are no JSON, however leniently they are read.
pub struct NotJson {
    /// Why; names a place, never what stands there.
    pub error: PostError,
    /// The fields of the outermost object that were read before that place.
    pub fields: Map<String, Value>,
}

impl From<PostError> for NotJson {
    fn from(error: PostError) -> Self {
        Self { error, fields: Map::new() }
    }
}

/// Reads one document after the other; there is at least one.
///
/// # Errors
/// More than [`MAX_POST_BYTES`], bytes that are not UTF-8, or no JSON.
pub fn read(bytes: &[u8]) -> Result<Documents, NotJson> {
    if bytes.len() > MAX_POST_BYTES {
        let message = format!("{} bytes are more than the {MAX_POST_BYTES} that are read", bytes.len());
        return Err(PostError::new(PostErrorKind::TooLarge, message).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        PostError::new(PostErrorKind::InvalidUtf8, format!("not UTF-8 after byte {}", error.valid_up_to()))
    })?;
    let (text, marked) = match text.strip_prefix('\u{FEFF}') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let mut reader = Reader { text, at: 0, repairs: Repairs { json: marked, characters: false }, fields: Map::new() };
    let mut values = Vec::new();
    reader.space();
    while values.is_empty() || reader.peek().is_some() {
        match reader.value(0) {
            Some(value) => values.push(value),
            None => return Err(reader.gives_up(values)),
        }
        reader.space();
    }
    Ok(Documents { values, repairs: reader.repairs })
}

/// Values of the first few `"name": value` anywhere in bytes that are not JSON as a whole, where they are text or numbers.
#[must_use]
pub fn find(bytes: &[u8], name: &str) -> Vec<Value> {
    const MOST: usize = 16;
    let text = String::from_utf8_lossy(bytes);
    let name = format!("\"{name}\"");
    let value = |(at, _): (usize, &str)| {
        let mut reader = Reader { text: &text, at: at + name.len(), repairs: Repairs::default(), fields: Map::new() };
        reader.space();
        if !reader.eat(b':') {
            return None;
        }
        reader.space();
        reader.value(MAX_DEPTH).filter(|value| value.is_string() || value.is_number())
    };
    text.match_indices(&name).take(MOST).filter_map(value).collect()
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    repairs: Repairs,
    /// Fields of an outermost object that ends badly.
    fields: Map<String, Value>,
}

impl<'a> Reader<'a> {
    fn gives_up(self, mut whole: Vec<Value>) -> NotJson {
        let fields = match whole.pop() {
            Some(Value::Object(fields)) if self.fields.is_empty() => fields,
            _ => self.fields,
        };
        let before = self.text.get(..self.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, str::len) + 1;
        let message = format!("not JSON at line {line} column {column}");
        NotJson { error: PostError::new(PostErrorKind::InvalidJson, message), fields }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// A value, with no space before it; `None` where none begins or it has no end.
    fn value(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'"' => self.string().map(Value::String),
            b'{' | b'[' if depth >= MAX_DEPTH => self.flat(),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            byte if starts_word(byte) => {
                // As a document of its own a bare word is no JSON; beside fields it is a flaw.
                let (value, is_json) = self.word();
                if is_json || depth > 0 {
                    self.repairs.json |= !is_json;
                    return Some(value);
                }
                self.at = self.at.saturating_sub(1);
                None
            }
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut fields = Map::new();
        if self.members(&mut fields, depth).is_some() {
            return Some(Value::Object(fields));
        }
        if depth == 0 {
            self.fields = fields;
        }
        None
    }

    fn members(&mut self, fields: &mut Map<String, Value>, depth: usize) -> Option<()> {
        let mut repeated = BTreeSet::new();
        loop {
            self.space();
            if self.closes(b'}', fields.is_empty()) {
                return Some(());
            }
            let name = self.string()?;
            self.space();
            if !self.eat(b':') {
                return None;
            }
            self.space();
            let value = self.value(depth + 1)?;
            match fields.get_mut(&name) {
                None => _ = fields.insert(name, value),
                Some(earlier) => {
                    // Where there is nothing, the other is meant.
                    if earlier.is_null() {
                        *earlier = value;
                    } else if let Some(values) = earlier.as_array_mut().filter(|_| repeated.contains(&name)) {
                        values.push(value);
                    } else if *earlier != value && !value.is_null() {
                        *earlier = Value::Array(vec![earlier.take(), value]);
                        repeated.insert(name);
                    }
                    self.repairs.json = true;
                }
            }
            self.space();
            if !self.eat(b',') && self.peek() != Some(b'}') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.space();
            if self.closes(b']', elements.is_empty()) {
                return Some(Value::Array(elements));
            }
            elements.push(self.value(depth + 1)?);
            self.space();
            if !self.eat(b',') && self.peek() != Some(b']') {
                return None;
            }
        }
    }

    /// Whether the bracket closes here; after a comma that is a repair.
    fn closes(&mut self, bracket: u8, empty: bool) -> bool {
        let comma = self.text.get(..self.at).is_some_and(|before| before.trim_end().ends_with(','));
        let closes = self.eat(bracket);
        self.repairs.json |= closes && comma && !empty;
        closes
    }

    /// The texts, numbers and names of fields in a value of any depth, without recursion.
    fn flat(&mut self) -> Option<Value> {
        let (mut open, mut words) = (0_usize, Vec::new());
        self.repairs.json = true;
        loop {
            match self.peek()? {
                b'"' => words.push(Value::String(self.string()?)),
                byte if starts_word(byte) => words.push(self.word().0),
                byte => {
                    self.at += 1;
                    match byte {
                        b'{' | b'[' => open += 1,
                        b'}' | b']' => open -= 1,
                        _ => {}
                    }
                }
            }
            if open == 0 {
                return Some(Value::Array(words));
            }
        }
    }

    /// A number or a bare word, and whether JSON has it. What is no number that fits a double keeps its letters, as text: it may be an id.
    fn word(&mut self) -> (Value, bool) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
        let rest = self.rest();
        let word = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or_default();
        let length = word.len();
        let digits = word.strip_prefix('-').unwrap_or(word);
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = || {
            let plain =
                digits.starts_with(|c: char| c.is_ascii_digit()) && word.parse::<f64>().is_ok_and(f64::is_finite);
            if plain { serde_json::from_str::<Number>(word).ok() } else { None }
        };
        self.at += length;
        match word {
            "true" => (Value::Bool(true), true),
            "false" => (Value::Bool(false), true),
            "null" => (Value::Null, true),
            "True" => (Value::Bool(true), false),
            "False" => (Value::Bool(false), false),
            _ if NOTHING.contains(&word) => (Value::Null, false),
            _ => match number() {
                Some(number) if !whole || number.is_i64() || number.is_u64() => (Value::Number(number), true),
                number => (Value::String(word.to_owned()), number.is_some()),
            },
        }
    }

    fn string(&mut self) -> Option<String> {
        if !self.eat(b'"') {
            return None;
        }
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(['"', '\\'])?;
            let run = rest.get(..plain).unwrap_or_default();
            self.repairs.json |= run.bytes().any(|byte| byte < b' ');
            out.push_str(run);
            self.at += plain;
            if self.eat(b'"') {
                return Some(out);
            }
            self.at += 1;
            let escaped = self.rest().chars().next()?;
            self.at += escaped.len_utf8();
            match escaped {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'b' => out.push('\u{8}'),
                'f' => out.push('\u{c}'),
                'u' => out.push(self.escaped_unit()),
                '"' | '\\' | '/' => out.push(escaped),
                // An escape that JSON does not have stands for its character.
                _ => {
                    self.repairs.json = true;
                    out.push(escaped);
                }
            }
        }
    }

    /// What `\u` introduces; U+FFFD for what is no character.
    fn escaped_unit(&mut self) -> char {
        let Some(unit) = self.unit(self.at) else {
            self.repairs.json = true;
            self.repairs.characters = true;
            return char::REPLACEMENT_CHARACTER;
        };
        self.at += 4;
        let follows = self.rest().starts_with("\\u").then(|| self.unit(self.at + 2)).flatten();
        let (decoded, length) = match follows {
            Some(low) if (0xD800..0xDC00).contains(&unit) && (0xDC00..0xE000).contains(&low) => {
                (char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)), 6)
            }
            _ => (char::from_u32(unit), 0),
        };
        self.at += length;
        self.repairs.characters |= decoded.is_none();
        decoded.unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn unit(&self, at: usize) -> Option<u32> {
        let hex = self.text.get(at..at + 4).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u32::from_str_radix(hex, 16).ok()
    }
}

fn starts_word(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.') || byte.is_ascii_alphanumeric()
}

/// JSON in ASCII alone, which no queue refuses.
#[must_use]
pub fn ascii(json: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// The same JSON with the only characters escaped that SQS refuses in JSON: U+FFFE and U+FFFF.
#[must_use]
pub fn escape_noncharacters(json: &str) -> String {
    json.replace('\u{FFFE}', "\\ufffe").replace('\u{FFFF}', "\\uffff")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Option<(Value, Repairs)> {
        let Documents { mut values, repairs } = read(text.as_bytes()).ok()?;
        (values.len() == 1).then(|| (values.remove(0), repairs))
    }

    #[test]
    fn flaws_are_repaired_and_told() {
        let json = Repairs { json: true, characters: false };
        let characters = Repairs { json: false, characters: true };
        let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        for (text, value, repairs) in [
            (r#"{"a":NaN}"#, json!({"a": null}), json),
            (r#"{"a":-Infinity,"b":[1e999]}"#, json!({"a": null, "b": ["1e999"]}), json),
            (r#"{"a":01,"b":.5,"c":0x10,"d":True}"#, json!({"a": "01", "b": ".5", "c": "0x10", "d": true}), json),
            (r#"{"a":vermin,"b":None}"#, json!({"a": "vermin", "b": null}), json),
            (r#"{"a":1,"a":1}"#, json!({"a": 1}), json),
            (r#"{"a":"x","b":0,"a":["y"],"a":{},"a":{}}"#, json!({"a": ["x", ["y"], {}, {}], "b": 0}), json),
            (r#"{"a":[1],"a":[1],"a":[2]}"#, json!({"a": [[1], [2]]}), json),
            (r#"{"a":null,"a":"x","a":null}"#, json!({"a": "x"}), json),
            ("\u{FEFF}{\"a\":1}", json!({"a": 1}), json),
            ("{\"a\":\"x\ny\"}", json!({"a": "x\ny"}), json),
            (r#"{"a":[1,],}"#, json!({"a": [1]}), json),
            (r#"{"a":"\x"}"#, json!({"a": "x"}), json),
            (r#""\ud83d""#, json!("\u{FFFD}"), characters),
            (r#""\ude00\ud83d\ud83d\ude00""#, json!("\u{FFFD}\u{FFFD}\u{1F600}"), characters),
            (r#""\ud83dx""#, json!("\u{FFFD}x"), characters),
            (r#"{"a":12345678901234567890123}"#, json!({"a": "12345678901234567890123"}), Repairs::default()),
            (
                &format!(r#"{{"a":{},"b":2}}"#, deep(100_000)),
                {
                    let mut nested = json!([1]);
                    for _ in 1..MAX_DEPTH {
                        nested = json!([nested]);
                    }
                    json!({"a": nested, "b": 2})
                },
                json,
            ),
            (
                &format!(r#"{{"a":{}{{"x":["y",{{"z":vermin}},null]}}{}}}"#, "[".repeat(70), "]".repeat(70)),
                {
                    let mut nested = json!(["x", "y", "z", "vermin", null]);
                    for _ in 1..MAX_DEPTH {
                        nested = json!([nested]);
                    }
                    json!({"a": nested})
                },
                json,
            ),
        ] {
            assert_eq!(one(text), Some((value, repairs)), "{}", text.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn what_ends_badly_gives_what_was_read() {
        for (text, fields) in [
            (r#"{"post_id":"a","text":"b"#, json!({"post_id": "a"})),
            (r#"{"post_id":"a" "text":"b"}"#, json!({"post_id": "a"})),
            (r#"{"post_id":"a","text":}"#, json!({"post_id": "a"})),
            (r#"{"post_id":"a"}}"#, json!({"post_id": "a"})),
            (r#"{'post_id':"a"}"#, json!({})),
            ("", json!({})),
            ("[[[[", json!({})),
            ("not json", json!({})),
            ("NaN", json!({})),
        ] {
            let Err(NotJson { error, fields: read }) = read(text.as_bytes()) else { panic!("{text} is read") };
            assert_eq!((error.kind, Value::Object(read)), (PostErrorKind::InvalidJson, fields), "{text}");
        }
    }

    #[test]
    fn several_documents_are_read_one_by_one() {
        let values = read(b"{\"a\":1}\n{\"a\":2}\r\n[3]").ok().map(|documents| documents.values);
        assert_eq!(values, Some(vec![json!({"a": 1}), json!({"a": 2}), json!([3])]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_read_as_serde_reads_it(value in any_json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(one(&text), Some((value.clone(), Repairs::default())));
            let ascii = ascii(&text);
            prop_assert!(ascii.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte)));
            prop_assert_eq!(one(&ascii), Some((value, Repairs::default())));
        }

        #[test]
        fn anything_is_read_or_refused(text in ".{0,200}") {
            let _ = read(text.as_bytes());
        }
    }
}
