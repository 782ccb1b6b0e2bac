//! Where text is: differentiable binarisation (Liao et al., 2020) as PP-OCR uses it. The graph gives each pixel a probability of lying in
//! the shrunken middle of a line; connected ones make a rectangle, which is grown back.

use image::{RgbImage, imageops};
use scoring::{Graph, GraphError, Tensor};

use super::{Quad, planes};

/// Pixels above are text. RapidOCR's values, as the four below.
const LEAST_PIXEL: f32 = 0.3;
/// Rectangles whose mean is below are not.
const LEAST_MEAN: f32 = 0.5;
/// How much a rectangle grows, in units of its area over its circumference.
const GROWTH: f32 = 1.6;
/// Smaller rectangles are dropped, in pixels of the map.
const LEAST_SIDE: f32 = 3.0;
/// Narrower places are dropped, in pixels of the image.
const LEAST_PLACE: f32 = 3.0;
/// Images are enlarged until their shorter side has as many pixels.
const SHORTER_SIDE: f32 = 736.0;
/// But have no more pixels than this, which bounds the time of a run.
pub(super) const MAX_PIXELS: f32 = 960.0 * 960.0;
/// Sides are multiples of this, as the graph halves them five times.
const STEP: f32 = 32.0;

/// The model that detects.
#[derive(Debug)]
pub struct Detector(Graph);

impl Detector {
    pub(super) fn new(graph: Graph) -> Self {
        Self(graph)
    }

    /// Places that may hold a line of text, the largest first.
    pub fn detect(&self, image: &RgbImage) -> Result<Vec<Quad>, GraphError> {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let enlarged = (SHORTER_SIDE / width.min(height)).max(1.0);
        let scale = enlarged.min((MAX_PIXELS / (width * height)).sqrt());
        // An image of one row of pixels must not become a million wide.
        let side = |length: f32| (length * scale / STEP).round().clamp(1.0, MAX_PIXELS / STEP / STEP) * STEP;
        let (across, down) = (side(width), side(height));
        let resized = imageops::resize(image, across as u32, down as u32, imageops::FilterType::Triangle);
        let input = Tensor::F32(vec![1, 3, down as usize, across as usize], planes(&resized));
        let Tensor::F32(_, map) = self.0.run_first(&input)? else { return Ok(Vec::new()) };
        let map = Map { values: map, width: across as usize, height: down as usize };
        let mut places: Vec<Quad> =
            map.rectangles().iter().map(|found| found.quad(width / across, height / down)).collect();
        places.retain(|quad| quad.width() > LEAST_PLACE && quad.height() > LEAST_PLACE);
        places.sort_by(|a, b| (b.width() * b.height()).total_cmp(&(a.width() * a.height())));
        Ok(places)
    }
}

/// Probabilities by pixel.
struct Map {
    values: Vec<f32>,
    width: usize,
    height: usize,
}

impl Map {
    fn rectangles(&self) -> Vec<Rectangle> {
        let parts = Parts::of(self);
        let rectangles = parts.0.iter().filter_map(|outline| Rectangle::around(outline));
        rectangles
            .filter(|found| found.shorter() >= LEAST_SIDE && self.mean(found) >= LEAST_MEAN)
            .map(|found| found.grown())
            .filter(|found| found.shorter() >= LEAST_SIDE + 2.0)
            .collect()
    }

    /// Mean of the pixels in a rectangle.
    fn mean(&self, within: &Rectangle) -> f32 {
        let corners = within.corners();
        let range = |axis: fn(&[f32; 2]) -> f32, length: usize| {
            let least = corners.iter().map(axis).fold(f32::MAX, f32::min).floor().max(0.0) as usize;
            let most = corners.iter().map(axis).fold(0.0, f32::max).ceil() as usize;
            least..(most + 1).min(length)
        };
        let (columns, rows) = (range(|point| point[0], self.width), range(|point| point[1], self.height));
        let (mut sum, mut count) = (0.0, 0_u32);
        for y in rows {
            for x in columns.clone() {
                if within.holds([x as f32, y as f32]) {
                    sum += self.values.get(y * self.width + x).copied().unwrap_or_default();
                    count += 1;
                }
            }
        }
        if count == 0 { 0.0 } else { sum / count as f32 }
    }
}

