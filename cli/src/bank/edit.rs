//! Changes to a bank's file that leave everything else in it as its author wrote it.

use features::signals::{BankError, SECTIONS, Section, lines};
use std::collections::BTreeSet;

/// A bank that has no entries yet.
pub fn empty(name: &str, owner: &str, purpose: &str, until: Option<&str>, inflect: bool) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let until = until.map(|until| format!("until: {}\n", one_line(until))).unwrap_or_default();
    let inflect = if inflect { "inflect: yes\n" } else { "" };
    let (owner, purpose) = (one_line(owner), one_line(purpose));
    format!("schema: bank/1\nname: {name}\nowner: {owner}\npurpose: {purpose}\n{until}{inflect}")
}

/// The section that an entry goes under where nobody says.
pub fn section_of(entry: &str) -> Section {
    if entry.split_whitespace().nth(1).is_some() { Section::Phrases } else { Section::Words }
}

fn heading(section: Section) -> &'static str {
    SECTIONS.iter().find(|(_, known)| *known == section).map_or("[words]", |(name, _)| name)
}

/// The file with these lines at the end of a section.
pub fn with(source: &str, section: Section, entries: &[String]) -> String {
    let mut all: Vec<String> = source.lines().map(str::to_owned).collect();
    let heading = heading(section);
    let is_heading = |line: &str| SECTIONS.iter().any(|(name, _)| *name == line.trim());
    let place = match all.iter().position(|line| line.trim() == heading) {
        Some(at) => {
            let end = all.iter().skip(at + 1).position(|line| is_heading(line)).map_or(all.len(), |next| at + 1 + next);
            let written = all.get(at..end).unwrap_or_default().iter().rposition(|line| !line.trim().is_empty());
            at + written.unwrap_or_default() + 1
        }
        None => {
            all.extend([String::new(), heading.to_owned()]);
            all.len()
        }
    };
    let escape = |entry: &String| {
        let entry = entry.trim();
        let reads_otherwise = section != Section::Patterns && entry.starts_with(['#', '[', '\\']);
        if reads_otherwise { format!("\\{entry}") } else { entry.to_owned() }
    };
    all.splice(place..place, entries.iter().map(escape));
    all.join("\n") + "\n"
}

/// The file without the entries that read like this, and how many they were. Options and case do not matter; examples stay.
///
/// # Errors
/// A file that is no bank.
pub fn without(source: &str, entry: &str) -> Result<(String, usize), BankError> {
    let mut gone = BTreeSet::new();
    for line in lines(source) {
        let line = line?;
        let example = matches!(line.section, None | Some(Section::Matches | Section::Misses));
        if !example && line.text.to_lowercase() == entry.trim().to_lowercase() {
            gone.insert(line.number);
        }
    }
    let kept = source.lines().zip(1_u32..).filter(|(_, number)| !gone.contains(number)).map(|(line, _)| line);
    Ok((kept.collect::<Vec<_>>().join("\n") + "\n", gone.len()))
}

/// What differs between two banks, in lines for people that begin with `+` or `-`.
pub fn difference(before: &str, after: &str) -> Vec<String> {
    let said = |source: &str| -> BTreeSet<String> {
        let told = |line: features::signals::Line<'_>| {
            let heading = line.section.map(|section| format!("{} ", heading(section))).unwrap_or_default();
            format!("{heading}{}{}", line.text, line.options)
        };
        lines(source).filter_map(Result::ok).map(told).collect()
    };
    let (was, is) = (said(before), said(after));
    let gone = was.difference(&is).map(|line| format!("- {line}"));
    gone.chain(is.difference(&was).map(|line| format!("+ {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_and_taken_out_leaves_the_rest_as_it_was() {
        let source = "# ours\nschema: bank/1\nname: a\nowner: b\npurpose: c\n\n[words]\nblorp | label: x\n# why\nzug\n\n[misses]\nblorp\n";
        let more = with(source, Section::Words, &["#tag".to_owned(), "frazzle".to_owned()]);
        assert_eq!(more, source.replace("zug\n", "zug\n\\#tag\nfrazzle\n"));
        assert_eq!(without(&more, "FRAZZLE").unwrap(), (source.replace("zug\n", "zug\n\\#tag\n"), 1));
        assert_eq!(without(&more, "#tag").unwrap().1, 1);
        // Not the example, which says the same.
        assert_eq!(without(source, "Blorp").unwrap(), (source.replace("blorp | label: x\n", ""), 1));
        assert_eq!(without(source, "nothing").unwrap(), (source.to_owned(), 0));
        assert!(with(source, Section::Allow, &["Cafe Negro".to_owned()]).ends_with("\n[allow]\nCafe Negro\n"));
        assert_eq!(difference(source, &more), ["+ [words] #tag", "+ [words] frazzle"]);
        assert_eq!(section_of("kill all"), Section::Phrases);
    }
}
