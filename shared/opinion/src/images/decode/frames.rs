//! Frames of an animation that differ. A frame is looked at where enough of it is other than in the last one that was looked at: so neither
//! a pixel that blinks nor a thousand repeats cost anything, and what fades in slowly is seen once it has come.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, Frames, ImageDecoder, ImageFormat, Limits, RgbImage, RgbaImage};

use crate::planted::planted;

use super::ground::{Ground, grounds_of, on};
use super::{ImageError, MAX_ALLOCATION, MAX_PNG_EXTRAS, reason, reduced};

/// The most that is looked at beside what an image shows first.
pub const MAX_FRAMES: usize = 44;
/// Of the largest frame that is put together. Four copies of it are there at times.
const MAX_FRAME_PIXELS: u64 = 8_000_000;
/// Of all frames that are put together, whether they differ or not: two seconds of a processor.
const MAX_COMPOSED_PIXELS: u64 = 250_000_000;
/// Later frames have no more pixels than this: half of what the first is read with.
const WORKING_PIXELS: f64 = 460_800.0;
/// Values of 255 by which a pixel has to differ; compression makes less.
const OTHER: u8 = 12;
/// So many pixels that differ make a frame another: fewer write no word.
const LEAST_OTHER: usize = 24;

/// A later frame, or the same one on another ground.
pub struct Frame {
    /// Its number, from 0.
    pub number: u32,
    /// The whole as it is shown then, of half a million pixels at most where it is a later one.
    pub pixels: RgbImage,
}

/// What an image shows.
pub struct Shown {
    /// Its first frame on its first ground.
    pub first: RgbImage,
    /// What else.
    pub more: Vec<Frame>,
    /// Why not all of it was looked through.
    pub unread: Option<ImageError>,
    /// Pixels that were put together.
    pub composed: u64,
}

/// Looks through the frames of a file, of which the first was decoded on one ground or on two.
pub fn look_through(
    file: &[u8],
    format: ImageFormat,
    first: (Ground, RgbImage),
    other: Option<(Ground, RgbImage)>,
    orientation: Orientation,
) -> Shown {
    let mut composed = 0;
    let mut more: Vec<Frame> = other
        .filter(|(_, pixels)| differs(&first.1, pixels))
        .map(|(_, pixels)| Frame { number: 0, pixels })
        .into_iter()
        .collect();
    let unread = match animation(file, format) {
        Ok(_) if planted("later-frames-are-not-seen") => None,
        Ok(None) => None,
        Ok(Some((_, pixels))) if pixels > MAX_FRAME_PIXELS => Some(ImageError::TooManyPixels),
        Ok(Some((frames, pixels))) => {
            let mut seen = Seen::default();
            if format == ImageFormat::Png {
                // What is shown where animations are not need not be one of its frames.
                seen.is_new(first.0, &reduced(first.1.clone(), WORKING_PIXELS));
            }
            new_frames(frames, pixels, orientation, &mut seen, &mut more, &mut composed).err()
        }
        Err(error) => Some(error),
    };
    Shown { first: first.1, more, unread, composed }
}

fn new_frames(
    frames: Frames<'_>,
    pixels: u64,
    orientation: Orientation,
    seen: &mut Seen,
    more: &mut Vec<Frame>,
    composed: &mut u64,
) -> Result<(), ImageError> {
    for (number, frame) in (0..).zip(frames) {
        let frame = frame.map_err(|error| reason(&error))?.into_buffer();
        *composed += pixels;
        if *composed > MAX_COMPOSED_PIXELS {
            return Err(ImageError::TooManyFrames);
        }
        // The first was decoded before.
        let known = number == 0 && seen.is_empty();
        for ground in grounds_of(&frame) {
            let pixels = shown(&frame, ground, orientation);
            if !seen.is_new(ground, &pixels) || known {
                continue;
            }
            if more.len() == MAX_FRAMES {
                return if planted("frames-beyond-are-fine") { Ok(()) } else { Err(ImageError::TooManyFrames) };
            }
            more.push(Frame { number, pixels });
        }
    }
    Ok(())
}

fn shown(frame: &RgbaImage, ground: Ground, orientation: Orientation) -> RgbImage {
    let mut pixels = DynamicImage::ImageRgb8(reduced(on(frame, ground), WORKING_PIXELS));
    pixels.apply_orientation(orientation);
    pixels.into_rgb8()
}

/// The frames of an animation and the pixels of each; `None` where it is none.
fn animation(file: &[u8], format: ImageFormat) -> Result<Option<(Frames<'_>, u64)>, ImageError> {
    let failed = |error: image::ImageError| reason(&error);
    let bytes = Cursor::new(file);
    let limits = |most: u64| {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(most);
        limits
    };
    let size = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(bytes).map_err(failed)?;
            let pixels = size(decoder.dimensions());
            // The picture, a copy, and a frame that is no larger.
            decoder.set_limits(limits(pixels * 12)).map_err(failed)?;
            Some((decoder.into_frames(), pixels))
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(bytes).map_err(failed)?;
            let pixels = size(decoder.dimensions());
            decoder.has_animation().then(|| (decoder.into_frames(), pixels))
        }
        ImageFormat::Png => {
            let mut decoder = PngDecoder::with_limits(bytes, limits(MAX_PNG_EXTRAS)).map_err(failed)?;
            if !decoder.is_apng().map_err(failed)? {
                return Ok(None);
            }
            decoder.set_limits(limits(MAX_ALLOCATION)).map_err(failed)?;
            let pixels = size(decoder.dimensions());
            Some((decoder.apng().map_err(failed)?.into_frames(), pixels))
        }
        _ => None,
    })
}

/// What was looked at.
#[derive(Default)]
struct Seen {
    /// All of it, as digests.
    all: HashSet<(bool, u64)>,
    /// The last one on each ground.
    last: [Option<RgbImage>; 2],
}

impl Seen {
    fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether this is to be looked at; it counts as looked at then.
    fn is_new(&mut self, ground: Ground, pixels: &RgbImage) -> bool {
        let is_light = ground == Ground::Light;
        let mut hasher = DefaultHasher::new();
        pixels.as_raw().hash(&mut hasher);
        let known = !self.all.insert((is_light, hasher.finish()));
        let [light, dark] = &mut self.last;
        let last = if is_light { light } else { dark };
        let new = !known && last.as_ref().is_none_or(|last| differs(last, pixels));
        if new {
            *last = Some(pixels.clone());
        }
        new
    }
}

/// Whether a word could be written in what differs.
fn differs(a: &RgbImage, b: &RgbImage) -> bool {
    let other = |(a, b): &(&[u8], &[u8])| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > OTHER);
    let least = if planted("a-pixel-makes-a-frame") { 1 } else { LEAST_OTHER };
    a.dimensions() != b.dimensions()
        || a.as_raw().chunks_exact(3).zip(b.as_raw().chunks_exact(3)).filter(other).nth(least - 1).is_some()
}
