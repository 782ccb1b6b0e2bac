//! What comes in as an image, and what is said of what is none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{encoded, gif, hostile, jpeg, pattern, png};
use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, imageops};
use opinion::ImageError;
use opinion::images::decode::{Decoded, MAX_FRAMES, decode};
use opinion::protocol::MAX_IMAGE_BYTES;
use proptest::prelude::*;

fn refused(file: &[u8]) -> Option<ImageError> {
    decode(file).err()
}

fn seen(file: &[u8]) -> Decoded {
    decode(file).unwrap_or_else(|error| panic!("{error:?}"))
}

fn webp(image: &RgbImage) -> Vec<u8> {
    encoded(image, ImageFormat::WebP)
}

#[test]
fn each_format_is_told_by_its_content() {
    let image = pattern(1, 90, 60);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp] {
        assert_eq!(seen(&encoded(&image, format)).pixels, image, "{format:?}");
    }
    let near = seen(&jpeg(&image, 95)).pixels;
    let off = near.iter().zip(image.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    assert!(off / (90 * 60 * 3) < 6, "{off}");
    assert_eq!(seen(&encoded(&image, ImageFormat::Gif)).pixels.dimensions(), (90, 60));
}

/// Frames of one colour each.
fn colours(values: &[u8]) -> Vec<RgbImage> {
    values.iter().map(|value| RgbImage::from_pixel(20, 10, Rgb([*value, 0, 0]))).collect()
}

fn numbers(decoded: &Decoded) -> Vec<u32> {
    decoded.more.iter().map(|frame| frame.number).collect()
}

/// An APNG of these frames, with a still picture of its own before them where there is one.
fn apng(still: Option<&RgbImage>, frames: &[RgbImage]) -> Vec<u8> {
    let (width, height) = frames[0].dimensions();
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, width, height);
    encoder.set_color(::png::ColorType::Rgb);
    encoder.set_animated(frames.len() as u32, 0).unwrap();
    encoder.set_sep_def_img(still.is_some()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    still.into_iter().chain(frames).for_each(|image| writer.write_image_data(image.as_raw()).unwrap());
    writer.finish().unwrap();
    file
}

#[test]
fn of_an_animation_the_frames_that_differ_are_seen() {
    let frames = colours(&[200, 200, 10, 10, 200, 90]);
    for (name, file) in [("GIF", gif(&frames)), ("APNG", apng(None, &frames))] {
        let decoded = seen(&file);
        assert_eq!(decoded.pixels.get_pixel(5, 5), &Rgb([200, 0, 0]), "{name}");
        // The fifth is the first again.
        assert_eq!(numbers(&decoded), [2, 5], "{name}");
        assert_eq!(decoded.more[0].pixels.get_pixel(5, 5), &Rgb([10, 0, 0]), "{name}");
        assert_eq!((decoded.unread, decoded.composed), (None, 6 * 200), "{name}");
        let cut = decode(&file[..file.len() * 4 / 5]).unwrap();
        assert_eq!((cut.pixels.get_pixel(5, 5), cut.unread), (&Rgb([200, 0, 0]), Some(ImageError::Broken)), "{name}");
    }
    // What is shown where animations are not need not be one of their frames.
    let decoded = seen(&apng(Some(&colours(&[50])[0]), &frames[..3]));
    assert_eq!((decoded.pixels.get_pixel(5, 5), numbers(&decoded)), (&Rgb([50, 0, 0]), vec![0, 2]));
}

#[test]
fn what_changes_too_little_for_a_word_is_no_frame_and_what_fades_in_is_one() {
    let frame = |pixels: u32, value: u8| {
        RgbImage::from_fn(40, 40, |x, y| Rgb(if y * 40 + x < pixels { [value; 3] } else { [255; 3] }))
    };
    assert_eq!(numbers(&seen(&gif(&[frame(0, 0), frame(1, 0), frame(23, 0), frame(0, 0)]))), Vec::<u32>::new());
    assert_eq!(numbers(&seen(&gif(&[frame(0, 0), frame(24, 0)]))), [1]);
    let fading: Vec<RgbImage> = (0..10).map(|step| frame(200, 255 - step * 5)).collect();
    assert_eq!(numbers(&seen(&apng(None, &fading))), [3, 6, 9]);
}

