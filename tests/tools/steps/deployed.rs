//! The service as it is deployed: the template and the functions' binaries, on MiniStack. MiniStack checks every call against
//! the roles of the template, and its schedule really fires.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use domain::calendar::{Calendar, TimeZone};
use harness::receiver::{Answer as Gone, Receiver};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use service::clock::Clock;

use crate::cloud::{Api, Cloud, FUNCTIONS};
use crate::connect::{Answer, demo};
use crate::runbook::{Runbook, TENANT};
use crate::step::{Step, eventually, expect};
use crate::tools::package;

/// A subscription that is due when it is imported.
const DUE: &str = "a81bc81b-dead-4e5d-abff-90865d1e13b1";
const ZONE: &str = "Europe/Stockholm";

/// Deploys the service, and tests it.
pub async fn run(debug: bool) -> Step {
    for name in ["binutils", "curl", "jq"] {
        package(name).await?;
    }
    println!("--- AWS, on one machine");
    let mut cloud = Cloud::start(debug).await?;
    let outcome = go_through(&mut cloud).await;
    outcome.map_err(|failure| cloud.process.failure(failure))
}

async fn go_through(cloud: &mut Cloud) -> Step {
    println!("--- sam deploy");
    cloud.deploy().await?;
    expect("the stack", "CREATE_COMPLETE", status(cloud).await?)?;
    let api = cloud.stack_output("ApiUrl").await?;
    let mut runbook = Runbook::open(cloud).await?;
    runbook.complete(cloud).await?;
    println!("--- the document's commands: a topic for alarms, a tenant, a key, subscriptions");
    runbook.chapter("Deploy").await?;
    expect("the stack, deployed with a topic", "UPDATE_COMPLETE", status(cloud).await?)?;
    let key = runbook.run("printf %s \"$KEY\"").await?;
    cloud.use_stack().await?;
    // MiniStack knows neither the state of an index of a stack nor the expiry of its items.
    let findings = cloud.doctor().await?;
    let wrong = findings.iter().filter(|finding| finding["state"] == "wrong");
    let wrong: Vec<_> = wrong.map(|finding| text(&finding["check"])).collect();
    expect("the doctor finds wrong", ["tables"; 6].join(" "), wrong.join(" "))?;
    cloud.deploy().await?;
    expect("the stack, deployed again without a change", "UPDATE_COMPLETE", status(cloud).await?)?;

    let listener = Listener::start(cloud).await?;
    let api = Api::new(&api, key)?;
    let mut walk = Walk { cloud, api, listener };
    walk.all().await?;
    println!("--- the document's commands: the runbook of alarms");
    let (receiver, webhook) = walk.webhooks().await?;
    walk.logs().await?;
    let first = receiver.taken(1).await;
    let event = first.first().map_or("nothing", |event| text(&event["eventId"]));
    let id = nth(0)?;
    let variables = [
        ("tenant", TENANT),
        ("ID", "0a1b2c3d4e5f"),
        ("subscription", &id),
        ("webhook", &webhook),
        ("event", event),
    ];
    let variables = variables.map(|(name, value)| format!("{name}={value}")).join(" ");
    runbook.run(&variables).await?;
    runbook.chapter("Runbook: alarms").await?;
    println!("--- the document's commands: the runbook of tasks");
    runbook.run("FROM=$(date -ud '-1 hour' +%FT%TZ) TO=$(date -ud '+1 minute' +%FT%TZ)").await?;
    let add = format!("connect webhooks add {} --any-address --tenant {TENANT} --json", receiver.url);
    runbook.run(&format!("former=$({add} | jq -r .webhookId)")).await?;
    // The secret is replaced on the way.
    receiver.verify_no_more();
    runbook.chapter("Runbook: tasks").await?;
    runbook.end()?;
    // For the first time, by its id, by the replay of the archive, and from the stream.
    let posts = async || {
        let posted = receiver.posted_at_all(0).await;
        Ok(posted.iter().filter(|(posted, _)| text(&posted["eventId"]) == event).count() >= 4)
    };
    eventually("the first event is posted again, and replayed", true, 60, posts).await?;
    walk.rights().await
}

async fn status(cloud: &Cloud) -> Step<String> {
    let stacks =
        cloud.aws(&["cloudformation", "describe-stacks", "--stack-name", "connect-subscriptions"]).await?;
    Ok(text(&stacks["Stacks"][0]["StackStatus"]).to_owned())
}

