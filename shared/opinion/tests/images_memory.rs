//! That no image makes the process large: alone in its process, since the system counts a process's memory as one.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{Letters, encoded, eyes, gif, hostile, jpeg, pattern, png};
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

/// Hundredths of a second of the processor that this process had.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn memory_stays_bounded_whatever_is_looked_at() {
    let eyes = eyes();
    let reader = Letters::default();
    let small = encoded(&pattern(0, 640, 480), ImageFormat::Png);
    eyes.look(&small, &reader).unwrap();
    let smooth = RgbImage::from_fn(5_000, 5_000, |x, y| Rgb([(x / 20) as u8, (y / 20) as u8, 128]));
    let mut files = hostile();
    files.push(("a JPEG of 25 megapixels", jpeg(&smooth, 80)));
    files.push(("a WebP of 25 megapixels", encoded(&smooth, ImageFormat::WebP)));
    drop(smooth);
    // The largest that are taken.
    let large = RgbImage::from_fn(8_160, 6_120, |x, y| Rgb([(x / 64) as u8, (y / 64) as u8, 128]));
    files.push(("a JPEG of 50 megapixels", jpeg(&large, 50)));
    files.push(("a WebP of 50 megapixels", encoded(&large, ImageFormat::WebP)));
    files.push(("a PNG of 50 megapixels", encoded(&large, ImageFormat::Png)));
    drop(large);
    files.push(("a PNG of 49 megapixels of 8 bytes", png(7_000, 7_000, 16, 6, 56_000, &[])));
    let frames: Vec<RgbImage> = (0..40).map(|kind| pattern(kind, 360, 360)).collect();
    files.push(("a GIF of frames that differ", gif(&frames)));
    let frame = |number: u32| {
        let mut frame = RgbImage::from_pixel(400, 400, Rgb([250; 3]));
        frame.put_pixel(number % 400, number / 400, Rgb([0; 3]));
        frame
    };
    files.push(("a GIF of a thousand frames", gif(&(0..1_000).map(frame).collect::<Vec<_>>())));
    files.push(("a GIF of frames of 8 megapixels", {
        gif(&[9, 200, 9, 200].map(|value| RgbImage::from_pixel(2_800, 2_800, Rgb([value; 3]))))
    }));
    for (name, file) in files {
        assert!(file.len() <= opinion::protocol::MAX_IMAGE_BYTES, "{name}: {} bytes", file.len());
        let before = status("VmRSS");
        // Sets the peak back to what there is now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let ticks = ticks();
        let answer = eyes.look(&file, &reader).map(|seen| (seen.width, seen.height, seen.unread));
        let spent = self::ticks() - ticks;
        let added = status("VmHWM").saturating_sub(before);
        println!(
            "{name}, {} KB: {added} MiB, {:.1} s of the processor, {answer:?}",
            file.len() / 1024,
            spent as f64 / 100.0
        );
        assert!(added < MOST, "{name} took {added} MiB");
    }
}
