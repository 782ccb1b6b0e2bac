//! From a file to pixels, within bounds that hold before anything is allocated: bytes, pixels by the header, what a decoder may allocate,
//! and of an animation what is put together.

mod frames;
mod ground;
mod jpeg;
mod rows;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::error::ImageError as DecoderError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, imageops};

use super::ImageError;
use crate::protocol::MAX_IMAGE_BYTES;
use ground::{Ground, laid};

use frames::Shown;
pub use frames::{Frame, MAX_FRAMES};

/// The most pixels of a JPEG or PNG, and of a WebP without transparency, by its header. What has more than [`MAX_WHOLE_PIXELS`] is made
/// smaller while it is decoded.
pub const MAX_PIXELS: u64 = 50_000_000;
/// The most pixels of any other image.
pub const MAX_WHOLE_PIXELS: u64 = 25_000_000;
/// The most that a decoder may allocate for pixels: 25 million of 8 bytes, and a little.
const MAX_ALLOCATION: u64 = 256 * 1024 * 1024;
/// The most that a PNG may unpack beside its pixels: colour profiles are a megabyte at most.
const MAX_PNG_EXTRAS: u64 = 8 * 1024 * 1024;
/// What is looked at has no more pixels than this: larger images are reduced by averaging, which keeps text of 16 pixels readable in
/// images of up to four times as many.
const MAX_WORKING_PIXELS: f64 = 4_000_000.0;

/// Pixels to look at.
pub struct Decoded {
    /// Width of the image as it is shown, before any reduction.
    pub width: u32,
    /// Height of the image as it is shown, before any reduction.
    pub height: u32,
    /// The image as it is shown first, of four million pixels at most.
    pub pixels: RgbImage,
    /// What else it shows: itself on the other ground where it is transparent, and later frames that differ.
    pub more: Vec<Frame>,
    /// Why there is more that was not decoded, where there is.
    pub unread: Option<ImageError>,
    /// Pixels of an animation that were put together for it.
    pub composed: u64,
}

/// Decodes a JPEG, PNG, WebP, GIF or BMP, and what of an animation differs. Its content says which it is. An orientation in its EXIF data
/// is applied.
pub fn decode(file: &[u8]) -> Result<Decoded, ImageError> {
    // A decoder that panics on what somebody sent must not take the neighbours of this image with it.
    catch_unwind(AssertUnwindSafe(|| decode_unguarded(file))).unwrap_or(Err(ImageError::Broken))
}

fn decode_unguarded(file: &[u8]) -> Result<Decoded, ImageError> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    if file.len() > MAX_IMAGE_BYTES {
        return Err(ImageError::TooManyBytes);
    }
    let format = match image::guess_format(file) {
        Ok(format @ (Jpeg | Png | WebP | Gif | Bmp)) => format,
        _ => return Err(other_format(file)),
    };
    if format == Jpeg {
        jpeg::check(file)?;
    }
    let mut decoder = reader(file, format)?.into_decoder().map_err(|error| reason(&error))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(ImageError::Broken);
    }
    let pixels = u64::from(width) * u64::from(height);
    let more_of_it = matches!(format, Jpeg | Png) || format == WebP && !decoder.color_type().has_alpha();
    if pixels > if more_of_it { MAX_PIXELS } else { MAX_WHOLE_PIXELS } {
        return Err(ImageError::TooManyPixels);
    }
    let orientation = decoder.orientation().map_err(|error| reason(&error))?;
    let grounds = if format == Jpeg && pixels > MAX_WHOLE_PIXELS {
        drop(decoder);
        vec![(Ground::Light, jpeg::reduced(file)?)]
    } else if format == Png && pixels > MAX_WHOLE_PIXELS && !rows::is_interlaced(file) {
        drop(decoder);
        rows::reduced(file)?
    } else if decoder.total_bytes() > MAX_ALLOCATION {
        return Err(ImageError::TooManyPixels);
    } else {
        laid(DynamicImage::from_decoder(decoder).map_err(|error| reason(&error))?)
    };
    // Turned last, when there are few pixels left to turn.
    let turned = |pixels: RgbImage| {
        let mut turned = DynamicImage::ImageRgb8(reduced(pixels, MAX_WORKING_PIXELS));
        turned.apply_orientation(orientation);
        turned.into_rgb8()
    };
    let mut grounds = grounds.into_iter().map(|(ground, pixels)| (ground, turned(pixels)));
    let first = grounds.next().ok_or(ImageError::Broken)?;
    let other = grounds.next();
    let Shown { first, more, unread, composed } = frames::look_through(file, format, first, other, orientation);
    let (width, height) = if swaps_sides(orientation) { (height, width) } else { (width, height) };
    Ok(Decoded { width, height, pixels: first, more, unread, composed })
}

/// A decoder within its bounds.
fn reader(file: &[u8], format: ImageFormat) -> Result<ImageReader<Cursor<&[u8]>>, ImageError> {
    let mut limits = Limits::no_limits();
    // The decoder of PNG counts what is packed beside the pixels, that of GIF the pixels of a frame.
    limits.max_alloc = Some(if format == ImageFormat::Png { MAX_PNG_EXTRAS } else { MAX_ALLOCATION });
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits);
    Ok(reader)
}

/// What a file is that is none of ours, as its first box says: phones write HEIC, browsers show AVIF.
fn other_format(file: &[u8]) -> ImageError {
    let Some(([_, _, _, _, b'f', b't', b'y', b'p'], brands)) = file.split_first_chunk() else {
        return ImageError::NotAnImage;
    };
    let length = file.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize).saturating_sub(8);
    let brands = brands.get(..length.min(brands.len())).unwrap_or_default();
    let named = |names: &[&[u8; 4]]| brands.chunks_exact(4).any(|brand| names.iter().any(|name| name[..] == *brand));
    if named(&[b"avif", b"avis"]) {
        ImageError::Avif
    } else if named(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        ImageError::Heic
    } else {
        ImageError::NotAnImage
    }
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

/// By averaging, to so many pixels at most.
fn reduced(image: RgbImage, most: f64) -> RgbImage {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let scale = (most / (width * height)).sqrt();
    if scale >= 1.0 {
        return image;
    }
    let side = |length: f64| ((length * scale) as u32).max(1);
    imageops::thumbnail(&image, side(width), side(height))
}
