//! NumPy's file format, versions 1.0 and 2.0, as far as token ids and logits need it: two dimensions, C order, little endian.
//! Source: NumPy Enhancement Proposal 1 and `numpy.lib.format`.

use thiserror::Error;

/// The media type that SageMaker's SDKs send arrays with.
pub const MEDIA_TYPE: &str = "application/x-npy";

const MAGIC: &[u8] = b"\x93NUMPY";

/// Why bytes are not an array of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NpyError {
    /// Not this format, another version of it, or cut off.
    #[error("not a file of NumPy's format, version 1.0 or 2.0")]
    Format,
    /// The header is not the dictionary that NumPy writes.
    #[error("the header must be a dictionary of `descr`, `fortran_order` and `shape`")]
    Header,
    /// Another type.
    #[error("`descr` must be `<i8`")]
    Type,
    /// Another order.
    #[error("`fortran_order` must be `False`")]
    Order,
    /// Another shape.
    #[error("`shape` must be two sizes above 0")]
    Shape,
    /// More or fewer bytes than the shape says.
    #[error("the data must be as long as the shape says")]
    Length,
}

/// Ids in rows of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// Rows, 1 at least.
    pub rows: usize,
    /// Ids of a row, 1 at least.
    pub length: usize,
    /// All of them, row after row.
    pub ids: Vec<i64>,
}

/// Reads int64 of `[rows, length]`.
pub fn read_ids(bytes: &[u8]) -> Result<Ids, NpyError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NpyError::Format)?;
    let (size, rest) = match rest {
        [1, 0, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2, 0, a, b, c, d, rest @ ..] => {
            (usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).map_err(|_| NpyError::Format)?, rest)
        }
        _ => return Err(NpyError::Format),
    };
    let (header, data) = rest.split_at_checked(size).ok_or(NpyError::Format)?;
    let header = std::str::from_utf8(header).map_err(|_| NpyError::Header)?;
    let (rows, length) = read_header(header)?;
    let (numbers, []) = data.as_chunks::<8>() else { return Err(NpyError::Length) };
    if rows.checked_mul(length) != Some(numbers.len()) {
        return Err(NpyError::Length);
    }
    Ok(Ids { rows, length, ids: numbers.iter().map(|number| i64::from_le_bytes(*number)).collect() })
}

/// The shape that a header like `{'descr': '<i8', 'fortran_order': False, 'shape': (3, 4), }` names; keys in any order, each once.
fn read_header(header: &str) -> Result<(usize, usize), NpyError> {
    let inside = header.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(NpyError::Header)?;
    let (mut descr, mut order, mut shape) = (None, None, None);
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let (key, after) = quoted(rest).ok_or(NpyError::Header)?;
        let value = after.trim_start().strip_prefix(':').ok_or(NpyError::Header)?.trim_start();
        let (place, (value, after)) = match key {
            "descr" => (&mut descr, quoted(value).ok_or(NpyError::Type)?),
            "fortran_order" => (&mut order, value.split_at(value.find(',').unwrap_or(value.len()))),
            "shape" => {
                let sizes = value.strip_prefix('(').and_then(|rest| rest.split_once(')'));
                (&mut shape, sizes.ok_or(NpyError::Header)?)
            }
            _ => return Err(NpyError::Header),
        };
        if place.replace(value.trim()).is_some() {
            return Err(NpyError::Header);
        }
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if after.is_empty() => after,
            None => return Err(NpyError::Header),
        };
    }
    let (Some(descr), Some(order), Some(shape)) = (descr, order, shape) else { return Err(NpyError::Header) };
    if descr != "<i8" {
        return Err(NpyError::Type);
    }
    if order != "False" {
        return Err(NpyError::Order);
    }
    let (rows, length) = shape.split_once(',').ok_or(NpyError::Shape)?;
    let length = length.trim();
    let size = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|size| digits && *size > 0).ok_or(NpyError::Shape)
    };
    Ok((size(rows.trim())?, size(length.strip_suffix(',').unwrap_or(length).trim())?))
}

/// What stands between quotes at the beginning, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mark = text.chars().next().filter(|mark| matches!(mark, '\'' | '"'))?;
    text.strip_prefix(mark)?.split_once(mark)
}

/// Writes int64 of `[rows, length]`: what [`read_ids`] reads.
#[must_use]
pub fn write_ids(ids: &Ids) -> Vec<u8> {
    let data = ids.ids.iter().flat_map(|id| id.to_le_bytes());
    header("<i8", ids.rows, ids.length).into_iter().chain(data).collect()
}

/// Writes float32 of `[rows, width]`; `None` where rows have another width.
#[must_use]
pub fn write_floats(rows: &[Vec<f32>], width: usize) -> Option<Vec<u8>> {
    let mut bytes = header("<f4", rows.len(), width);
    bytes.reserve_exact(rows.len() * width * 4);
    for row in rows {
        if row.len() != width {
            return None;
        }
        bytes.extend(row.iter().flat_map(|number| number.to_le_bytes()));
    }
    Some(bytes)
}

