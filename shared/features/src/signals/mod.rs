//! Banks of signals: words, phrases, patterns and hashes of images that an operator has listed, and where they stand in a post.
//!
//! What no model has learned yet, a new slur, a number code, the slogan of a campaign, is stopped by listing it. A [`Bank`] is a text file
//! that says whose it is, what it is for and until when, and has examples that must and must not match; one that fails its own examples
//! does not load. Everything is matched on every reading of a text, so disguises are undone by the code that undoes them for the models.

mod file;
mod hash;
mod letters;
mod lexicon;

use crate::text::{Reading, as_written, readings};
use domain::{Signal, SignalMatch, SignalRecord, Timestamp, Unsearched, View};
use letters::Letters;
use lexicon::{Hit, Lexicon};
use regex::Regex;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

pub use file::{Line, SECTIONS, Section, lines};
pub use hash::{ImageHash, NEAR, NotAHash};

/// The largest bank taken, in bytes.
pub const MAX_BANK_BYTES: usize = 16 * 1024 * 1024;
/// The most entries of a bank.
pub const MAX_ENTRIES: usize = 250_000;
/// The most patterns of a bank: each is tried on each reading of a text.
pub const MAX_PATTERNS: usize = 64;
/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 256;
/// The most examples of a bank: a function tries them all when it starts.
pub const MAX_EXAMPLES: usize = 200;
/// The most banks that are live at once.
pub const MAX_BANKS: usize = 32;
/// Matches that a record names of each bank.
const MOST_NAMED: usize = 5;
/// A longer reading is not searched by patterns, in bytes: then what a bank found is the least it would have.
pub const MAX_PATTERN_TEXT_BYTES: usize = 256 * 1024;
/// Of a pattern that is excused this often, the next place counts whatever it is.
const MOST_EXCUSED: usize = 100;
/// Hexadecimal digits by which a version is named.
const VERSION_DIGITS: usize = 12;

/// Why a bank was refused: the line, and what to do about it. Nothing of the line itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {problem}")]
pub struct BankError {
    /// The line of the file, from 1.
    pub line: u32,
    /// What is wrong.
    pub problem: String,
}

impl BankError {
    fn at(line: u32, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }
}

/// A bank that was checked: its entries compiled, its examples tried. `Debug` shows no entry.
#[derive(Default)]
pub struct Bank {
    name: String,
    owner: String,
    purpose: String,
    until: Option<Timestamp>,
    sha256: String,
    lexicon: Lexicon,
    patterns: Vec<(u32, Regex)>,
    images: Vec<(ImageHash, u32)>,
    /// The line of each entry.
    lines: Vec<u32>,
    labels: BTreeMap<u32, String>,
    /// Lines, texts, and whether something must be found in them.
    examples: Vec<(u32, String, bool)>,
}

impl std::fmt::Debug for Bank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bank").field("name", &self.name).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// An entry of a bank, found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Its line in the bank's file.
    pub line: u32,
    /// Where, in Unicode scalar values of the raw text.
    pub raw: Range<usize>,
}

/// A text made ready: its readings as letters. No `Debug`: it must not end up in a log.
pub struct Ready {
    raw: Vec<char>,
    readings: Vec<(Reading, Letters)>,
}

impl Ready {
    /// Reads a text in every way.
    #[must_use]
    pub fn of(text: &str) -> Self {
        // Of addresses and handles other readings keep what English has; a listed word may be one that it lacks.
        let written = (text.contains('@') || text.contains("://") || text.contains("www.")).then(|| as_written(text));
        let readings = readings(text).into_iter().chain(written).map(|reading| {
            let letters = Letters::of(&reading);
            (reading, letters)
        });
        Self { raw: text.chars().collect(), readings: readings.collect() }
    }
}

impl Bank {
    /// Reads a bank, compiles its entries and tries its examples.
    ///
    /// # Errors
    /// The first line that is wrong, or whose example comes out otherwise.
    pub fn load(source: &str) -> Result<Self, BankError> {
        let mut bank = file::read(source)?;
        for (line, text, matches) in std::mem::take(&mut bank.examples) {
            let (found, complete) = bank.find(&Ready::of(&text));
            if found.is_empty() == matches || !complete {
                let problem = match found.first() {
                    None => "has to match, and no entry is found in it".to_owned(),
                    Some(found) => format!("has to miss, and the entry of line {} is found in it", found.line),
                };
                return Err(BankError::at(line, problem));
            }
        }
        Ok(bank)
    }

