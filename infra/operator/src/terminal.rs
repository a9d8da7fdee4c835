//! Text for a terminal, with nothing in it that a terminal acts on.
//!
//! Names, comments, documents and file names come from others. A control character in one could clear the screen or make up
//! a line of output, and a bidirectional one could show text in another order than it has. In a text they are escaped, as
//! `\u{1b}`; in JSON too, as `\u001b`, which programs read as the same value.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// Lines of text. A newline is between two of them: one within a value is escaped like any other control character, so no
/// value can begin a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Vec<String>);

impl Text {
    /// These lines, and then those.
    #[must_use]
    pub fn and(mut self, below: impl Into<Self>) -> Self {
        self.0.extend(below.into().0);
        self
    }
}

/// One line.
impl From<&str> for Text {
    fn from(line: &str) -> Self {
        Self(vec![escape(line)])
    }
}

/// One line.
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

/// Without a newline at the end.
impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("\n"))
    }
}

/// A character that a terminal acts on instead of showing it: control characters, separators of lines and paragraphs, and those
/// that change the direction of text (`Bidi_Control` in Unicode's `PropList.txt`).
#[must_use]
pub fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value as it stands in a line.
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

/// A value as JSON on one line.
///
/// # Errors
/// A value that JSON can't hold.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|json| escape_json(&json))
}

/// A value as JSON for people, a member a line.
///
/// # Errors
/// A value that JSON can't hold.
pub fn pretty_json(value: &impl Serialize) -> serde_json::Result<Text> {
    serde_json::to_string_pretty(value).map(|json| escape_json(&json).lines().collect())
}

/// Escapes what JSON may hold as it is, which is in strings only, and of four digits.
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

/// Writes log lines, each of which is written at once.
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
