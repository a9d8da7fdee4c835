//! Text for a terminal, without characters that a terminal acts on.
//!
//! Names, comments, documents and file names come from others. A control character in one could clear the screen or fake a line
//! of output, and a bidirectional one could show text in a wrong order. So these characters are escaped: as `\u{1b}` in text, and
//! as `\u001b` in JSON, which programs read as the same value.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// Lines of text, separated by newlines. A newline within a value is escaped like any other control character, so no value can
/// begin a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<String>);

impl Text {
    /// Appends more lines below these.
    #[must_use]
    pub fn and(mut self, below: impl Into<Self>) -> Self {
        self.0.extend(below.into().0);
        self
    }
}

/// Makes one line.
impl From<&str> for Text {
    fn from(line: &str) -> Self {
        Self(vec![escape(line)])
    }
}

/// Makes one line.
impl From<String> for Text {
    fn from(line: String) -> Self {
        Self::from(line.as_str())
    }
}

impl<T: Into<Self>> FromIterator<T> for Text {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        Self(texts.into_iter().flat_map(|text| text.into().0).collect())
    }
}

/// Writes the lines, without a newline at the end.
impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("\n"))
    }
}

/// Returns true if a terminal acts on the character instead of showing it.
///
/// These are control characters, separators of lines and paragraphs, and characters that change the direction of text
/// (`Bidi_Control` in Unicode's `PropList.txt`).
#[must_use]
pub fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes a value for use in a line of text.
#[must_use]
pub fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if acts(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Formats a value as JSON on one line.
///
/// # Errors
/// JSON can't hold the value.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    // JSON that a caller sent may have line breaks between its values, and never within a string.
    serde_json::to_string(value).map(|json| escape_json(&json).replace(['\n', '\r', '\t'], " "))
}

/// Formats a value as JSON for people, one member per line.
///
/// # Errors
/// JSON can't hold the value.
pub fn pretty_json(value: &impl Serialize) -> serde_json::Result<Text> {
    serde_json::to_string_pretty(value).map(|json| escape_json(&json).lines().collect())
}

/// Escapes the characters that JSON allows unescaped. They occur only in strings, and each has at most four hexadecimal digits.
fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if acts(character) && character > ' ' {
            escaped += &format!("\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Escapes log lines. Each call of `write` must be one whole line.
pub struct LogLines<W>(pub W);

impl<W: Write> Write for LogLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        writeln!(self.0, "{}", escape(text))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn exactly_the_characters_that_a_terminal_acts_on_are_escaped() {
        let control = ('\0'..='\u{1f}').chain('\u{7f}'..='\u{9f}');
        let direction = ['\u{61c}', '\u{200e}', '\u{200f}'].into_iter().chain('\u{202a}'..='\u{202e}');
        let rest = ('\u{2066}'..='\u{2069}').chain('\u{2028}'..='\u{2029}');
        let all: Vec<char> = control.chain(direction).chain(rest).collect();
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            assert_eq!(acts(character), all.contains(&character), "{character:?}");
            assert_eq!(escape(&text) == text, !acts(character), "{character:?}");
        }
        assert_eq!(escape("a\u{1b}[2J\r\n\u{9b}\u{202e}é"), r"a\u{1b}[2J\r\n\u{9b}\u{202e}é");
    }

    #[test]
    fn a_newline_separates_lines_and_is_escaped_inside_a_value() {
        let text: Text = ["first\nFAKE", "second"].into_iter().collect();
        assert_eq!(text.and("third").to_string(), "first\\nFAKE\nsecond\nthird");
    }

    #[test]
    fn escaped_json_is_read_back_as_the_same_value() {
        let value = json!({"a\u{7f}\u{9b}": ["\u{1b}\u{202e}\n\u{2028}", "é\u{10ffff}"]});
        let texts = [json(&value).unwrap(), pretty_json(&value).unwrap().to_string()];
        for text in texts {
            assert!(!text.contains(|c| acts(c) && c != '\n'), "{text}");
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
        assert_eq!(pretty_json(&value).unwrap().to_string().lines().count(), 6);
    }

    #[test]
    fn a_log_line_stays_one_line_whatever_its_text() {
        let mut lines = Vec::new();
        for line in ["first \u{1b}[2J\nFAKE\u{202e}\n", "second\n"] {
            LogLines(&mut lines).write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(String::from_utf8(lines).unwrap(), "first \\u{1b}[2J\\nFAKE\\u{202e}\nsecond\n");
    }
}