/// Reads float32 of `[rows, width]`, as [`write_floats`] writes it and no other way: for tests and benchmarks.
#[must_use]
pub fn read_floats(bytes: &[u8], rows: usize, width: usize) -> Option<Vec<Vec<f32>>> {
    let (numbers, []) = bytes.strip_prefix(&*header("<f4", rows, width))?.as_chunks::<4>() else { return None };
    let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
    (numbers.len() == rows * width).then(|| numbers.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
}

/// A header of version 1.0, padded so that the data begin at a multiple of 64 bytes.
fn header(descr: &str, rows: usize, columns: usize) -> Vec<u8> {
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let before = MAGIC.len() + 4;
    let filled = (before + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', filled - before - text.len() - 1));
    text.push('\n');
    let size = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [MAGIC, &[1, 0], &size.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

    use super::*;

    /// `numpy.save` of `numpy.array([[1, -2, 3], [4, 5, 6]])`, NumPy 2.
    fn by_numpy() -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00v\x00".to_vec();
        let text = "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }";
        bytes.extend(format!("{text:<117}\n").bytes());
        bytes.extend([1_i64, -2, 3, 4, 5, 6].iter().flat_map(|id| id.to_le_bytes()));
        bytes
    }

    fn with_header(text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
        bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.bytes());
        bytes.extend([0; 48]);
        bytes
    }

    #[test]
    fn what_numpy_writes_is_read_and_written_alike() {
        let ids = Ids { rows: 2, length: 3, ids: vec![1, -2, 3, 4, 5, 6] };
        assert_eq!(read_ids(&by_numpy()), Ok(ids.clone()));
        assert_eq!(write_ids(&ids), by_numpy());
        assert_eq!(by_numpy().len() % 64, 48);
    }

    #[test]
    fn floats_come_back_to_the_same_bits() {
        let rows = vec![vec![0.1_f32, -3.5e8], vec![f32::MIN_POSITIVE, 7.0]];
        let bytes = write_floats(&rows, 2).unwrap();
        assert_eq!(read_floats(&bytes, 2, 2).unwrap(), rows);
        assert_eq!(bytes.len() % 64, 16);
        assert_eq!(write_floats(&[vec![1.0], vec![]], 1), None);
    }

    #[test]
    fn keys_may_come_in_any_order() {
        for header in [
            "{'shape': (2, 3), 'fortran_order': False, 'descr': '<i8'}",
            "{\"descr\":\"<i8\",\"fortran_order\":False,\"shape\":(2,3,)}",
        ] {
            assert_eq!(read_ids(&with_header(header)).map(|ids| (ids.rows, ids.length)), Ok((2, 3)), "{header}");
        }
    }

    #[test]
    fn what_is_not_an_array_of_ids_is_refused() {
        let good = by_numpy();
        for cut in [0, 5, 6, 8, 9, 10, 60, 127] {
            assert_eq!(read_ids(&good[..cut]), Err(NpyError::Format), "{cut}");
        }
        for end in [129, 170, 175] {
            assert_eq!(read_ids(&good[..end]), Err(NpyError::Length), "{end}");
        }
        assert_eq!(read_ids(&[good.as_slice(), &[0; 8]].concat()), Err(NpyError::Length));
        let mut third = good;
        third[6] = 3;
        assert_eq!(read_ids(&third), Err(NpyError::Format));
        for (header, error) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", NpyError::Type),
            ("{'descr': '>i8', 'fortran_order': False, 'shape': (2, 3)}", NpyError::Type),
            ("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (2, 3)}", NpyError::Type),
            ("{'descr': '<i8', 'fortran_order': True, 'shape': (2, 3)}", NpyError::Order),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (6,)}", NpyError::Shape),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2, 3)}", NpyError::Shape),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (0, 3)}", NpyError::Shape),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (+2, 3)}", NpyError::Shape),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (-2, 3)}", NpyError::Shape),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': ()}", NpyError::Shape),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 4)}", NpyError::Length),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", NpyError::Length),
            ("{'descr': '<i8', 'fortran_order': False}", NpyError::Header),
            ("{'descr': '<i8', 'descr': '<i8', 'fortran_order': False, 'shape': (2, 3)}", NpyError::Header),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", NpyError::Header),
            ("{'descr': '<i8' 'fortran_order': False, 'shape': (2, 3)}", NpyError::Header),
            ("{'descr: '<i8'}", NpyError::Header),
            ("", NpyError::Header),
            ("{", NpyError::Header),
        ] {
            assert_eq!(read_ids(&with_header(header)), Err(error), "{header}");
        }
    }
}
