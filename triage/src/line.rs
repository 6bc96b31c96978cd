//! The head of a line: its time, its writer, and the start of the message. Containers, the journal and Python's logging each prepend their
//! own fields.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// The time of a line, in microseconds since 1970; by the writer's own clock if no zone is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct When(pub(crate) i64);

/// A time stands within this many bytes from the beginning of a line.
pub(crate) const HEAD: usize = 96;

/// The first readable time in a line's head.
pub(crate) fn when(line: &[u8]) -> Option<When> {
    let head = &line[..line.len().min(HEAD)];
    for start in memchr::memchr2_iter(b'2', b'1', head).take(12) {
        // A date starts at the beginning of a word.
        let boundary = start == 0 || !head[start - 1].is_ascii_alphanumeric();
        if boundary && let Some(when) = iso(&line[start..]) {
            return Some(when);
        }
    }
    syslog(head).or_else(|| apache(head)).or_else(|| common(head))
}

/// `[Sat Nov 28 21:44:32.062221 2026]`, as in Apache.
fn apache(head: &[u8]) -> Option<When> {
    let rest = head.strip_prefix(b"[")?;
    let month = MONTHS.iter().position(|month| rest.get(4..7) == Some(month))?;
    let day = digits(rest.get(8..10)?)?;
    let (time, used) = clock(rest.get(11..)?)?;
    let year = digits(rest.get(12 + used..16 + used)?)?;
    Some(micros(PrimitiveDateTime::new(date(year as i32, month as u32 + 1, day)?, time), UtcOffset::UTC))
}

/// `[28/Nov/2026:10:00:00.123456789 +0000]`, as in 389 Directory Server and the common log format.
fn common(head: &[u8]) -> Option<When> {
    let rest = head.strip_prefix(b"[")?;
    if rest.get(2) != Some(&b'/') || rest.get(6) != Some(&b'/') || rest.get(11) != Some(&b':') {
        return None;
    }
    let month = MONTHS.iter().position(|month| rest.get(3..6) == Some(month))?;
    let (time, used) = clock(rest.get(12..)?)?;
    let offset = zone(rest.get(13 + used..).unwrap_or_default());
    let date = date(digits(&rest[7..11])? as i32, month as u32 + 1, digits(&rest[..2])?)?;
    Some(micros(PrimitiveDateTime::new(date, time), offset))
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0')))
}

/// `2026-11-24 06:54:26,123`, `2026-11-24T06:54:26.123456Z`, `…+01:00`; nginx and Go use slashes, stunnel uses dots.
fn iso(text: &[u8]) -> Option<When> {
    if text.len() < 19
        || !b"-/.".contains(&text[4])
        || text[7] != text[4]
        || !matches!(text[10], b' ' | b'T')
        || text[13] != b':'
    {
        return None;
    }
    let date = date(digits(&text[..4])? as i32, digits(&text[5..7])?, digits(&text[8..10])?)?;
    let (time, used) = clock(&text[11..])?;
    let offset = zone(text.get(11 + used..).unwrap_or_default());
    Some(micros(PrimitiveDateTime::new(date, time), offset))
}

fn date(year: i32, month: u32, day: u32) -> Option<Date> {
    Date::from_calendar_date(year, Month::try_from(u8::try_from(month).ok()?).ok()?, u8::try_from(day).ok()?).ok()
}

/// `06:54:26`, with or without a fraction, and its length.
fn clock(text: &[u8]) -> Option<(Time, usize)> {
    if text.len() < 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let part = |at: usize| digits(&text[at..at + 2]).and_then(|number| u8::try_from(number).ok());
    let (mut micro, mut used) = (0, 8);
    if matches!(text.get(8), Some(b'.' | b',')) {
        let fraction = text[9..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let read = fraction.min(6);
        micro = digits(&text[9..9 + read])? * 10_u32.pow(6 - read as u32);
        used += 1 + fraction;
    }
    Some((Time::from_hms_micro(part(0)?, part(3)?, part(6)?, micro).ok()?, used))
}

fn zone(text: &[u8]) -> UtcOffset {
    let read = || {
        let sign = match text.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = i8::try_from(digits(text.get(1..3)?)?).ok()?;
        let minutes = if text.get(3) == Some(&b':') { text.get(4..6)? } else { text.get(3..5)? };
        UtcOffset::from_hms(sign * hours, sign * i8::try_from(digits(minutes)?).ok()?, 0).ok()
    };
    read().unwrap_or(UtcOffset::UTC)
}

const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// `Nov 24 06:54:26`, as in the journal and syslog, which omit the year: the latest year in which the time is not in the future.
fn syslog(head: &[u8]) -> Option<When> {
    let month = MONTHS.iter().position(|month| head.starts_with(month))?;
    let day = match head.get(4..6)? {
        [b' ', digit] => digits(&[*digit])?,
        two => digits(two)?,
    };
    let (time, _) = clock(head.get(7..)?)?;
    let now = OffsetDateTime::now_utc();
    let of = |year| Some(PrimitiveDateTime::new(date(year, month as u32 + 1, day)?, time));
    let this = of(now.year()).filter(|then| then.assume_utc() <= now + time::Duration::days(1));
    Some(micros(this.or_else(|| of(now.year() - 1))?, UtcOffset::UTC))
}

fn micros(at: PrimitiveDateTime, offset: UtcOffset) -> When {
    When((at.assume_offset(offset).unix_timestamp_nanos() / 1000) as i64)
}

/// As RFC 3339 with milliseconds, in UTC or in the writer's own unknown zone.
pub(crate) fn shown(when: When) -> Option<String> {
    let format =
        time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(when.0) * 1000).ok()?.format(format).ok()
}

/// The line as a quote, truncated and without control characters.
pub(crate) fn quote(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(1200)]);
    let text: String = text.chars().filter(|c| !c.is_control()).take(240).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_writers_are_read() {
        let expected = Some("2025-11-24T06:54:26.123".to_owned());
        for line in [
            "2025-11-24 06:54:26,123 INFO: Unexpected EOF",
            "2025-11-24T06:54:26.123456Z stdout F ERROR: x",
            "2025-11-24T07:54:26.123+01:00 host program[42]: x",
            "2025-11-24T01:24:26.123456789-0530 x",
            "2025/11/24 06:54:26.123 [info] x",
            "2025.11.24 06:54:26.123 LOG3[0]: x",
            "[Mon Nov 24 06:54:26.123456 2025] [ssl:info] x",
            "[2025-11-24 06:54:26.123] ERROR: x",
            "[24/Nov/2025:07:54:26.123456789 +0100] conn=1 fd=64",
            "program-1  | 2025-11-24 06:54:26,123 INFO: x",
            r#"{"log":"x\n","stream":"stderr","time":"2025-11-24T06:54:26.1234Z"}"#,
        ] {
            assert_eq!(when(line.as_bytes()).and_then(shown), expected, "{line}");
        }
        assert!(when(b"Nov 24 06:54:26 host program[42]: INFO: x").is_some());
        for line in [
            "ERROR: I/O error: Unexpected EOF in NSPR",
            "",
            "2026-99-99 06:54:26 x",
            "[99/Nov/2026:06:54:26 +0000]",
            "[24/Nov/2026:06",
            "Nov 99 06:54:26",
            "2",
        ] {
            assert_eq!(when(line.as_bytes()), None, "{line}");
        }
    }
}
