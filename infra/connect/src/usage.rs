//! Errors of usage, each on one line. An argument that may be an API key is not repeated.

use clap::error::ErrorKind;
use operator::terminal::Text;

/// Formats clap's error and its tip on one line. If a subcommand is missing, returns the help of the command.
pub(crate) fn usage(error: &clap::Error) -> Text {
    let text = error.to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return text.trim_end().lines().collect();
    }
    let mut paragraphs =
        text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    let wrong = paragraphs.next().unwrap_or_default();
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(str::to_owned));
    without_tokens(&tip.map_or(wrong.clone(), |tip| format!("{wrong}; {tip}"))).into()
}

/// Hides words that may be an API key: the error quotes the argument.
fn without_tokens(text: &str) -> String {
    let is_long = |word: &str| word.chars().filter(char::is_ascii_hexdigit).count() >= 64;
    let words = text.split(' ').map(|word| if word.contains("ck_") || is_long(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
