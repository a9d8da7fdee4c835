//! The connection between the service and its database, or between `publish-events` and the bus, and what networks and busy
//! databases do to it.
//!
//! A [`Wire`] is a proxy on a port of its own. It sees each request as the SDK sends it, retries
//! included, and meets it with a [`Fault`] if one was set for its operation. A database that has been
//! asked finishes what it was asked, also if whoever asked has gone. And it is IAM: what the template does
//! not grant a function is refused.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::iter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::rights::{self, Rights};

const TYPES: &str = "com.amazonaws.dynamodb.v20120810#";

/// What has not come by then will not come.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// What happens to a request, or to its answer.
#[derive(Clone)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// It is delayed until the test lets it go on, which may be after its sender has given it up.
    HoldRequest(Held),
    /// The connection breaks before the database sees it.
    DropRequest,
    /// The database does what it asks, and the connection breaks before the answer.
    DropAnswer,
    /// The database does what it asks, and the answer is delayed until the test lets it go on.
    HoldAnswer(Held),
    /// The database does what it asks, and the connection breaks in the middle of the answer.
    CutAnswer,
    /// The database does what it asks, and a gateway on the way answers that it got no answer in time.
    GatewayTimeout,
    /// It is answered with this status and body; the database never sees it.
    Answer(u16, Value),
    /// The database is too busy for any of its keys.
    LeaveUnprocessed,
    /// It gets a page of so many items.
    ShortPage(u32),
}

impl Fault {
    /// The database refuses with an error of this type, which is a status 400.
    pub fn refusal(error: &str) -> Self {
        Self::Answer(400, json!({"__type": format!("{TYPES}{error}"), "message": "refused"}))
    }

    /// The database fails.
    pub fn internal_server_error() -> Self {
        Self::Answer(500, json!({"__type": format!("{TYPES}InternalServerError"), "message": "failed"}))
    }

    /// Something on the way answers with this status, and nothing that the database would say.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, json!({}))
    }

    /// The transaction is cancelled for these reasons, one for each of its writes.
    pub fn cancelled(reasons: [&str; 2]) -> Self {
        let reasons = reasons.map(|code| json!({"Code": code}));
        let error = format!("{TYPES}TransactionCanceledException");
        Self::Answer(400, json!({"__type": error, "message": "cancelled", "CancellationReasons": reasons}))
    }

    /// The transaction is cancelled because another write to the subscription is under way.
    pub fn conflict() -> Self {
        Self::cancelled(["None", "TransactionConflict"])
    }
}

/// Something that is held back.
#[derive(Clone, Default)]
pub struct Held {
    reached: Arc<Notify>,
    released: Arc<Notify>,
}

impl Held {
    /// Waits until it is held.
    pub async fn reached(&self) {
        tokio::time::timeout(LONG_ENOUGH, self.reached.notified()).await.expect("it never came");
    }

    /// Lets it go on.
    pub fn release(&self) {
        self.released.notify_one();
    }

    async fn hold(&self) {
        self.reached.notify_one();
        self.released.notified().await;
    }
}

/// The connection between the service and its database.
pub struct Wire {
    pub url: String,
    inner: Arc<Inner>,
    /// Keeps the port while nothing listens on it, so that connecting is refused and no one else gets it.
    port: TcpSocket,
    server: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    database: String,
    client: reqwest::Client,
    /// The rights that the template grants each function.
    granted: Mutex<BTreeMap<String, Rights>>,
    state: Mutex<State>,
    /// How many requests are under way.
    under_way: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// The operations, and what was asked for.
    seen: Vec<(String, Value)>,
    next: HashMap<String, VecDeque<Fault>>,
    always: HashMap<String, Fault>,
    faults: usize,
    /// The rights that each function has used.
    used: BTreeMap<String, Rights>,
}

impl Wire {
    /// A wire to the database at this URL.
    pub async fn start(database: &str) -> Self {
        let port = socket();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let inner = Arc::new(Inner {
            database: database.to_owned(),
            client: reqwest::Client::new(),
            granted: Mutex::new(rights::granted()),
            state: Mutex::default(),
            under_way: watch::Sender::default(),
        });
        let url = format!("http://{}", port.local_addr().unwrap());
        let server = Mutex::new(Some(listen(&port, &inner)));
        Self { url, inner, port, server }
    }

