//! Finding text in large pictures and in many small ones. The model that finds it sees 960 by 960 pixels at once: small writing in a long
//! picture would be lost. So a picture with small writing is looked at again in overlapping bands, and small pictures are laid side by side.

use image::{Rgb, RgbImage, imageops};
use scoring::GraphError;

use super::Quad;
use super::detect::{Detector, MAX_PIXELS};
use crate::images::work::{DETECTION, Work};
use crate::planted::planted;

/// Lines that are lower than this in what the model saw are small, in pixels of it; their bounds are about half as high again as their letters.
const SMALL: f32 = 24.0;
/// Where all places are higher than this, nothing small has run together in them.
const LARGE: f32 = 72.0;
/// Bands overlap by so many pixels of what the model sees, and lines that are no higher are looked for in them.
const OVERLAP: f32 = 96.0;
/// Pictures that are made this much smaller for the model may have small writing that is lost.
const MUCH_SMALLER: f32 = 0.8;
/// Pictures that are longer than wide by this factor are screenshots as likely as not.
const LONG: f32 = 3.0;
/// Between pictures on a sheet, in pixels.
const GAP: u32 = 16;
const GREY: Rgb<u8> = Rgb([128; 3]);

/// Places of text in a picture, and whether all of it could be looked through.
pub fn of_picture(detector: &Detector, image: &RgbImage, work: &mut Work) -> Result<(Vec<Quad>, bool), GraphError> {
    if !work.take(DETECTION) {
        return Ok((Vec::new(), false));
    }
    let mut places = detector.detect(image)?;
    let (width, height) = (image.width() as f32, image.height() as f32);
    let scale = (MAX_PIXELS / (width * height)).sqrt();
    let mut low: Vec<f32> = places.iter().map(|place| shorter(place) * scale).collect();
    low.sort_by(f32::total_cmp);
    // One that is lower than all others is noise as likely as writing; small lines may have run into one high place, and in a long picture
    // all may have been too small to be found.
    let long = width.max(height) > LONG * width.min(height);
    let lowest = low.get(low.len() / 10).copied().filter(|lowest| long || *lowest < LARGE);
    let Some(lowest) = lowest.or(long.then_some(SMALL)).filter(|_| scale < MUCH_SMALLER) else {
        return Ok((places, true));
    };
    if planted("small-writing-is-lost") {
        return Ok((places, true));
    }
    let wanted = (scale * (SMALL / lowest.max(1.0)).max(2.0)).min(1.0);
    let turned = places.iter().filter(|place| place.upright().1 == super::Turn::Quarter).count() * 2 > places.len();
    let axis = usize::from(!turned);
    let (length, across) = if turned { (width, height) } else { (height, width) };
    let overlap = OVERLAP / wanted;
    let band = (MAX_PIXELS / (across * wanted) / wanted).max(2.0 * overlap);
    let count = ((length - overlap) / (band - overlap)).ceil().max(1.0);
    let step = (length - overlap) / count;
    places.retain(|place| extent(place, axis) > overlap);
    for number in 0..count as u32 {
        if !work.take(DETECTION) {
            return Ok((places, false));
        }
        let start = (number as f32 * step) as u32;
        let end = (start as f32 + step + overlap).min(length) as u32;
        let part = if turned {
            imageops::crop_imm(image, start, 0, end - start, image.height()).to_image()
        } else {
            imageops::crop_imm(image, 0, start, image.width(), end - start).to_image()
        };
        // What lies in the middle of two bands belongs to one of them.
        let first = if number == 0 { 0.0 } else { start as f32 + overlap / 2.0 };
        let last = if number + 1 == count as u32 { length } else { start as f32 + step + overlap / 2.0 };
        let moved = |place: Quad| {
            Quad(place.0.map(|[x, y]| if turned { [x + start as f32, y] } else { [x, y + start as f32] }))
        };
        let own = |place: &Quad| {
            let middle = place.centre().get(axis).copied().unwrap_or_default();
            (first..last).contains(&middle) && extent(place, axis) <= overlap
        };
        places.extend(detector.detect(&part)?.into_iter().map(moved).filter(own));
    }
    Ok((places, true))
}

/// Places of text in pictures of the same size, by picture, and how many pictures were looked through.
pub fn of_pictures(
    detector: &Detector,
    images: &[&RgbImage],
    work: &mut Work,
    most: usize,
) -> Result<(Vec<Vec<Quad>>, usize), GraphError> {
    let mut places = Vec::new();
    let Some((width, height)) = images.first().map(|image| image.dimensions()) else { return Ok((places, 0)) };
    let columns_and_rows = grid(width, height, images.len().div_ceil(most.max(1)));
    for some in images.chunks(columns_and_rows.0 * columns_and_rows.1) {
        if !work.take(DETECTION) {
            break;
        }
        places.extend(of_sheet(detector, some, columns_and_rows)?);
    }
    let seen = places.len();
    Ok((places, seen))
}

/// Columns and rows for so many pictures, the sheet being as square as may be.
fn grid(width: u32, height: u32, count: usize) -> (usize, usize) {
    let skew = |columns: usize| {
        let (across, down) = (columns as f32 * width as f32, count.div_ceil(columns) as f32 * height as f32);
        (across / down).ln().abs()
    };
    let columns = (1..=count.max(1)).min_by(|a, b| skew(*a).total_cmp(&skew(*b))).unwrap_or(1);
    (columns, count.div_ceil(columns).max(1))
}

fn of_sheet(
    detector: &Detector,
    images: &[&RgbImage],
    (columns, rows): (usize, usize),
) -> Result<Vec<Vec<Quad>>, GraphError> {
    if let [one] = images {
        return Ok(vec![detector.detect(one)?]);
    }
    let cell = images.first().map_or((1, 1), |image| (image.width() + GAP, image.height() + GAP));
    let mut sheet = RgbImage::from_pixel(cell.0 * columns as u32, cell.1 * rows as u32, GREY);
    let origin = |at: usize| ((at % columns) as u32 * cell.0, (at / columns) as u32 * cell.1);
    for (at, image) in images.iter().enumerate() {
        let (x, y) = origin(at);
        imageops::replace(&mut sheet, *image, i64::from(x), i64::from(y));
    }
    let mut places = vec![Vec::new(); images.len()];
    for place in detector.detect(&sheet)? {
        let [x, y] = place.centre();
        let at = (y / cell.1 as f32) as usize * columns + (x / cell.0 as f32) as usize;
        let (left, top) = origin(at);
        if let Some(own) = places.get_mut(at) {
            own.push(Quad(place.0.map(|[x, y]| [x - left as f32, y - top as f32])));
        }
    }
    Ok(places)
}

fn shorter(place: &Quad) -> f32 {
    place.width().min(place.height())
}

fn extent(place: &Quad, axis: usize) -> f32 {
    let along = || place.0.iter().filter_map(|corner| corner.get(axis).copied());
    along().fold(f32::MIN, f32::max) - along().fold(f32::MAX, f32::min)
}