/// Connected parts of a map, each as the ends of its rows: all that a rectangle around it needs.
struct Parts(Vec<Vec<[f32; 2]>>);

impl Parts {
    /// Pixels above the bound, each grown by one to the right and down, eight neighbours being connected.
    fn of(map: &Map) -> Self {
        let (width, height) = (map.width, map.height);
        let above = |x: usize, y: usize| map.values.get(y * width + x).is_some_and(|value| *value > LEAST_PIXEL);
        let mut open: Vec<bool> = (0..width * height)
            .map(|place| (place % width, place / width))
            .map(|(x, y)| {
                let (left, up) = (x.saturating_sub(1), y.saturating_sub(1));
                above(x, y) || above(left, y) || above(x, up) || above(left, up)
            })
            .collect();
        let mut take = |place: usize| open.get_mut(place).is_some_and(std::mem::take);
        let mut parts = Vec::new();
        for start in 0..width * height {
            if !take(start) {
                continue;
            }
            let mut ends = std::collections::BTreeMap::new();
            let mut waiting = vec![start];
            while let Some(place) = waiting.pop() {
                let (x, y) = (place % width, place / width);
                let row = ends.entry(y).or_insert((x, x));
                *row = (row.0.min(x), row.1.max(x));
                for near_y in y.saturating_sub(1)..(y + 2).min(height) {
                    for near_x in x.saturating_sub(1)..(x + 2).min(width) {
                        if take(near_y * width + near_x) {
                            waiting.push(near_y * width + near_x);
                        }
                    }
                }
            }
            let points = ends.into_iter().flat_map(|(y, (from, to))| [[from as f32, y as f32], [to as f32, y as f32]]);
            parts.push(points.collect());
        }
        Self(parts)
    }
}

/// A rectangle at an angle: its middle, the direction of its width, and half its sides.
#[derive(Debug, Clone, PartialEq)]
struct Rectangle {
    middle: [f32; 2],
    along: [f32; 2],
    half: [f32; 2],
}

impl Rectangle {
    /// The smallest one around points: one of its sides lies along one of their convex hull's.
    fn around(points: &[[f32; 2]]) -> Option<Self> {
        let hull = convex_hull(points);
        let ends = hull.iter().zip(hull.iter().cycle().skip(1));
        let fitted = ends.filter_map(|(a, b)| {
            let length = (b[0] - a[0]).hypot(b[1] - a[1]);
            (length > 0.0).then(|| Self::fitted(&hull, [(b[0] - a[0]) / length, (b[1] - a[1]) / length]))
        });
        fitted.min_by(|a, b| (a.half[0] * a.half[1]).total_cmp(&(b.half[0] * b.half[1])))
    }

    /// The one around points whose side has this direction; its width is what lies nearest to the horizontal, and runs to the right.
    fn fitted(points: &[[f32; 2]], direction: [f32; 2]) -> Self {
        let [x, y] = direction;
        let along = if x.abs() >= y.abs() { [x, y] } else { [y, -x] };
        let along = if along[0] < 0.0 { [-along[0], -along[1]] } else { along };
        let span = |axis: [f32; 2]| {
            let values = points.iter().map(|point| point[0] * axis[0] + point[1] * axis[1]);
            values.fold((f32::MAX, f32::MIN), |(least, most), value| (least.min(value), most.max(value)))
        };
        let across = [-along[1], along[0]];
        let ((left, right), (top, bottom)) = (span(along), span(across));
        let (u, v) = ((left + right) / 2.0, (top + bottom) / 2.0);
        let middle = [u * along[0] + v * across[0], u * along[1] + v * across[1]];
        Self { middle, along, half: [(right - left) / 2.0, (bottom - top) / 2.0] }
    }

    fn shorter(&self) -> f32 {
        2.0 * self.half[0].min(self.half[1])
    }

    /// Grown on all sides by the distance that undoes the shrinking of training.
    fn grown(&self) -> Self {
        let [width, height] = [2.0 * self.half[0], 2.0 * self.half[1]];
        let distance = width * height * GROWTH / (2.0 * (width + height));
        Self { half: self.half.map(|half| half + distance), ..self.clone() }
    }

