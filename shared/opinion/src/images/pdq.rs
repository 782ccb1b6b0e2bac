//! PDQ, a perceptual hash: images that look alike have hashes that differ in few of their 256 bits. Written after Meta's description
//! and reference implementation (ThreatExchange, `pdq/`, BSD licence), whose hashes it gives for images of up to four million pixels.
//!
//! It outlives another encoding, another size and changes of brightness. A turn by 90°, a mirror image, a crop or a wide border give
//! another hash.

use std::f64::consts::PI;
use std::iter::{repeat, repeat_n};

use image::RgbImage;

pub use features::signals::{ImageHash as Pdq, NEAR, NotAHash};

/// Side of the reduced image.
const SIDE: usize = 64;
/// Frequencies kept of each direction.
const KEPT: usize = 16;
/// Images with a side of fewer pixels are not hashed.
const LEAST_SIDE: u32 = 5;
/// Images whose quality is below have too little in them: their hashes would be alike by chance. The reference's advice.
pub const LEAST_QUALITY: u32 = 50;

/// The hash of an image, and its quality from 0 to 100: how much there is in it to tell it by.
pub fn hash(image: &RgbImage) -> (Pdq, u32) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if image.width().min(image.height()) < LEAST_SIDE {
        return (Pdq([0; 4]), 0);
    }
    let mut luma: Vec<f32> = image
        .pixels()
        .map(|p| 0.299 * f32::from(p.0[0]) + 0.587 * f32::from(p.0[1]) + 0.114 * f32::from(p.0[2]))
        .collect();
    if (width, height) != (SIDE, SIDE) {
        // Two passes of boxes make a tent over the pixels that one of the 64 by 64 stands for.
        let window = |side: usize| side.div_ceil(2 * SIDE);
        for _ in 0..2 {
            luma = along_columns(&along_rows(&luma, width, window(width)), width, window(height));
        }
    }
    let small = decimated(&luma, width, height);
    (bits(&frequencies(&small)), quality(&small))
}

/// Means over a window along each row. The order of sums is the reference's, so that not even a last bit differs.
fn along_rows(input: &[f32], width: usize, window: usize) -> Vec<f32> {
    let ahead = window / 2;
    let behind = window - 1 - ahead;
    let mut output = Vec::with_capacity(input.len());
    for row in input.chunks_exact(width) {
        let mut sum: f32 = row.iter().take(ahead).sum();
        let mut count = ahead.min(width);
        let entering = row.iter().skip(ahead).map(Some).chain(repeat(None));
        let leaving = repeat_n(None, behind + 1).chain(row.iter().map(Some));
        for (enters, leaves) in entering.zip(leaving).take(width) {
            if let Some(value) = enters {
                sum += value;
                count += 1;
            }
            if let Some(value) = leaves {
                sum -= value;
                count -= 1;
            }
            output.push(sum / count as f32);
        }
    }
    output
}

/// The same along each column, all columns at once.
fn along_columns(input: &[f32], width: usize, window: usize) -> Vec<f32> {
    let ahead = window / 2;
    let behind = window - 1 - ahead;
    let rows: Vec<&[f32]> = input.chunks_exact(width).collect();
    let mut sums = vec![0.0; width];
    let mut output = Vec::with_capacity(input.len());
    rows.iter().take(ahead).for_each(|row| add(&mut sums, row, 1.0));
    let mut count = ahead.min(rows.len());
    let entering = rows.iter().skip(ahead).map(Some).chain(repeat(None));
    let leaving = repeat_n(None, behind + 1).chain(rows.iter().map(Some));
    for (enters, leaves) in entering.zip(leaving).take(rows.len()) {
        if let Some(row) = enters {
            add(&mut sums, row, 1.0);
            count += 1;
        }
        if let Some(row) = leaves {
            add(&mut sums, row, -1.0);
            count -= 1;
        }
        output.extend(sums.iter().map(|sum| sum / count as f32));
    }
    output
}

fn add(sums: &mut [f32], row: &[f32], sign: f32) {
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += sign * value);
}

/// One value of each of 64 by 64 blocks: the one in its middle.
fn decimated(luma: &[f32], width: usize, height: usize) -> Vec<f32> {
    let middle = |place: usize, length: usize| (2 * place + 1) * length / (2 * SIDE);
    let at = |row: usize, column: usize| luma.get(middle(row, height) * width + middle(column, width)).copied();
    (0..SIDE * SIDE).map(|place| at(place / SIDE, place % SIDE).unwrap_or_default()).collect()
}

/// How steep the reduced image is, in steps of a percent so that noise does not count; the scale is the reference's.
fn quality(small: &[f32]) -> u32 {
    let step = |a: &f32, b: &f32| ((a - b) * 100.0 / 255.0).abs() as u32;
    let down: u32 = small.iter().zip(small.iter().skip(SIDE)).map(|(a, b)| step(a, b)).sum();
    let across: u32 =
        small.chunks_exact(SIDE).flat_map(|row| row.iter().zip(row.iter().skip(1))).map(|(a, b)| step(a, b)).sum();
    ((down + across) / 90).min(100)
}

/// The 16 by 16 lowest frequencies without the constant one, by a discrete cosine transform.
fn frequencies(small: &[f32]) -> Vec<f32> {
    let scale = f64::from((2.0 / SIDE as f64).sqrt() as f32);
    let wave = |row: usize, place: usize| {
        (scale * ((PI / 2.0 / SIDE as f64) * (row + 1) as f64 * (2 * place + 1) as f64).cos()) as f32
    };
    let waves: Vec<f32> = (0..KEPT * SIDE).map(|place| wave(place / SIDE, place % SIDE)).collect();
    let mut halfway = Vec::with_capacity(KEPT * SIDE);
    for wave in waves.chunks_exact(SIDE) {
        for column in 0..SIDE {
            let values = small.iter().skip(column).step_by(SIDE);
            halfway.push(wave.iter().zip(values).fold(0.0, |sum, (w, v)| sum + w * v));
        }
    }
    let mut output = Vec::with_capacity(KEPT * KEPT);
    for row in halfway.chunks_exact(SIDE) {
        for wave in waves.chunks_exact(SIDE) {
            output.push(wave.iter().zip(row).fold(0.0, |sum, (w, v)| sum + w * v));
        }
    }
    output
}

/// A bit a frequency: whether it is above the median.
fn bits(frequencies: &[f32]) -> Pdq {
    let mut sorted = frequencies.to_vec();
    sorted.sort_by(f32::total_cmp);
    let median = sorted.get(sorted.len() / 2 - 1).copied().unwrap_or_default();
    let mut words = [0; 4];
    for (word, values) in words.iter_mut().rev().zip(frequencies.chunks(64)) {
        for (place, _) in values.iter().enumerate().filter(|(_, value)| **value > median) {
            *word |= 1 << place;
        }
    }
    Pdq(words)
}
