//! The connection between the service and its database, or between `publish-events` and the bus, with the faults of networks
//! and of busy databases.
//!
//! A [`Wire`] is a proxy on a port of its own. It sees each request as the SDK sends it, retries included, and applies a
//! [`Fault`] if one was set for the operation. A request that has reached the database is carried out, even if its sender has
//! gone. A wire also acts as IAM: it refuses a request if the template does not grant the function the right to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::iter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynoxide::types::Item;
use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::capacity::{self, Capacity, Counted};
use crate::rights::{self, Rights};

const TYPES: &str = "com.amazonaws.dynamodb.v20120810#";

/// Longest wait for something that is expected.
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// A fault of a request or of its answer.
#[derive(Clone)]
pub enum Fault {
    /// No fault.
    Pass,
    /// The request is delayed until the test releases it, which may be after its sender has given up.
    HoldRequest(Held),
    /// The connection breaks before the database sees the request.
    DropRequest,
    /// The database carries out the request, and the connection breaks before the answer.
    DropAnswer,
    /// The database carries out the request, and the answer is delayed until the test releases it.
    HoldAnswer(Held),
    /// The database carries out the request, and the connection breaks in the middle of the answer.
    CutAnswer,
    /// The database carries out the request, and the answer stops in its middle, on a connection that stays open.
    StallAnswer,
    /// The database carries out the request, and a gateway on the way answers 504.
    GatewayTimeout,
    /// The request is answered with this status and body, and never reaches the database.
    Answer(u16, Value),
    /// The database leaves all keys of the request unprocessed, as it does when it is too busy.
    LeaveUnprocessed,
    /// The request gets a page of at most this many items.
    ShortPage(u32),
}

impl Fault {
    /// Makes the database refuse with status 400 and an error of this type.
    pub fn refusal(error: &str) -> Self {
        Self::Answer(400, json!({"__type": format!("{TYPES}{error}"), "message": "refused"}))
    }

    /// Makes the database fail with status 500.
    pub fn internal_server_error() -> Self {
        Self::Answer(500, json!({"__type": format!("{TYPES}InternalServerError"), "message": "failed"}))
    }

    /// Makes something on the way answer with this status, and without the error that a database would give.
    pub fn status(status: u16) -> Self {
        Self::Answer(status, json!({}))
    }

    /// Cancels the transaction for these reasons, one for each of its writes.
    pub fn cancelled(reasons: [&str; 2]) -> Self {
        let reasons = reasons.map(|code| json!({"Code": code}));
        let error = format!("{TYPES}TransactionCanceledException");
        Self::Answer(400, json!({"__type": error, "message": "cancelled", "CancellationReasons": reasons}))
    }

    /// Cancels the transaction because another write to the subscription is under way.
    pub fn conflict() -> Self {
        Self::cancelled(["None", "TransactionConflict"])
    }
}

/// A request or an answer that is held back.
#[derive(Clone, Default)]
pub struct Held {
    reached: Arc<Notify>,
    released: Arc<Notify>,
}

impl Held {
    /// Waits until the request or answer has arrived and is held back.
    pub async fn reached(&self) {
        tokio::time::timeout(LONG_ENOUGH, self.reached.notified()).await.expect("nothing to hold arrived");
    }

    /// Releases the request or answer.
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
    /// Counts capacity units, if the wire is metered.
    meter: Option<Mutex<Capacity>>,
    /// Number of requests under way.
    under_way: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    /// Requests seen so far: operation and body.
    seen: Vec<(String, Value)>,
    next: HashMap<String, VecDeque<Fault>>,
    always: HashMap<String, Fault>,
    faults: usize,
    /// The rights that each function has used.
    used: BTreeMap<String, Rights>,
}

impl Wire {
    /// Starts a wire to the database at this URL.
    pub async fn start(database: &str) -> Self {
        Self::lay(database, None)
    }

    /// Starts a wire to the database at this URL that counts capacity units. To do so, it reads each item before and after a
    /// write.
    pub async fn metered(database: &str) -> Self {
        Self::lay(database, Some(Mutex::default()))
    }

