//! Letters below each other. A letter by itself is read badly, and some are not found; side by side they make a line.

use image::{RgbImage, imageops};

use super::Quad;

/// Fewer are no word.
const LEAST: usize = 5;
/// How much wider than high, and higher than wide, a place of one letter may be: it has a margin.
const SQUARE: f32 = 1.8;
/// By what part of its height a letter may lie beside the one above it,
const BESIDE: f32 = 0.6;
/// and how many heights below it: one letter in between may have been missed.
const BELOW: f32 = 3.2;
/// Height of a line, in pixels.
const HEIGHT: u32 = 48;

/// Columns of places that hold a letter each, from the top.
pub fn columns(places: &[Quad]) -> Vec<Vec<Quad>> {
    let shape = |place: &&Quad| {
        let ratio = place.width() / place.height().max(1.0);
        (1.0 / SQUARE..=SQUARE).contains(&ratio)
    };
    let mut single: Vec<&Quad> = places.iter().filter(shape).collect();
    single.sort_by(|a, b| top(a).total_cmp(&top(b)));
    let mut columns: Vec<Vec<Quad>> = Vec::new();
    for place in single {
        let fits = |column: &&mut Vec<Quad>| column.last().is_some_and(|last| follows(last, place));
        match columns.iter_mut().find(fits) {
            Some(column) => column.push(place.clone()),
            None => columns.push(vec![place.clone()]),
        }
    }
    columns.retain(|column| column.len() >= LEAST && is_apart(column, places));
    columns
}

/// Whether no other text stands beside a column in its own rows: then its letters are a list's marks or the ends of its words.
fn is_apart(column: &[Quad], places: &[Quad]) -> bool {
    let beside = places.iter().filter(|place| {
        let own = |one: &Quad| (one.centre()[1] - place.centre()[1]).abs() < one.height() / 2.0;
        !column.contains(place) && column.iter().any(own)
    });
    beside.count() < column.len() / 2
}

fn top(place: &Quad) -> f32 {
    place.0.iter().map(|[_, y]| *y).fold(f32::MAX, f32::min)
}

fn follows(above: &Quad, below: &Quad) -> bool {
    let ([x, y], [u, v]) = (above.centre(), below.centre());
    let height = above.height().max(1.0);
    (x - u).abs() <= BESIDE * height && v - y > 0.5 * height && v - y <= BELOW * height
}

/// A column as one line: cut at the distance of its letters, those that were not found included, and laid side by side. With the place of
/// all of it and how many letters it may have.
pub fn line(image: &RgbImage, column: &[Quad]) -> Option<(RgbImage, Quad, usize)> {
    let middles: Vec<f32> = column.iter().map(|place| place.centre()[1]).collect();
    let mut steps: Vec<f32> = middles.windows(2).filter_map(|two| Some(two.get(1)? - two.first()?)).collect();
    steps.sort_by(f32::total_cmp);
    let step = steps.get(steps.len() / 2).copied()?.max(1.0);
    let (first, last) = (*middles.first()?, *middles.last()?);
    let count = ((last - first) / step).round() as u32 + 1;
    let step = (last - first) / (count - 1).max(1) as f32;
    let bound =
        |pick: fn(f32, f32) -> f32, from| column.iter().flat_map(|place| place.0.map(|[x, _]| x)).fold(from, pick);
    let (left, right) = (bound(f32::min, f32::MAX).max(0.0), bound(f32::max, 0.0).min(image.width() as f32));
    let (top, bottom) = (first - step / 2.0, last + step / 2.0);
    let across = ((right - left) * HEIGHT as f32 / step).round().clamp(1.0, HEIGHT as f32 * 2.0) as u32;
    let mut strip = RgbImage::new(across * count, HEIGHT);
    for number in 0..count {
        let from = top + number as f32 * step;
        let cell = Quad([[left, from], [right, from], [right, from + step], [left, from + step]]);
        imageops::replace(&mut strip, &cell.straightened(image, across, HEIGHT), i64::from(number * across), 0);
    }
    let whole = Quad([[left, top], [right, top], [right, bottom], [left, bottom]]);
    Some((strip, whole, count as usize))
}
