//! The pager: shows a long output of a command page by page, if a person reads it in a terminal.

use std::env;
use std::io::{self, IsTerminal};
use std::process::{Child, Command, Stdio};

/// Starts the pager that `PAGER` names, or `less`. `None` if nobody needs one: the output is no terminal, or `PAGER` is empty; or if
/// there is none.
pub(crate) fn start() -> Option<Child> {
    if !cfg!(unix) || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return None;
    }
    let pager = env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    if pager.trim().is_empty() || pager.trim() == "cat" {
        return None;
    }
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    // Ends by itself if everything fits on a page, keeps the page on the screen, and does not fold long lines.
    if env::var_os("LESS").is_none() {
        command.env("LESS", "FRSX");
    }
    command.spawn().ok()
}
