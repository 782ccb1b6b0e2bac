//! Instants in milliseconds. The clock is read by the shells; here an instant is only a value.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 instant such as `2026-11-23T10:00:00Z`")]
pub struct TimestampError;

/// 0000-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z: what RFC 3339 can write.
const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

impl Timestamp {
    /// The instant `millis` milliseconds after the epoch, held inside the years 0 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(*RANGE.start(), *RANGE.end()))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// This instant `minutes` later.
    #[must_use]
    pub fn plus_minutes(self, minutes: u32) -> Self {
        Self::from_millis(self.0 + i64::from(minutes) * 60_000)
    }

    /// This instant `days` later.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        Self::from_millis(self.0 + i64::from(days) * 86_400_000)
    }

    /// The hour of the day in UTC, 0 to 23.
    #[must_use]
    pub fn hour_utc(self) -> i64 {
        self.0.div_euclid(3_600_000).rem_euclid(24)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError)?;
        i64::try_from(instant.unix_timestamp_nanos().div_euclid(1_000_000))
            .ok()
            .filter(|millis| RANGE.contains(millis))
            .map(Self)
            .ok_or(TimestampError)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;
    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(instant: Timestamp) -> String {
        instant.to_string()
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instant = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, (hour, minute, second, milli)) = (instant.date(), instant.time().as_hms_milli());
        write!(
            f,
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day()
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offsets_are_folded_into_utc() {
        let instant: Timestamp = "2026-11-23T11:30:00.5+01:00".parse().unwrap();
        assert_eq!(instant.to_string(), "2026-11-23T10:30:00.500Z");
        assert_eq!(instant.hour_utc(), 10);
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in RANGE) {
            let instant = Timestamp::from_millis(millis);
            prop_assert_eq!(instant.to_string().parse::<Timestamp>().unwrap(), instant);
        }
    }
}
