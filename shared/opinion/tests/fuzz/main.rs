//! Fuzzing what comes in as a picture, animations above all: decoded within bounds or refused, whatever the bytes.
//!
//! `cargo test` runs the corpus and a few seconds of mutations; `make fuzz` lets coverage guide them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

#[path = "../../../domain/tests/common/mutated.rs"]
mod mutated;

use mutated::Material;
use opinion::images::decode::{MAX_FRAMES, decode};
use std::time::Duration;

#[test]
fn fuzz_animations() {
    bolero::check!(name = "animations").with_test_time(Duration::from_secs(1)).for_each(any_file);
}

#[test]
fn mutations_of_animations() {
    let material = Material::of(env!("CARGO_MANIFEST_DIR"), "animations");
    bolero::check!(name = "mutations")
        .with_test_time(Duration::from_secs(3))
        .with_max_len(60)
        .for_each(|recipe| any_file(&material.mutated(recipe)));
}

fn any_file(file: &[u8]) {
    let Ok(decoded) = decode(file) else { return };
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    assert!(pixels(decoded.pixels.width(), decoded.pixels.height()) <= 4_000_000);
    assert!(decoded.more.len() <= MAX_FRAMES);
    assert!(decoded.more.iter().all(|frame| pixels(frame.pixels.width(), frame.pixels.height()) <= 4_000_000));
    assert!(decoded.more.iter().filter(|frame| frame.number > 0).all(|frame| frame.pixels.as_raw().len() <= 1_382_400));
    // The last one is what went beyond.
    assert!(decoded.composed <= 250_000_000 + 8_000_000);
    let again = decode(file).unwrap();
    assert!(again.pixels == decoded.pixels && again.more.len() == decoded.more.len() && again.unread == decoded.unread);
}