#[test]
fn animations_without_end_are_looked_through_within_bounds() {
    let many: Vec<RgbImage> = (0..100)
        .map(|value| colours(&[value * 2])[0].clone())
        .map(|one| imageops::resize(&one, 64, 64, imageops::FilterType::Nearest))
        .collect();
    let spread: Vec<RgbImage> = many.iter().step_by(7).cloned().collect();
    assert_eq!((seen(&apng(None, &spread)).unread, seen(&apng(None, &spread)).more.len()), (None, spread.len() - 1));
    let noise: Vec<RgbImage> = (0..60).map(|kind| pattern(kind, 64, 64)).collect();
    let decoded = seen(&apng(None, &noise));
    assert_eq!((decoded.unread, decoded.more.len()), (Some(ImageError::TooManyFrames), MAX_FRAMES));
    // Frames that are the same cost putting together.
    let large = RgbImage::from_pixel(2_000, 2_000, Rgb([7; 3]));
    let decoded = seen(&gif(&vec![large; 70]));
    assert_eq!((decoded.unread, decoded.more.len()), (Some(ImageError::TooManyFrames), 0));
    let larger =
        gif(&[RgbImage::from_pixel(3_000, 3_000, Rgb([7; 3])), RgbImage::from_pixel(3_000, 3_000, Rgb([200; 3]))]);
    assert_eq!(seen(&larger).unread, Some(ImageError::TooManyPixels));
}

#[test]
fn an_image_is_seen_the_way_its_camera_was_held() {
    let image = RgbImage::from_fn(48, 32, |x, _| Rgb(if x < 24 { [255, 0, 0] } else { [0, 0, 255] }));
    let plain = jpeg(&image, 95);
    // EXIF with one entry: orientation 6, to be turned by 90° clockwise.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let segment = [&[0xff, 0xe1], &((exif.len() + 2) as u16).to_be_bytes()[..], exif].concat();
    let turned = seen(&[&plain[..2], &segment, &plain[2..]].concat());
    assert_eq!((turned.width, turned.height, turned.pixels.dimensions()), (32, 48, (32, 48)));
    assert!(turned.pixels.get_pixel(16, 4).0[0] > 200 && turned.pixels.get_pixel(16, 44).0[2] > 200);
}

#[test]
fn what_is_transparent_lies_on_what_it_can_be_read_on() {
    let file = |ink: u8| {
        let image =
            RgbaImage::from_fn(
                20,
                20,
                |x, _| if x < 4 { Rgba([ink, ink, ink, 255]) } else { Rgba([ink, ink, ink, 0]) },
            );
        let mut file = std::io::Cursor::new(Vec::new());
        image.write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner()
    };
    for (ink, ground) in [(0, 255), (255, 0), (100, 255)] {
        let decoded = seen(&file(ink));
        let pixels = &decoded.pixels;
        assert_eq!((pixels.get_pixel(0, 0).0[0], pixels.get_pixel(10, 0).0[0]), (ink, ground));
        // And on the other ground.
        let other = &decoded.more[0];
        let shown = (other.pixels.get_pixel(0, 0).0[0], other.pixels.get_pixel(10, 0).0[0]);
        assert_eq!((decoded.more.len(), other.number, shown), (1, 0, (ink, 255 - ground)));
    }
}

#[test]
fn large_images_are_reduced_and_keep_their_size_in_what_is_told() {
    let large = seen(&png(5_000, 4_000, 8, 0, 5_000, &[]));
    assert_eq!((large.width, large.height), (5_000, 4_000));
    let (width, height) = large.pixels.dimensions();
    assert!(width * height <= 4_000_000 && width * height > 3_900_000, "{width} by {height}");
    assert_eq!(seen(&png(20_000, 1_000, 8, 0, 20_000, &[])).pixels.height(), 447);
}

#[test]
fn larger_ones_are_made_smaller_while_they_are_decoded() {
    let image = RgbImage::from_fn(8_064, 6_048, |x, y| Rgb([(x / 32) as u8, (y / 32) as u8, 128]));
    for (name, file) in [("JPEG", jpeg(&image, 60)), ("PNG", encoded(&image, ImageFormat::Png))] {
        let large = seen(&file);
        assert_eq!((large.width, large.height), (8_064, 6_048), "{name}");
        let (width, height) = large.pixels.dimensions();
        assert!(width * height <= 4_000_000 && width * height > 1_500_000, "{name}: {width} by {height}");
        let [red, green, blue] = large.pixels.get_pixel(width / 2, height / 2).0;
        assert!(red.abs_diff(126) < 6 && green.abs_diff(94) < 6 && blue.abs_diff(128) < 6, "{name}");
    }
    // Half transparent, so on two grounds.
    let clear = seen(&png(6_000, 6_000, 8, 6, 24_000, &[]));
    assert_eq!((clear.pixels.get_pixel(3, 3).0, clear.more[0].pixels.get_pixel(3, 3).0), ([255; 3], [0; 3]));
}