    fn lay(database: &str, meter: Option<Mutex<Capacity>>) -> Self {
        let port = socket();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let inner = Arc::new(Inner {
            database: database.to_owned(),
            client: reqwest::Client::new(),
            granted: Mutex::new(rights::granted()),
            state: Mutex::default(),
            meter,
            under_way: watch::Sender::default(),
        });
        let url = format!("http://{}", port.local_addr().unwrap());
        let server = Mutex::new(Some(listen(&port, &inner)));
        Self { url, inner, port, server }
    }

    /// Sets faults for the next requests of this operation, one for each request.
    pub fn next(&self, operation: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.inner.state.lock().unwrap();
        state.next.entry(operation.to_owned()).or_default().extend(faults);
    }

    /// Sets a fault for all further requests of this operation. Faults set by [`next`](Self::next) come first.
    pub fn always(&self, operation: &str, fault: Fault) {
        self.inner.state.lock().unwrap().always.insert(operation.to_owned(), fault);
    }

    /// Lets the next `requests` requests of this operation pass without a fault.
    pub fn let_pass(&self, operation: &str, requests: usize) {
        self.next(operation, iter::repeat_n(Fault::Pass, requests));
    }

    /// Holds the next request of this operation before the database sees it.
    pub fn hold_request(&self, operation: &str) -> Held {
        let held = Held::default();
        self.next(operation, [Fault::HoldRequest(held.clone())]);
        held
    }

    /// Holds the answer to the next request of this operation, once the database has carried out the request.
    pub fn hold_answer(&self, operation: &str) -> Held {
        let held = Held::default();
        self.next(operation, [Fault::HoldAnswer(held.clone())]);
        held
    }

    /// Breaks all connections, and refuses new ones.
    pub async fn unplug(&self) {
        let server = self.server.lock().unwrap().take().unwrap();
        server.abort();
        // The task ends with an error, because it was aborted. It is awaited so that its sockets are closed.
        let _ = server.await;
    }

    /// Accepts connections again.
    pub fn plug(&self) {
        *self.server.lock().unwrap() = Some(listen(&self.port, &self.inner));
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        let mut state = self.inner.state.lock().unwrap();
        state.next.clear();
        state.always.clear();
    }

    /// Forgets the requests seen so far.
    pub fn forget(&self) {
        self.inner.state.lock().unwrap().seen.clear();
    }

    /// Returns the operations of the requests seen since the last [`forget`](Self::forget), in their order.
    pub fn seen(&self) -> Vec<String> {
        let state = self.inner.state.lock().unwrap();
        state.seen.iter().map(|(operation, _)| operation.clone()).collect()
    }

    /// Returns the bodies of the requests of this operation seen since the last [`forget`](Self::forget).
    pub fn requests(&self, operation: &str) -> Vec<Value> {
        let state = self.inner.state.lock().unwrap();
        let requests = state.seen.iter().filter(|(seen, _)| seen == operation);
        requests.map(|(_, request)| request.clone()).collect()
    }

    /// Waits until no request is under way, so that every request has been carried out.
    pub async fn settled(&self) {
        self.settled_but(0).await;
    }

    /// Waits until at most `held` requests are under way.
    pub async fn settled_but(&self, held: usize) {
        let mut under_way = self.inner.under_way.subscribe();
        let settled = under_way.wait_for(|requests| *requests <= held);
        tokio::time::timeout(LONG_ENOUGH, settled).await.expect("requests are still under way").unwrap();
    }

    /// Revokes a right of a function.
    pub fn revoke(&self, function: &str, action: &str) {
        let mut granted = self.inner.granted.lock().unwrap();
        granted.get_mut(function).unwrap().retain(|(granted, _)| granted != action);
    }

    /// Returns the rights that each function has used.
    pub fn used(&self) -> BTreeMap<String, Rights> {
        self.inner.state.lock().unwrap().used.clone()
    }

