//! Lines of unbounded files in bounded memory.

use std::io::{self, BufRead};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Its bytes.
    Whole(Vec<u8>),
    /// It is longer than the bound, by this many bytes in all; its bytes were passed over.
    TooLong(u64),
}

/// Reads lines of at most `max_bytes`.
pub struct Lines<R> {
    input: R,
    max_bytes: usize,
}

impl<R: BufRead> Lines<R> {
    /// Lines of `input`.
    pub fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes }
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        let mut kept = Vec::new();
        let mut length = 0_u64;
        loop {
            let buffer = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() {
                return Ok((length > 0).then(|| self.finish(kept, length)));
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            length += part.len() as u64;
            if kept.len() + part.len() <= self.max_bytes {
                kept.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(self.finish(kept, length)));
            }
        }
    }

    fn finish(&self, mut kept: Vec<u8>, length: u64) -> Line {
        if length > self.max_bytes as u64 {
            return Line::TooLong(length);
        }
        if kept.last() == Some(&b'\r') {
            kept.pop();
        }
        Line::Whole(kept)
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;
    fn next(&mut self) -> Option<io::Result<Line>> {
        self.line().transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    fn lines(text: &[u8], max_bytes: usize) -> Vec<Line> {
        // A buffer of three bytes, so that lines span several.
        Lines::new(io::BufReader::with_capacity(3, text), max_bytes).map(Result::unwrap).collect()
    }

    #[test]
    fn every_line_comes_once_whatever_it_is() {
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(lines(b"", 5), []);
        assert_eq!(
            lines(b"ab\n\nabcde\nabcdef\r\nx", 5),
            [whole("ab"), whole(""), whole("abcde"), Line::TooLong(7), whole("x")]
        );
        assert_eq!(lines(b"\n", 5), [whole("")]);
        assert_eq!(lines(b"ab\r\n\xff", 5), [whole("ab"), Line::Whole(vec![0xff])]);
    }
}
