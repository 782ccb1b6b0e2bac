//! What the tests of eyes share: where things are, pictures of formulas, and hostile files.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "a test may fail by panicking, and not each test uses all"
)]

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use domain::ModelRef;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use opinion::images::ModelEyes;
use opinion::{Reader, ReaderError, TextOpinion};
use scoring::Onnx;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// ONNX Runtime: `MODERATO_ONNXRUNTIME`, or what `make tools` installed.
#[expect(clippy::disallowed_methods, reason = "where the library is, is the machine's business")]
pub fn onnx() -> Onnx {
    let installed = root().join(".tools/onnxruntime/libonnxruntime.so");
    let library = std::env::var_os("MODERATO_ONNXRUNTIME").map_or(installed, PathBuf::from);
    assert!(library.exists(), "there is no `{}`: run `make tools`, or set MODERATO_ONNXRUNTIME", library.display());
    scoring::init(&library).unwrap()
}

pub fn eyes() -> ModelEyes {
    opinion::images::load(&onnx(), &root().join(".tools/eyes")).unwrap_or_else(|error| panic!("{error}"))
}

/// A text model that says how many letters a text has, as a share of a hundred.
pub struct Letters(pub ModelRef);

impl Default for Letters {
    fn default() -> Self {
        Self(ModelRef { name: "letters".to_owned(), version: "1".to_owned(), sha256: String::new() })
    }
}

impl Reader for Letters {
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
        let share = text.chars().filter(|c| c.is_alphabetic()).count() as f64 / 100.0;
        Ok(TextOpinion { raw: share, calibrated: share, model: self.0.clone(), spans: Vec::new() })
    }
}

fn triangle(value: u64, half: u64) -> u64 {
    (value % (2 * half)).abs_diff(half) * 255 / half
}

/// Stripes and rings; whole numbers, so that they are the same pixels in any language.
pub fn pattern(kind: u64, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (u64::from(x), u64::from(y));
        let red = (triangle(3 * x + 2 * y, 211 + 31 * kind) + triangle(x * y / (40 + 9 * kind), 97)) / 2;
        let green = triangle(x * x / (50 + kind) + 5 * y, 173 + 17 * kind);
        let blue = triangle(7 * y + x * (kind + 1), 131);
        Rgb([red as u8, green as u8, blue as u8])
    })
}

pub fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image.clone()).write_to(&mut file, format).unwrap();
    file.into_inner()
}

pub fn jpeg(image: &RgbImage, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    image.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, quality)).unwrap();
    file
}

/// An animation of these frames.
pub fn gif(frames: &[RgbImage]) -> Vec<u8> {
    let mut file = Vec::new();
    let frame = |image: &RgbImage| image::Frame::new(DynamicImage::ImageRgb8(image.clone()).into_rgba8());
    image::codecs::gif::GifEncoder::new_with_speed(&mut file, 10).encode_frames(frames.iter().map(frame)).unwrap();
    file
}

/// A chunk of a PNG file.
pub fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes(), kind.as_slice(), data, &crc.sum().to_be_bytes()].concat()
}

/// So many zeros, compressed.
pub fn zeros(count: usize) -> Vec<u8> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let block = vec![0; 1 << 20];
    for start in (0..count).step_by(block.len()) {
        packed.write_all(&block[..block.len().min(count - start)]).unwrap();
    }
    packed.finish().unwrap()
}

/// A whole PNG of these sides, bits and colour type, all zeros, with more chunks before its pixels.
pub fn png(width: u32, height: u32, bits: u8, colour: u8, bytes_a_row: usize, more: &[u8]) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour, 0, 0, 0]].concat();
    let pixels = zeros((bytes_a_row + 1) * height as usize);
    [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), more, &chunk(b"IDAT", &pixels), &chunk(b"IEND", b"")]
        .concat()
}

/// Files that want to be more than they are, by name.
pub fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let gif = |width: u16, height: u16| {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        let frame = [&[0x2c, 0, 0, 0, 0], &sides[..], &[0, 2, 2, 0x4c, 0x01, 0, 0x3b]].concat();
        [b"GIF89a".as_slice(), &sides, &[0x80, 0, 0, 0, 0, 0, 255, 255, 255], &frame].concat()
    };
    let bomb = zeros(200 << 20);
    let text = chunk(b"zTXt", &[b"Comment\0\0", bomb.as_slice()].concat());
    let profile = chunk(b"iCCP", &[b"x\0\0", bomb.as_slice()].concat());
    let huge_webp = {
        let canvas = [&[0x10, 0, 0, 0][..], &[0xff, 0xff, 0xff], &[0xff, 0x0f, 0]].concat();
        let body = [b"WEBPVP8X".as_slice(), &10_u32.to_le_bytes(), &canvas].concat();
        [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
    };
    let mut tall_jpeg = jpeg(&pattern(0, 64, 64), 80);
    let sof = tall_jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    tall_jpeg[sof + 5..sof + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    vec![
        ("a PNG of 100 megapixels", png(10_000, 10_000, 8, 0, 10_000, &[])),
        ("a PNG of 24 megapixels of 8 bytes", png(6_000, 4_000, 16, 6, 48_000, &[])),
        ("a PNG that says 65535 by 65535", png(65_535, 65_535, 8, 6, 0, &[])),
        ("a PNG with 200 MB of packed text", png(64, 64, 8, 2, 192, &text)),
        ("a PNG with a packed profile of 200 MB", png(64, 64, 8, 2, 192, &profile)),
        ("a PNG whose pixels go on for 200 MB", {
            let header = [&64_u32.to_be_bytes()[..], &64_u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
            [b"\x89PNG\r\n\x1a\n".as_slice(), &chunk(b"IHDR", &header), &chunk(b"IDAT", &bomb), &chunk(b"IEND", b"")]
                .concat()
        }),
        ("a GIF of 65535 by 65535", gif(65_535, 65_535)),
        ("a GIF of 5000 by 5000 with one pixel", gif(5_000, 5_000)),
        ("a JPEG that says 65535 by 65535", tall_jpeg),
        ("a WebP of 16 million by 4096", huge_webp),
    ]
}
