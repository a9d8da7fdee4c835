//! The help of every command, as a snapshot. A changed help text is reviewed before the snapshot is updated.

use std::process::Command;

use clap::CommandFactory;

use crate::operate::CommandLine;

/// Lists the commands of the binary, each as its words on the command line.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
        all.push(words.to_vec());
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            below(command, &[words, &[command.get_name().to_owned()]].concat(), all);
        }
    }
    let mut all = vec![vec!["up".to_owned()]];
    below(&CommandLine::command(), &[], &mut all);
    all
}

#[test]
fn every_help_text_is_as_it_was_read() {
    for words in commands() {
        let output = Command::new(env!("CARGO_BIN_EXE_connect"))
            .args(&words)
            .arg("--help")
            .env_remove("COLUMNS")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words:?}");
        let name = [&["connect".to_owned()], &words[..]].concat().join("_");
        insta::assert_snapshot!(name, String::from_utf8(output.stdout).unwrap());
    }
}

/// A terminal gets colours, and a program does not. `CLICOLOR_FORCE` stands in for a terminal.
#[test]
fn with_no_color_there_are_no_colours() {
    let has_colours = |variables: &[(&str, &str)]| {
        let mut help = Command::new(env!("CARGO_BIN_EXE_connect"));
        help.arg("--help").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        help.envs(variables.iter().copied()).output().unwrap().stdout.contains(&0x1b)
    };
    assert!(!has_colours(&[]));
    assert!(has_colours(&[("CLICOLOR_FORCE", "1")]));
    assert!(!has_colours(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn each_shell_gets_completions_and_each_command_a_man_page() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_connect")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = run(&["completions", shell]);
        assert!(script.contains("rederive") && script.contains("dynamodb-endpoint"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    run(&["man", folder.path().to_str().unwrap()]);
    let pages = std::fs::read_dir(folder.path()).unwrap().count();
    // Also of `completions`, `man` and `console`, which are not the operator's.
    assert_eq!(pages, commands().len() + 3);
    let page = std::fs::read_to_string(folder.path().join("connect-keys-rotate.1")).unwrap();
    assert!(page.contains("Create an API key that replaces another"), "{page}");
}
