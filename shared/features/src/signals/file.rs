//! A bank as it is written: one entry a line, under the heading of its kind.

use super::hash::ImageHash;
use super::letters::{Gap, Letters};
use super::lexicon::{LONGEST, LONGEST_WORD, Told};
use super::{Bank, BankError, MAX_BANK_BYTES, MAX_ENTRIES, MAX_EXAMPLES, MAX_PATTERN_BYTES, MAX_PATTERNS};
use crate::text::{folded, plain};
use domain::{Timestamp, sha256_hex};
use regex::{Regex, RegexBuilder};
use unicode_script::{Script, UnicodeScript};

/// The schema name that a bank has to carry.
const SCHEMA: &str = "bank/1";
/// The size of a compiled pattern, in bytes. With the length of a text it bounds what a match can cost; `\w` alone takes a tenth of it.
const MAX_COMPILED_BYTES: usize = 256 * 1024;
/// What a pattern may keep of what it has worked out, in bytes.
const MAX_WORKING_BYTES: usize = 512 * 1024;
/// Labels stand on records.
const MAX_LABEL_BYTES: usize = 40;

/// The headings of a bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// A word a line.
    Words,
    /// Several words a line.
    Phrases,
    /// A regular expression a line.
    Patterns,
    /// A PDQ hash a line.
    Images,
    /// A word or phrase a line inside which nothing counts.
    Allow,
    /// A text a line in which something has to be found.
    Matches,
    /// A text a line in which nothing may be found.
    Misses,
}

/// All headings, as they are written.
pub const SECTIONS: [(&str, Section); 7] = [
    ("[words]", Section::Words),
    ("[phrases]", Section::Phrases),
    ("[patterns]", Section::Patterns),
    ("[images]", Section::Images),
    ("[allow]", Section::Allow),
    ("[matches]", Section::Matches),
    ("[misses]", Section::Misses),
];

/// A line of a bank that says something.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u32,
    /// The heading that it stands under; `None` above the first.
    pub section: Option<Section>,
    /// What it says, without its options.
    pub text: &'a str,
    /// Its options, as `name: value`.
    pub options: &'a str,
}

/// The lines of a bank, without headings, empty lines and such that begin with `#`.
///
/// # Errors
/// A heading that is none.
pub fn lines(source: &str) -> impl Iterator<Item = Result<Line<'_>, BankError>> {
    let mut section = None;
    source.lines().zip(1..).filter_map(move |(line, number)| {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            return None;
        }
        if text.starts_with('[') && text.ends_with(']') && section != Some(Section::Patterns)
            || SECTIONS.iter().any(|(name, _)| *name == text)
        {
            return match SECTIONS.iter().find(|(name, _)| *name == text) {
                Some((_, found)) => {
                    section = Some(*found);
                    None
                }
                None => {
                    let names: Vec<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
                    Some(Err(BankError::at(number, format!("is no heading; there are {}", names.join(", ")))))
                }
            };
        }
        let entry = matches!(
            section,
            Some(Section::Words | Section::Phrases | Section::Patterns | Section::Images | Section::Allow)
        );
        let (text, options) = if entry { options_of(text) } else { (text, "") };
        // A line that would be a comment or a heading is written with a backslash.
        let escaped =
            section != Some(Section::Patterns) && ["\\#", "\\[", "\\\\"].iter().any(|begin| text.starts_with(begin));
        let text = if escaped { text.get(1..).unwrap_or(text) } else { text };
        Some(Ok(Line { number, section, text, options }))
    })
}

/// `blorp | label: new in May | inflect: no` is an entry with two options.
fn options_of(line: &str) -> (&str, &str) {
    if !line.as_bytes().contains(&b'|') {
        return (line, "");
    }
    let mut end = line.len();
    while let Some(at) = line.get(..end).and_then(|line| line.rfind(" | ")) {
        let option = line.get(at + 3..end).unwrap_or_default().trim_start();
        if !["label:", "inflect:"].iter().any(|name| option.starts_with(name)) {
            break;
        }
        end = at;
    }
    (line.get(..end).unwrap_or(line).trim_end(), line.get(end..).unwrap_or_default())
}

fn yes_or_no(number: u32, name: &str, value: &str) -> Result<bool, BankError> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(BankError::at(number, format!("`{name}` is `yes` or `no`"))),
    }
}