    /// Returns the capacity that was used since the last call.
    ///
    /// # Panics
    /// The wire is not metered.
    pub fn take_capacity(&self) -> Capacity {
        std::mem::take(&mut *self.inner.meter.as_ref().expect("a metered wire").lock().unwrap())
    }

    /// Returns the number of requests that met a fault.
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
        // Dropped with this task, which closes all connections.
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

/// Handles one request. An error breaks the connection.
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

    // Handled in a task of its own, so that it is finished even if the sender has stopped waiting.
    let meeting = tokio::spawn(async move {
        let forward = |body| wire.forward(parts.headers, operation, body);
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
            Fault::CutAnswer => forward(body).await.map(|answer| half(answer, async { Err(broken()) })),
            Fault::StallAnswer => forward(body).await.map(|answer| half(answer, pending())),
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
    /// Notes a request, and returns the fault for it.
    fn fault(&self, operation: &str, body: &[u8]) -> Fault {
        let mut state = self.state.lock().unwrap();
        state.seen.push((operation.to_owned(), serde_json::from_slice(body).unwrap()));
        let next = state.next.get_mut(operation).and_then(VecDeque::pop_front);
        let fault = next.or_else(|| state.always.get(operation).cloned()).unwrap_or(Fault::Pass);
        state.faults += usize::from(!matches!(fault, Fault::Pass));
        fault
    }

    /// Refuses a request if the template does not grant the function the right to it. A sender that is not a function may do
    /// anything.
    fn authorize(&self, headers: &HeaderMap, operation: &str, body: &[u8]) -> Option<Answer> {
        let function = rights::function_of(headers)?;
        let needed = rights::needed(operation, &serde_json::from_slice(body).unwrap());
        let granted = self.granted.lock().unwrap();
        // Other programs name themselves, too: AWS Powertools does.
        let granted = granted.get(&function)?;
        let missing: Vec<_> = needed.difference(granted).collect();
        if missing.is_empty() {
            self.state.lock().unwrap().used.entry(function).or_default().extend(needed);
            return None;
        }
        #[expect(clippy::print_stderr, reason = "the service does not show the reason of a denial")]
        {
            eprintln!("the template does not grant {function}: {missing:?}");
        }
        let denied = json!({"__type": format!("{TYPES}AccessDeniedException"), "message": "denied"});
        Some(json_answer(400, &denied))
    }

    /// Sends a request to the database, and counts it if the wire is metered.
    async fn forward(
        &self,
        headers: HeaderMap,
        operation: String,
        body: Bytes,
    ) -> io::Result<Response<Bytes>> {
        let Some(meter) = &self.meter else { return self.send(headers, body).await };
        let counted = Counted::new(&operation, &body);
        let before = self.written(&headers, &counted).await?;
        let answer = self.send(headers.clone(), counted.body()).await?;
        let after = self.written(&headers, &counted).await?;
        meter.lock().unwrap().add(counted, answer.body(), &before, &after);
        Ok(answer)
    }

    /// Reads the items that a request writes, as they are now. The emulator requires a signature, but does not check it.
    async fn written(&self, headers: &HeaderMap, counted: &Counted) -> io::Result<Vec<Option<Item>>> {
        let mut headers = headers.clone();
        headers.insert("x-amz-target", HeaderValue::from_static("DynamoDB_20120810.GetItem"));
        let mut items = Vec::new();
        for read in counted.reads() {
            items.push(capacity::item_of(self.send(headers.clone(), read).await?.body()));
        }
        Ok(items)
    }

    async fn send(&self, mut headers: HeaderMap, body: Bytes) -> io::Result<Response<Bytes>> {
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

/// Sends the first half of an answer, although the header announces the whole length, and then awaits the rest.
fn half(
    answer: Response<Bytes>,
    rest: impl Future<Output = io::Result<Frame<Bytes>>> + Send + 'static,
) -> Answer {
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert("content-length", body.len().into());
    let half = Frame::data(body.slice(..body.len() / 2));
    let rest = async {
        // The first half is sent while the rest is awaited.
        tokio::task::yield_now().await;
        rest.await
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
