// The service at a glance: what /_local/status tells of it. What is done here is done over the API, as any other caller
// would, and over /_local.

const element = (id) => document.getElementById(id);
const INTERVAL = 2000;
let service;
let apiKey;

async function local(path, body) {
  const request = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`/_local/${path}`, request);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message ?? answer.errorMessage);
  return answer;
}

/** Counts what was asked, so that an answer that comes late does not replace a newer one. */
let asking = 0;

/** Shows everything as it is now. */
async function refresh() {
  asking += 1;
  const nth = asking;
  apiKey ??= (await local("api-key")).apiKey;
  const status = await local("status");
  if (nth !== asking) return;
  service = status;
  const { now, timeZone, tick } = service;
  element("now").textContent = now;
  element("zone").textContent = `(${service.localTime} in ${timeZone})`;
  element("next-day").textContent = `Next day (${service.nextDay.date})`;
  element("next-month").textContent = `Next month (${service.nextMonth.date})`;
  element("api").textContent = service.apiUrl;
  element("dynamodb").textContent = service.dynamodbUrl;
  element("database").textContent = service.database;
  element("schedule").textContent = tick ? `every ${tick} seconds` : "only on request";
  element("tenant").textContent = service.tenant;
  element("key").textContent = apiKey;
  service.subscriptions.forEach(show);
  const ids = service.subscriptions.map((subscription) => subscription.subscriptionId);
  for (const row of [...element("rows").children]) if (!ids.includes(row.id)) row.remove();
  element("more").textContent = service.more ? `and ${service.more} more` : "";
  element("sweeps").replaceChildren(...service.executions.map(sweep));
  element("published").replaceChildren(...service.events.map(published));
  const { webhooks, attempts } = await local("deliveries");
  if (nth !== asking) return;
  const origins = webhooks.map(({ origin, disabledBy }) => `${origin}${disabledBy ? " (disabled)" : ""}`);
  element("webhooks").textContent = origins.length
    ? `Webhooks: ${origins.join(", ")}.`
    : "There is no webhook: start the service with --webhook, or add one with connect webhooks add.";
  showAttempts(webhooks, attempts);
}

const OUTCOMES = {
  DELIVERED: "delivered",
  RETRYING: "again",
  GIVEN_UP: "given up",
  GONE: "gone, so disabled",
  DISABLED: "not posted, as disabled",
};

/** Shows the attempts. Those that are shown already keep their rows, so that whoever is on a button stays there. */
function showAttempts(webhooks, attempts) {
  const rows = new Map([...element("attempts").children].map((row) => [row.id, row]));
  const place = ({ webhookId, eventId, at }) => `${webhookId}/${eventId}/${at}`;
  const shown = attempts.map((attempt) => rows.get(place(attempt)) ?? newAttempt(place(attempt), webhooks, attempt));
  const isSame = shown.length === rows.size && shown.every((row) => rows.has(row.id));
  if (!isSame) element("attempts").replaceChildren(...shown);
}

function newAttempt(id, webhooks, { at, eventId, type, webhookId, number, outcome, nextAt, status, milliseconds, answer }) {
  const row = document.createElement("tr");
  row.id = id;
  const { origin } = webhooks.find((webhook) => webhook.webhookId === webhookId) ?? {};
  const again = nextAt ? ` at ${nextAt.slice(0, 19)}Z` : "";
  const said = [status ?? "no answer", answer, number ? `after ${milliseconds} ms` : ""].filter(Boolean).join(", ");
  const action = cell("");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Event";
  button.setAttribute("aria-label", `Event of ${at}`);
  button.addEventListener("click", saying(() => openEvent(eventId)));
  action.append(button);
  row.append(cell("At", at), cell("Event", type), cell("Webhook", origin ?? webhookId));
  row.append(cell("Outcome", `${OUTCOMES[outcome] ?? outcome}${again}`), cell("Answer", said), action);
  row.title = eventId;
  return row;
}

/** The event that is shown. */
let opened;

/** Shows an event as it is posted. */
async function openEvent(eventId) {
  opened = eventId;
  element("event-message").textContent = "";
  element("payload").textContent = "";
  element("event").showModal();
  element("payload").textContent = JSON.stringify(await local(`events/${eventId}`), null, 2);
}

