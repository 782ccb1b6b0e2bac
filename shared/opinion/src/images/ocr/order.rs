//! In which order lines are read.

use super::{Found, Quad};

/// Orders what was found: rows from top to bottom, and in a row from left to right, both as seen by somebody who holds the image so that
/// most of its text is upright.
pub fn in_reading_order(mut found: Vec<Found>) -> Vec<Found> {
    let direction = direction(&found);
    let place = |quad: &Quad| {
        let [x, y] = quad.centre();
        (x * direction[0] + y * direction[1], y * direction[0] - x * direction[1])
    };
    found.sort_by(|a, b| place(&a.quad).1.total_cmp(&place(&b.quad).1));
    let mut rows: Vec<Vec<Found>> = Vec::new();
    for one in found {
        let (middle, height) = (place(&one.quad).1, one.quad.height());
        match rows.last_mut() {
            Some(row)
                if row
                    .last()
                    .is_some_and(|last| middle - place(&last.quad).1 < 0.5 * height.min(last.quad.height())) =>
            {
                row.push(one)
            }
            _ => rows.push(vec![one]),
        }
    }
    for row in &mut rows {
        row.sort_by(|a, b| place(&a.quad).0.total_cmp(&place(&b.quad).0));
    }
    rows.into_iter().flatten().collect()
}

/// The direction in which text runs: the mean of all top edges, long ones counting more.
fn direction(found: &[Found]) -> [f32; 2] {
    let edges = found.iter().map(|one| {
        let [a, b, ..] = one.quad.0;
        [b[0] - a[0], b[1] - a[1]]
    });
    let [x, y] = edges.fold([0.0_f32; 2], |sum, edge| [sum[0] + edge[0], sum[1] + edge[1]]);
    let length = x.hypot(y);
    if length > 0.0 { [x / length, y / length] } else { [1.0, 0.0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of ten by five pixels at these places, turned by so many degrees about the origin.
    fn words(places: &[(&str, f32, f32)], degrees: f32) -> Vec<Found> {
        let (sine, cosine) = degrees.to_radians().sin_cos();
        let turned = |x: f32, y: f32| [x * cosine - y * sine, x * sine + y * cosine];
        let word = |(text, x, y): &(&str, f32, f32)| Found {
            text: (*text).to_owned(),
            confidence: 1.0,
            quad: Quad([turned(*x, *y), turned(x + 10.0, *y), turned(x + 10.0, y + 5.0), turned(*x, y + 5.0)]),
        };
        places.iter().map(word).collect()
    }

    #[test]
    fn rows_are_read_from_the_top_and_from_the_left_whichever_way_the_image_is_turned() {
        let scattered = [("d", 12.0, 9.0), ("b", 12.0, 1.0), ("e", 0.0, 16.0), ("a", 0.0, 0.0), ("c", 0.0, 8.0)];
        for degrees in [0.0, 5.0, -15.0, 40.0, 90.0, 180.0, -90.0] {
            let read: String = in_reading_order(words(&scattered, degrees)).into_iter().map(|one| one.text).collect();
            assert_eq!(read, "abcde", "{degrees}°");
        }
    }

    #[test]
    fn nothing_is_in_order() {
        assert_eq!(in_reading_order(Vec::new()), Vec::new());
    }
}
