//! JPEG: what of it is there, and large ones decoded at a fraction of their size.

use image::RgbImage;
use jpeg_decoder::{Decoder, PixelFormat};

use super::{ImageError, MAX_PIXELS, MAX_WORKING_PIXELS};

/// The most scans of a progressive JPEG. Encoders write about ten; each costs a pass over all pixels and takes a few bytes of the file.
const MAX_SCANS: usize = 64;
/// And the most pixels of all passes together: those scans over 25 million.
const MAX_PASSED_PIXELS: usize = 1_600_000_000;
/// The most that the coefficients of a progressive JPEG may take, at two bytes a sample.
const MAX_COEFFICIENTS: u64 = 300 * 1024 * 1024;
/// How a JPEG ends.
const END: [u8; 2] = [0xff, 0xd9];

/// Refuses what has no scan, or so many that they cost more than all other work. An end is not asked for: browsers show what there is of a
/// JPEG that was cut off, and so does the decoder.
pub fn check(file: &[u8]) -> Result<(), ImageError> {
    let (mut scans, mut pixels) = (0, 0);
    let mut rest = file.get(2..).unwrap_or_default();
    while let [0xff, marker, after @ ..] = rest {
        match *marker {
            // Markers may be preceded by any number of 0xff.
            0xff => rest = rest.get(1..).unwrap_or_default(),
            0xd9 => break,
            0x01 | 0xd0..=0xd8 => rest = after,
            _ => {
                let [high, low, body @ ..] = after else { break };
                if let (0xc0..=0xc2, [_, a, b, c, d, ..]) = (*marker, body) {
                    let side = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
                    pixels = side(*a, *b) * side(*c, *d);
                    if pixels as u64 > MAX_PIXELS {
                        return Err(ImageError::TooManyPixels);
                    }
                }
                let Some(next) = after.get(usize::from(u16::from_be_bytes([*high, *low])).max(2)..) else { break };
                rest = next;
                if *marker == 0xda && !rest.is_empty() {
                    scans += 1;
                    rest = end_of_scan(rest).and_then(|end| rest.get(end..)).unwrap_or_default();
                }
            }
        }
        if scans > MAX_SCANS || scans.saturating_mul(pixels) > MAX_PASSED_PIXELS {
            return Err(ImageError::Broken);
        }
    }
    if scans > 0 { Ok(()) } else { Err(ImageError::Broken) }
}

/// Where a scan's data end: at the first marker that is neither a stuffed 0xff nor a restart.
fn end_of_scan(data: &[u8]) -> Option<usize> {
    data.windows(2).position(|pair| matches!(pair, [0xff, marker] if !matches!(marker, 0x00 | 0xd0..=0xd7 | 0xff)))
}

/// Decodes at the least of 1/8, 1/4, 1/2 and 1 of its size that has the pixels that are looked at, so that the pixels of the whole are never there.
pub fn reduced(file: &[u8]) -> Result<RgbImage, ImageError> {
    let ended = [file, &END].concat();
    let mut decoder = Decoder::new(ended.as_slice());
    decoder.read_info().map_err(|_| ImageError::Broken)?;
    let info = decoder.info().ok_or(ImageError::Broken)?;
    let samples = u64::from(info.width) * u64::from(info.height) * info.pixel_format.pixel_bytes() as u64;
    if info.coding_process == jpeg_decoder::CodingProcess::DctProgressive && samples * 2 > MAX_COEFFICIENTS {
        return Err(ImageError::TooManyPixels);
    }
    let scale = (MAX_WORKING_PIXELS / (f64::from(info.width) * f64::from(info.height))).sqrt().min(1.0);
    let side = |length: u16| (f64::from(length) * scale).ceil() as u16;
    let (width, height) = decoder.scale(side(info.width), side(info.height)).map_err(|_| ImageError::Broken)?;
    let data = decoder.decode().map_err(|_| ImageError::Broken)?;
    let data: Vec<u8> = match info.pixel_format {
        PixelFormat::RGB24 => data,
        PixelFormat::L8 => data.iter().flat_map(|grey| [*grey; 3]).collect(),
        // Adobe writes them inverted.
        PixelFormat::CMYK32 => {
            let ink = |pixel: &[u8; 4]| {
                let [cyan, magenta, yellow, black] = pixel.map(u32::from);
                [cyan, magenta, yellow].map(|ink| (ink * black / 255) as u8)
            };
            data.as_chunks().0.iter().flat_map(ink).collect()
        }
        PixelFormat::L16 => return Err(ImageError::Broken),
    };
    RgbImage::from_raw(u32::from(width), u32::from(height), data).ok_or(ImageError::Broken)
}