/// Reads a bank. Its examples are not tried yet.
pub(super) fn read(source: &str) -> Result<Bank, BankError> {
    if source.len() > MAX_BANK_BYTES {
        return Err(BankError::at(1, format!("the file has more than {MAX_BANK_BYTES} bytes")));
    }
    let mut reader =
        Reader { bank: Bank { sha256: sha256_hex(source.as_bytes()), ..Bank::default() }, ..Reader::default() };
    // A line has some ten letters.
    reader.bank.lexicon.reserve((source.len() / 12).min(MAX_ENTRIES));
    for line in lines(source) {
        let line = line?;
        match line.section {
            None => reader.head(line)?,
            Some(Section::Matches) => reader.example(line, true)?,
            Some(Section::Misses) => reader.example(line, false)?,
            Some(section) => reader.entry(section, line)?,
        }
    }
    let missing = [
        ("schema", reader.schema),
        ("name", !reader.bank.name.is_empty()),
        ("owner", !reader.bank.owner.is_empty()),
        ("purpose", !reader.bank.purpose.is_empty()),
    ];
    if let Some((name, _)) = missing.iter().find(|(_, there)| !there) {
        return Err(BankError::at(1, format!("above the first heading a line `{name}: …` is missing")));
    }
    Ok(reader.bank)
}

#[derive(Default)]
struct Reader {
    bank: Bank,
    schema: bool,
    inflects: bool,
    letters: Letters,
}

impl Reader {
    fn head(&mut self, line: Line<'_>) -> Result<(), BankError> {
        let number = line.number;
        let wrong = |problem: &str| Err(BankError::at(number, problem));
        let Some((name, value)) = line.text.split_once(':') else {
            return wrong("is no `name: value`; entries stand under a heading such as [words]");
        };
        let value = value.trim().trim_matches('"');
        let bank = &mut self.bank;
        match name.trim() {
            "schema" if value == SCHEMA => self.schema = true,
            "schema" => return wrong("this program reads `schema: bank/1`"),
            "name" if is_name(value) => value.clone_into(&mut bank.name),
            "name" => return wrong("a name is 1 to 32 small letters, digits and `_`, a letter first"),
            "owner" => value.clone_into(&mut bank.owner),
            "purpose" => value.clone_into(&mut bank.purpose),
            "inflect" => self.inflects = yes_or_no(number, "inflect", value)?,
            "until" => match format!("{value}T23:59:59.999Z").parse::<Timestamp>() {
                Ok(until) => bank.until = Some(until),
                Err(_) => return wrong("`until` is the last day on which the bank counts, such as 2027-06-30"),
            },
            _ => {
                return wrong(
                    "there are `schema`, `name`, `owner`, `purpose`, `until` and `inflect` above the first heading",
                );
            }
        }
        Ok(())
    }

    fn example(&mut self, line: Line<'_>, matches: bool) -> Result<(), BankError> {
        if self.bank.examples.len() >= MAX_EXAMPLES {
            return Err(BankError::at(line.number, format!("a bank has {MAX_EXAMPLES} examples at most")));
        }
        self.bank.examples.push((line.number, line.text.to_owned(), matches));
        Ok(())
    }

    fn entry(&mut self, section: Section, line: Line<'_>) -> Result<(), BankError> {
        let number = line.number;
        if self.bank.lines.len() >= MAX_ENTRIES {
            return Err(BankError::at(number, format!("a bank has {MAX_ENTRIES} entries at most")));
        }
        let entry = u32::try_from(self.bank.lines.len()).unwrap_or(u32::MAX);
        self.bank.lines.push(number);
        let mut inflects = self.inflects;
        for option in line.options.split('|').filter(|option| !option.trim().is_empty()) {
            match option.trim().split_once(':').map(|(name, value)| (name, value.trim())) {
                Some(("inflect", value)) => inflects = yes_or_no(number, "inflect", value)?,
                Some((_, value)) if is_label(value) => _ = self.bank.labels.insert(entry, value.to_owned()),
                _ => {
                    return Err(BankError::at(
                        number,
                        format!(
                            "a label is 1 to {MAX_LABEL_BYTES} bytes on records, without signs that control a terminal"
                        ),
                    ));
                }
            }
        }
        match section {
            Section::Patterns => {
                let pattern = pattern(number, line.text)?;
                if self.bank.patterns.len() >= MAX_PATTERNS {
                    return Err(BankError::at(number, format!("a bank has {MAX_PATTERNS} patterns at most")));
                }
                self.bank.patterns.push((entry, pattern));
            }
            Section::Images => {
                let (hash, label) =
                    line.text.split_once(',').map_or((line.text, ""), |(hash, label)| (hash.trim(), label.trim()));
                let hash: ImageHash = hash.parse().map_err(|_| {
                    BankError::at(
                        number,
                        "is no `hash,label`; a PDQ hash has 64 hexadecimal digits (moderato blocklist hash)",
                    )
                })?;
                if is_label(label) {
                    self.bank.labels.entry(entry).or_insert_with(|| label.to_owned());
                }
                self.bank.images.push((hash, entry));
            }
            _ => {
                let allows = section == Section::Allow;
                self.words(section, line, Told { entry, inflects, allows })?;
            }
        }
        Ok(())
    }

