//! A run: callers, functions, sweeps, a network and a clock, and at each step one thing that happens, chosen
//! by a random number. The functions are the real ones, given the events that AWS sends; each has a client
//! of its own, as processes have. Tokio's time stands still unless everything waits, so time-outs and pauses
//! between retries take no time, and come in the same order in every run of a seed.

mod delivery;

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::AddAssign;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::api_key::{ApiKey, Scope};
use domain::calendar::Calendar;
use domain::import::NewSubscription;
use domain::tenant::Tenant;
use fastrand::Rng;
use harness::instant;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use service::Service;
use service::clock::{self, Clock};
use service::endpoint::Endpoint;
use service::http::event;
use service::ids;
use service::import;
use service::publish::Publisher;
use store::tables::TableNames;
use store::{Admin, Store};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep};

use super::ledger::{Answer, Intent, Ledger, zone};
use super::network::{Database, Network, Reply};
use super::outbox::Outbox;

const TENANTS: [&str; 2] = ["north", "south"];
const SUBSCRIPTIONS: usize = 6;
/// How many steps a run has before it comes to rest.
const STEPS: u32 = 500;
/// No function lives longer: API Gateway gives up then, and so does Lambda.
const LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// What a run has done.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub requests: usize,
    pub sweeps: usize,
    pub messages: usize,
    pub faults: usize,
    pub deaths: usize,
    pub jumps: usize,
    pub changes: usize,
    pub withdrawals: usize,
    pub executions: usize,
    pub events: usize,
    pub replays: usize,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.requests += more.requests;
        self.sweeps += more.sweeps;
        self.messages += more.messages;
        self.faults += more.faults;
        self.deaths += more.deaths;
        self.jumps += more.jumps;
        self.changes += more.changes;
        self.withdrawals += more.withdrawals;
        self.executions += more.executions;
        self.events += more.events;
        self.replays += more.replays;
    }
}

/// Runs a seed; panics if a rule is broken. The trace says what happened, a line a step.
pub async fn run(seed: u64, trace: &mut Vec<String>) -> Figures {
    // The pauses between retries are random too.
    fastrand::seed(seed);
    let mut world = World::begin(seed, trace).await;
    for _ in 0..STEPS {
        world.step().await;
    }
    world.come_to_rest().await;
    world.figures
}

struct World<'t> {
    random: Rng,
    clock: Clock,
    network: Network,
    database: Database,
    ledger: Ledger,
    tokens: BTreeMap<&'static str, String>,
    intents: Vec<Intent>,
    /// Those whose callers don't know yet what became of them.
    unanswered: Vec<usize>,
    functions: Vec<Function>,
    sweeps: Vec<(DateTime<Utc>, JoinHandle<bool>)>,
    outbox: Outbox,
    /// Which intent each request was about.
    requests: BTreeMap<String, usize>,
    /// Earlier answers of the index, by shard: it may answer so again, as it is not always up to date.
    index: BTreeMap<String, VecDeque<Reply>>,
    figures: Figures,
    trace: &'t mut Vec<String>,
}

/// A request that is being handled.
struct Function {
    sent: Sent,
    task: JoinHandle<Value>,
}

struct Sent {
    intent: usize,
    request_id: String,
    at: DateTime<Utc>,
}

fn subscription_id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

impl<'t> World<'t> {
    /// Two tenants, whose subscriptions have the same ids, reference ids and idempotency keys.
    async fn begin(seed: u64, trace: &'t mut Vec<String>) -> Self {
        let mut world = Self {
            random: Rng::with_seed(seed),
            clock: Clock::stopped(instant("2026-01-31T09:30:00Z")),
            network: Network::default(),
            database: Database::start(),
            ledger: Ledger::default(),
            tokens: BTreeMap::new(),
            intents: Vec::new(),
            unanswered: Vec::new(),
            functions: Vec::new(),
            sweeps: Vec::new(),
            outbox: Outbox::default(),
            requests: BTreeMap::new(),
            index: BTreeMap::new(),
            figures: Figures::default(),
            trace,
        };
        let (store, now) = (Admin::from(world.service().store.clone()), world.clock.now());
        let tokens = world.calmly(async move {
            store.create_tables().await.unwrap();
            let mut tokens = BTreeMap::new();
            for name in TENANTS {
                let tenant = Tenant { id: name.parse().unwrap(), name: name.into(), time_zone: zone(name) };
                let calendar = Calendar::new(tenant.time_zone.clone(), now);
                store.put_tenant(&tenant).await.unwrap();
                let token = ids::token(tenant.id.clone(), format!("{name}1").parse().unwrap()).unwrap();
                let key = ApiKey::new(&token, &Scope::ALL, now);
                store.add_api_key(&tenant.id, token.key_id(), &key).await.unwrap();
                tokens.insert(name, token.reveal());
                for n in 0..SUBSCRIPTIONS {
                    let status = ["ACTIVATED", "PAUSED", "BLOCKED", "PENDING"][n % 4];
                    let mut document = json!({
                        "subscriptionId": subscription_id(n),
                        "status": status,
                        "customerId": name,
                        "referenceId": format!("crm-{n}"),
                    });
                    if n == 1 {
                        document["pendingStatus"] =
                            json!({"status": "CANCELLED", "scheduledAt": "2026-02-03"});
                    }
                    let new = NewSubscription::from_json(document, &calendar, now, ids::new()).unwrap();
                    import::import(&store, &tenant.id, &new, harness::ANY_IMPORT, now).await.unwrap();
                }
            }
            tokens
        });
        world.tokens = tokens.await;
        world.ledger.begin(&world.database);
        world.figures = Figures::default();
        world
    }

