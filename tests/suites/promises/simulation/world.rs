//! A run: callers, functions, sweeps, a network and a clock. At each step one thing happens, chosen by a random number. The
//! functions are the real ones, and get the events that AWS sends. Each has a client of its own, as processes have. Tokio's
//! time stands still unless everything waits. So time-outs and pauses between retries take no time, and come in the same order
//! in every run of a seed.

mod calls;
mod delivery;
mod figures;

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::api_key::{ApiKey, Scope};
use domain::calendar::Calendar;
use domain::identifiers::TenantId;
use domain::import::NewSubscription;
use domain::origin::Author;
use domain::tenant::{Pause, PauseReason, Tenant};
use fastrand::Rng;
use harness::instant;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::json;
use service::Service;
use service::clock::{self, Clock};
use service::endpoint::Endpoint;
use service::ids;
use service::import;
use service::publish::Publisher;
use store::tables::TableNames;
use store::tenants::Paused;
use store::{Admin, Store};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep};

use self::calls::Function;
pub use self::figures::Figures;
use super::ledger::{Intent, Ledger, zone};
use super::network::{Database, Network, Reply};
use super::outbox::Outbox;

const TENANTS: [&str; 2] = ["north", "south"];
const SUBSCRIPTIONS: usize = 6;
/// Number of steps of a run before it comes to rest.
const STEPS: u32 = 500;
/// Longest life of a function. API Gateway gives up then, and so does Lambda.
const LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// Runs a seed, and panics if a rule is broken. The trace says what happened, one line for each step.
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
    /// Intents whose callers have no final answer yet.
    unanswered: Vec<usize>,
    functions: Vec<Function>,
    sweeps: Vec<(DateTime<Utc>, JoinHandle<bool>)>,
    outbox: Outbox,
    /// Intent of each request, by request id.
    requests: BTreeMap<String, usize>,
    /// Earlier answers of the index, by shard. The index is eventually consistent, so it may give them again.
    index: BTreeMap<String, VecDeque<Reply>>,
    figures: Figures,
    trace: &'t mut Vec<String>,
}

fn subscription_id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

impl<'t> World<'t> {
    /// Sets up two tenants. Their subscriptions have the same ids and reference ids, and get requests with the same idempotency
    /// keys.
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
                let tenant = Tenant {
                    id: name.parse().unwrap(),
                    name: name.into(),
                    time_zone: zone(name),
                    paused: None,
                };
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
                    import::import(&store, &tenant.id, &new, harness::ANY_IMPORT, &Author::import(None), now)
                        .await
                        .unwrap();
                }
            }
            tokens
        });
        world.tokens = tokens.await;
        world.ledger.begin(&world.database);
        world.figures = Figures::default();
        world
    }

    /// Returns the resources of a new function: a client of its own, and the clock that all functions share.
    fn service(&self) -> Arc<Service> {
        let endpoint = Endpoint::local("http://database".to_owned());
        let store = Store::through(self.network.client(), &endpoint.sdk_config(), TableNames::default());
        Arc::new(Service { store, clock: self.clock.clone() })
    }

    /// Returns the publisher of a new function that publishes changes.
    fn publisher(&self) -> Arc<Publisher> {
        let aws = Endpoint::local("http://bus".to_owned()).sdk_config().into_builder();
        let aws = aws.http_client(self.network.client()).build();
        let store = self.service().store.clone();
        Arc::new(Publisher::new(store, &aws, "bus".to_owned(), &aws, "http://queue/0/failed".to_owned()))
    }

    /// Waits for a future, while every message arrives.
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

    /// Makes one thing happen.
    async fn step(&mut self) {
        // Every task goes on until it waits for the network or for time to pass.
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
            98..99 => self.remove_a_record(),
            99..100 => self.pause_or_resume().await,
            _ => {}
        }
    }

    fn say(&mut self, what: String) {
        self.trace.push(format!("{} {what}", self.clock.now().format("%F %T%.3f")));
    }

    /// Starts a sweep, as the schedule does.
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

    /// Invokes the function that publishes the records of the stream.
    fn publish(&mut self) {
        let most = self.random.usize(1..=15);
        if let Some(count) = self.outbox.invoke(&self.database, self.publisher(), most, self.clock.now()) {
            self.say(format!("{count} records are to be published"));
        }
    }

    /// Gives the answers that have arrived to their callers.
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

    /// Kills a function or a sweep. Its messages may arrive all the same.
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

    /// Lets seconds pass. Functions that have lived too long die.
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

    /// Lets hours pass, often until just before or after the instant at which something changes. No request is under way for
    /// that long.
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

    /// Lets the database remove the records that are old enough, as it does at some time.
    fn remove_a_record(&mut self) {
        let removable = self.ledger.removable(&self.database, self.clock.now());
        for key in &removable {
            let reply =
                self.database.ask("DeleteItem", &json!({"TableName": "idempotency", "Key": {"pk": key}}));
            assert_eq!(reply.status, 200);
            self.say(format!("the record {key} is removed"));
        }
    }

    /// Has the operator pause a tenant's cancellations, or resume them.
    async fn pause_or_resume(&mut self) {
        let (name, at) = (TENANTS[self.random.usize(..TENANTS.len())], self.clock.now());
        let (tenant, store): (TenantId, _) =
            (name.parse().unwrap(), Admin::from(self.service().store.clone()));
        let pauses = self.calmly(async move {
            let pause = Pause { at, by: None, reason: PauseReason::Tenant };
            match store.pause(&tenant, &pause).await.unwrap() {
                Paused::Now => true,
                Paused::Before(pause) => !store.resume(&tenant, &pause).await.unwrap(),
                Paused::NoTenant => panic!("no tenant"),
            }
        });
        let pauses = pauses.await;
        self.figures.pauses += usize::from(pauses);
        self.say(format!("{name} is {}", if pauses { "paused" } else { "resumed" }));
    }

    /// Ends the run: the network works again, every caller is answered, and every date arrives.
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
        let store = Admin::from(self.service().store.clone());
        self.calmly(async move {
            for name in TENANTS {
                let tenant = name.parse().unwrap();
                if let Some(pause) = store.tenant(&tenant).await.unwrap().unwrap().paused {
                    assert!(store.resume(&tenant, &pause).await.unwrap());
                }
            }
        })
        .await;
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