    fn holds(&self, point: [f32; 2]) -> bool {
        let [x, y] = [point[0] - self.middle[0], point[1] - self.middle[1]];
        let (u, v) = (x * self.along[0] + y * self.along[1], y * self.along[0] - x * self.along[1]);
        u.abs() <= self.half[0] + 0.5 && v.abs() <= self.half[1] + 0.5
    }

    /// From the top left, clockwise.
    fn corners(&self) -> [[f32; 2]; 4] {
        let [x, y] = self.along;
        let at = |u: f32, v: f32| {
            let (u, v) = (u * self.half[0], v * self.half[1]);
            [self.middle[0] + u * x - v * y, self.middle[1] + u * y + v * x]
        };
        [at(-1.0, -1.0), at(1.0, -1.0), at(1.0, 1.0), at(-1.0, 1.0)]
    }

    /// In pixels of the image, where the map is this much smaller.
    fn quad(&self, across: f32, down: f32) -> Quad {
        Quad(self.corners().map(|[x, y]| [x * across, y * down]))
    }
}

/// Andrew's monotone chain: the corners of the convex hull, counter-clockwise in a system whose second axis points up.
fn convex_hull(points: &[[f32; 2]]) -> Vec<[f32; 2]> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    sorted.dedup();
    if sorted.len() < 3 {
        return sorted;
    }
    let half = |points: &mut dyn Iterator<Item = [f32; 2]>| {
        let mut chain: Vec<[f32; 2]> = Vec::new();
        for point in points {
            while let [.., a, b] = chain.as_slice() {
                if (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]) > 0.0 {
                    break;
                }
                chain.pop();
            }
            chain.push(point);
        }
        chain.pop();
        chain
    };
    let mut hull = half(&mut sorted.iter().copied());
    hull.extend(half(&mut sorted.iter().rev().copied()));
    hull
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map with a bar of this half length and half height, turned.
    fn bar(degrees: f32) -> Map {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let value = |place: usize| {
            let (x, y) = ((place % 160) as f32 - 80.0, (place / 160) as f32 - 80.0);
            let (u, v) = (x * cosine + y * sine, y * cosine - x * sine);
            if u.abs() <= 50.0 && v.abs() <= 6.0 { 0.9 } else { 0.0 }
        };
        Map { values: (0..160 * 160).map(value).collect(), width: 160, height: 160 }
    }

    #[test]
    fn a_bar_is_found_at_any_angle() {
        for degrees in [0.0_f32, 5.0, -15.0, 30.0, 44.0] {
            let found = bar(degrees).rectangles();
            assert_eq!(found.len(), 1, "{degrees}°");
            let angle = found[0].along[1].atan2(found[0].along[0]).to_degrees();
            assert!((angle - degrees).abs() < 2.0, "{angle}° for {degrees}°");
            // 100 by 12 pixels and one of dilation, grown by 101 * 13 * 1.6 / (2 * 114).
            let grown = 101.0 * 13.0 * 1.6 / 228.0;
            assert!((found[0].half[0] - 50.5 - grown).abs() < 1.5 && (found[0].half[1] - 6.5 - grown).abs() < 1.5);
        }
    }

    #[test]
    fn two_bars_are_two_and_faint_ones_none() {
        let value = |place: usize| match place / 100 {
            10..=18 => 0.8,
            40..=48 => 0.8,
            70..=78 => 0.4,
            _ => 0.0,
        };
        let map = Map {
            values: (0..10_000)
                .map(|place| if (20..80).contains(&(place % 100)) { value(place) } else { 0.0 })
                .collect(),
            width: 100,
            height: 100,
        };
        assert_eq!(map.rectangles().len(), 2);
    }

    #[test]
    fn points_on_a_line_or_none_make_no_rectangle_with_an_area() {
        assert_eq!(Rectangle::around(&[]), None);
        assert_eq!(Rectangle::around(&[[1.0, 1.0]]), None);
        assert_eq!(Rectangle::around(&[[0.0, 0.0], [4.0, 4.0], [8.0, 8.0]]).map(|found| found.shorter()), Some(0.0));
    }
}
