//! MiniStack, which emulates AWS on one machine, with the template and the functions' binaries deployed on it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use reqwest::{Client, Method, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::connect::{Answer, binary, command, root};
use crate::engines::free_port;
use crate::process::Process;
use crate::step::Step;
use crate::tools::{before_path, tools};

/// The statement of the template that lets a function put messages into a queue in batches.
const BATCHES: &str = "\
              - Sid: BeginAndRepeatDeliveries
                Effect: Allow
                Action: sqs:SendMessage
";

/// The functions, by the names of their folders.
pub const FUNCTIONS: [&str; 5] = [
    "get-subscription",
    "cancel-subscription",
    "execute-cancellations",
    "publish-events",
    "deliver-webhooks",
];

/// A running MiniStack. It ends when this value is dropped.
pub struct Cloud {
    /// The process of MiniStack.
    pub process: Process,
    /// Files of this run.
    pub work: TempDir,
    /// The template with the paths of the functions' binaries.
    pub template: PathBuf,
    variables: BTreeMap<String, OsString>,
}

impl Cloud {
    /// Starts MiniStack. With `debug`, the functions are the binaries that `cargo test` runs.
    pub async fn start(debug: bool) -> Step<Self> {
        let work = tempfile::tempdir()?;
        let path = before_path(&tools("aws").await?)?;
        let lambda = if debug {
            debug_binaries(work.path()).await?
        } else {
            build(&path).await?;
            root().join("target/lambda")
        };
        let template = work.path().join("template.yaml");
        std::fs::write(&template, deployable(&lambda)?)?;
        let port = free_port()?;
        let url = format!("http://127.0.0.1:{port}");
        let config = work.path().join("config");
        std::fs::write(&config, "[default]\ns3 =\n  addressing_style = path\n")?;
        let temporary = work.path().join("tmp");
        std::fs::create_dir(&temporary)?;
        let variables = [
            ("AWS_ENDPOINT_URL", OsString::from(&url)),
            ("AWS_REGION", "eu-north-1".into()),
            ("AWS_DEFAULT_REGION", "eu-north-1".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_CONFIG_FILE", config.into()),
            ("SAM_CLI_TELEMETRY", "0".into()),
            ("PATH", path),
        ];
        let variables: BTreeMap<_, _> =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut ministack = command(tools("ministack").await?.join("ministack"));
        ministack
            .envs(&variables)
            .env("TMPDIR", temporary)
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_REGION", "eu-north-1")
            .env("AUTH", "true")
            .env("IOT_MTLS_ENABLED", "false")
            .env("LAMBDA_ASYNC_RETRY_BASE_SECONDS", "0.1");
        let mut process = Process::start(&mut ministack)?;
        let health = format!("{url}/_ministack/health");
        let is_ready = async || reqwest::get(&health).await.is_ok_and(|answer| answer.status() == 200);
        process.ready("MiniStack answers", 60, is_ready).await?;
        Ok(Self { process, work, template, variables })
    }

    /// Deploys the template.
    pub async fn deploy(&self) -> Step {
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            other => other,
        };
        let mut sam = self.command("sam");
        sam.args(["deploy", "--config-file"])
            .arg(root().join("samconfig.toml"))
            .arg("--template-file")
            .arg(&self.template)
            .arg("--parameter-overrides")
            .arg(format!("Architecture={architecture}"))
            // MiniStack has no archives.
            .args(["DeletionProtection=false", "EventArchiveDays=0"]);
        Process::output(&mut sam).await?;
        Ok(())
    }

    /// Reads an output of the stack.
    pub async fn stack_output(&self, key: &str) -> Step<String> {
        let stacks =
            self.aws(&["cloudformation", "describe-stacks", "--stack-name", "connect-subscriptions"]).await?;
        let outputs = stacks["Stacks"][0]["Outputs"].as_array().into_iter().flatten();
        let found = outputs
            .filter(|output| output["OutputKey"] == key)
            .find_map(|output| output["OutputValue"].as_str());
        Ok(found.ok_or_else(|| format!("the stack has no output {key}"))?.to_owned())
    }

    /// Tells later commands the tables and the schedule of the stack.
    pub async fn use_stack(&mut self) -> Step {
        for variable in self.stack_output("Environment").await?.split_whitespace() {
            let (name, value) = variable.split_once('=').ok_or("not a variable")?;
            self.variables.insert(name.to_owned(), value.into());
        }
        Ok(())
    }

    /// Returns a variable of the environment that commands get.
    pub fn variable(&self, name: &str) -> Step<&str> {
        Ok(self.variables.get(name).and_then(|value| value.to_str()).ok_or_else(|| format!("no {name}"))?)
    }

