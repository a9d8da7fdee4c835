use std::collections::BTreeSet;

use domain::calendar::Calendar;
use domain::import::{Existing, NewSubscription, Rules};
use domain::origin::Author;
use futures::future::join_all;
use harness::{
    ACTIVATED, ACTIVATED_TOO, BLOCKED, CANCELLED, Fault, Response, Service, Wire, cancel_at, cancel_next_day,
};
use serde_json::json;
use service::ids;
use service::import;

use super::{TIMES, Times, after, all, before};

/// Outcome of a request that meets a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The request is done, and the caller is told so.
    Done,
    /// Nothing is done, and the caller is told so with this status and code.
    Nothing(u16, &'static str),
    /// The request is done, but the caller is told that it may not be.
    DoneUnknown,
}

/// Each kind of request, with the operation that writes its outcome.
const WRITES: [(Request, &str); 4] = [
    (Request::ById, "TransactWriteItems"),
    (Request::ByReference, "TransactWriteItems"),
    (Request::Withdrawal, "TransactWriteItems"),
    (Request::Refused, "PutItem"),
];
const UNAVAILABLE: End = End::Nothing(503, "temporarily_unavailable");

/// A service with a subscription for each scenario, by number.
struct Scenarios {
    database: Service,
    service: Service,
    wire: Wire,
    met: usize,
    requests: usize,
    faults: usize,
}

impl Scenarios {
    async fn start() -> Self {
        let mut documents: Vec<_> = (0..100)
            .map(|n| json!({"subscriptionId": id(n), "status": "ACTIVATED", "referenceId": format!("crm-{n}")}))
            .collect();
        documents.push(json!({"subscriptionId": CANCELLED, "status": "CANCELLED"}));
        let database = Service::start_seeded(&documents).await;
        let (service, wire) = Service::start_wired_to(&database).await;
        Self { database, service, wire, met: 0, requests: 0, faults: 0 }
    }

    /// Starts a new service on the same database.
    async fn restart(&mut self) {
        self.requests += self.wire.seen().len();
        self.faults += self.wire.faults();
        (self.service, self.wire) = Service::start_wired_to(&self.database).await;
    }

    /// Sends a request that meets a fault, then the same request again, and checks what both leave behind.
    async fn meet(
        &mut self,
        request: Request,
        operation: &str,
        fault: (&str, Fault),
        times: Times,
        end: End,
    ) {
        let Self { database, service, wire, met, .. } = self;
        let (n, scenario) = (*met, format!("{request:?}, {operation}: {} {times:?}", fault.0));
        *met += 1;
        let id = id(n);
        let (name, status) = match request {
            Request::ById | Request::Withdrawal => (id.clone(), 200),
            Request::ByReference => (format!("rid_crm-{n}"), 200),
            Request::Refused => (CANCELLED.to_owned(), 409),
        };
        let key = format!("k{n}");
        let body = cancel_next_day();
        let send = async || match request {
            Request::Withdrawal => service.withdraw_once(&name, &key).await,
            _ => service.cancel_once(&name, &key, &body).await,
        };
        if let Request::Withdrawal = request {
            assert_eq!(database.cancel(&id, &body).await.status, 200);
        }
        let versions = if request == Request::Withdrawal { 2 } else { 1 };
        let recorded = async || database.item("idempotency", &format!("demo#{key}")).await.is_some();
        let changes = async || if status == 200 { database.version(&id).await - versions } else { 0 };
        let expected_changes = u64::from(status == 200);

        match times {
            Times::Once => wire.next(operation, [fault.1]),
            Times::Always => wire.always(operation, fault.1),
        }
        let first = send().await;
        wire.clear_faults();
        match end {
            End::Done => {
                assert_eq!((first.status, first.is_replay()), (status, false), "{scenario}");
                assert_eq!((recorded().await, changes().await), (true, expected_changes), "{scenario}");
            }
            End::Nothing(status, code) => {
                assert_eq!(first.problem(), (status, code.to_owned()), "{scenario}");
                assert_eq!(first.header("retry-after"), Some("1"), "{scenario}");
                assert_eq!((recorded().await, changes().await), (false, 0), "{scenario}");
            }
            End::DoneUnknown => {
                assert_eq!(first.problem(), (503, "temporarily_unavailable".to_owned()), "{scenario}");
                assert_eq!((recorded().await, changes().await), (true, expected_changes), "{scenario}");
            }
        }
        let again = send().await;
        let replays = !matches!(end, End::Nothing(..));
        assert_eq!((again.status, again.is_replay()), (status, replays), "{scenario}");
        assert_eq!((recorded().await, changes().await), (true, expected_changes), "{scenario}");
        if end == End::Done {
            assert_eq!(again.body, first.body, "{scenario}");
        }
        let third = send().await;
        assert_eq!((third.is_replay(), third.body), (true, again.body), "{scenario}");
    }