async function resend() {
  const { webhookIds } = await local(`events/${opened}/resend`, {});
  element("event-message").textContent = `Sent again to ${webhookIds.length} ${webhookIds.length === 1 ? "webhook" : "webhooks"}.`;
  await refresh();
}

function published({ event, delivery, attempts }) {
  const row = document.createElement("tr");
  const { status, pendingStatus: change } = event.data;
  row.append(cell("Occurred", event.occurredAt), cell("Event", event.type));
  row.append(cell("Subscription", event.data.referenceId ? `rid_${event.data.referenceId}` : event.data.subscriptionId));
  row.append(cell("Now", change ? `${status}, ${change.status} on ${change.scheduledAt}` : status));
  row.append(cell("Delivery", delivery ? `${delivery}${attempts > 1 ? `, ${attempts} attempts` : ""}` : "none"));
  row.title = event.eventId;
  return row;
}

function sweep({ at, summary, error }) {
  const row = document.createElement("tr");
  row.append(cell("At", at));
  if (error) {
    row.append(cell("Error", error));
    row.lastChild.colSpan = 4;
  } else {
    row.append(cell("Due", summary.due), cell("Executed", summary.executed), cell("Failed", summary.failed));
    row.append(cell("Oldest is late by", `${summary.lagSeconds} s`));
  }
  return row;
}

function cell(label, text) {
  const td = document.createElement("td");
  td.dataset.label = label;
  td.textContent = text;
  return td;
}

/** Shows a subscription in its row, which stays the same, so that whoever is on its button stays there. */
function show(subscription) {
  const id = subscription.subscriptionId;
  const row = element(id) ?? newRow(id);
  const [name, status, pending, cancelled, action] = row.children;
  const display = subscription.display ?? subscription.msisdn ?? id;
  name.firstChild.textContent = display;
  name.lastChild.textContent = subscription.referenceId ? `rid_${subscription.referenceId}` : id;
  status.textContent = subscription.status;
  status.className = `status ${status.textContent}`;
  const change = subscription.pendingStatus;
  pending.replaceChildren(...(change ? [`${change.status} on `, unbroken(change.scheduledAt)] : []));
  cancelled.replaceChildren(...(subscription.cancelledAt ? [unbroken(subscription.cancelledAt)] : []));
  const [cancel, withdraw, history] = action.children;
  const wasThere = action.contains(document.activeElement);
  cancel.disabled = subscription.status === "CANCELLED";
  cancel.setAttribute("aria-label", `Cancel ${display}`);
  withdraw.setAttribute("aria-label", `Withdraw the cancellation of ${display}`);
  history.setAttribute("aria-label", `History of ${display}`);
  withdraw.hidden = change?.status !== "CANCELLED";
  // Whoever was on a button that is gone shall not fall off the page.
  if (wasThere && (document.activeElement?.disabled || document.activeElement?.hidden || document.activeElement === document.body)) {
    (cancel.disabled ? row : cancel).focus();
  }
}

/** Returns a date or an instant that stays on one line. */
function unbroken(text) {
  const added = document.createElement("span");
  added.className = "date";
  added.textContent = text;
  return added;
}

function newRow(id) {
  const row = document.createElement("tr");
  row.id = id;
  row.tabIndex = -1;
  const name = cell("Subscription");
  const detail = document.createElement("small");
  name.append(document.createElement("strong"), " ", detail);
  const action = cell("");
  const button = (text, clicked) => {
    const added = document.createElement("button");
    added.type = "button";
    added.textContent = text;
    added.addEventListener("click", clicked);
    action.append(added, " ");
  };
  button("Cancel…", saying(() => ask(id)));
  button("Withdraw", saying(() => withdraw(id)));
  button("History", saying(() => openHistory(id)));
  row.append(name, cell("Status"), cell("Pending"), cell("Cancelled"), action);
  element("rows").append(row);
  return row;
}

const dialog = element("dialog");
const form = element("form");
/** One key for what is asked in the dialog, however often it has to be sent. */
let asked;

function ask(id) {
  asked = { id, key: crypto.randomUUID() };
  element("dialog-title").textContent = `Cancel ${element(id).querySelector("strong").textContent}`;
  element("problem").textContent = "";
  form.reset();
  element("choose-next-day").textContent = `Next day, ${service.nextDay.date}`;
  element("choose-next-month").textContent = `Beginning of next month, ${service.nextMonth.date}`;
  element("preview").textContent = "";
  dialog.showModal();
  return choose();
}

