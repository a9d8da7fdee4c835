//! The commands in the documents, run as a reader pastes them.
//!
//! The word after the language of a fenced block says how it is run:
//!
//! - `sh`: each command must succeed. `console`: a command after `$ ` must also print the lines below it. In these lines, `…` stands
//!   for any text, and alone on a line for any number of lines. The commands of a document run in one shell, in their order.
//! - `sh background URL`: the command keeps running until the end of the document. It is ready when the URL answers.
//! - `sh gate`: the commands take long, or `.ci/run` runs them itself. Their programs have to exist.
//! - `sh aws`: the commands are for AWS, and only in the operators' document. `.ci/steps deployed` runs them.
//! - `sh account`: the commands need a real account, or install tools. They are not run.
//!
//! The quickstart in `infra/openapi.yaml` is run too, with `API` and `KEY` of a running service.
//!
//! Uses the ports 3000, 8000 and 9000.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use harness::openapi::DOCUMENT;
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};
use regex::Regex;
use serde_json::Value;

use crate::connect::{Connect, command, root};
use crate::process::Process;
use crate::shell::Shell;
use crate::step::{Step, expect};
use crate::tools::{before_path, package, tools};

/// The document for operators.
pub const OPERATORS: &str = "infra/README.md";

/// Runs the commands of these documents, or of all documents of the repository.
pub async fn run(documents: &[PathBuf]) -> Step {
    for name in ["curl", "jq"] {
        package(name).await?;
    }
    let listed = Process::output(command("git").args(["ls-files", "--", "*.md"])).await?;
    let all: Vec<PathBuf> = listed.lines().map(PathBuf::from).collect();
    if documents.is_empty() {
        quickstart().await?;
    }
    for document in if documents.is_empty() { &all } else { documents } {
        let blocks = blocks(&std::fs::read_to_string(root().join(document))?);
        if !blocks.is_empty() {
            println!("--- {}", document.display());
            if blocks.iter().any(|block| block.info == "sh aws") {
                expect("the document with commands for AWS", OPERATORS, document.to_string_lossy())?;
            }
            follow(&blocks).await.map_err(|failure| format!("{}: {failure}", document.display()))?;
        }
    }
    Ok(())
}

/// Runs the quickstart of the API's document.
async fn quickstart() -> Step {
    println!("--- infra/openapi.yaml");
    let service = Connect::start(&["--memory"]).await?;
    let text = DOCUMENT["info"]["description"].as_str().ok_or("no description")?;
    let block = blocks(text).into_iter().next().ok_or("no quickstart")?;
    let mut shell = shell(&before_path(&tools("aws").await?)?)?;
    let variables = format!("API={} KEY={}\n", service.api, service.key);
    let printed = shell.run(&(variables + &block.text.replace("curl ", "curl -fsS "))).await?;
    let pending = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    let pending: Vec<_> =
        pending.map(|answer| Ok(answer?["pendingStatus"]["status"].to_string())).collect::<Step<_>>()?;
    expect("pending after each request", "null \"CANCELLED\" \"CANCELLED\"", pending.join(" "))?;
    service.stop().await
}

/// A fenced block of a document.
pub struct Block {
    /// The heading of the chapter that it is in.
    pub chapter: String,
    /// The words after the fence: the language, and how to run it.
    pub info: String,
    /// The lines between the fences.
    pub text: String,
}

/// Returns the blocks that hold commands.
pub fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut chapter, mut block, mut is_chapter) = (String::new(), None::<Block>, false);
    for event in Parser::new(markdown) {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => {
                chapter.clear();
                is_chapter = true;
            }
            Event::End(TagEnd::Heading(_)) => is_chapter = false,
            Event::Text(text) if is_chapter => chapter += &text,
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                block = Some(Block { chapter: chapter.clone(), info: info.to_string(), text: String::new() });
            }
            Event::Text(text) => block.iter_mut().for_each(|block| block.text += &text),
            Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
            _ => {}
        }
    }
    blocks.retain(|block| matches!(block.info.split(' ').next(), Some("sh" | "bash" | "console")));
    blocks
}