    async fn report(mut self) {
        self.restart().await;
        let Self { met, requests, faults, .. } = self;
        println!("{met} scenarios: {requests} requests at the wire met {faults} faults");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Request {
    ById,
    ByReference,
    /// A withdrawal.
    Withdrawal,
    /// A request that is refused because the subscription is cancelled. The refusal is recorded.
    Refused,
}

fn id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

#[tokio::test]
async fn a_failing_read_is_retried_or_leaves_nothing_behind() {
    let mut scenarios = Scenarios::start().await;
    for (request, operation) in [(Request::ById, "BatchGetItem"), (Request::ByReference, "GetItem")] {
        scenarios.restart().await;
        for (name, fault, _) in all() {
            for times in TIMES {
                let end = if times == Times::Once { End::Done } else { UNAVAILABLE };
                scenarios.meet(request, operation, (name, fault.clone()), times, end).await;
            }
        }
    }
    let unprocessed = ("keys unprocessed", Fault::LeaveUnprocessed);
    scenarios.meet(Request::ById, "BatchGetItem", unprocessed.clone(), Times::Once, End::Done).await;
    scenarios.meet(Request::ById, "BatchGetItem", unprocessed, Times::Always, UNAVAILABLE).await;
    scenarios.report().await;
}

#[tokio::test]
async fn a_write_that_did_not_arrive_is_sent_again_or_not_done() {
    let mut scenarios = Scenarios::start().await;
    let in_progress = ("in progress", Fault::refusal("TransactionInProgressException"));
    for (request, operation) in WRITES {
        scenarios.restart().await;
        scenarios.meet(request, operation, in_progress.clone(), Times::Once, End::Done).await;
        for fault in before() {
            for times in TIMES {
                let end = if times == Times::Once { End::Done } else { UNAVAILABLE };
                scenarios.meet(request, operation, fault.clone(), times, end).await;
            }
        }
    }
    scenarios.report().await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_once() {
    let mut scenarios = Scenarios::start().await;
    for (request, operation) in WRITES {
        scenarios.restart().await;
        for fault in after() {
            for times in TIMES {
                let end = if times == Times::Once { End::Done } else { End::DoneUnknown };
                scenarios.meet(request, operation, fault.clone(), times, end).await;
            }
        }
    }
    scenarios.report().await;
}

#[tokio::test]
async fn a_cancelled_transaction_is_tried_again_or_left_to_the_caller() {
    let mut scenarios = Scenarios::start().await;
    let conflict = ("conflict", Fault::conflict());
    let locked = End::Nothing(409, "idempotency_key_locked");
    scenarios.meet(Request::ById, "TransactWriteItems", conflict.clone(), Times::Once, End::Done).await;
    scenarios.meet(Request::ById, "TransactWriteItems", conflict.clone(), Times::Always, locked).await;
    scenarios.meet(Request::Withdrawal, "TransactWriteItems", conflict.clone(), Times::Once, End::Done).await;
    scenarios.meet(Request::Withdrawal, "TransactWriteItems", conflict, Times::Always, locked).await;
    let conflict = ("conflict", Fault::refusal("TransactionConflictException"));
    scenarios.meet(Request::Refused, "PutItem", conflict.clone(), Times::Once, End::Done).await;
    scenarios.meet(Request::Refused, "PutItem", conflict, Times::Always, locked).await;
    for reason in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
        for reasons in [[reason, "None"], ["None", reason]] {
            for times in TIMES {
                let busy = (reason, Fault::cancelled(reasons));
                let end = if times == Times::Once { End::Done } else { UNAVAILABLE };
                scenarios.meet(Request::ById, "TransactWriteItems", busy, times, end).await;
            }
        }
    }
    scenarios.report().await;
}

#[tokio::test]
async fn a_database_that_was_unreachable_is_used_again_when_it_is_back() {
    let (database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    let send = || service.cancel_once(ACTIVATED, "k", &body);
    wire.unplug().await;
    send().await.assert_problem(503, "temporarily_unavailable");
    service.get(ACTIVATED).await.assert_problem(503, "temporarily_unavailable");
    wire.plug();
    assert_eq!(database.version(ACTIVATED).await, 1);
    let answer = send().await;
    assert_eq!((answer.status, answer.is_replay()), (200, false));
}

#[tokio::test]
async fn a_commit_before_an_outage_is_answered_by_the_retry_after_it() {
    let (database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    let send = || service.cancel_once(ACTIVATED, "k", &body);
    let held = wire.hold_answer("TransactWriteItems");
    let (unknown, ()) = tokio::join!(send(), async {
        held.reached().await;
        wire.unplug().await;
    });
    unknown.assert_problem(503, "temporarily_unavailable");
    assert_eq!(database.version(ACTIVATED).await, 2);
    wire.plug();
    let answer = send().await;
    assert_eq!((answer.status, answer.is_replay()), (200, true));
    assert_eq!(database.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn a_change_without_a_key_is_made_once_although_its_answer_is_lost() {
    let (database, service, wire) = Service::start_wired().await;
    for ((name, fault), id) in after().into_iter().zip(&database.subscription_ids) {
        wire.next("TransactWriteItems", [fault]);
        let answer = service.cancel(id, &cancel_next_day()).await;
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(database.version(id).await, 2, "{name}");
        assert_eq!(answer.body, database.get(id).await.body, "{name}");
    }
}

#[tokio::test]
async fn callers_that_retry_over_a_bad_wire_all_get_the_same_answer() {
    let (database, service, wire) = Service::start_wired().await;
    let body = cancel_next_day();
    // Every fault occurs once, for whichever request comes next.
    wire.next("TransactWriteItems", all().map(|(_, fault, _)| fault).chain([Fault::conflict()]));
    wire.next("BatchGetItem", all().map(|(_, fault, _)| fault).chain([Fault::LeaveUnprocessed]));
    let caller = async || {
        loop {
            let answer = service.cancel_once(ACTIVATED, "k", &body).await;
            match answer.status {
                200 => return answer,
                409 => answer.assert_problem(409, "idempotency_key_locked"),
                _ => answer.assert_problem(503, "temporarily_unavailable"),
            }
        }
    };
    let answers: Vec<Response> = join_all((0..20).map(|_| caller())).await;
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(database.version(ACTIVATED).await, 2);
}

#[tokio::test]
async fn a_transaction_still_in_progress_is_tried_once_more_after_five_seconds() {
    let (database, service, wire) = Service::start_wired().await;
    // Three times, the number of attempts that the SDK makes.
    wire.next("TransactWriteItems", vec![Fault::refusal("TransactionInProgressException"); 3]);
    let answer = service.cancel_once(ACTIVATED, "k", &cancel_next_day()).await;
    assert_eq!((answer.status, answer.is_replay()), (200, false));
    assert_eq!(database.version(ACTIVATED).await, 2);
    let tokens: BTreeSet<_> = wire
        .requests("TransactWriteItems")
        .iter()
        .map(|request| request["ClientRequestToken"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tokens.len(), 1, "all attempts have the same token");
}

#[tokio::test]
async fn a_reference_id_that_moves_during_a_request_is_followed() {
    let (database, service, wire) = Service::start_wired().await;
    let now = harness::instant(harness::START);
    let document = |id: &str, reference: Option<&str>| {
        let mut document = json!({"subscriptionId": id, "status": "ACTIVATED"});
        if let Some(reference) = reference {
            document["referenceId"] = json!(reference);
        }
        let calendar = Calendar::new(harness::ZONE.parse().unwrap(), now);
        NewSubscription::from_json(document, &calendar, now, ids::new()).unwrap()
    };
    let rules = Rules { existing: Existing::Overwrite, takes_overdue: true };
    let import = async |id: &str, reference: Option<&str>| {
        let tenant = "demo".parse().unwrap();
        import::import(
            &database.admin(),
            &tenant,
            &document(id, reference),
            rules,
            &Author::import(None),
            now,
        )
        .await
        .unwrap()
    };
    import(ACTIVATED, Some("moving")).await;
    let (sooner, later) = (cancel_next_day(), cancel_at("2026-06-01"));
    let held = wire.hold_request("GetItem");
    let (answer, ()) = tokio::join!(service.cancel("rid_moving", &sooner), async {
        held.reached().await;
        import(ACTIVATED, None).await;
        import(ACTIVATED_TOO, Some("moving")).await;
        held.release();
    });
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["subscriptionId"], ACTIVATED_TOO);
    assert_eq!(database.get(ACTIVATED).await.json().get("pendingStatus"), None);

    // The reference id moves between the read and the commit.
    let held = wire.hold_request("TransactWriteItems");
    let (answer, ()) = tokio::join!(service.cancel("rid_moving", &later), async {
        held.reached().await;
        import(ACTIVATED_TOO, None).await;
        import(BLOCKED, Some("moving")).await;
        held.release();
    });
    assert_eq!(answer.json()["subscriptionId"], BLOCKED, "{}", answer.text());
}