#[test]
fn a_jpeg_without_its_end_is_seen_as_far_as_it_goes() {
    let image = pattern(2, 200, 150);
    let file = jpeg(&image, 90);
    let whole = seen(&file).pixels;
    assert_eq!(seen(&file[..file.len() - 2]).pixels, whole);
    let half = seen(&file[..file.len() * 6 / 10]).pixels;
    assert_eq!(half.get_pixel(100, 20), whole.get_pixel(100, 20));
    let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    assert_eq!(refused(&file[..scan]), Some(ImageError::Broken));
}

#[test]
fn what_is_no_image_is_told_so_whatever_it_is_called() {
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><text>x</text></svg>";
    for file in
        [b"".as_slice(), b"hello", b"<!doctype html><img src=x.png>", svg, b"%PDF-1.7", b"II*\0\x08\0\0\0", &[0xff]]
    {
        assert_eq!(refused(file), Some(ImageError::NotAnImage));
    }
}

#[test]
fn what_phones_write_and_is_not_read_is_named() {
    let file =
        |brand: &[u8; 4]| [&24_u32.to_be_bytes()[..], b"ftyp", brand, &[0; 4], b"mif1", brand, &[0; 40]].concat();
    for (brand, expected) in [(b"heic", ImageError::Heic), (b"heix", ImageError::Heic), (b"avif", ImageError::Avif)] {
        assert_eq!(refused(&file(brand)), Some(expected));
    }
    assert_eq!(refused(&[&20_u32.to_be_bytes()[..], b"ftypisom", &[0; 40]].concat()), Some(ImageError::NotAnImage));
}

#[test]
fn what_ends_early_is_broken() {
    let image = pattern(2, 200, 150);
    for (name, file) in [
        ("PNG", encoded(&image, ImageFormat::Png)),
        ("BMP", encoded(&image, ImageFormat::Bmp)),
        ("WebP", webp(&image)),
        ("GIF", encoded(&image, ImageFormat::Gif)),
    ] {
        for share in [10, 50, 90] {
            assert_eq!(refused(&file[..file.len() * share / 100]), Some(ImageError::Broken), "{name} cut to {share} %");
        }
    }
}

#[test]
fn what_is_too_much_is_told_so_before_it_is_done() {
    assert_eq!(refused(&vec![0; MAX_IMAGE_BYTES + 1]), Some(ImageError::TooManyBytes));
    for (name, file) in hostile() {
        assert!(file.len() <= MAX_IMAGE_BYTES, "{name}: {} bytes", file.len());
        let answer = refused(&file);
        let expected: &[Option<ImageError>] = match name {
            "a PNG of 24 megapixels of 8 bytes"
            | "a PNG with 200 MB of packed text"
            | "a PNG whose pixels go on for 200 MB" => &[None],
            // Its profile is either left alone or found to be too much.
            "a PNG with a packed profile of 200 MB" => {
                &[None, Some(ImageError::Broken), Some(ImageError::TooManyPixels)]
            }
            "a GIF of 5000 by 5000 with one pixel" | "a WebP of 16 million by 4096" => &[Some(ImageError::Broken)],
            _ => &[Some(ImageError::TooManyPixels)],
        };
        assert!(expected.contains(&answer), "{name}: {answer:?}");
    }
}

#[test]
fn a_jpeg_of_too_many_scans_is_broken() {
    let file = jpeg(&pattern(0, 64, 64), 80);
    let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    let again = file[scan..file.len() - 2].repeat(80);
    assert_eq!(refused(&[&file[..scan], &again, &[0xff, 0xd9]].concat()), Some(ImageError::Broken));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), format in 0..4_usize) {
        let starts: [&[u8]; 4] = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x80\0\0\0WEBPVP8 ", b"GIF89a"];
        let _ = decode(&bytes);
        let _ = decode(&[starts[format], &bytes].concat());
    }

    #[test]
    fn no_change_of_an_image_makes_it_panic(
        format in 0..4_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in 0.2..1.0_f64,
    ) {
        let image = pattern(3, 70, 50);
        let mut file = match format {
            0 => jpeg(&image, 70),
            1 => encoded(&image, ImageFormat::Png),
            2 => webp(&image),
            _ => encoded(&image, ImageFormat::Gif),
        };
        for (place, value) in &changes {
            let place = place.index(file.len());
            file[place] = *value;
        }
        file.truncate((file.len() as f64 * cut) as usize);
        if let Ok(decoded) = decode(&file) {
            prop_assert!(decoded.pixels.width() * decoded.pixels.height() <= 4_000_000);
        }
    }
}
