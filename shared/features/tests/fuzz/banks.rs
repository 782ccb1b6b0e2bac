//! Any file is a bank or is refused with its line; what is a bank searches any text, in time, and says places that are in it.

use crate::{ends, material};
use features::signals::{Bank, Ready};
use std::time::Duration;

const EXAMPLE: &str = include_str!("../../../domain/policies/examples/campaign.bank");

#[test]
fn fuzz_banks() {
    bolero::check!(name = "banks").with_test_time(Duration::from_secs(1)).for_each(any_bank);
}

#[test]
fn mutations_of_banks() {
    let material = material("banks").and(EXAMPLE);
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(2))
        .with_max_len(60)
        .for_each(|recipe| any_bank(&material.mutated(recipe)));
}

/// A pattern is what costs most; so it is tried by itself as well.
#[test]
fn fuzz_patterns() {
    bolero::check!(name = "patterns").with_test_time(Duration::from_secs(1)).for_each(|pattern: &[u8]| {
        let pattern = String::from_utf8_lossy(pattern).replace(['\n', '\r'], " ");
        any_bank(format!("schema: bank/1\nname: a\nowner: b\npurpose: c\n[patterns]\n{pattern}\n").as_bytes());
    });
}

fn any_bank(source: &[u8]) {
    let source = String::from_utf8_lossy(source);
    match ends(|| Bank::load(&source)) {
        Err(error) => {
            let lines = u32::try_from(source.lines().count()).unwrap_or(u32::MAX).max(1);
            assert!((1..=lines).contains(&error.line) && !error.problem.is_empty(), "{error}");
        }
        Ok(bank) => {
            // The bank's own lines are texts that have a part in it.
            for text in [&*source, "", "b l o r p 88 \u{200b}x", "aaaa aaaa!aaaa"] {
                let chars = text.chars().count();
                let (found, _) = ends(|| bank.find(&Ready::of(text)));
                assert!(found.iter().all(|found| found.raw.start <= found.raw.end && found.raw.end <= chars));
            }
        }
    }
}