    /// The next requests of this operation meet these, one after the other.
    pub fn next(&self, operation: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.inner.state.lock().unwrap();
        state.next.entry(operation.to_owned()).or_default().extend(faults);
    }

    /// From now on, each request of this operation meets this.
    pub fn always(&self, operation: &str, fault: Fault) {
        self.inner.state.lock().unwrap().always.insert(operation.to_owned(), fault);
    }

    /// The next so many requests of this operation meet nothing.
    pub fn let_pass(&self, operation: &str, requests: usize) {
        self.next(operation, iter::repeat_n(Fault::Pass, requests));
    }

    /// Holds the next request of this operation before the database sees it.
    pub fn hold_request(&self, operation: &str) -> Held {
        let held = Held::default();
        self.next(operation, [Fault::HoldRequest(held.clone())]);
        held
    }

    /// Holds the answer to the next request of this operation, once the database has done what it asks.
    pub fn hold_answer(&self, operation: &str) -> Held {
        let held = Held::default();
        self.next(operation, [Fault::HoldAnswer(held.clone())]);
        held
    }

    /// Breaks all connections, and refuses new ones.
    pub async fn unplug(&self) {
        let server = self.server.lock().unwrap().take().unwrap();
        server.abort();
        // It ends with an error, because it was aborted; what counts is that its sockets are closed.
        let _ = server.await;
    }

    /// Accepts connections again.
    pub fn plug(&self) {
        *self.server.lock().unwrap() = Some(listen(&self.port, &self.inner));
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        let mut state = self.inner.state.lock().unwrap();
        state.next.clear();
        state.always.clear();
    }

    /// Forgets what has passed.
    pub fn forget(&self) {
        self.inner.state.lock().unwrap().seen.clear();
    }

    /// The operations that were asked for since, in their order.
    pub fn seen(&self) -> Vec<String> {
        let state = self.inner.state.lock().unwrap();
        state.seen.iter().map(|(operation, _)| operation.clone()).collect()
    }

    /// What was asked for with this operation since.
    pub fn requests(&self, operation: &str) -> Vec<Value> {
        let state = self.inner.state.lock().unwrap();
        let requests = state.seen.iter().filter(|(seen, _)| seen == operation);
        requests.map(|(_, request)| request.clone()).collect()
    }

    /// Waits until nothing is under way: whatever was asked for is done.
    pub async fn settled(&self) {
        self.settled_but(0).await;
    }

    /// Waits until nothing is under way but so many that are held.
    pub async fn settled_but(&self, held: usize) {
        let mut under_way = self.inner.under_way.subscribe();
        let settled = under_way.wait_for(|requests| *requests <= held);
        tokio::time::timeout(LONG_ENOUGH, settled).await.expect("something is still under way").unwrap();
    }

    /// Takes a right from a function.
    pub fn revoke(&self, function: &str, action: &str) {
        let mut granted = self.inner.granted.lock().unwrap();
        granted.get_mut(function).unwrap().retain(|(granted, _)| granted != action);
    }

    /// The rights that each function has used.
    pub fn used(&self) -> BTreeMap<String, Rights> {
        self.inner.state.lock().unwrap().used.clone()
    }

    /// How many requests met a fault.
    pub fn faults(&self) -> usize {
        self.inner.state.lock().unwrap().faults
    }
}

pub(crate) fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket
}