function choose() {
  form.date.disabled = form.type.value !== "CancelAtDate";
  form.date.required = !form.date.disabled;
  return preview();
}

function schedule() {
  return form.date.disabled ? { type: form.type.value } : { type: form.type.value, date: form.date.value };
}

const problem = (answer) => {
  const faults = (answer.errors ?? []).map((fault) => `${fault.pointer}: ${fault.detail}`);
  return [answer.title ?? answer.message, ...faults].join("; ");
};

/** Counts the previews, so that one that comes late does not replace a newer one. */
let previews = 0;

/** Shows what cancelling would do, before it is sent. The reason does not count for that. */
async function preview() {
  previews += 1;
  const nth = previews;
  const show = (text) => { if (nth === previews) element("preview").textContent = text; };
  if (!form.date.disabled && !form.date.value) {
    show("");
    return;
  }
  const response = await fetch(`/subscriptions/${asked.id}/cancel/preview`, {
    method: "POST",
    headers: { "X-Api-Key": apiKey, "Content-Type": "application/json" },
    body: JSON.stringify({ schedule: schedule(), reason: "NO_NEED" }),
  });
  const answer = await response.json();
  show(response.ok ? effect(answer) : problem(answer));
}

function effect({ scheduledAt, effectiveAt, timeZone, replaces, supersedes, porting, boundUntil }) {
  const parts = [`Takes effect when ${scheduledAt} begins in ${timeZone}: ${effectiveAt}.`];
  if (replaces) parts.push(`Replaces the cancellation on ${replaces.scheduledAt}.`);
  if (supersedes) parts.push(`The change to ${supersedes.status} on ${supersedes.scheduledAt} no longer happens.`);
  if (porting) parts.push(`The number is being ported${porting.status ? ` (${porting.status})` : ""}.`);
  if (boundUntil > scheduledAt) parts.push(`The customer is bound until ${boundUntil}.`);
  return parts.join(" ");
}

