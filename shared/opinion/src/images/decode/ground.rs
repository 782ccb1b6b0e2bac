//! What is transparent, laid on light and on dark: nobody knows the ground of the page, and writing in the colour of its ground is lost.

use image::{DynamicImage, RgbImage, RgbaImage};

use crate::planted::planted;

/// What a picture is laid on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// White.
    Light,
    /// Black.
    Dark,
}

impl Ground {
    /// A pixel on it.
    pub fn under(self, [red, green, blue, alpha]: [u8; 4]) -> [u8; 3] {
        let ground: u32 = if self == Self::Light { 255 } else { 0 };
        let alpha = u32::from(alpha);
        [red, green, blue].map(|value| ((u32::from(value) * alpha + ground * (255 - alpha) + 127) / 255) as u8)
    }

    pub fn other(self) -> Self {
        if self == Self::Light { Self::Dark } else { Self::Light }
    }
}

/// What can be seen, weighed: where it is bright, the first ground is dark.
#[derive(Default)]
pub struct Weighed {
    weight: u64,
    brightness: u64,
    transparent: bool,
}

impl Weighed {
    pub fn add(&mut self, [red, green, blue, alpha]: [u8; 4]) {
        self.weight += u64::from(alpha);
        self.brightness += u64::from(alpha) * (u64::from(red) + u64::from(green) + u64::from(blue));
        self.transparent |= alpha != 255;
    }

    /// The grounds to look at it on, the better one first; one where nothing is transparent.
    pub fn grounds(&self) -> Vec<Ground> {
        let first = if self.brightness > self.weight * 3 * 160 { Ground::Dark } else { Ground::Light };
        if self.transparent && !planted("one-ground-is-enough") {
            vec![first, first.other()]
        } else {
            vec![Ground::Light]
        }
    }
}

/// A picture without transparency, or on both grounds.
pub fn laid(image: DynamicImage) -> Vec<(Ground, RgbImage)> {
    if !image.color().has_alpha() {
        return vec![(Ground::Light, image.into_rgb8())];
    }
    let image = image.into_rgba8();
    let grounds = grounds_of(&image);
    grounds.into_iter().map(|ground| (ground, on(&image, ground))).collect()
}

/// The grounds to look at a picture on.
pub fn grounds_of(image: &RgbaImage) -> Vec<Ground> {
    let mut weighed = Weighed::default();
    image.pixels().for_each(|pixel| weighed.add(pixel.0));
    weighed.grounds()
}

/// A picture on a ground.
pub fn on(image: &RgbaImage, ground: Ground) -> RgbImage {
    let mut laid = Vec::with_capacity(image.as_raw().len() / 4 * 3);
    image.pixels().for_each(|pixel| laid.extend(ground.under(pixel.0)));
    RgbImage::from_raw(image.width(), image.height(), laid).unwrap_or_default()
}
