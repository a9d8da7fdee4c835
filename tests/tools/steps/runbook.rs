//! The commands for AWS in the operators' document, as an operator pastes them, on MiniStack.
//!
//! Not as on AWS:
//!
//! - MiniStack can't deploy an archive. One is created by its API: see [`Runbook::complete`].
//! - An operation that MiniStack does not have is answered with a sample, by the AWS CLI. So its options are those of AWS, and so are
//!   the members that are read from its answer.
//! - In a log, MiniStack finds every line by a pattern of members (`{ $.… }`), here every line that is JSON; and none by one with `?`.
//! - `cargo run` is the binary that is built already. `connect events tail` gets its Ctrl-C after three seconds.

use std::collections::VecDeque;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::cloud::Cloud;
use crate::connect::{binary, root};
use crate::documents::{Block, OPERATORS, blocks, done};
use crate::shell::Shell;
use crate::step::{Step, expect};
use crate::tools::tools;

/// The tenant that the document creates.
pub const TENANT: &str = "trial";
/// Operations that MiniStack does not have, as a pattern of the shell.
const UNKNOWN: &str = "'service-quotas request-service-quota-increase' | 'sqs start-message-move-task'";
/// A variable that an operator sets to a part of what was printed, and a command that sets it.
const COPIED: (&str, &str) = ("HANDLE", "HANDLE=$(messages FailedEventsUrl | jq -rs '.[0].ReceiptHandle')");

/// An operator's shell, and the commands that are still to be pasted.
pub struct Runbook {
    shell: Shell,
    blocks: VecDeque<Block>,
}

impl Runbook {
    /// Opens the document, and a shell that knows the account, but not the stack.
    pub async fn open(cloud: &Cloud) -> Step<Self> {
        let document = std::fs::read_to_string(root().join(OPERATORS))?;
        let blocks = blocks(&document).into_iter().filter(|block| block.info == "sh aws").collect();
        let folder = cloud.work.path().join("operator");
        std::fs::create_dir(&folder)?;
        for name in ["infra", "samconfig.toml"] {
            symlink(root().join(name), folder.join(name))?;
        }
        let programs = folder.join("bin");
        std::fs::create_dir(&programs)?;
        let aws = format!(
            r#"case "$1 $2" in
                {UNKNOWN}) exec {0} "$@" --generate-cli-skeleton output ;;
                'logs filter-log-events') {0} "$@" |
                    jq --arg pattern "$6" 'map(select(.[:1] == "{{" or $pattern[:1] != "{{"))' ;;
                *) exec {0} --endpoint-url "$AWS_ENDPOINT_URL" "$@" ;;
            esac"#,
            tools("aws").await?.join("aws").display()
        );
        let cargo = format!(
            r#"shift 3
            case "$1 $2" in
                'events tail') exec timeout --preserve-status --signal INT 3 {0} "$@" ;;
                # It exits with 1 because of the tables.
                'doctor ') {0} "$@" || [ $? -eq 1 ] ;;
                *) exec {0} "$@" ;;
            esac"#,
            binary()?.display()
        );
        let sam = format!(
            r#"for argument in "$@"; do
                case $argument in
                    *=*) grep -qx "  ${{argument%%=*}}:" infra/template.yaml || {{ echo "no $argument"; exit 1; }} ;;
                esac
            done
            exec {} "$@""#,
            tools("aws").await?.join("sam").display()
        );
        for (name, text) in [("aws", aws), ("cargo", cargo), ("sam", sam)] {
            std::fs::write(programs.join(name), format!("#!/bin/sh\n{text}\n"))?;
            std::fs::set_permissions(programs.join(name), Permissions::from_mode(0o755))?;
        }
        let typed = folder.join("typed");
        std::fs::write(&typed, "")?;
        let mut bash = cloud.command("bash");
        bash.current_dir(&folder).env("SAM_TEMPLATE_FILE", &cloud.template);
        bash.env("ADDRESS", "operations@example.com");
        let mut shell = Shell::start(bash, &typed)?;
        let programs = programs.display();
        shell.run(&format!("PATH={programs}:$PATH; curl() {{ command curl -fsS \"$@\"; }}")).await?;
        Ok(Self { shell, blocks })
    }

    /// Creates what MiniStack can't deploy: an archive. The outputs of the stack, as the document's commands read them, name it.
    pub async fn complete(&mut self, cloud: &Cloud) -> Step {
        let bus = cloud.stack_output("EventBusArn").await?;
        let options = ["--archive-name", "events", "--event-source-arn", &bus, "--query", "ArchiveArn"];
        let archive = cloud.aws(&[&["events", "create-archive"], &options[..]].concat()).await?;
        let archive = archive.as_str().ok_or("no archive")?;
        self.blocks.iter_mut().for_each(|block| {
            let output =
                format!("output() {{ case $1 in EventArchiveArn) echo '{archive}'; return ;; esac\n    ");
            block.text = block.text.replace("output() { ", &output);
        });
        Ok(())
    }

    /// Runs the commands of the chapter that comes next. Each must succeed.
    pub async fn chapter(&mut self, chapter: &str) -> Step {
        let (copied, command) = COPIED;
        while let Some(block) = self.blocks.pop_front_if(|block| block.chapter == chapter) {
            if block.text.contains(copied) {
                self.shell.run(command).await?;
            }
            self.shell.run(&block.text).await?;
            done(&block.text);
        }
        Ok(())
    }

    /// Runs a command that is not in the document, and returns what it prints.
    pub async fn run(&mut self, command: &str) -> Step<String> {
        self.shell.run(command).await
    }

    /// Expects that every command was run.
    pub fn end(&self) -> Step {
        expect("commands left", 0, self.blocks.len())
    }
}