/// A receiver of events: a queue, by a rule on the bus.
struct Listener {
    queue: String,
    events: Vec<Value>,
}

impl Listener {
    async fn start(cloud: &Cloud) -> Step<Self> {
        println!("--- a receiver of events: a queue, by a rule on the bus");
        let queue = cloud.queue_of_events("events", "listener", TENANT).await?;
        Ok(Self { queue, events: Vec::new() })
    }

    /// Returns the events about a subscription that have come into the queue. Messages stay invisible once they were received.
    async fn told(&mut self, cloud: &Cloud, id: &str) -> Step<String> {
        loop {
            let messages = cloud.messages(&self.queue, "3600").await?;
            if messages.is_empty() {
                break;
            }
            self.events.extend(messages);
        }
        let about = self.events.iter().filter(|event| event["detail"]["data"]["subscriptionId"] == id);
        let told = about.map(|event| {
            let data = &event["detail"]["data"];
            let kind = text(&event["detail-type"]).rsplit('.').next().unwrap_or_default();
            let date = data["pendingStatus"]["scheduledAt"].as_str();
            format!("{kind} {}", date.unwrap_or(text(&data["status"])))
        });
        Ok(told.collect::<Vec<_>>().join(", "))
    }
}

/// The steps on the deployed service.
struct Walk<'a> {
    cloud: &'a Cloud,
    api: Api,
    listener: Listener,
}

