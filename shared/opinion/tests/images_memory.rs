//! That no image makes the process large: alone in its process, since the system counts a process's memory as one.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{Letters, encoded, eyes, hostile, jpeg, pattern};
use image::{ImageFormat, Rgb, RgbImage};
use opinion::Eyes;

/// What one image may add to the process, in MiB.
const MOST: u64 = 400;

/// A line of /proc/self/status in MiB.
fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn memory_stays_bounded_whatever_is_looked_at() {
    let eyes = eyes();
    let reader = Letters::default();
    let small = encoded(&pattern(0, 640, 480), ImageFormat::Png);
    eyes.look(&small, &reader).unwrap();
    let smooth = RgbImage::from_fn(5_000, 5_000, |x, y| Rgb([(x / 20) as u8, (y / 20) as u8, 128]));
    let mut files = hostile();
    // The largest that is taken, as a baseline JPEG.
    files.push(("a JPEG of 25 megapixels", jpeg(&smooth, 80)));
    for (name, file) in files {
        let before = status("VmRSS");
        // Sets the peak back to what there is now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let answer = eyes.look(&file, &reader).map(|seen| (seen.width, seen.height));
        let added = status("VmHWM").saturating_sub(before);
        println!("{name}, {} KB: {added} MiB, {answer:?}", file.len() / 1024);
        assert!(added < MOST, "{name} took {added} MiB");
    }
}
