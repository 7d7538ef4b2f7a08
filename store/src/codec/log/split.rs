//! Splits a message into its template and the values of its variables.
//!
//! A variable is a token with a digit in it, a quoted run without blanks that is
//! no JSON key, a word after an equals sign, a time or a row of a hexdump. What
//! is called a variable decides how well a chunk compresses, never what it says:
//! putting the values into the template gives the message again.

use super::intern::Interner;
use super::scan::Maps;
use super::stamp::{self, Calendar, KLOG_LENGTH, POWERS};
use super::{
    CLOCK, FLOAT, HEXDUMP, INTEGER, ISO, KLOG, MAX_MESSAGE_SLOTS, MAX_SPLIT_BYTES, STRING, WHOLE,
    hexdump,
};

/// Quoted runs from this length on are text, not a value.
pub(super) const MAX_QUOTED: usize = 200;

/// Values that a chunk gets at most, eight bytes each while it is written. What
/// comes after them is text.
pub(super) const MAX_VALUES: usize = 1 << 20;

/// Values of all messages so far.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// Numbers as they are, strings by their number in `strings`.
    pub(super) list: Vec<i64>,
    pub(super) strings: Interner,
    /// Sixteen bytes for each row of a hexdump.
    pub(super) hexdump: Vec<u8>,
    /// Messages that hold special bytes, one after another.
    pub(super) whole: Vec<u8>,
    /// Length of each of those.
    pub(super) whole_lengths: Vec<usize>,
}

/// Splits messages, one at a time.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    maps: Maps,
    pub(super) calendar: Calendar,
    /// Template of the last message.
    pub(super) template: Vec<u8>,
}

impl Splitter {
    /// Splits a message into `template` and the end of `values`. `guess` is where
    /// a similar message has its values: comparing with those spares a search.
    pub(super) fn split(&mut self, ts_ns: i64, message: &[u8], values: &mut Values, guess: usize) {
        self.template.clear();
        if values.list.len() < MAX_VALUES
            && let Some((offset, bytes)) = hexdump::parse(message)
        {
            self.template.push(HEXDUMP);
            values.list.push(offset);
            values.hexdump.extend_from_slice(&bytes);
        } else if message.len() > MAX_SPLIT_BYTES || self.maps.build(message) {
            self.template.push(WHOLE);
            values.whole.extend_from_slice(message);
            values.whole_lengths.push(message.len());
        } else {
            let first = values.list.len();
            let mut walk = Walk {
                message,
                ts_ns,
                maps: &self.maps,
                calendar: &mut self.calendar,
                template: &mut self.template,
                values,
                guess: guess.wrapping_sub(first),
                copied: 0,
            };
            let last = (first + MAX_MESSAGE_SLOTS).min(MAX_VALUES);
            let mut at = 0;
            while let Some(place) = walk.maps.next_interesting(at)
                && walk.values.list.len() < last
            {
                at = match message[place] {
                    b'"' => walk.quoted(place),
                    b'=' => walk.assigned(place),
                    _ => walk.number(place),
                };
            }
            let rest = &message[walk.copied..];
            self.template.extend_from_slice(rest);
        }
    }
}

/// A walk over one message. Its methods look at one place each and tell where to
/// go on.
struct Walk<'a> {
    message: &'a [u8],
    ts_ns: i64,
    maps: &'a Maps,
    calendar: &'a mut Calendar,
    template: &'a mut Vec<u8>,
    values: &'a mut Values,
    /// What to add to the place of a value to get the place of its guess.
    guess: usize,
    /// How much of the message is in the template already.
    copied: usize,
}