/// Runs the blocks of one document.
async fn follow(blocks: &[Block]) -> Step {
    let path = before_path(&tools("aws").await?)?;
    let mut shell = shell(&path)?;
    let mut background = Vec::new();
    for block in blocks {
        let words: Vec<_> = block.info.split(' ').collect();
        match words[..] {
            ["sh"] => {
                shell.run(&block.text).await?;
                done(&block.text);
            }
            ["console"] => {
                for (line, expected) in dialogue(&block.text)? {
                    let printed = shell.run(&line).await?;
                    if !fits(&printed, &expected)? {
                        return Err(format!("{line}\n--- expected\n{expected}--- printed\n{printed}").into());
                    }
                    done(&line);
                }
            }
            ["sh", "background", url] => background.push(start(&block.text, url, &path).await?),
            ["sh", "gate"] => in_gate(&block.text)?,
            ["sh", "aws"] => {}
            ["sh", "account"] => println!("       not run: {}", first_line(&block.text)),
            _ => return Err(format!("`{}` does not say how to run a block", block.info).into()),
        }
    }
    Ok(())
}

/// Starts a shell in which commands of documents find the tools for AWS.
fn shell(path: &OsStr) -> Step<Shell> {
    let mut bash = command("bash");
    bash.env("PATH", path);
    Shell::start(bash, Path::new("/dev/null"))
}

/// Starts a command that keeps running, and waits until the URL answers.
async fn start(text: &str, url: &str, path: &OsStr) -> Step<Process> {
    let is_listening = async || reqwest::get(url).await.is_ok();
    if is_listening().await {
        return Err(format!("{url} is in use").into());
    }
    let line = text.trim();
    let mut process =
        Process::start(command("bash").args(["-c", &format!("exec {line}")]).env("PATH", path))?;
    process.ready(&format!("{line} answers"), 120, is_listening).await?;
    Ok(process)
}

/// Prints that commands have succeeded.
pub fn done(commands: &str) {
    println!("ok     {}", first_line(commands));
}

fn first_line(commands: &str) -> &str {
    commands.lines().next().unwrap_or_default()
}

/// Returns the commands of a dialogue, each with what it prints.
fn dialogue(text: &str) -> Step<Vec<(String, String)>> {
    let mut dialogue: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            dialogue.push((command.to_owned(), String::new()));
        } else if let Some((command, expected)) = dialogue.last_mut() {
            if expected.is_empty() && command.ends_with('\\') {
                write!(command, "\n{line}")?;
            } else {
                writeln!(expected, "{line}")?;
            }
        } else {
            return Err(format!("a dialogue begins with `$ `, not with {line}").into());
        }
    }
    Ok(dialogue)
}

/// Returns true if a command has printed the expected lines.
fn fits(printed: &str, expected: &str) -> Step<bool> {
    let pattern: String = expected
        .trim_end()
        .lines()
        .map(|line| match line {
            "…" => r"(?:[^\n]*\n)*?".to_owned(),
            line => regex::escape(line.trim_end()).replace('…', r"[^\n]*") + r"[ \t\r]*\n",
        })
        .collect();
    // A reader does not see whether the last line is complete.
    let printed: String = printed.trim_end().lines().map(|line| format!("{line}\n")).collect();
    Ok(Regex::new(&format!(r"\A{pattern}\z"))?.is_match(&printed))
}

/// Expects the program of each command to be `cargo` or a file of the repository.
fn in_gate(text: &str) -> Step {
    for line in text.lines() {
        let is_variable = |word: &&str| word.contains('=');
        let program = line.split_whitespace().find(|word| !is_variable(word)).unwrap_or_default();
        expect(&format!("there is {program}"), true, program == "cargo" || root().join(program).is_file())?;
    }
    Ok(())
}
