//! Inputs that look like something: random bytes alone rarely get past the first bracket of a parser.

use std::path::Path;

/// What a fuzz target's inputs are made from: its corpus, and the words that mean something to what it tests.
pub struct Material {
    seeds: Vec<Vec<u8>>,
    words: Vec<String>,
}

/// Longer inputs than this find nothing that shorter ones do not, and take their time.
const LONGEST: usize = 64 * 1024;

impl Material {
    /// Reads `corpus/` and `words.json` in the target's folder; the long form (`infra/fuzz.py`) reads the same.
    pub fn of(package: &str, target: &str) -> Self {
        let folder = Path::new(package).join("tests/fuzz/__fuzz__").join(target);
        let mut files: Vec<_> =
            std::fs::read_dir(folder.join("corpus")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let seeds: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        let words: Vec<String> = serde_json::from_slice(&std::fs::read(folder.join("words.json")).unwrap()).unwrap();
        assert!(seeds.len() > 5 && words.len() > 5);
        Self { seeds, words }
    }

    /// With one more seed.
    #[allow(dead_code, reason = "not every target has one elsewhere")]
    pub fn and(mut self, seed: impl Into<Vec<u8>>) -> Self {
        self.seeds.push(seed.into());
        self
    }

    /// Makes an input by `recipe`: a seed, then edits, four bytes of the recipe each. The same recipe gives the same
    /// input.
    pub fn mutated(&self, recipe: &[u8]) -> Vec<u8> {
        let Some((first, edits)) = recipe.split_first() else { return Vec::new() };
        let mut out = self.seeds[usize::from(*first) % self.seeds.len()].clone();
        for edit in edits.chunks_exact(4) {
            let [edit, high, low, argument] = *edit else { continue };
            let at = usize::from(u16::from_be_bytes([high, low])) % (out.len() + 1);
            let argument = usize::from(argument);
            let stretch = at..(at + argument).min(out.len());
            let word = self.words[argument % self.words.len()].as_bytes();
            match edit % 8 {
                0 => drop(out.splice(at..(at + 1).min(out.len()), [argument.to_le_bytes()[0]])),
                1 => drop(out.splice(at..at, word.iter().copied())),
                2 => drop(out.splice(at..(at + word.len()).min(out.len()), word.iter().copied())),
                3 => drop(out.splice(at..at, self.seeds[argument % self.seeds.len()].clone())),
                4 => drop(out.splice(at..at, out[stretch].to_vec())),
                5 => out.extend_from_within(stretch),
                6 => drop(out.drain(stretch)),
                _ => out[stretch].reverse(),
            }
            out.truncate(LONGEST);
        }
        out
    }
}