fn listen(port: &TcpSocket, inner: &Arc<Inner>) -> JoinHandle<()> {
    let listening = socket();
    listening.bind(port.local_addr().unwrap()).unwrap();
    let listener = listening.listen(1024).unwrap();
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        // Dropped with this task, and all connections with it.
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let inner = Arc::clone(&inner);
            let service = service_fn(move |request| pass(Arc::clone(&inner), request));
            connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            while connections.try_join_next().is_some() {}
        }
    })
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Meets one request. An error here breaks the connection.
async fn pass(wire: Arc<Inner>, request: Request<Incoming>) -> io::Result<Answer> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let target = parts.headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    if let Some(denied) = wire.authorize(&parts.headers, &operation, &body) {
        return Ok(denied);
    }
    let fault = wire.fault(&operation, &body);
    wire.under_way.send_modify(|requests| *requests += 1);

    // In a task of its own, so that it is finished whether its sender waits or not.
    let meeting = tokio::spawn(async move {
        let forward = |body| wire.forward(parts.headers, body);
        let met = match fault {
            Fault::Pass => forward(body).await.map(whole),
            Fault::HoldRequest(held) => {
                held.hold().await;
                forward(body).await.map(whole)
            }
            Fault::DropRequest => Err(broken()),
            Fault::DropAnswer => forward(body).await.and_then(|_| Err(broken())),
            Fault::HoldAnswer(held) => {
                let answer = forward(body).await;
                held.hold().await;
                answer.map(whole)
            }
            Fault::CutAnswer => forward(body).await.map(cut),
            Fault::GatewayTimeout => forward(body).await.map(|_| json_answer(504, &json!({}))),
            Fault::Answer(status, body) => Ok(json_answer(status, &body)),
            Fault::LeaveUnprocessed => {
                let request: Value = serde_json::from_slice(&body).unwrap();
                let keys = json!({"Responses": {}, "UnprocessedKeys": request["RequestItems"]});
                Ok(json_answer(200, &keys))
            }
            Fault::ShortPage(items) => {
                let mut request: Value = serde_json::from_slice(&body).unwrap();
                request["Limit"] = json!(items);
                forward(request.to_string().into()).await.map(whole)
            }
        };
        wire.under_way.send_modify(|requests| *requests -= 1);
        met
    });
    meeting.await.map_err(io::Error::other)?
}

impl Inner {
    /// The fault that meets this request.
    fn fault(&self, operation: &str, body: &[u8]) -> Fault {
        let mut state = self.state.lock().unwrap();
        state.seen.push((operation.to_owned(), serde_json::from_slice(body).unwrap()));
        let next = state.next.get_mut(operation).and_then(VecDeque::pop_front);
        let fault = next.or_else(|| state.always.get(operation).cloned()).unwrap_or(Fault::Pass);
        state.faults += usize::from(!matches!(fault, Fault::Pass));
        fault
    }

    /// Refuses what the template does not grant the function that asks. Who is no function may do anything.
    fn authorize(&self, headers: &HeaderMap, operation: &str, body: &[u8]) -> Option<Answer> {
        let function = rights::function_of(headers)?;
        let needed = rights::needed(operation, &serde_json::from_slice(body).unwrap());
        let granted = self.granted.lock().unwrap();
        let granted = granted.get(&function).expect("the template has every function");
        let missing: Vec<_> = needed.difference(granted).collect();
        if missing.is_empty() {
            self.state.lock().unwrap().used.entry(function).or_default().extend(needed);
            return None;
        }
        #[expect(clippy::print_stderr, reason = "the service does not tell why it was denied")]
        {
            eprintln!("the template does not grant {function}: {missing:?}");
        }
        let denied = json!({"__type": format!("{TYPES}AccessDeniedException"), "message": "denied"});
        Some(json_answer(400, &denied))
    }

    async fn forward(&self, mut headers: HeaderMap, body: Bytes) -> io::Result<Response<Bytes>> {
        headers.remove("content-length");
        let request = self.client.post(&self.database).headers(headers).body(body);
        let answer = request.send().await.map_err(io::Error::other)?;
        let mut response = Response::builder().status(answer.status());
        for name in ["content-type", "x-amz-crc32", "x-amzn-requestid"] {
            if let Some(value) = answer.headers().get(name) {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await.map_err(io::Error::other)?;
        Ok(response.body(body).unwrap())
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the wire is cut")
}

fn whole(answer: Response<Bytes>) -> Answer {
    answer.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// The first half of an answer, which was announced with its whole length.
fn cut(answer: Response<Bytes>) -> Answer {
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert("content-length", body.len().into());
    let half = Frame::data(body.slice(..body.len() / 2));
    let rest = async {
        // What is there is sent while the rest is waited for.
        tokio::task::yield_now().await;
        Err(broken())
    };
    let body = StreamBody::new(stream::iter([Ok(half)]).chain(stream::once(rest)));
    Response::from_parts(parts, BodyExt::boxed_unsync(body))
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let mut answer = Response::new(Bytes::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert("content-type", "application/x-amz-json-1.0".parse().unwrap());
    whole(answer)
}
