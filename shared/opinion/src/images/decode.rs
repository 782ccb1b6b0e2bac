//! From a file to pixels, within bounds that hold before anything is allocated: bytes, pixels by the header, what a decoder may allocate.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::error::ImageError as DecoderError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, imageops};

use super::ImageError;
use crate::protocol::MAX_IMAGE_BYTES;

/// The most pixels of an image, by its header.
pub const MAX_PIXELS: u64 = 25_000_000;
/// The most that a decoder may allocate for pixels: 25 million of 8 bytes, and a little.
const MAX_ALLOCATION: u64 = 256 * 1024 * 1024;
/// The most that a PNG may unpack beside its pixels: colour profiles are a megabyte at most.
const MAX_PNG_EXTRAS: u64 = 8 * 1024 * 1024;
/// What is looked at has no more pixels than this: larger images are reduced by averaging, which keeps text of 16 pixels readable in
/// images of up to four times as many.
const MAX_WORKING_PIXELS: f64 = 4_000_000.0;
/// The most scans of a progressive JPEG. Encoders write about ten; each costs a pass over all pixels and takes a few bytes of the file.
const MAX_SCANS: usize = 64;

/// Pixels to look at.
pub struct Decoded {
    /// Width of the image as it is shown, before any reduction.
    pub width: u32,
    /// Height of the image as it is shown, before any reduction.
    pub height: u32,
    /// The image as it is shown, of four million pixels at most.
    pub pixels: RgbImage,
}

/// Decodes a JPEG, PNG or WebP, or the first frame of a GIF. Its content says which it is. An orientation in its EXIF data is applied.
pub fn decode(file: &[u8]) -> Result<Decoded, ImageError> {
    // A decoder that panics on what somebody sent must not take the neighbours of this image with it.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(file))).unwrap_or(Err(ImageError::Broken))
}

fn decode_unguarded(file: &[u8]) -> Result<Decoded, ImageError> {
    if file.len() > MAX_IMAGE_BYTES {
        return Err(ImageError::TooManyBytes);
    }
    let format = match image::guess_format(file) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif)) => format,
        _ => return Err(ImageError::NotAnImage),
    };
    if format == ImageFormat::Jpeg && !is_whole_jpeg(file) {
        return Err(ImageError::Broken);
    }
    let mut limits = Limits::no_limits();
    // The decoder of PNG counts what is packed beside the pixels, that of GIF the pixels of a frame.
    limits.max_alloc = Some(if format == ImageFormat::Png { MAX_PNG_EXTRAS } else { MAX_ALLOCATION });
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| reason(&error))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Broken);
    }
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_ALLOCATION {
        return Err(ImageError::TooManyPixels);
    }
    let orientation = decoder.orientation().map_err(|error| reason(&error))?;
    let decoded = DynamicImage::from_decoder(decoder).map_err(|error| reason(&error))?;
    // Turned last, when there are few pixels left to turn.
    let mut working = DynamicImage::ImageRgb8(reduced(opaque(decoded)));
    working.apply_orientation(orientation);
    let (width, height) = if swaps_sides(orientation) { (height, width) } else { (width, height) };
    Ok(Decoded { width, height, pixels: working.into_rgb8() })
}

fn reason(error: &DecoderError) -> ImageError {
    match error {
        DecoderError::Limits(_) => ImageError::TooManyPixels,
        _ => ImageError::Broken,
    }
}

fn swaps_sides(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

/// Lays what is transparent on white, or on black where what can be seen is bright: so that writing is not lost in its ground.
fn opaque(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let (mut weight, mut brightness) = (0_u64, 0_u64);
    for [red, green, blue, alpha] in image.pixels().map(|pixel| pixel.0) {
        weight += u64::from(alpha);
        brightness += u64::from(alpha) * (u64::from(red) + u64::from(green) + u64::from(blue));
    }
    let ground: u32 = if brightness > weight * 3 * 160 { 0 } else { 255 };
    let mut laid = Vec::with_capacity(image.as_raw().len() / 4 * 3);
    for [red, green, blue, alpha] in image.pixels().map(|pixel| pixel.0) {
        let alpha = u32::from(alpha);
        let over = |value: u8| ((u32::from(value) * alpha + ground * (255 - alpha) + 127) / 255) as u8;
        laid.extend([over(red), over(green), over(blue)]);
    }
    RgbImage::from_raw(image.width(), image.height(), laid).unwrap_or_default()
}

fn reduced(image: RgbImage) -> RgbImage {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let scale = (MAX_WORKING_PIXELS / (width * height)).sqrt();
    if scale >= 1.0 {
        return image;
    }
    let side = |length: f64| ((length * scale) as u32).max(1);
    imageops::thumbnail(&image, side(width), side(height))
}

/// Whether a JPEG's segments lead to its end, by way of no more scans than are taken. The decoder fills up what is missing without a word.
fn is_whole_jpeg(file: &[u8]) -> bool {
    let mut rest = file.get(2..).unwrap_or_default();
    let mut scans = 0;
    loop {
        // Markers may be preceded by any number of 0xff.
        let [0xff, marker, after @ ..] = rest else { return false };
        match *marker {
            0xff => rest = rest.get(1..).unwrap_or_default(),
            0xd9 => return scans > 0,
            0x01 | 0xd0..=0xd8 => rest = after,
            _ => {
                let [high, low, ..] = after else { return false };
                let Some(next) = after.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..) else {
                    return false;
                };
                rest = next;
                if *marker == 0xda {
                    scans += 1;
                    let Some(end) = end_of_scan(rest) else { return false };
                    rest = rest.get(end..).unwrap_or_default();
                }
            }
        }
        if scans > MAX_SCANS {
            return false;
        }
    }
}

/// Where a scan's data end: at the first marker that is neither a stuffed 0xff nor a restart.
fn end_of_scan(data: &[u8]) -> Option<usize> {
    data.windows(2).position(|pair| matches!(pair, [0xff, marker] if !matches!(marker, 0x00 | 0xd0..=0xd7 | 0xff)))
}