    /// What a function has when it starts: a client of its own, and the clock that all go by.
    fn service(&self) -> Arc<Service> {
        let endpoint = Endpoint::local("http://database".to_owned());
        let store = Store::through(self.network.client(), &endpoint.sdk_config(), TableNames::default());
        Arc::new(Service { store, clock: self.clock.clone() })
    }

    /// What the function that publishes changes has when it starts.
    fn publisher(&self) -> Arc<Publisher> {
        let aws = Endpoint::local("http://bus".to_owned()).sdk_config().into_builder();
        let aws = aws.http_client(self.network.client()).build();
        Arc::new(Publisher::new(&aws, "bus".to_owned(), &aws, "http://queue/0/failed".to_owned()))
    }

    /// Waits for something while every message arrives.
    async fn calmly<T: Send + 'static>(&mut self, future: impl Future<Output = T> + Send + 'static) -> T {
        let task = tokio::spawn(future);
        while !task.is_finished() {
            sleep(Duration::from_millis(1)).await;
            while self.network.waiting() > 0 {
                let message = self.network.take(0);
                self.deliver(message);
                sleep(Duration::from_millis(1)).await;
            }
        }
        task.await.unwrap()
    }

    /// One thing happens.
    async fn step(&mut self) {
        // Whoever can go on, goes on until it waits for the network or for time to pass.
        sleep(Duration::from_millis(1)).await;
        self.listen().await;
        match self.random.u32(..100) {
            0..58 if self.network.waiting() > 0 => {
                let message = self.network.take(self.random.usize(..self.network.waiting()));
                self.deliver_or_not(message);
            }
            58..78 if self.functions.len() < 6 => self.send(),
            78..81 if self.sweeps.len() < 3 => self.sweep(),
            81..85 => self.publish(),
            85..89 => {
                let pause = [50, 200, 2_100][self.random.usize(..3)];
                sleep(Duration::from_millis(self.random.u64(..=pause))).await;
            }
            89..95 => {
                let milliseconds = self.random.i64(1..=8_000);
                self.jump(TimeDelta::milliseconds(milliseconds));
            }
            95..97 => self.leap(),
            97..98 => self.kill(),
            98..100 => self.remove_a_record(),
            _ => {}
        }
    }

    fn say(&mut self, what: String) {
        self.trace.push(format!("{} {what}", self.clock.now().format("%F %T%.3f")));
    }

    /// A caller sends a request: a new one, or one that it or another has sent before.
    fn send(&mut self) {
        let new = self.intents.is_empty() || self.random.u32(..100) < 45;
        let intent = if new {
            let intent = self.intent();
            self.intents.push(intent);
            self.unanswered.push(self.intents.len() - 1);
            self.intents.len() - 1
        } else if !self.unanswered.is_empty() && self.random.bool() {
            self.unanswered[self.random.usize(..self.unanswered.len())]
        } else {
            // One of the latest, most likely.
            let most = if self.random.bool() { 5 } else { 1_000 };
            let back = self.random.usize(..most);
            self.intents.len().saturating_sub(1 + back)
        };
        let function = self.invoke(intent);
        self.functions.push(function);
    }

    /// What a caller might want. At any time one subscription is popular, and the keys are few, so that
    /// requests meet.
    fn intent(&mut self) -> Intent {
        let random = &mut self.random;
        let popular = self.figures.jumps % SUBSCRIPTIONS;
        let n = if random.bool() { popular } else { random.usize(..=SUBSCRIPTIONS) };
        let today = self.clock.now().date_naive();
        let schedule = match random.u32(..4) {
            0 => json!({"type": "CancelNextDay"}),
            1 => json!({"type": "CancelAtBeginningOfNextMonth"}),
            _ => json!({"type": "CancelAtDate", "date": today + chrono::Days::new(random.u64(2..6))}),
        };
        let reason = ["NO_NEED", "FRAUD", "WRONG_ORDER"][random.usize(..3)];
        let cancel = || json!({"schedule": schedule, "reason": reason}).to_string();
        let body = (random.u32(..4) > 0).then(cancel);
        let name = if random.u32(..4) == 0 { format!("rid_crm-{n}") } else { subscription_id(n) };
        let tenant = TENANTS[usize::from(random.u32(..3) == 0)];
        let subscription_id = subscription_id(n);
        // Of the state that it is in, or was in not long ago.
        let etags = self.ledger.etags(tenant, &subscription_id);
        let latest = etags.len().saturating_sub(1 + usize::from(random.u32(..4) == 0));
        let if_match = etags.get(latest).filter(|_| random.u32(..5) == 0).cloned();
        let key = (random.u32(..3) > 0).then(|| format!("key-{}", random.u32(..20)));
        Intent { tenant, name, subscription_id, key, if_match, body }
    }

    /// A function is invoked with a request.
    fn invoke(&mut self, intent: usize) -> Function {
        self.figures.requests += 1;
        let number = self.requests.len();
        let Intent { tenant, name, key, if_match, body, .. } = self.intents[intent].clone();
        // Not the tag, which is another in each run.
        let precondition = if if_match.is_some() { "if it is in a certain state " } else { "" };
        self.say(format!(
            "request {number} is sent: intent {intent}, {precondition}{tenant} {name} {key:?} {body:?}"
        ));
        let mut event = harness::event(match body {
            Some(_) => "cancel-subscription/ok",
            None => "cancel-subscription/ok_withdrawn",
        });
        let path = format!("/subscriptions/{name}/cancel");
        event["requestContext"]["http"]["path"] = json!(path);
        event["rawPath"] = json!(path);
        event["pathParameters"]["subscriptionId"] = json!(name);
        if let Some(body) = body {
            event["body"] = json!(body);
        }
        let headers = event["headers"].as_object_mut().unwrap();
        headers.insert("x-api-key".to_owned(), json!(self.tokens[tenant]));
        headers.remove("x-idempotency-key");
        headers.extend(key.as_ref().map(|key| ("x-idempotency-key".to_owned(), json!(key))));
        headers.extend(if_match.as_ref().map(|etag| ("if-match".to_owned(), json!(etag))));

        let request_id = format!("request-{number}");
        self.requests.insert(request_id.clone(), intent);
        let (service, begun) = (self.service(), self.clock.now());
        let mut context = Context::default();
        context.request_id.clone_from(&request_id);
        let task = tokio::spawn(async move {
            let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
            let handle = |request| cancel_subscription::handle(&service, request);
            let Ok(answer) = event::answer(LambdaEvent::new(event, context), handle).await;
            serde_json::to_value(answer).unwrap()
        });
        Function { sent: Sent { intent, request_id, at: begun }, task }
    }

    /// The schedule fires.
    fn sweep(&mut self) {
        self.say("a sweep begins".to_owned());
        let sweep = self.start_sweep();
        self.sweeps.push((self.clock.now(), sweep));
    }

    fn start_sweep(&mut self) -> JoinHandle<bool> {
        self.figures.sweeps += 1;
        let service = self.service();
        tokio::spawn(async move {
            let mut context = Context::default();
            context.deadline = clock::deadline_in(Duration::from_secs(3600));
            let event = LambdaEvent::new(
                serde_json::from_value(harness::event("execute-cancellations/ok")).unwrap(),
                context,
            );
            execute_cancellations::handle(&service, event).await.is_ok()
        })
    }

    /// What is in the stream is published.
    fn publish(&mut self) {
        let most = self.random.usize(1..=15);
        if let Some(count) = self.outbox.invoke(&self.database, self.publisher(), most, self.clock.now()) {
            self.say(format!("{count} records are to be published"));
        }
    }

    /// Callers hear what they are answered.
    async fn listen(&mut self) {
        let finished = |function: &mut Function| function.task.is_finished();
        for function in self.functions.extract_if(.., finished).collect::<Vec<_>>() {
            let answer = function.task.await.unwrap();
            self.hear(function.sent, &answer);
        }
        for (_, sweep) in self.sweeps.extract_if(.., |(_, sweep)| sweep.is_finished()).collect::<Vec<_>>() {
            let done = sweep.await.unwrap();
            self.say(format!("a sweep ends: {}", if done { "done" } else { "the database is unavailable" }));
        }
        if self.outbox.has_returned() {
            let (published, of) = self.outbox.returned().await;
            self.say(format!("{published} of {of} records are published"));
        }
    }

    fn hear(&mut self, sent: Sent, returned: &Value) {
        let headers = returned["headers"].as_object().unwrap().iter();
        let answer = Answer {
            intent: &self.intents[sent.intent],
            request_id: sent.request_id,
            begun: sent.at,
            status: returned["statusCode"].as_u64().unwrap(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            body: returned["body"].as_str().unwrap().to_owned(),
        };
        let code: Value = serde_json::from_str(&answer.body).unwrap();
        let heard = format!("{} is answered {} {}", answer.request_id, answer.status, code["code"]);
        self.figures.replays += usize::from(answer.headers.contains_key("idempotent-replayed"));
        let definite = answer.is_definite();
        let intent_of = |request_id: &str| self.intents[self.requests[request_id]].clone();
        self.ledger.answered(&answer, self.clock.now(), intent_of);
        if definite {
            self.unanswered.retain(|intent| *intent != sent.intent);
        }
        self.say(heard);
    }

    /// A function dies. What it has sent may arrive all the same.
    fn kill(&mut self) {
        if !self.functions.is_empty() {
            let function = self.functions.swap_remove(self.random.usize(..self.functions.len()));
            function.task.abort();
            self.figures.deaths += 1;
            self.say(format!("the function of {} dies", function.sent.request_id));
        } else if !self.sweeps.is_empty() {
            let (_, sweep) = self.sweeps.swap_remove(self.random.usize(..self.sweeps.len()));
            sweep.abort();
            self.figures.deaths += 1;
            self.say("a sweep dies".to_owned());
        }
        if self.random.u32(..4) == 0 && self.outbox.kill(self.clock.now() + LIFETIME) {
            self.figures.deaths += 1;
            self.say("the function that publishes changes dies".to_owned());
        }
    }

    /// Seconds pass. What has lived too long dies.
    fn jump(&mut self, by: TimeDelta) {
        self.clock.set(self.clock.now() + by);
        let too_old = self.clock.now() - LIFETIME;
        for function in self.functions.extract_if(.., |function| function.sent.at < too_old) {
            function.task.abort();
        }
        for (_, sweep) in self.sweeps.extract_if(.., |(begun, _)| *begun < too_old) {
            sweep.abort();
        }
        self.outbox.kill(too_old);
    }

    /// Hours pass, often until just before or after the moment at which something changes. Nothing is
    /// under way for that long.
    fn leap(&mut self) {
        self.figures.jumps += 1;
        let ahead = |at: &DateTime<Utc>| *at > self.clock.now();
        let boundaries: Vec<_> = self.ledger.boundaries().into_iter().filter(ahead).collect();
        let to = if boundaries.is_empty() || self.random.u32(..4) == 0 {
            self.clock.now() + TimeDelta::minutes(self.random.i64(1..30 * 60))
        } else {
            boundaries[self.random.usize(..boundaries.len())]
                + TimeDelta::milliseconds(self.random.i64(-3_000..2_000))
        };
        let by = (to - self.clock.now()).max(TimeDelta::zero());
        if by > LIFETIME {
            self.network.lose_all();
        }
        self.jump(by);
        self.say(format!("{} minutes have passed", by.num_minutes()));
    }

    /// The database removes an old record, as it does at some time or other.
    fn remove_a_record(&mut self) {
        let removable = self.ledger.removable(&self.database, self.clock.now());
        for key in &removable {
            let reply =
                self.database.ask("DeleteItem", &json!({"TableName": "idempotency", "Key": {"pk": key}}));
            assert_eq!(reply.status, 200);
            self.say(format!("the record {key} is removed"));
        }
    }

    /// The network heals, every caller is answered, every date arrives.
    async fn come_to_rest(&mut self) {
        let functions: Vec<_> = self.functions.drain(..).collect();
        for function in functions {
            function.task.abort();
        }
        for (_, sweep) in self.sweeps.drain(..) {
            sweep.abort();
        }
        while self.network.waiting() > 0 {
            let message = self.network.take(0);
            self.deliver(message);
        }
        self.ledger.indexed(&self.database);

        for intent in self.unanswered.clone() {
            let Function { sent, task } = self.invoke(intent);
            let answer = self.calmly(async { task.await.unwrap() }).await;
            self.hear(sent, &answer);
        }
        assert!(self.unanswered.is_empty(), "on a good network every request is answered");

        self.clock.set(self.clock.now() + TimeDelta::days(400));
        let sweep = self.start_sweep();
        assert!(self.calmly(async { sweep.await.unwrap() }).await);
        self.outbox.kill(self.clock.now() + LIFETIME);
        while self.outbox.invoke(&self.database, self.publisher(), 100, self.clock.now()).is_some() {
            let mut outbox = mem::take(&mut self.outbox);
            self.outbox = self
                .calmly(async {
                    outbox.returned().await;
                    outbox
                })
                .await;
        }
        self.ledger.end(&self.database);
        self.figures.events = self.ledger.events();
        self.figures.changes = self.ledger.changes();
        self.figures.withdrawals = self.ledger.withdrawals();
        self.figures.executions = self.ledger.executions();
    }
}