impl Walk<'_> {
    /// Puts a variable into the template in place of `start..end`.
    #[inline]
    fn put(&mut self, start: usize, end: usize, placeholder: u8, value: i64) -> usize {
        self.template.extend_from_slice(&self.message[self.copied..start]);
        self.template.push(placeholder);
        self.values.list.push(value);
        self.copied = end;
        end
    }

    #[inline]
    fn put_string(&mut self, start: usize, end: usize) -> usize {
        let string = &self.message[start..end];
        let guess = self.values.list.len().wrapping_add(self.guess);
        let guess = self.values.list.get(guess).copied().unwrap_or(-1);
        let known = usize::try_from(guess)
            .is_ok_and(|g| g < self.values.strings.len() && self.values.strings.get(g) == string);
        let number = if known { guess } else { i64::from(self.values.strings.intern(string)) };
        self.put(start, end, STRING, number)
    }

    fn put_stamp(&mut self, start: usize, placeholder: u8, found: stamp::Found) -> usize {
        let (difference, spelling, length) = found;
        let end = self.put(start, start + length, placeholder, difference);
        self.template.push(spelling.to_byte());
        end
    }

    /// A quote: a run without blanks up to the next one is a variable, unless a
    /// colon follows and makes it a JSON key, whose words are few.
    #[inline]
    fn quoted(&mut self, quote: usize) -> usize {
        let end = self.maps.quoted_end(quote + 1);
        if self.message.get(end) != Some(&b'"') || end >= quote + MAX_QUOTED {
            return quote + 1;
        }
        let is_key = self.message.get(end + 1) == Some(&b':');
        if !is_key || self.has_digit(quote + 1, end) {
            self.put_string(quote + 1, end);
        }
        end + 1
    }

    #[inline]
    fn has_digit(&self, start: usize, end: usize) -> bool {
        let place = self.maps.next_interesting(start);
        place.is_some_and(|place| {
            place < end && self.message[place..end].iter().any(u8::is_ascii_digit)
        })
    }

    /// An equals sign: a word after it is a variable.
    fn assigned(&mut self, equals: usize) -> usize {
        let start = equals + 1;
        if !self.message.get(start).is_some_and(u8::is_ascii_alphabetic) {
            return start;
        }
        let end = self.trimmed_token_end(start);
        self.put_string(start, end)
    }

    /// End of the token at `at` without the points and dashes that end it.
    #[inline]
    fn trimmed_token_end(&self, at: usize) -> usize {
        let end = self.maps.token_end(at);
        let trimmed = self.message[at + 1..end]
            .iter()
            .rposition(|byte| !matches!(byte, b'.' | b'-'))
            .map_or(1, |last| last + 2);
        at + trimmed
    }

    /// A digit: a time, a number or a token that has it somewhere.
    fn number(&mut self, at: usize) -> usize {
        if let Some(end) = self.stamp(at) {
            return end;
        }
        if self.message[..at].ends_with(b".go:") {
            // A line of Go source: as constant as the text of its message.
            let digits = self.message[at..].iter().take_while(|byte| byte.is_ascii_digit());
            return at + digits.count();
        }
        let start = self.maps.token_start(at).max(self.copied);
        let end = self.trimmed_token_end(at);
        if start == at
            && let Some((placeholder, value, length)) = parse_number(&self.message[at..end])
        {
            self.put(at, at + length, placeholder, value);
            return end;
        }
        self.put_string(start, end)
    }

    /// A time that starts with the digit at `at`.
    #[inline]
    fn stamp(&mut self, at: usize) -> Option<usize> {
        let text = &self.message[at..];
        let before = at.checked_sub(1).map(|before| self.message[before]);
        let follows_digit = before.is_some_and(|byte| byte.is_ascii_digit());
        match *text.get(2)? {
            b':' if !follows_digit && before != Some(b':') => {
                let found = stamp::clock(text, self.ts_ns)?;
                let ends = text.get(found.2).is_none_or(|byte| *byte != b':');
                ends.then(|| self.put_stamp(at, CLOCK, found))
            }
            digit if digit.is_ascii_digit() => match *text.get(4)? {
                b'-' if !follows_digit => {
                    let found = self.calendar.iso(text, self.ts_ns)?;
                    Some(self.put_stamp(at, ISO, found))
                }
                b' ' if matches!(before, Some(b'I' | b'W' | b'E' | b'F'))
                    && (at == 1 || self.message[at - 2] == b' ') =>
                {
                    let difference = self.calendar.klog(text, self.ts_ns)?;
                    Some(self.put(at, at + KLOG_LENGTH, KLOG, difference))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// A number that its value prints again: a placeholder, the value, and how much
/// of the token it is. Up to three letters may follow decimals, such as a unit.
pub(super) fn parse_number(token: &[u8]) -> Option<(u8, i64, usize)> {
    let (whole, length) = parse_integer(token)?;
    if length == token.len() {
        return Some((INTEGER, whole, length));
    }
    let (packed, end) = parse_float(token)?;
    let unit = &token[end..];
    let is_unit = unit.len() <= 3 && unit.iter().all(u8::is_ascii_alphabetic);
    is_unit.then_some((FLOAT, packed, end))
}

/// The integer that a text starts with, and its length.
#[inline]
pub(super) fn parse_integer(text: &[u8]) -> Option<(i64, usize)> {
    let (value, length) = digits(text, 18);
    let is_printed_again = length == 1 || length > 1 && text[0] != b'0';
    is_printed_again.then_some((value, length))
}

/// The float that a text starts with, its decimals in the lowest four bits, and
/// its length.
#[inline]
pub(super) fn parse_float(text: &[u8]) -> Option<(i64, usize)> {
    let (whole, length) = parse_integer(text)?;
    if text.get(length) != Some(&b'.') || length > 12 {
        return None;
    }
    let (fraction, decimals) = digits(&text[length + 1..], 9);
    let mantissa = whole.checked_mul(POWERS[decimals])?.checked_add(fraction)?;
    // Four bits say how many decimals, and delta coding needs one more.
    let fits = decimals > 0 && mantissa < 1 << 58;
    fits.then_some((mantissa << 4 | decimals as i64, length + 1 + decimals))
}

/// Value and number of the digits that a text starts with, `most` at most.
#[inline]
fn digits(text: &[u8], most: usize) -> (i64, usize) {
    let mut value = 0;
    let mut count = 0;
    while count < text.len().min(most) && text[count].is_ascii_digit() {
        value = value * 10 + i64::from(text[count] - b'0');
        count += 1;
    }
    (value, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T12:28:03Z
    const ROW: i64 = 1_795_350_483_000_000_000;

    /// The template with a letter for each placeholder.
    fn template(message: &str) -> String {
        let mut splitter = Splitter::default();
        splitter.split(ROW, message.as_bytes(), &mut Values::default(), 0);
        let mut text = String::new();
        let mut bytes = splitter.template.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                INTEGER => text.push_str("<int>"),
                FLOAT => text.push_str("<float>"),
                STRING => text.push_str("<string>"),
                KLOG => text.push_str("<klog>"),
                HEXDUMP => text.push_str("<hexdump>"),
                WHOLE => text.push_str("<whole>"),
                ISO | CLOCK => {
                    let spelling = bytes.next().copied().and_then(stamp::Spelling::from_byte);
                    let decimals = spelling.expect("one follows").decimals;
                    text.push_str(if byte == ISO { "<iso" } else { "<clock" });
                    text.push((b'0' + decimals).into());
                    text.push('>');
                }
                _ => text.push(byte.into()),
            }
        }
        text
    }

    #[test]
    fn variables_are_what_differs_between_lines() {
        let check = |message: &str, expected: &str| assert_eq!(template(message), expected);
        check("", "");
        check("no variable here", "no variable here");
        check(
            "I1122 12:28:03.123456       1 trace.go:236] \"Update\" took 1.5ms",
            "I<klog>       <int> trace.go:236] \"<string>\" took <float>ms",
        );
        check(
            "ts=2026-11-22T12:28:03.123Z caller=main.go:7 level=info n=0",
            "ts=<iso3>Z caller=<string>:7 level=<string> n=<int>",
        );
        check(
            r#"{"request_id":"a81f","status":200,"v4":"10.0.0.1","text":"two words"}"#,
            r#"{"request_id":"<string>","status":<int>,"<string>":"<string>","text":"two words"}"#,
        );
        check("12:28:03,5 up 00:01:02:03", "<clock1> up <string>:<string>:<string>:<string>");
        check("pod web-7f9c4. done - 5.", "pod <string>. done - <int>.");
        check("007 1.50s 1.2.3.4 18446744073709551615", "<string> <float>s <string> <string>");
    }

    #[test]
    fn special_bytes_make_a_message_whole() {
        let mut splitter = Splitter::default();
        let mut values = Values::default();
        splitter.split(ROW, b"abc \xff 12", &mut values, 0);
        assert_eq!(splitter.template, [WHOLE]);
        assert_eq!(
            (values.whole.as_slice(), values.whole_lengths.as_slice()),
            (&b"abc \xff 12"[..], &[8][..])
        );
        assert!(values.list.is_empty());
    }

    #[test]
    fn a_message_has_so_many_variables_and_then_text() {
        let message = "1 ".repeat(MAX_MESSAGE_SLOTS + 5);
        let expected = format!("{}{}", "<int> ".repeat(MAX_MESSAGE_SLOTS), "1 ".repeat(5));
        assert_eq!(template(&message), expected);
    }
}