    /// Its name: rules read `signal.NAME`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> &str {
        &self.purpose
    }

    /// The last instant at which it counts.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// The digest of its file, in 64 hexadecimal digits.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The first digits of its digest, by which records name it.
    #[must_use]
    pub fn version(&self) -> &str {
        self.sha256.get(..VERSION_DIGITS).unwrap_or(&self.sha256)
    }

    /// How many entries it has, those that excuse included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether it is past its end.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now > until)
    }

    /// Each entry that stands in a text, once, by its place; and whether all of the text was searched.
    #[must_use]
    pub fn find(&self, text: &Ready) -> (Vec<Match>, bool) {
        let (mut hits, mut excuses) = (Vec::new(), Vec::new());
        for (_, letters) in &text.readings {
            self.lexicon.find(letters, &text.raw, &mut |Hit { entry, allows, raw }| {
                if allows { excuses.push(raw) } else { hits.push((entry, raw)) }
            });
        }
        let mut found = Finds { excuses: Excuses::of(excuses), first: BTreeMap::new() };
        for (entry, raw) in hits {
            if !found.excuses.cover(&raw) {
                found.take(entry, raw);
            }
        }
        let mut complete = true;
        for (reading, _) in &text.readings {
            if reading.text().len() > MAX_PATTERN_TEXT_BYTES {
                complete &= self.patterns.is_empty();
                continue;
            }
            for (entry, pattern) in &self.patterns {
                search(pattern, *entry, reading, &mut found);
            }
        }
        let line = |entry: u32| self.lines.get(entry as usize).copied().unwrap_or_default();
        let mut matches: Vec<_> =
            found.first.into_iter().map(|(entry, raw)| Match { line: line(entry), raw }).collect();
        matches.sort_by_key(|found| (found.raw.start, found.line));
        (matches, complete)
    }

    /// The entry of the nearest known image, by its line, if that is near enough to be the same; the first of equals.
    #[must_use]
    pub fn near(&self, hash: &ImageHash) -> Option<u32> {
        let distances = self.images.iter().map(|(known, entry)| (known.distance(hash), *entry));
        let (distance, entry) = distances.min_by_key(|(distance, _)| *distance)?;
        self.lines.get(entry as usize).copied().filter(|_| distance <= NEAR)
    }

    /// Whether it lists images, which only who looks at them can search for.
    #[must_use]
    pub fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// What its author calls the entry on this line, on records too.
    #[must_use]
    pub fn label(&self, line: u32) -> Option<&str> {
        let entry = self.lines.binary_search(&line).ok()?;
        self.labels.get(&u32::try_from(entry).ok()?).map(String::as_str)
    }

    /// How many forms its words and phrases have, for measurements.
    #[must_use]
    pub fn forms(&self) -> usize {
        self.lexicon.len()
    }
}

/// Places of allowed words and phrases, by their start, each with the furthest end up to it.
struct Excuses(Vec<Range<usize>>);

impl Excuses {
    fn of(mut places: Vec<Range<usize>>) -> Self {
        places.sort_unstable_by_key(|place| place.start);
        let mut furthest = 0;
        for place in &mut places {
            furthest = furthest.max(place.end);
            place.end = furthest;
        }
        Self(places)
    }

    /// Whether one of them reaches around a place.
    fn cover(&self, raw: &Range<usize>) -> bool {
        let before = self.0.partition_point(|place| place.start <= raw.start);
        before.checked_sub(1).and_then(|last| self.0.get(last)).is_some_and(|place| raw.end <= place.end)
    }
}

/// The first place of each entry.
struct Finds {
    excuses: Excuses,
    first: BTreeMap<u32, Range<usize>>,
}

impl Finds {
    fn take(&mut self, entry: u32, raw: Range<usize>) {
        match self.first.entry(entry) {
            Entry::Vacant(empty) => _ = empty.insert(raw),
            Entry::Occupied(mut first) => {
                if raw.start < first.get().start {
                    first.insert(raw);
                }
            }
        }
    }
}

/// The first place of a pattern in a reading that nothing excuses.
fn search(pattern: &Regex, entry: u32, reading: &Reading, found: &mut Finds) {
    for (number, place) in pattern.find_iter(reading.text()).enumerate() {
        let chars = |end: usize| reading.text().get(..end).unwrap_or_default().chars().count();
        let raw = reading.raw(chars(place.start())..chars(place.end()));
        if number >= MOST_EXCUSED || !found.excuses.cover(&raw) {
            found.take(entry, raw);
            return;
        }
    }
}

/// Banks that are live, by name. `None` for one that is wanted and could not be loaded: its signal is unavailable.
#[derive(Debug, Clone, Default)]
pub struct Banks(BTreeMap<String, Option<Arc<Bank>>>);

impl FromIterator<(String, Option<Arc<Bank>>)> for Banks {
    fn from_iter<I: IntoIterator<Item = (String, Option<Arc<Bank>>)>>(banks: I) -> Self {
        Self(banks.into_iter().collect())
    }
}

impl Banks {
    /// Their names, and the banks that could be loaded.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Bank>)> {
        self.0.iter().map(|(name, bank)| (name.as_str(), bank.as_deref()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins a search through a post that is decided at `now`.
    #[must_use]
    pub fn search(&self, now: Timestamp) -> Search<'_> {
        let found = self.0.keys().map(|name| (name.as_str(), Found::default()));
        Search { banks: self, now, found: found.collect() }
    }
}

/// What one bank found so far.
#[derive(Default)]
struct Found {
    lines: BTreeMap<u32, SignalMatch>,
    partial: BTreeSet<Unsearched>,
}

/// A search through the parts of a post. Total: what cannot be searched makes what was found the least that there is.
pub struct Search<'a> {
    banks: &'a Banks,
    now: Timestamp,
    found: BTreeMap<&'a str, Found>,
}