    fn words(&mut self, section: Section, line: Line<'_>, told: Told) -> Result<(), BankError> {
        let wrong = |problem: &str| Err(BankError::at(line.number, problem));
        let plainly = reads_as_itself(line.text);
        if plainly {
            self.letters.refill(line.text);
        } else {
            self.letters = Letters::of(&plain(line.text));
        }
        let words = self.letters.pieces.iter().filter(|piece| piece.gap == Gap::Wide).count();
        let letters = self.letters.letters.len();
        if letters == 0 {
            return wrong("has no letter and no digit; what is made of signs goes under [patterns]");
        }
        if letters == 1 && line.text.is_ascii() {
            return wrong("is one letter, which every other post has");
        }
        if section == Section::Words && words > 0 {
            return wrong("is several words: it goes under [phrases]");
        }
        if letters > LONGEST || self.longest_word() > LONGEST_WORD {
            return Err(BankError::at(
                line.number,
                format!("is too long: {LONGEST} letters at most, {LONGEST_WORD} a word"),
            ));
        }
        if let Some(same) = self.bank.lexicon.add(&self.letters, told) {
            let other = self.bank.lines.get(same as usize).copied().unwrap_or_default();
            return Err(BankError::at(line.number, format!("says the same as line {other}: leave one of them out")));
        }
        if !plainly && let Some(folded) = folded(line.text) {
            let folded = Letters::of(&folded);
            if folded.letters.len() > 1 && folded.letters.len() <= LONGEST {
                // Where another entry says that already, this one is found by its plain form.
                let _ = self.bank.lexicon.add(&folded, told);
            }
        }
        Ok(())
    }

    fn longest_word(&self) -> usize {
        let (mut longest, mut word) = (0, 0);
        for piece in &self.letters.pieces {
            word = if piece.gap == Gap::Wide { 0 } else { word } + piece.end - piece.start;
            longest = longest.max(word);
        }
        longest
    }
}

/// Words of two letters or more without disguise, in ASCII or in another script alone: their readings are themselves, as those of most
/// entries of any list are, and need not be asked for.
fn reads_as_itself(text: &str) -> bool {
    if !text.is_ascii() {
        return text.chars().all(|c| c == ' ' || is_native(c));
    }
    let bytes = text.as_bytes();
    let letters = bytes.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b' ');
    let repeats = |three: &[u8]| matches!(three, [a, b, c] if a.eq_ignore_ascii_case(b) && b.eq_ignore_ascii_case(c));
    letters && text.split(' ').all(|word| word.len() > 1) && !bytes.windows(3).any(repeats)
}

/// A letter of a script of its own: none that is Latin, and none that only a style of letters is made of.
fn is_native(c: char) -> bool {
    c.is_alphabetic()
        && !matches!(c.script(), Script::Latin | Script::Common | Script::Inherited | Script::Unknown | Script::Runic)
}

fn is_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_BYTES).contains(&label.len()) && !label.contains(char::is_control)
}

fn pattern(number: u32, source: &str) -> Result<Regex, BankError> {
    let wrong = |problem: String| Err(BankError::at(number, problem));
    if source.len() > MAX_PATTERN_BYTES {
        return wrong(format!("a pattern has {MAX_PATTERN_BYTES} bytes at most"));
    }
    let built = RegexBuilder::new(source)
        .case_insensitive(true)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_WORKING_BYTES)
        .nest_limit(32)
        .build();
    match built {
        Ok(pattern) if pattern.is_match("") => wrong("is found in every text: it may be empty".to_owned()),
        Ok(pattern) => Ok(pattern),
        Err(regex::Error::CompiledTooBig(_)) => {
            wrong("is too large a pattern: repetitions with counts multiply, and `\\w` is many letters".to_owned())
        }
        Err(error) => {
            // The last line says why, and nothing of the pattern.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            wrong(format!("is no pattern: {why}"))
        }
    }
}
