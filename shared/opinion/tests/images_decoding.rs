//! What comes in as an image, and what is said of what is none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod common;

use common::{encoded, hostile, jpeg, pattern, png};
use image::codecs::gif::GifEncoder;
use image::{Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use opinion::ImageError;
use opinion::images::decode::{Decoded, decode};
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
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        assert_eq!(seen(&encoded(&image, format)).pixels, image, "{format:?}");
    }
    let near = seen(&jpeg(&image, 95)).pixels;
    let off = near.iter().zip(image.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    assert!(off / (90 * 60 * 3) < 6, "{off}");
    assert_eq!(seen(&encoded(&image, ImageFormat::Gif)).pixels.dimensions(), (90, 60));
}

#[test]
fn of_an_animation_the_first_frame_is_seen() {
    let frame = |value: u8| Frame::new(RgbaImage::from_pixel(20, 10, Rgba([value, 0, 0, 255])));
    let mut file = Vec::new();
    GifEncoder::new(&mut file).encode_frames([frame(200), frame(10), frame(10)]).unwrap();
    assert_eq!(seen(&file).pixels.get_pixel(5, 5), &Rgb([200, 0, 0]));
    // What comes after it is not even read.
    let second = file.len() * 2 / 3;
    assert_eq!(seen(&file[..second]).pixels.get_pixel(5, 5), &Rgb([200, 0, 0]));
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
        let pixels = seen(&file(ink)).pixels;
        assert_eq!((pixels.get_pixel(0, 0).0[0], pixels.get_pixel(10, 0).0[0]), (ink, ground));
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
fn what_is_no_image_is_told_so_whatever_it_is_called() {
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><text>x</text></svg>";
    let bmp = [b"BM".as_slice(), &[0; 60]].concat();
    for file in [
        b"".as_slice(),
        b"hello",
        b"<!doctype html><img src=x.png>",
        svg,
        b"%PDF-1.7",
        &bmp,
        b"II*\0\x08\0\0\0",
        &[0xff],
    ] {
        assert_eq!(refused(file), Some(ImageError::NotAnImage));
    }
}

#[test]
fn what_ends_early_is_broken() {
    let image = pattern(2, 200, 150);
    for (name, file) in [
        ("JPEG", jpeg(&image, 80)),
        ("PNG", encoded(&image, ImageFormat::Png)),
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