impl Search<'_> {
    fn each(&mut self, mut with: impl FnMut(&Bank, &mut Found)) {
        for (name, found) in &mut self.found {
            if let Some(Some(bank)) = self.banks.0.get(*name)
                && !bank.is_over(self.now)
            {
                with(bank, found);
            }
        }
    }

    /// Searches a text. `bounds` is the box around it where it stands in an image.
    pub fn text(&mut self, view: View, text: &str, bounds: Option<[u32; 4]>) {
        if self.banks.is_empty() {
            return;
        }
        let ready = Ready::of(text);
        self.each(|bank, found| {
            let (matches, complete) = bank.find(&ready);
            if !complete {
                found.partial.insert(Unsearched::Text);
            }
            for Match { line, raw: Range { start, end } } in matches {
                let label = bank.label(line).map(str::to_owned);
                found.lines.entry(line).or_insert(SignalMatch { line, view, start, end, bounds, label });
            }
        });
    }

    /// Searches for an image by its hash; `None` for one that has too little in it to have one.
    pub fn image(&mut self, view: View, hash: Option<&ImageHash>) {
        self.each(|bank, found| {
            if let Some(line) = hash.and_then(|hash| bank.near(hash)) {
                let label = bank.label(line).map(str::to_owned);
                found.lines.entry(line).or_insert(SignalMatch { line, view, start: 0, end: 0, bounds: None, label });
            }
        });
    }

    /// A text could not be read: whatever is found, there may be more.
    pub fn unread_text(&mut self) {
        self.each(|_, found| _ = found.partial.insert(Unsearched::Text));
    }

    /// An image was not looked at: a bank of images may have it.
    pub fn unseen_image(&mut self) {
        self.each(|bank, found| {
            if bank.has_images() {
                found.partial.insert(Unsearched::Images);
            }
        });
    }

    /// What was found, by bank, for the record.
    #[must_use]
    pub fn done(self) -> BTreeMap<String, SignalRecord> {
        let banks = self.banks;
        let record = |(name, Found { lines, partial }): (&str, Found)| {
            let bank = banks.0.get(name).and_then(Option::as_deref);
            let bankless = bank.is_none().then_some(Unsearched::Bank);
            let partial = bankless.into_iter().chain(partial).collect();
            let found = u32::try_from(lines.len()).unwrap_or(u32::MAX);
            let version = bank.filter(|_| found > 0).map(|bank| bank.version().to_owned()).unwrap_or_default();
            let matches = lines.into_values().take(MOST_NAMED).collect();
            (name.to_owned(), SignalRecord { found, partial, version, matches })
        };
        self.found.into_iter().map(record).collect()
    }
}

/// What records say of signals, as evidence.
#[must_use]
pub fn as_evidence(records: &BTreeMap<String, SignalRecord>) -> BTreeMap<String, Signal> {
    records.iter().map(|(name, record)| (name.clone(), Signal::from(record))).collect()
}

/// What was found before, and what was found since in the images of the same post; `looked` is of all of its images. Nothing that was
/// found is lost: of another version of a bank it counts beside, since nobody can say which entries are the same.
#[must_use]
pub fn merged(
    before: &BTreeMap<String, SignalRecord>,
    mut looked: BTreeMap<String, SignalRecord>,
) -> BTreeMap<String, SignalRecord> {
    let mut all = BTreeMap::new();
    for (name, first) in before {
        let merged = match looked.remove(name) {
            // The bank was taken away since.
            None => first.clone(),
            Some(since) => both(first, since),
        };
        all.insert(name.clone(), merged);
    }
    // Banks that are new were not asked about the text.
    all.extend(looked.into_iter().map(|(name, mut since)| {
        since.partial.push(Unsearched::Text);
        (name, since)
    }));
    all
}

fn both(first: &SignalRecord, since: SignalRecord) -> SignalRecord {
    let known: BTreeSet<u32> = first.matches.iter().map(|found| found.line).collect();
    let again = |line: u32| first.version == since.version && known.contains(&line);
    let repeated = since.matches.iter().filter(|found| again(found.line)).count();
    let found = first.found.saturating_add(since.found).saturating_sub(u32::try_from(repeated).unwrap_or(u32::MAX));
    let version = if since.found > 0 { since.version.clone() } else { first.version.clone() };
    // Lines of another version would name other entries.
    let mut matches = if first.version == version || version.is_empty() { first.matches.clone() } else { Vec::new() };
    matches.extend(since.matches.iter().filter(|found| !again(found.line)).cloned());
    matches.truncate(MOST_NAMED);
    let seen = first.partial.iter().copied().filter(|what| *what != Unsearched::Images);
    let partial = seen.chain(since.partial).collect::<BTreeSet<_>>().into_iter().collect();
    SignalRecord { found, partial, version, matches }
}