impl Walk<'_> {
    async fn all(&mut self) -> Step {
        let first = self.requests().await?;
        self.restart(&first).await?;
        self.schedule().await?;
        self.unreadable().await?;
        self.poisoned().await
    }

    async fn told(&mut self, what: &str, id: &str, expected: &str) -> Step {
        let Self { cloud, listener, .. } = self;
        eventually(what, expected.to_owned(), 30, async || listener.told(cloud, id).await).await
    }

    /// Sends requests of each kind. Returns the first answer to a request to cancel.
    async fn requests(&mut self) -> Step<Answer> {
        println!("--- get, cancel, replay, mismatch");
        let (api, first) = (&self.api, nth(0)?);
        let missing = api.send(Method::GET, &first, &[], None).await?.json()?;
        expect("without a key", "api_key_missing", text(&missing["code"]))?;
        expect("read", "ACTIVATED", text(&api.get(&first).await?["status"]))?;
        expect("read by reference id", &*first, text(&api.get("rid_crm-1001").await?["subscriptionId"]))?;
        let answer = api.cancel(&first, "k1", &at_the_end()).await?;
        let pending = json!({"status": "CANCELLED", "scheduledAt": "2099-12-31"}).to_string();
        expect("cancelled", pending, answer.json()?["pendingStatus"].to_string())?;
        api.cancel(&first, "k1", &at_the_end()).await?.expect_replay_of("the same request again", &answer)?;
        let other = api.cancel(&first, "k1", &tomorrow()).await?.json()?;
        expect("another request with the key", "idempotency_key_mismatch", text(&other["code"]))?;
        expect("withdrawn", "null", api.withdraw(&first).await?["pendingStatus"].to_string())?;
        expect("nothing to withdraw", "no_pending_cancellation", text(&api.withdraw(&first).await?["code"]))?;
        api.cancel(&first, "k3", &at_the_end()).await?;
        let nowhere = api.send(Method::GET, "a/b", &[], None).await?;
        expect("an unknown route", 404, nowhere.status)?;
        self.told("events", &first, "updated 2099-12-31, updated ACTIVATED, updated 2099-12-31").await?;
        self.history(&first, "SCHEDULED, WITHDRAWN, SCHEDULED, IMPORTED").await?;
        Ok(answer)
    }

    /// Reads the history of a subscription whose events are published, and has the operator verify it.
    async fn history(&self, id: &str, causes: &str) -> Step {
        let headers = [("X-Api-Key", self.api.key.as_str())];
        let page = self.api.send(Method::GET, &format!("{id}/history"), &headers, None).await?.json()?;
        let told = page["items"].as_array().into_iter().flatten().map(|entry| text(&entry["cause"]));
        expect("the history", causes, &*told.collect::<Vec<_>>().join(", "))?;
        let verify = ["subscriptions", "history", "--tenant", TENANT, id, "--verify", "--json"];
        let verified: Value = serde_json::from_str(&self.cloud.connect(&verify).await?)?;
        expect("verified", "[]", verified["verification"]["faults"].to_string())
    }

    async fn restart(&self, first: &Answer) -> Step {
        println!("--- the functions are restarted");
        let before = self.processes()?;
        expect("functions have processes", true, !before.is_empty())?;
        for pid in before.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            kill_process(pid, Signal::KILL)?;
        }
        let left = async || Ok(self.processes()?.intersection(&before).count());
        eventually("killed processes that still run", 0, 10, left).await?;
        let again = self.api.cancel(&nth(0)?, "k1", &at_the_end()).await?;
        again.expect_replay_of("the answer of another process", first)
    }

    /// Returns the processes of functions that run.
    fn processes(&self) -> Step<BTreeSet<i32>> {
        let parent = self.cloud.process.id()?;
        let stats = procfs::process::all_processes()?.filter_map(|process| process.ok()?.stat().ok());
        let ours = stats.filter(|stat| stat.ppid == parent && stat.comm == "bootstrap" && stat.state != 'Z');
        Ok(ours.map(|stat| stat.pid).collect())
    }

    async fn schedule(&mut self) -> Step {
        println!("--- the schedule executes due cancellations");
        // A request can only cancel for a future date. So this cancellation is imported with its subscription, and its date is
        // today.
        let calendar = Calendar::new(ZONE.parse::<TimeZone>()?, Clock::system().now());
        let today = calendar.today();
        let midnight: DateTime<Utc> = calendar.beginning_on_or_after(today).instant();
        let pending = json!({"status": "CANCELLED", "scheduledAt": today});
        let document = json!({"subscriptionId": DUE, "status": "ACTIVATED", "pendingStatus": pending});
        let file = self.cloud.work.path().join("due.ndjson");
        std::fs::write(&file, document.to_string())?;
        let file = file.to_str().ok_or("no path")?;
        self.cloud.connect(&["subscriptions", "import", "--tenant", TENANT, file, "--overdue"]).await?;
        let (api, first) = (&self.api, nth(0)?);
        let status = async || Ok(text(&api.get(DUE).await?["status"]).to_owned());
        eventually("the due subscription", "CANCELLED".to_owned(), 150, status).await?;
        self.told("events", DUE, "cancelled CANCELLED").await?;
        self.history(DUE, "EXECUTED, IMPORTED").await?;

        let api = &self.api;
        let since = midnight.to_rfc3339_opts(SecondsFormat::Secs, true);
        expect(
            "cancelled at the beginning of its date",
            since,
            text(&api.get(DUE).await?["cancelledAt"]).to_owned(),
        )?;
        let report: Value =
            serde_json::from_str(&self.cloud.connect(&["cancellations", "report", "--json"]).await?)?;
        let executed = report.as_array().into_iter().flatten().filter_map(|row| row["executed"].as_u64());
        expect("counted by the operator", 1, executed.sum::<u64>())?;
        let other = api.get(&first).await?;
        expect("a subscription that is not due", "ACTIVATED", text(&other["status"]))?;
        expect("its pending status", "CANCELLED", text(&other["pendingStatus"]["status"]))?;
        let late = api.cancel(DUE, "k2", &tomorrow()).await?.json()?;
        expect("cancelled a second time", "subscription_already_cancelled", text(&late["code"]))
    }

    async fn unreadable(&mut self) -> Step {
        println!("--- a change that can't be published");
        let (second, third) = (nth(1)?, nth(2)?);
        let key = json!({"pk": {"S": format!("{TENANT}#{third}")}}).to_string();
        let values = json!({":nothing": {"S": ""}}).to_string();
        let table = self.cloud.variable("SUBSCRIPTIONS_TABLE")?;
        let update =
            ["--update-expression", "SET document = :nothing", "--expression-attribute-values", &values];
        let item = ["dynamodb", "update-item", "--table-name", table, "--key", &key];
        self.cloud.aws(&[&item[..], &update].concat()).await?;
        let queue = self.cloud.stack_output("FailedEventsUrl").await?;
        let set_aside = async || {
            let messages = self.cloud.messages(&queue, "0").await?;
            let first =
                messages.first().map(|body| format!("{}: {}", text(&body["key"]), text(&body["reason"])));
            Ok(first.unwrap_or_default())
        };
        let expected =
            format!("{TENANT}#{third}: {TENANT}#{third} is malformed, or its version did not grow");
        eventually("in the queue of failed events", expected, 30, set_aside).await?;
        let answer = self.api.cancel(&second, "k4", &tomorrow()).await?.json()?;
        let date = text(&answer["pendingStatus"]["scheduledAt"]).to_owned();
        self.told("events of another subscription", &second, &format!("updated {date}")).await?;
        let events = &self.listener.events;
        let ids: BTreeSet<_> = events.iter().map(|event| text(&event["detail"]["eventId"])).collect();
        expect("events, each received once", events.len(), ids.len())
    }

    async fn poisoned(&self) -> Step {
        println!("--- an invocation with an unexpected event");
        let queue = self.cloud.stack_output("FailedSweepsUrl").await?;
        let name = "ApproximateNumberOfMessages";
        let wanted = ["get-queue-attributes", "--queue-url", &queue, "--attribute-names", name];
        let attributes = self.cloud.sqs(&wanted).await?;
        expect("the queue of failed sweeps", "0", text(&attributes["Attributes"][name]))?;
        let answer = self.cloud.work.path().join("answer");
        let invoke = [
            "lambda",
            "invoke",
            "--function-name",
            "connect-subscriptions-execute-cancellations",
            "--invocation-type",
            "Event",
            "--payload",
            "file://tests/data/events/execute-cancellations/unexpected_event.json",
            answer.to_str().ok_or("no path")?,
        ];
        self.cloud.aws(&invoke).await?;
        let dead_letter = async || {
            let messages = self.cloud.messages(&queue, "0").await?;
            let first = messages.first().map(|body| {
                let count = &body["requestContext"]["approximateInvokeCount"];
                let (source, error) =
                    (&body["requestPayload"]["source"], &body["responsePayload"]["errorMessage"]);
                format!("{}, after {count}: {}", text(source), text(error))
            });
            Ok(first.unwrap_or_default())
        };
        let expected = "aws.events, after 3: this function is invoked by EventBridge Scheduler; the event is from elsewhere";
        eventually("in the queue of failed sweeps", expected.to_owned(), 60, dead_letter).await
    }

    /// Adds a webhook whose receiver is down, comes back, and goes; and sends again what it missed. Returns the receiver and the
    /// webhook.
    async fn webhooks(&mut self) -> Step<(Receiver, String)> {
        println!("--- a webhook: its receiver is down, comes back, answers 410, and gets what it missed");
        let receiver = Receiver::down();
        let add = ["add", &receiver.url, "--any-address"];
        let added = self.webhook(&add).await?;
        receiver.verify_with(text(&added["secret"]));
        let id = text(&added["webhookId"]).to_owned();
        let fourth = nth(3)?;
        self.api.cancel(&fourth, "k5", &at_the_end()).await?;
        let last = async || {
            let attempts = self.webhook(&["attempts", "--limit", "1"]).await?;
            Ok(text(&attempts[0]["outcome"]).to_owned())
        };
        eventually("the first attempt", "RETRYING".to_owned(), 30, last).await?;
        receiver.open();
        let events = receiver.taken(1).await;
        let posted = events.first().map_or("nothing", |event| text(&event["data"]["subscriptionId"]));
        expect("posted when the receiver is back", fourth.as_str(), posted)?;
        receiver.next([Gone::Status(410)]);
        self.api.withdraw(&fourth).await?;
        let disabled = async || Ok(text(&self.webhook(&["show", &id]).await?["disabledBy"]).to_owned());
        eventually("disabled by a receiver that is gone", "GONE".to_owned(), 30, disabled).await?;
        self.webhook(&["enable", &id]).await?;
        let resent = self.webhook(&["resend", "--failed", "--since", "1h"]).await?;
        expect("sent again", 1, resent.as_array().map_or(0, Vec::len))?;
        expect("events that the receiver has", 2, receiver.taken(2).await.len())?;
        Ok((receiver, id))
    }

    /// Runs a command on webhooks, and returns its output.
    async fn webhook(&self, command: &[&str]) -> Step<Value> {
        let arguments = [&["webhooks"], command, &["--tenant", TENANT, "--json"]].concat();
        Ok(serde_json::from_str(&self.cloud.connect(&arguments).await?)?)
    }

    async fn logs(&self) -> Step {
        println!("--- logs and metrics");
        let mut texts = Vec::new();
        for function in FUNCTIONS {
            let group = format!("/aws/lambda/connect-subscriptions-{function}");
            let logged = self.cloud.aws(&["logs", "filter-log-events", "--log-group-name", &group]).await?;
            let events = logged["events"].as_array().into_iter().flatten();
            texts.extend(events.filter_map(|event| event["message"].as_str().map(str::to_owned)));
        }
        // Lambda itself writes lines, too. Those of the functions are JSON.
        let written = texts.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with('{'));
        let lines: Vec<Value> = written.map(serde_json::from_str).collect::<Result<_, _>>()?;
        let sum = |metric: &str, of: fn(&Value) -> bool| -> f64 {
            lines.iter().filter(|line| of(line)).map(|line| counted(&line[metric])).sum()
        };
        expect(
            "requests to cancel that were replays",
            2.0,
            sum("Requests", |line| line["Outcome"] == "replayed"),
        )?;
        let no_need = |line: &Value| line["Reason"] == "NO_NEED";
        expect(
            "cancellations scheduled because there was no need",
            4.0,
            sum("CancellationsScheduled", no_need),
        )?;
        expect("cancellations withdrawn", 2.0, sum("CancellationsWithdrawn", |_| true))?;
        expect("cancellations executed", 1.0, sum("CancellationsExecuted", |_| true))?;
        expect("events published", 7.0, sum("EventsPublished", |_| true))?;
        expect("events failed", 1.0, sum("EventsFailed", |_| true))?;
        expect("deliveries", 2.0, sum("Deliveries", |line| line["Outcome"] == "DELIVERED"))?;
        expect("webhooks disabled", 1.0, sum("WebhooksDisabled", |_| true))?;
        let table = self.cloud.variable("HISTORY_TABLE")?;
        let count = ["dynamodb", "scan", "--table-name", table, "--select", "COUNT"];
        let entries = self.cloud.aws(&count).await?["Count"].as_f64().unwrap_or_default();
        expect("entries added to the history", entries, sum("HistoryEntriesAdded", |_| true))?;
        let says = |message: &str| lines.iter().any(|line| line["message"] == message);
        expect("answers and sweeps in the log", true, says("answered") && says("swept"))?;
        let nameless = lines.iter().filter(|line| {
            line["_aws"].is_null() && line["span"]["requestId"].is_null() && line["level"] == "INFO"
        });
        expect("lines without the id of an invocation", 0, nameless.count())?;
        let secrets = [self.api.key.as_str(), "Lindqvist", "+46701740605", "astrid@", "whsec_"];
        let telling = texts.iter().filter(|text| secrets.iter().any(|secret| text.contains(secret)));
        expect("lines with a secret or a name", 0, telling.count())
    }

    async fn rights(&self) -> Step {
        println!("--- rights that are taken away");
        let resource =
            ["--stack-name", "connect-subscriptions", "--logical-resource-id", "GetSubscriptionRole"];
        let role =
            self.cloud.aws(&[&["cloudformation", "describe-stack-resource"], &resource[..]].concat()).await?;
        let role = text(&role["StackResourceDetail"]["PhysicalResourceId"]).to_owned();
        self.cloud.aws(&["iam", "delete-role-policy", "--role-name", &role, "--policy-name", "Data"]).await?;
        let refused = self.api.get(&nth(1)?).await?;
        expect("a function without rights to the tables", "internal_error", text(&refused["code"]))
    }
}

/// Returns the sum of a metric in a line, which has one value or several.
fn counted(metric: &Value) -> f64 {
    match metric {
        Value::Array(values) => values.iter().filter_map(Value::as_f64).sum(),
        value => value.as_f64().unwrap_or_default(),
    }
}

/// Returns the id of a demo subscription.
fn nth(index: usize) -> Step<String> {
    let demo = demo()?;
    Ok(text(&demo.get(index).ok_or("no such subscription")?["subscriptionId"]).to_owned())
}

fn at_the_end() -> Value {
    json!({"type": "CancelAtDate", "date": "2099-12-31"})
}

fn tomorrow() -> Value {
    json!({"type": "CancelNextDay"})
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("nothing")
}
