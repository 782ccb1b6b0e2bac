//! A place of text in an image, and the upright picture of it.

use image::{Rgb, RgbImage};

/// A parallelogram: corners at the top left, top right, bottom right and bottom left of the text in it, in pixels.
#[derive(Debug, Clone, PartialEq)]
pub struct Quad(pub [[f32; 2]; 4]);

/// Whether a place was turned to make its text run from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It was not.
    None,
    /// By 90°.
    Quarter,
}

/// How much higher than wide a place is that holds a turned line. PaddleOCR's value.
const TURNED: f32 = 1.5;
/// The most samples along each side of a pixel.
const MAX_SAMPLES: u32 = 8;

impl Quad {
    /// Length of its top edge.
    pub fn width(&self) -> f32 {
        let [a, b, ..] = self.0;
        distance(a, b)
    }

    /// Length of its left edge.
    pub fn height(&self) -> f32 {
        let [a, .., d] = self.0;
        distance(a, d)
    }

    /// Its middle.
    pub fn centre(&self) -> [f32; 2] {
        let [a, _, c, _] = self.0;
        [(a[0] + c[0]) / 2.0, (a[1] + c[1]) / 2.0]
    }

    /// The same place, its corners named so that the text in it runs along its longer side; whether it stands on its head is open.
    pub fn upright(&self) -> (Self, Turn) {
        let [a, b, c, d] = self.0;
        if self.height() >= TURNED * self.width() {
            (Self([b, c, d, a]), Turn::Quarter)
        } else {
            (self.clone(), Turn::None)
        }
    }

    /// The same place, for text that stands on its head.
    pub fn upside_down(&self) -> Self {
        let [a, b, c, d] = self.0;
        Self([c, d, a, b])
    }

    /// What is in it, as a picture of this size. Each pixel is the mean of enough samples that none of the image's is missed, up to
    /// eight times eight; beyond its edge the image goes on with its last pixels.
    pub fn straightened(&self, image: &RgbImage, width: u32, height: u32) -> RgbImage {
        let [origin, right, _, below] = self.0;
        let samples = |length: f32, pixels: u32| ((length / pixels as f32).ceil() as u32).clamp(1, MAX_SAMPLES);
        let (across, down) = (samples(self.width(), width), samples(self.height(), height));
        let part = |pixel: u32, sample: u32, samples: u32, pixels: u32| {
            (pixel as f32 + (sample as f32 + 0.5) / samples as f32) / pixels as f32
        };
        RgbImage::from_fn(width, height, |x, y| {
            let mut sum = [0.0; 3];
            for (sample_x, sample_y) in (0..down).flat_map(|y| (0..across).map(move |x| (x, y))) {
                let (u, v) = (part(x, sample_x, across, width), part(y, sample_y, down, height));
                let along = |axis: usize| {
                    let at = |point: [f32; 2]| point.get(axis).copied().unwrap_or_default();
                    at(origin) + u * (at(right) - at(origin)) + v * (at(below) - at(origin))
                };
                let value = bilinear(image, along(0) - 0.5, along(1) - 0.5);
                sum.iter_mut().zip(value).for_each(|(sum, value)| *sum += value);
            }
            let count = (across * down) as f32;
            Rgb(sum.map(|sum| (sum / count + 0.5) as u8))
        })
    }
}

fn distance(a: [f32; 2], b: [f32; 2]) -> f32 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// The image between its pixels, whose middles are at whole numbers here.
fn bilinear(image: &RgbImage, x: f32, y: f32) -> [f32; 3] {
    let x = x.clamp(0.0, (image.width() - 1) as f32);
    let y = y.clamp(0.0, (image.height() - 1) as f32);
    let (left, top) = (x as u32, y as u32);
    let (right, bottom) = ((left + 1).min(image.width() - 1), (top + 1).min(image.height() - 1));
    let (u, v) = (x - left as f32, y - top as f32);
    let mix = |a: f32, b: f32, part: f32| a + (b - a) * part;
    let [a, b, c, d] = [(left, top), (right, top), (left, bottom), (right, bottom)]
        .map(|(x, y)| image.get_pixel(x, y).0.map(f32::from));
    std::array::from_fn(|channel| {
        let at = |pixel: [f32; 3]| pixel.get(channel).copied().unwrap_or_default();
        mix(mix(at(a), at(b), u), mix(at(c), at(d), u), v)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_straightened_whichever_way_its_text_runs() {
        // A pixel of each colour: the text's top left is red, its top right green.
        let image = RgbImage::from_fn(4, 4, |x, y| {
            Rgb([if x < 2 && y < 2 { 255 } else { 0 }, if x >= 2 && y < 2 { 255 } else { 0 }, 0])
        });
        let whole = Quad([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]);
        let small = |quad: &Quad| quad.straightened(&image, 2, 2);
        assert_eq!(small(&whole).get_pixel(0, 0), &Rgb([255, 0, 0]));
        assert_eq!(small(&whole).get_pixel(1, 0), &Rgb([0, 255, 0]));
        assert_eq!(small(&whole.upside_down()).get_pixel(1, 1), &Rgb([255, 0, 0]));
        assert_eq!(small(&whole.upside_down()).get_pixel(0, 1), &Rgb([0, 255, 0]));
    }

    #[test]
    fn a_high_place_holds_a_turned_line() {
        let high = Quad([[0.0, 0.0], [10.0, 0.0], [10.0, 30.0], [0.0, 30.0]]);
        let (turned, turn) = high.upright();
        assert_eq!(turn, Turn::Quarter);
        assert_eq!((turned.width(), turned.height()), (30.0, 10.0));
        assert_eq!(turned.upright(), (turned.clone(), Turn::None));
        assert_eq!(turned.centre(), high.centre());
    }
}
