//! Inputs that look like something: random bytes alone rarely get past the first bracket of a parser.

/// Makes an input out of `recipe`: a seed, then edits to it, a few bytes of the recipe each. Words are put in, other
/// seeds spliced in, stretches deleted, doubled, moved to the end, bytes replaced. The same recipe gives the same input.
pub fn mutated(recipe: &[u8], seeds: &[impl AsRef<[u8]>], words: &[&str]) -> Vec<u8> {
    let mut recipe = recipe.iter().copied();
    let mut out = pick(seeds, recipe.next()).map(|seed| seed.as_ref().to_vec()).unwrap_or_default();
    while let (Some(edit), Some(high), Some(low), Some(argument)) =
        (recipe.next(), recipe.next(), recipe.next(), recipe.next())
    {
        let at = usize::from(u16::from_be_bytes([high, low])) % (out.len() + 1);
        let end = (at + usize::from(argument)).min(out.len());
        let stretch = out.get(at..end).unwrap_or_default().to_vec();
        let put: Vec<u8> = match edit % 8 {
            0 => vec![argument],
            1 | 2 => pick(words, Some(argument)).map(|word| word.as_bytes().to_vec()).unwrap_or_default(),
            3 => pick(seeds, Some(argument)).map(|seed| seed.as_ref().to_vec()).unwrap_or_default(),
            4 => stretch.repeat(2),
            5 => stretch.iter().rev().copied().collect(),
            6 => Vec::new(),
            _ => {
                out.extend_from_slice(&stretch);
                continue;
            }
        };
        // A put word replaces its own length or stands between, by the recipe's whim; all else replaces its stretch.
        let replaced = if edit % 8 < 4 && edit & 8 == 0 { at..(at + put.len()).min(out.len()) } else { at..end };
        let replaced = if edit % 8 < 4 && edit & 16 == 0 { at..at } else { replaced };
        out.splice(replaced, put);
        out.truncate(LONGEST);
    }
    out
}

/// Longer inputs than this find nothing that shorter ones do not, and take their time.
const LONGEST: usize = 64 * 1024;

fn pick<T>(from: &[T], by: Option<u8>) -> Option<&T> {
    from.get(usize::from(by.unwrap_or(0)).checked_rem(from.len())?)
}