    /// Runs the AWS CLI, and returns its output as JSON.
    pub async fn aws(&self, arguments: &[&str]) -> Step<Value> {
        let text = Process::output(self.command("aws").args(arguments).args(["--output", "json"])).await?;
        Ok(if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Runs the AWS CLI for queues. It finds them only with an endpoint as an option.
    pub async fn sqs(&self, arguments: &[&str]) -> Step<Value> {
        let url = self.variable("AWS_ENDPOINT_URL")?;
        self.aws(&[&["--endpoint-url", url, "sqs"], arguments].concat()).await
    }

    /// Receives messages of a queue, and returns their bodies. The messages stay invisible for so many seconds.
    pub async fn messages(&self, queue: &str, seconds: &str) -> Step<Vec<Value>> {
        let most = ["--max-number-of-messages", "10", "--visibility-timeout", seconds];
        let received = self.sqs(&[&["receive-message", "--queue-url", queue], &most[..]].concat()).await?;
        let messages = received["Messages"].as_array().into_iter().flatten();
        let bodies = messages.filter_map(|message| message["Body"].as_str());
        Ok(bodies.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// Creates a queue of this name, and a rule of this name that puts the events of a tenant into it. Returns its URL.
    pub async fn queue_of_events(&self, queue: &str, rule: &str, tenant: &str) -> Step<String> {
        let url = self.sqs(&["create-queue", "--queue-name", queue, "--query", "QueueUrl"]).await?;
        let url = url.as_str().ok_or("no queue")?.to_owned();
        let wanted = ["get-queue-attributes", "--queue-url", &url, "--attribute-names", "QueueArn"];
        let attributes = self.sqs(&wanted).await?;
        let arn = attributes["Attributes"]["QueueArn"].as_str().ok_or("no queue")?;
        let bus = self.stack_output("EventBusName").await?;
        let pattern = json!({"source": ["connect.subscriptions"], "resources": [format!("tenant/{tenant}")]})
            .to_string();
        let options = ["--event-bus-name", &bus, "--name", rule, "--event-pattern", &pattern];
        self.aws(&[&["events", "put-rule"], &options[..]].concat()).await?;
        let target = format!("Id=queue,Arn={arn}");
        let options = ["--event-bus-name", &bus, "--rule", rule, "--targets", &target];
        self.aws(&[&["events", "put-targets"], &options[..]].concat()).await?;
        Ok(url)
    }

    /// Runs an operator's command, and returns its output.
    pub async fn connect(&self, arguments: &[&str]) -> Step<String> {
        let output = Process::output(self.command(binary()?).args(arguments)).await?;
        Ok(output.trim_end().to_owned())
    }

    /// Returns the findings of the doctor. Its exit code is ignored, because it is a failure if something is wrong.
    pub async fn doctor(&self) -> Step<Vec<Value>> {
        let mut doctor = Process::start_piped(self.command(binary()?).args(["doctor", "--json"]))?;
        let (findings, _) = doctor.finish().await?;
        serde_json::from_str(&findings).map_err(|error| doctor.failure(error))
    }

    /// Returns a command with the variables of this AWS in its environment.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = command(program);
        command.envs(&self.variables);
        command
    }
}

/// Builds the binaries, unless `BINARIES_ARE_BUILT` says that they are in target/lambda.
async fn build(path: &OsStr) -> Step {
    if std::env::var_os("BINARIES_ARE_BUILT").is_some() {
        return Ok(());
    }
    let processor = if cfg!(target_arch = "aarch64") { "--arm64" } else { "--x86-64" };
    let mut cargo = command("cargo");
    Process::show(cargo.args(["lambda", "build", "--release", "--locked", processor]).env("PATH", path)).await
}

/// Copies the binaries that `cargo test` runs. They are not put into target/lambda, from which they might be deployed.
async fn debug_binaries(work: &Path) -> Step<PathBuf> {
    let lambda = work.join("lambda");
    for function in FUNCTIONS {
        std::fs::create_dir_all(lambda.join(function))?;
        let mut strip = command("strip");
        strip.arg("-o").arg(lambda.join(function).join("bootstrap")).arg(binary()?.with_file_name(function));
        Process::show(&mut strip).await?;
    }
    Ok(lambda)
}

/// Returns the template for these binaries and MiniStack. MiniStack takes a parameter as text where AWS takes it as a boolean or a
/// number, and asks for the right to SendMessageBatch where AWS asks for that to SendMessage.
fn deployable(lambda: &Path) -> Step<String> {
    let template = std::fs::read_to_string(root().join("infra/template.yaml"))?;
    let template = template.replace("../target/lambda", lambda.to_str().ok_or("no path")?);
    Ok(template
        .replace("DeletionProtectionEnabled: !Ref DeletionProtection", "DeletionProtectionEnabled: false")
        .replace("MaximumConcurrency: !Ref WebhookConcurrency", "MaximumConcurrency: 20")
        .replace(BATCHES, &BATCHES.replace("sqs:SendMessage", "sqs:SendMessageBatch")))
}

/// The API of a stack, with one key.
pub struct Api {
    client: Client,
    url: String,
    /// The API key.
    pub key: String,
}

impl Api {
    /// Returns the API at this URL. Its host, whatever the name, is this machine.
    pub fn new(url: &str, key: String) -> Step<Self> {
        let parsed: Url = url.parse()?;
        let host = parsed.host_str().ok_or("no host")?;
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = Client::builder().resolve(host, here).build()?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), key })
    }

    /// Reads a subscription.
    pub async fn get(&self, id: &str) -> Step<Value> {
        self.send(Method::GET, id, &[("X-Api-Key", &self.key)], None).await?.json()
    }

    /// Cancels a subscription with this value of the member `schedule`.
    pub async fn cancel(&self, id: &str, idempotency_key: &str, schedule: &Value) -> Step<Answer> {
        let headers = [("X-Api-Key", self.key.as_str()), ("X-Idempotency-Key", idempotency_key)];
        let body = json!({"schedule": schedule, "reason": "NO_NEED"});
        self.send(Method::POST, &format!("{id}/cancel"), &headers, Some(&body)).await
    }

    /// Withdraws a cancellation.
    pub async fn withdraw(&self, id: &str) -> Step<Value> {
        self.send(Method::DELETE, &format!("{id}/cancel"), &[("X-Api-Key", &self.key)], None).await?.json()
    }

    /// Sends a request about a subscription.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Step<Answer> {
        let slash = if path.is_empty() { "" } else { "/" };
        let request = self.client.request(method, format!("{}/subscriptions{slash}{path}", self.url));
        Answer::to(request, headers, body).await
    }
}
