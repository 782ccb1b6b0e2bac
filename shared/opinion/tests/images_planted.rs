//! Faults planted in how pictures are looked at, to see that the checks of each rule catch them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{Letters, encoded, eyes, gif, pattern, root};
use domain::ModelRef;
use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, imageops};
use opinion::images::ModelEyes;
use opinion::planted::plant;
use opinion::{Eyes, ImageError, Reader, ReaderError, Seen, TextOpinion};

const SENTENCE: &str = "Seven brown otters played cheerfully beside the river";

/// The sentence in a picture, in dark letters on light ground, in four rows.
fn writing() -> RgbImage {
    let file = std::fs::read(root().join("shared/opinion/tests/pictures/upright.jpg")).unwrap();
    image::load_from_memory(&file).unwrap().into_rgb8()
}

/// A text model for which only a text of few words is bad: what it says of a flood is nothing.
struct Few(ModelRef);

impl Reader for Few {
    fn model(&self) -> &ModelRef {
        &self.0
    }

    fn supports(&self, _: Option<&str>) -> bool {
        true
    }

    fn rows(&self, _: &str) -> Vec<Vec<i64>> {
        Vec::new()
    }

    fn most_rows(&self) -> usize {
        1
    }

    fn run(&self, _: &[&[i64]]) -> Result<Vec<Vec<f32>>, ReaderError> {
        Ok(Vec::new())
    }

    fn conclude(&self, text: &str, _: &[Vec<f32>]) -> Result<TextOpinion, ReaderError> {
        let score = if text.split_whitespace().count() <= 10 { 0.9 } else { 0.1 };
        Ok(TextOpinion { raw: score, calibrated: score, model: self.0.clone(), spans: Vec::new() })
    }
}

fn look(eyes: &ModelEyes, file: &[u8]) -> Seen {
    eyes.look(file, &Letters::default()).unwrap()
}

fn says(seen: &Seen) -> bool {
    seen.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(" ").contains(SENTENCE)
}

/// A later frame is read, and its lines say in which they stand.
fn later_frames_are_read(eyes: &ModelEyes) -> bool {
    let blank = RgbImage::from_pixel(writing().width(), writing().height(), Rgb([240; 3]));
    let seen = look(eyes, &gif(&[blank.clone(), blank.clone(), blank, writing()]));
    says(&seen) && seen.lines.iter().all(|line| line.frame == 3) && seen.unread.is_none()
}

/// A thousand frames that differ in a pixel are one.
fn a_pixel_is_no_frame(eyes: &ModelEyes) -> bool {
    let frame = |number: u32| {
        let mut frame = RgbImage::from_pixel(64, 64, Rgb([250; 3]));
        frame.put_pixel(number % 64, number / 64 % 64, Rgb([0; 3]));
        frame
    };
    look(eyes, &gif(&(0..1_000).map(frame).collect::<Vec<_>>())).unread.is_none()
}

/// Of frames beyond the bound nobody says that nothing is in them.
fn frames_beyond_are_unread(eyes: &ModelEyes) -> bool {
    let frames: Vec<RgbImage> = (0..60).map(|kind| pattern(kind, 40, 30)).collect();
    look(eyes, &gif(&frames)).unread == Some(ImageError::TooManyFrames)
}

/// White letters on nothing, beside a black bar that makes the whole look dark.
fn both_grounds_are_read(eyes: &ModelEyes) -> bool {
    let writing = writing();
    let (width, height) = writing.dimensions();
    let picture = RgbaImage::from_fn(width, height * 2, |x, y| {
        if y < height { Rgba([255, 255, 255, 255 - writing.get_pixel(x, y).0[0]]) } else { Rgba([0, 0, 0, 255]) }
    });
    let mut file = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    says(&look(eyes, &file.into_inner()))
}

/// Small letters at the end of a long picture.
fn small_writing_is_read(eyes: &ModelEyes) -> bool {
    let writing = writing();
    let small = imageops::resize(&writing, writing.width() / 2, writing.height() / 2, imageops::FilterType::Triangle);
    let mut picture = RgbImage::from_pixel(700, 5_600, *writing.get_pixel(2, 2));
    imageops::replace(&mut picture, &small, 40, 5_300);
    let lines = look(eyes, &encoded(&picture, ImageFormat::Png)).lines;
    lines.iter().any(|line| line.text == "Seven brown otters")
        && lines.iter().any(|line| line.text == "played cheerfully")
}

/// More lines than there is work for, each a little other than the rest.
fn lines_beyond_are_unread(eyes: &ModelEyes) -> bool {
    let writing = writing();
    let small = imageops::resize(&writing, writing.width() / 2, writing.height() / 2, imageops::FilterType::Triangle);
    let mut picture = RgbImage::from_pixel(1_990, 1_990, *writing.get_pixel(2, 2));
    for (number, (x, y)) in (0_u8..).zip((0..11).flat_map(|x| (0..19).map(move |y| (x, y)))) {
        let mut other = small.clone();
        other.pixels_mut().for_each(|pixel| pixel.0[2] = pixel.0[2].saturating_sub(number));
        imageops::replace(&mut picture, &other, x * i64::from(small.width()), y * i64::from(small.height()));
    }
    look(eyes, &encoded(&picture, ImageFormat::Png)).unread == Some(ImageError::TooManyLines)
}

/// Of two sentences far from each other, each is read by itself.
fn sentences_count_alone(eyes: &ModelEyes) -> bool {
    let writing = writing();
    let mut picture = RgbImage::from_pixel(writing.width(), writing.height() * 3, *writing.get_pixel(2, 2));
    imageops::replace(&mut picture, &writing, 0, 0);
    imageops::replace(&mut picture, &writing, 0, i64::from(writing.height()) * 2);
    let few = Few(ModelRef { name: "few".to_owned(), version: "1".to_owned(), sha256: String::new() });
    let seen = eyes.look(&encoded(&picture, ImageFormat::Png), &few).unwrap();
    seen.text.unwrap().calibrated == 0.9
}

#[test]
fn each_planted_fault_is_caught_by_the_check_of_its_rule() {
    type Check = fn(&ModelEyes) -> bool;
    let checks: [(&str, Check); 7] = [
        ("later-frames-are-not-seen", later_frames_are_read),
        ("a-pixel-makes-a-frame", a_pixel_is_no_frame),
        ("frames-beyond-are-fine", frames_beyond_are_unread),
        ("one-ground-is-enough", both_grounds_are_read),
        ("small-writing-is-lost", small_writing_is_read),
        ("lines-beyond-are-fine", lines_beyond_are_unread),
        ("lines-count-joined-only", sentences_count_alone),
    ];
    let eyes = eyes();
    for (fault, check) in checks {
        assert!(check(&eyes), "{fault}: the rule does not hold without it");
        plant(fault);
        assert!(!check(&eyes), "{fault}: nobody noticed");
        plant("");
    }
}
