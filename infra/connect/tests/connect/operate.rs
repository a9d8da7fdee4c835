//! The operator's commands, on the database of a running service. They run as a process or, if the time matters, with a stopped
//! clock.

mod backup;
mod cancellations;
mod doctor;
mod erase;
mod events;
mod history;
mod import;
mod keys;
mod many;
mod subscriptions;
mod tenants;
mod terminal;
mod webhooks;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use ::domain::calendar::IANA_RELEASE;
use ::service::clock::Clock;
use ::service::endpoint::Endpoint;
use ::store::tables::TableNames;
use clap::{CommandFactory, Parser};
use harness::{Service, cancel_next_day, instant, variables_of};
use operator::Session;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

const ID: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
const ID_TOO: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b2";

/// The output and the exit code of a command.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    notes: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            notes: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns the result of a command that succeeds.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.trim_end().to_owned()
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// Returns the error of a command that fails with this exit code.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        let last = self.notes.lines().last().unwrap_or_default();
        let in_json = |json: Value| {
            assert_eq!(json["exitCode"], code);
            json["error"].as_str().map(str::to_owned)
        };
        let error = last.strip_prefix("error: ").map(str::to_owned);
        error.or_else(|| in_json(serde_json::from_str(last).ok()?)).unwrap_or_else(|| panic!("{last}"))
    }
}

/// Prepares a command as a process, on the database at this URL.
fn process(service: &Service, url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    command
        .args(arguments)
        .args(["--dynamodb-endpoint", url])
        .envs(variables_of(&service.tables))
        .env_remove("SWEEP_SCHEDULE")
        .stdin(Stdio::null());
    command
}

fn connect(service: &Service, arguments: &[&str]) -> Said {
    Said::of(process(service, &service.dynamodb_url, arguments).output().unwrap())
}

/// Runs a command at the time `now`.
async fn connect_at(service: &Service, now: &str, arguments: &[&str]) -> Said {
    connect_in(service, &service.tables, now, arguments).await
}

/// Runs a command at the time `now`, on these tables.
async fn connect_in(service: &Service, tables: &TableNames, now: &str, arguments: &[&str]) -> Said {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let line = CommandLine::try_parse_from([&["connect"][..], arguments].concat()).unwrap();
    let mut session = Session {
        endpoint: Endpoint::at(service.dynamodb_url.clone()),
        tables: tables.clone(),
        queue: Some(service.queue()),
        schedule: None,
        clock: Clock::stopped(instant(now)),
        json: line.json,
        asks: false,
        out: &mut out,
        notes: &mut notes,
        stop: CancellationToken::new(),
    };
    let outcome = operator::run(line.command, &mut session).await;
    let code = outcome.as_ref().err().map_or(0, operator::CommandError::exit_code);
    if let Err(error) = outcome {
        writeln!(notes, "error: {error}").unwrap();
    }
    Said { code: code.into(), out: String::from_utf8(out).unwrap(), notes: String::from_utf8(notes).unwrap() }
}

/// The operator's part of the binary's command line.
#[derive(Parser)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    command: operator::Command,
    #[arg(long, global = true)]
    json: bool,
}