async function cancel() {
  const body = { schedule: schedule(), reason: form.reason.value };
  if (form.comment.value) body.comment = form.comment.value;
  const response = await fetch(`/subscriptions/${asked.id}/cancel`, {
    method: "POST",
    headers: { "X-Api-Key": apiKey, "X-Idempotency-Key": asked.key, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (response.ok) {
    dialog.close();
    say(`The subscription will be cancelled on ${answer.pendingStatus.scheduledAt}.`);
    await refresh();
  } else {
    element("problem").textContent = problem(answer);
  }
}

/** One key for what a click asks for; another click is asked anew. */
async function withdraw(id) {
  const response = await fetch(`/subscriptions/${id}/cancel`, {
    method: "DELETE",
    headers: { "X-Api-Key": apiKey, "X-Idempotency-Key": crypto.randomUUID() },
  });
  const answer = await response.json();
  await refresh();
  say(response.ok ? "The cancellation was withdrawn." : answer.title ?? answer.message);
}

const CHANGES = {
  SCHEDULED: "Cancellation scheduled",
  REPLACED: "Cancellation replaced",
  WITHDRAWN: "Cancellation withdrawn",
  EXECUTED: "Cancellation executed",
  IMPORTED: "Imported",
  ERASED: "Erased",
};
const SOURCES = { SCHEDULE: "the schedule", IMPORT: "an import", OPERATOR: "an operator" };

/** The subscription whose history is shown, and the place of the next page. */
let shown;

/** Shows the changes of a subscription, the newest first. */
function openHistory(id) {
  shown = { id, cursor: "" };
  element("history-title").textContent = `History of ${element(id).querySelector("strong").textContent}`;
  element("entries").replaceChildren();
  element("history").showModal();
  return older();
}

async function older() {
  const { id, cursor } = shown;
  element("older").hidden = true;
  const response = await fetch(`/subscriptions/${id}/history?limit=50${cursor}`, { headers: { "X-Api-Key": apiKey } });
  const answer = await response.json();
  element("history-message").textContent = response.ok ? "" : problem(answer);
  if (!response.ok) return;
  element("entries").append(...answer.items.map(entry));
  const { nextCursor } = answer.pagination;
  shown.cursor = nextCursor ? `&cursor=${encodeURIComponent(nextCursor)}` : "";
  element("older").hidden = !nextCursor;
}

function entry({ version, at, cause, source, requestedBy, requestId, cancellation, replaces, status, pendingStatus }) {
  const row = document.createElement("tr");
  const { actor, keyId, keyName } = requestedBy ?? {};
  const about = ({ state, scheduledAt, reason, comment }) =>
    [scheduledAt ? `${state} for ${scheduledAt}` : state, reason, comment].filter(Boolean).join(", ");
  const parts = [cancellation && about(cancellation), replaces && `in place of ${replaces.scheduledAt}`];
  const change = pendingStatus && pendingStatus.status !== "CANCELLED" ? `, ${pendingStatus.status} on ${pendingStatus.scheduledAt}` : "";
  row.append(cell("When", at), cell("Change", `${version}. ${CHANGES[cause] ?? cause}`));
  row.append(cell("By", actor ?? SOURCES[source] ?? ""), cell("Key", [keyName, keyId].filter(Boolean).join(" · ")));
  row.append(cell("Cancellation", parts.filter(Boolean).join(", ")), cell("Status", `${status}${change}`));
  if (requestId) row.title = `Request ${requestId}`;
  return row;
}

const say = (text) => { element("message").textContent = text; };

/** Moves the clock, and lets the schedule come round, as it would have meanwhile. */
async function move(to) {
  await local("clock", to);
  await execute();
}

async function execute() {
  const { executed, failed } = await local("execute-cancellations", {});
  await refresh();
  say(`${executed} executed${failed ? `, ${failed} failed` : ""}.`);
}

const turn = element("turn");

/** Returns the instant at which a date begins in the tenant's time zone. */
function beginning(date) {
  const utc = Date.parse(`${date}T00:00:00Z`);
  const there = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium", timeZone: service.timeZone }).format(utc);
  return new Date(utc - (Date.parse(`${there.replace(" ", "T")}Z`) - utc)).toISOString();
}

/** Says how many cancellations take effect before the clock shows the date that is chosen. */
async function onTheWay() {
  const say = (text) => { element("on-the-way").textContent = text; };
  const { value } = turn.date;
  say("");
  if (!value) return;
  const parts = ["cancellations", "due", "--tenant", service.tenant, "--to", value, "--summary"];
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ arguments: parts }) };
  const response = await fetch("/_console/run", request);
  // With another database, this service has no console.
  if (!response.ok) return;
  const { result = [] } = await response.json();
  const count = result.reduce((sum, day) => sum + day.count, 0);
  say(count === 1 ? "1 cancellation takes effect on the way." : `${count} cancellations take effect on the way.`);
}

/** Runs what a click asks for, and says what went wrong. */
const saying = (action) => async (happened) => {
  happened.preventDefault();
  try {
    await action();
  } catch (error) {
    const open = [["problem", dialog], ["history-message", element("history")], ["event-message", element("event")]];
    const place = open.find(([, dialog]) => dialog.open)?.[0] ?? "message";
    element(place).textContent = `The request failed: ${error.message}`;
  }
};
const on = (id, event, action) => element(id).addEventListener(event, saying(action));
// With another database, this service has no console.
on("turn", "change", onTheWay);
fetch("/_console/about").then(({ ok }) => { element("console").hidden = !ok; });
on("turn", "submit", async () => {
  await move({ now: beginning(turn.date.value) });
  turn.reset();
  element("on-the-way").textContent = "";
});
on("real-time", "click", () => move({ now: new Date().toISOString() }));

on("next-day", "click", () => move({ now: service.nextDay.instant }));
on("next-month", "click", () => move({ now: service.nextMonth.instant }));
on("advance", "click", () => move({ advance: "PT24H" }));
on("execute", "click", execute);
on("copy", "click", async () => {
  await navigator.clipboard.writeText(apiKey);
  say("The API key was copied to the clipboard.");
});
on("form", "submit", cancel);
on("keep", "click", () => dialog.close());
on("older", "click", older);
on("resend", "click", resend);
on("close-event", "click", () => element("event").close());
on("close-history", "click", () => element("history").close());
form.type.addEventListener("change", saying(choose));
form.date.addEventListener("change", saying(choose));

const GONE = "The service does not answer";

async function follow() {
  try {
    if (!document.hidden) await refresh();
    if (element("message").textContent.startsWith(GONE)) say("");
  } catch (error) {
    say(`${GONE}: ${error.message}`);
  }
  setTimeout(follow, INTERVAL);
}
follow();
