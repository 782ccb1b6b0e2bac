//! Large PNGs, a row at a time: each pixel that is kept is the mean of a square of the file's, so that the whole is never there.

use std::io::Cursor;

use image::RgbImage;
use png::{Decoder, Limits, Transformations};

use super::ground::{Ground, Weighed};
use super::{ImageError, MAX_PNG_EXTRAS, MAX_WORKING_PIXELS};

/// Whether its rows come in seven passes; then only the whole can be put together. The last byte of the header says so.
pub fn is_interlaced(file: &[u8]) -> bool {
    file.get(28).is_some_and(|method| *method != 0)
}

/// Decodes and reduces, on both grounds where it is transparent.
pub fn reduced(file: &[u8]) -> Result<Vec<(Ground, RgbImage)>, ImageError> {
    let broken = |_| ImageError::Broken;
    let limits = Limits { bytes: MAX_PNG_EXTRAS as usize };
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = reader.info().size();
    let channels = reader.output_color_type().0.samples();
    let side = (f64::from(width) * f64::from(height) / MAX_WORKING_PIXELS).sqrt().ceil().max(1.0) as usize;
    let mut grounds = [Squares::new(width as usize, side), Squares::new(width as usize, side)];
    let mut weighed = Weighed::default();
    while let Some(row) = reader.next_row().map_err(broken)? {
        for (at, pixel) in row.data().chunks_exact(channels).enumerate() {
            let pixel = match *pixel {
                [grey] => [grey, grey, grey, 255],
                [grey, alpha] => [grey, grey, grey, alpha],
                [red, green, blue] => [red, green, blue, 255],
                [red, green, blue, alpha] => [red, green, blue, alpha],
                _ => return Err(ImageError::Broken),
            };
            weighed.add(pixel);
            let [light, dark] = &mut grounds;
            light.add(at, Ground::Light.under(pixel));
            if channels % 2 == 0 {
                dark.add(at, Ground::Dark.under(pixel));
            }
        }
        grounds.iter_mut().for_each(Squares::end_row);
    }
    let [light, dark] = grounds.map(Squares::image);
    let (mut light, mut dark) = (Some(light?), Some(dark?));
    let image = |ground| if ground == Ground::Light { light.take() } else { dark.take() };
    let mut image = image;
    Ok(weighed.grounds().into_iter().filter_map(|ground| Some((ground, image(ground)?))).collect())
}

/// Means of squares, as rows of pixels come in. What is left over at the right and at the bottom joins the last squares or is left out.
struct Squares {
    side: usize,
    width: usize,
    sums: Vec<[u32; 3]>,
    rows: usize,
    pixels: Vec<u8>,
}

impl Squares {
    fn new(width: usize, side: usize) -> Self {
        let width = (width / side).max(1);
        Self { side, width, sums: vec![[0; 3]; width], rows: 0, pixels: Vec::new() }
    }

    fn add(&mut self, at: usize, pixel: [u8; 3]) {
        if let Some(sum) = self.sums.get_mut(at / self.side) {
            sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(value));
        }
    }

    fn end_row(&mut self) {
        self.rows += 1;
        if self.rows == self.side {
            let count = (self.side * self.side) as u32;
            self.pixels
                .extend(self.sums.iter().flat_map(|sum| sum.map(|sum| ((sum + count / 2) / count).min(255) as u8)));
            self.sums.fill([0; 3]);
            self.rows = 0;
        }
    }

    fn image(self) -> Result<RgbImage, ImageError> {
        let height = self.pixels.len() / 3 / self.width;
        if height == 0 {
            return Err(ImageError::TooManyPixels);
        }
        RgbImage::from_raw(self.width as u32, height as u32, self.pixels).ok_or(ImageError::Broken)
    }
}