fn file(ndjson: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(ndjson.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tenant_can_cancel_and_its_cancellation_is_executed_on_its_date() {
    let service = Service::start().await;
    let subscription =
        file(&format!(r#"{{"subscriptionId": "{ID}", "status": "ACTIVATED", "referenceId": "r"}}"#));

    let zone = ["--name", "Acme Telecom", "--time-zone", "Asia/Tokyo"];
    let said = connect(&service, &[&["tenants", "create", "acme"][..], &zone].concat()).done();
    assert_eq!(said, "created the tenant acme with the time zone Asia/Tokyo");
    let key = connect(&service, &["keys", "create", "--tenant", "acme"]).done();
    let import = ["subscriptions", "import", "--tenant", "acme", path(&subscription), "--json"];
    assert_eq!(connect(&service, &import).json()["added"], 1);

    let answer =
        service.cancel_as(ID, &[("X-Api-Key", &key)], cancel_next_day().to_string().as_bytes()).await;
    // The service's clock shows half past seven on 1 February in Tokyo.
    assert_eq!(answer.json()["pendingStatus"]["scheduledAt"], "2026-02-02", "{}", answer.text());
    assert_eq!(service.get(ID).await.status, 404, "it is not the demo tenant's");

    let midnight = "2026-02-01T15:00:00Z";
    let run = ["cancellations", "run", "--json"];
    assert_eq!(connect_at(&service, "2026-02-01T14:59:59Z", &run).await.json()["executed"], 0);
    assert_eq!(connect_at(&service, midnight, &run).await.json()["executed"], 1);
    assert_eq!(service.get_as(&key, ID).await.json()["cancelledAt"], midnight);
}

#[test]
fn the_version_names_the_release_of_the_time_zone_database() {
    let output = Command::new(env!("CARGO_BIN_EXE_connect")).arg("--version").output().unwrap();
    let said = Said::of(output).done();
    assert!(said.starts_with(&format!("connect {} (", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(said.contains(std::env::consts::ARCH), "{said}");
    assert!(said.ends_with(&format!(", time zones: IANA {IANA_RELEASE})")), "{said}");
}

/// Commands that fail, with their exit codes and the one line that they print.
type Failing = (&'static [&'static str], i32, &'static str);

fn failing_commands() -> Vec<Failing> {
    vec![
        (&["tenants", "create", "demo"][..], 1, "there is a tenant demo already"),
        (
            &["tenants", "create", "Demo"],
            2,
            "invalid value 'Demo' for '<ID>': a tenant id has 1 to 32 lower-case letters, digits and hyphens",
        ),
        (
            &["tenants", "create", "acme", "--time-zone", "Europe/Stokholm"],
            2,
            "invalid value 'Europe/Stokholm' for '--time-zone <ZONE>': unknown time zone; use a name of the IANA database, such as Europe/Stockholm",
        ),
        (
            &["cancellation", "due"],
            2,
            "unrecognized subcommand 'cancellation'; a similar subcommand exists: 'cancellations'",
        ),
        (&["cancellations", "due", "--within", "4000000d"], 2, "--within reaches beyond the year 9999"),
        (
            &["cancellations", "report", "--from", "2026-02"],
            2,
            "invalid value '2026-02' for '--from <DATE>': write a date as 2026-12-31",
        ),
        (&["tenants", "show", "nobody"], 1, "there is no tenant nobody"),
        (&["tenants", "set-time-zone", "nobody", "UTC"], 1, "there is no tenant nobody"),
        (&["keys", "create"], 2, "the following required arguments were not provided: --tenant <TENANT>"),
        (&["keys", "create", "--tenant", "nobody"], 1, "there is no tenant nobody"),
        (
            &["keys", "create", "--tenant", "demo", "--scope", "all"],
            2,
            "invalid value 'all' for '--scope <SCOPE>': a scope is subscriptions:read or subscriptions:cancel or cancellations:read",
        ),
        (
            &["tenants", "create", "acme", "--name", ""],
            2,
            "invalid value '' for '--name <NAME>': a name has 1 to 64 characters",
        ),
        (
            &["cancellations", "report", "--csv", "--json"],
            2,
            "the argument '--csv' cannot be used with '--json'",
        ),
        (
            &["keys", "create", "--tenant", "demo", "--expires", "soon"],
            2,
            "invalid value 'soon' for '--expires <WHEN>': write an instant (2026-12-31T23:00:00Z) or a duration from now (90d, 36h)",
        ),
        (&["keys", "revoke", "k9", "--tenant", "demo", "--yes"], 1, "demo has no key k9"),
        (&["keys", "rotate", "k9", "--tenant", "demo"], 1, "demo has no key k9"),
        (
            &["subscriptions", "import", "--tenant", "demo", "nowhere"],
            1,
            "cannot read nowhere: No such file or directory (os error 2)",
        ),
        (&["subscriptions", "show", "--tenant", "demo", ID], 1, "demo has no such subscription"),
        (&["subscriptions", "show", "--tenant", "demo", "rid_r"], 1, "demo has no such subscription"),
        (
            &["subscriptions", "show", "--tenant", "demo", "crm-1001"],
            2,
            "invalid value 'crm-1001' for '<ID|rid_REFERENCE>': write the UUID of a subscription, or rid_ followed by its reference id",
        ),
        (
            &["cancellations", "report", "--from", "2026-02-01", "--to", "2026-01-31"],
            2,
            "--from is later than --to",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_command_prints_one_clear_line() {
    let service = Service::start().await;
    for (arguments, code, line) in failing_commands() {
        let said = connect(&service, arguments);
        assert_eq!(said.out, "", "{arguments:?}");
        assert_eq!(said.notes.lines().count(), 1, "{said:?}");
        assert_eq!(said.failed(code), line, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_json_an_error_is_json_too() {
    let service = Service::start().await;
    let said = connect(&service, &["tenants", "show", "nobody", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&said.notes).unwrap();
    assert_eq!(error, json!({"error": "there is no tenant nobody", "exitCode": 1}));
}

#[test]
fn a_database_endpoint_that_is_not_a_url_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    let command = command.args(["tenants", "list", "--dynamodb-endpoint", "127.0.0.1:8000"]);
    let said = Said::of(command.output().unwrap()).failed(2);
    assert!(said.ends_with("write a URL, such as http://127.0.0.1:8000"), "{said}");
}

#[test]
fn a_command_without_a_subcommand_lists_its_subcommands() {
    let said = Said::of(Command::new(env!("CARGO_BIN_EXE_connect")).arg("keys").output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(["create", "list", "rotate", "revoke"].iter().all(|name| said.notes.contains(name)), "{said:?}");
}

#[test]
fn a_command_without_a_database_names_the_missing_setting() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    let said = Said::of(command.args(["tenants", "create", "acme"]).env_clear().output().unwrap());
    let missing = "no region is known; set AWS_REGION, or AWS_PROFILE to a profile that has one; or name the database with \
                   --dynamodb-endpoint";
    assert_eq!(said.failed(1), missing);
}

/// Returns a command on the database of a service, in an environment of its own.
fn elsewhere(service: &Service, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_connect"));
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("AWS_ENDPOINT_URL_DYNAMODB", &service.dynamodb_url).envs(variables_of(&service.tables));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_region_come_from_a_profile_of_the_aws_cli() {
    let service = Service::start().await;
    let config = file(
        "[profile ops]\nregion = eu-north-1\naws_access_key_id = local\naws_secret_access_key = local\n",
    );
    let run = |profile: &str| {
        let mut command = elsewhere(&service, &["tenants", "list"]);
        Said::of(command.env("AWS_PROFILE", profile).env("AWS_CONFIG_FILE", config.path()).output().unwrap())
    };
    assert!(run("ops").done().contains("demo"));
    let failed = run("nobody").failed(1);
    assert!(failed.starts_with("no region is known"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_connect_is_a_set_of_environment_variables() {
    let service = Service::start().await;
    let config = file(
        "[stack]\nAWS_REGION = \"eu-north-1\"\nAWS_ACCESS_KEY_ID = \"local\"\nAWS_SECRET_ACCESS_KEY = \"local\"\nCONNECT_TENANT = \"demo\"\n\
         [other]\nLD_PRELOAD = \"x\"\n",
    );
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = elsewhere(&service, arguments);
        command.env("CONNECT_CONFIG", config.path()).envs(variables.iter().copied());
        Said::of(command.output().unwrap())
    };
    let listed = run(&["keys", "list", "--profile", "stack"], &[]).done();
    assert!(listed.contains("subscriptions:read"), "{listed}");
    assert_eq!(run(&["keys", "list"], &[("CONNECT_PROFILE", "stack")]).done(), listed);
    // A variable that is set counts more.
    let said = run(&["keys", "list", "--profile=stack"], &[("CONNECT_TENANT", "nobody")]);
    assert_eq!(said.failed(1), "there is no tenant nobody");
    assert!(run(&["keys", "list", "--profile", "none"], &[]).failed(2).ends_with("has no profile none"));
    let failed = run(&["keys", "list", "--profile", "other"], &[]).failed(2);
    assert!(failed.ends_with("connect does not read the variable LD_PRELOAD"), "{failed}");
}

/// `script` runs a command in a terminal of its own.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_long_output_goes_through_a_pager_in_a_terminal_only() {
    let service = Service::start().await;
    let list = ["subscriptions", "list", "--tenant", "demo", "--dynamodb-endpoint", &service.dynamodb_url];
    let line = [&[env!("CARGO_BIN_EXE_connect")][..], &list].concat().join(" ");
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .env("PAGER", "sed s/^/paged:/")
        .envs(variables_of(&service.tables));
    let paged = Said::of(command.stdin(Stdio::null()).output().unwrap()).done();
    assert!(paged.lines().all(|line| line.starts_with("paged:")) && paged.lines().count() == 9, "{paged}");
    let mut command =
        process(&service, &service.dynamodb_url, &["subscriptions", "list", "--tenant", "demo"]);
    let plain = Said::of(command.env("PAGER", "sed s/^/paged:/").output().unwrap()).done();
    assert!(!plain.contains("paged:"), "{plain}");
}

#[test]
fn every_command_option_and_argument_has_a_help_text() {
    fn look_at(command: &clap::Command, name: &str) {
        assert!(command.get_about().is_some(), "{name}");
        for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.ends_with('.'), "{name} {}: {help}", argument.get_id());
        }
        for below in command.get_subcommands() {
            look_at(below, &format!("{name} {}", below.get_name()));
        }
    }
    for command in CommandLine::command().get_subcommands() {
        look_at(command, command.get_name());
    }
}

/// The reader of the output may be a program such as `head`.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_ends_well_when_its_reader_stops_early() {
    let service = Service::start().await;
    let mut command =
        process(&service, &service.dynamodb_url, &["subscriptions", "export", "--tenant", "demo"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = Said::of(child.wait_with_output().unwrap());
    assert!(said.code == 0 && !said.notes.contains("error"), "{said:?}");
}
