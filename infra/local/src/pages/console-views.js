// The views of the console. Each loads its data by the operator's commands, and shows them.
import { html, nothing } from "./lit-html.js";
import { CAUSES, OUTCOMES, SOURCES, STATES, STATUSES, by, counted, date, reason, when, words } from "./console-words.js";

/** A table, or a sentence if there is nothing in it. */
function table(heading, rows, empty) {
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  // In a narrow window, the heading of the column stands beside its content, which is one box.
  const isEmpty = (content) => content === "" || content === undefined || content === null || content === nothing;
  const cell = (content, n) => (isEmpty(content) ? html`<td></td>` : html`<td data-label=${heading[n]}><div>${content}</div></td>`);
  return html`<table class="list"><thead><tr>${heading.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>${rows.map((cells) => html`<tr>${cells.map(cell)}</tr>`)}</tbody></table>`;
}

const button = (text, label, clicked) => html`<button type="button" aria-label=${label} @click=${clicked}>${text}</button>`;

/** A command to copy, for a terminal. */
const terminal = ({ copy }, command) =>
  html`<p class="command"><code>${command}</code> ${button("Copy", `Copy: ${command}`, () => copy(command))}</p>`;

const section = (title, ...content) => html`<section><h2>${title}</h2>${content}</section>`;

/** The tenants, what is late, and what comes in the next days. */
const today = {
  title: "Today",
  load: async ({ read, tenant }) => ({
    lag: await read("cancellations", "lag"),
    days: await read("cancellations", "due", "--tenant", tenant.tenant, "--within", "14d", "--summary"),
  }),
  show: ({ lag, days }, context) => {
    const { tenants, tenant, change, mayChange, zone, href } = context;
    const pause = ({ tenant: id, paused }) => {
      if (!mayChange) return nothing;
      const [verb, done] = paused ? ["resume", "resumed"] : ["pause", "paused"];
      const run = () => change(["cancellations", verb, "--tenant", id], `The cancellations of ${id} are ${done}.`);
      return button(paused ? "Resume" : "Pause", `${paused ? "Resume" : "Pause"} the cancellations of ${id}`, run);
    };
    const late = lag.due === 0 ? "Nothing is due." : `${counted(lag.due, "cancellation")} due; the oldest is ${lag.lagSeconds} seconds late.`;
    const row = (each) => [
      html`<strong>${each.name}</strong> <small>${each.tenant}</small>`,
      html`<span class="date">${each.localTime}</span> <small>${each.timeZone}</small>`,
      each.paused ? html`<span class="badge no">Paused</span> since ${when(each.paused.at, each.timeZone)} ${each.paused.by ? `by ${each.paused.by}` : ""}` : "Executed on their date",
      pause(each),
    ];
    return html`${section("Due", html`<p class=${lag.lagSeconds > 300 ? "bad" : ""}>${late}</p>`)}
      ${section("Tenants", table(["Tenant", "Time there", "Cancellations", ""], tenants.map(row), ""))}
      ${section(`The next 14 days of ${tenant.name}`, calendar(days, zone, href))}`;
  },
};

/** Counts by day, with a bar for each, and the reasons of the day. */
function calendar(counts, zone, href) {
  const days = new Map();
  for (const { date: day, reason: code, count } of counts) {
    const known = days.get(day) ?? { total: 0, reasons: [] };
    known.total += count;
    known.reasons.push(`${reason(code)}: ${count}`);
    days.set(day, known);
  }
  const most = Math.max(1, ...[...days.values()].map(({ total }) => total));
  const row = ([day, { total, reasons }]) => [
    day ? html`<a class="date" href=${href("/due", { day })}>${day}</a>` : "No date",
    html`<span class="bar" aria-hidden="true" style="--share: ${total / most}"></span> ${total}`,
    reasons.join(", "),
  ];
  return table([`Date in ${zone}`, "Cancellations", "Reasons"], [...days].map(row), "No cancellation takes effect in this time.");
}

/** What takes effect when: by day, or the cancellations of one day. */
const due = {
  title: "Due",
  load: async ({ read, tenant, query, now }) => {
    const day = query.get("day");
    const of = ["cancellations", "due", "--tenant", tenant.tenant];
    if (day) return { day, list: await read(...of, "--from", day, "--to", day) };
    const until = query.get("until") ?? new Date(Date.parse(now) + 90 * 86_400_000).toISOString().slice(0, 10);
    return { until, days: await read(...of, "--to", until, "--summary") };
  },
  show: ({ day, list, until, days }, context) => {
    const { zone, href, tenant } = context;
    if (day) {
      const state = ({ contradiction, paused, overdue }) => contradiction ?? (paused ? "Paused" : overdue ? "Due" : "To come");
      const row = (each) => [
        html`<a href=${href(`/subscriptions/${each.subscriptionId}`)}><code>${each.subscriptionId}</code></a>`,
        when(each.effectiveAt, zone), reason(each.reason), state(each),
      ];
      return html`${section(`${counted(list.length, "cancellation")} on ${day}`,
        html`<p><a href=${href("/due")}>All days</a></p>`,
        table(["Subscription", "Takes effect", "Reason", "State"], list.map(row), "None."))}
        ${terminal(context, `connect cancellations due --tenant ${tenant.tenant} --from ${day} --to ${day}`)}`;
    }
    const choose = (event) => { location.hash = href("/due", { until: event.target.value }).slice(1); };
    return html`${section("Due and to come", html`<label class="inline">Until <input type="date" .value=${until} @change=${choose}></label>`,
      calendar(days, zone, href))}
      ${terminal(context, `connect cancellations due --tenant ${tenant.tenant} --to ${until} --summary`)}`;
  },
};

const FIELDS = { msisdn: "Phone number", customer: "Customer", reference: "Reference id" };

/** Subscriptions: found by a number, a customer or a reference id; or listed, page by page. */
const subscriptions = {
  title: "Subscriptions",
  load: async ({ read, tenant, query, about }) => {
    if (about[0]) return one.load({ read, tenant, id: about[0] });
    const of = ["--tenant", tenant.tenant];
    const [by, text] = [query.get("by"), query.get("text")];
    if (by && text) return { found: await read("subscriptions", "find", ...of, `--${by}=${text}`) };
    const pages = ["status", "after"].flatMap((name) => (query.get(name) ? [`--${name}`, query.get(name)] : []));
    const pending = query.get("pending") ? ["--pending"] : [];
    const { subscriptions: found, next } = await read("subscriptions", "list", ...of, "--limit", "25", ...pages, ...pending);
    return { found, next };
  },
  show: (data, context) => {
    if (context.about[0]) return one.show(data, context);
    const { href, query, tenant, zone } = context;
    const find = (event) => {
      event.preventDefault();
      const { by: field, text } = Object.fromEntries(new FormData(event.target));
      location.hash = href("/subscriptions", text ? { by: field, text } : {}).slice(1);
    };
    const filter = (event) => {
      const { value } = event.target;
      location.hash = href("/subscriptions", value === "pending" ? { pending: 1 } : value ? { status: value } : {}).slice(1);
    };
    const chosen = query.get("pending") ? "pending" : (query.get("status") ?? "");
    const option = ([value, text]) => html`<option value=${value} ?selected=${value === chosen}>${text}</option>`;
    const field = ([value, text]) => html`<option value=${value} ?selected=${value === query.get("by")}>${text}</option>`;
    const row = (each) => [
      html`<a href=${href(`/subscriptions/${each.subscriptionId}`)}><strong>${each.display ?? each.msisdn ?? each.subscriptionId}</strong></a> <small>${each.referenceId ?? ""}</small>`,
      html`<span class="status ${each.status}">${words(STATUSES, each.status)}</span>`,
      each.pendingStatus ? html`${words(STATUSES, each.pendingStatus.status)} on ${date(each.pendingStatus.scheduledAt)}` : when(each.cancelledAt, zone),
      each.customer?.name ?? each.customerId ?? "",
    ];
    const empty = query.get("text") ? "Nothing is found. The number may be written with or without spaces and plus sign." : "There is no such subscription.";
    return html`<section><h2>Find</h2><form class="find" @submit=${find}>
        <label>By <select name="by">${Object.entries(FIELDS).map(field)}</select></label>
        <label>Text <input name="text" .value=${query.get("text") ?? ""} autocomplete="off"></label>
        <button class="primary">Find</button></form></section>
      ${section(query.get("text") ? `Found: ${data.found.length}` : `Subscriptions of ${tenant.name}`,
        html`<label class="inline">Show <select @change=${filter}>${[["", "All"], ["pending", "With a pending cancellation"], ...Object.entries(STATUSES)].map(option)}</select></label>`,
        table(["Subscription", "Status", "Ends", "Customer"], data.found.map(row), empty),
        data.next ? html`<p><a href=${href("/subscriptions", { ...Object.fromEntries(query), after: data.next })}>Next page</a></p>` : nothing)}`;
  },
};

/** One subscription: what it is, its cancellation, and its timeline. */
const one = {
  load: async ({ read, tenant, id }) => {
    const of = [id, "--tenant", tenant.tenant];
    return { shown: await read("subscriptions", "show", ...of), history: await read("subscriptions", "history", ...of) };
  },
  show: ({ shown, history }, context) => {
    const { zone, copy, tenant, apiUrl } = context;
    const { subscription, cancellation, contradiction, version } = shown;
    const facts = [
      ["Status", words(STATUSES, subscription.status)], ["Number", subscription.msisdn], ["Customer", subscription.customer?.name ?? subscription.customerId],
      ["Product", subscription.productOffering?.name ?? subscription.productOfferingId], ["Reference id", subscription.referenceId],
      ["Id", html`<code>${subscription.subscriptionId}</code>`], ["Version", version],
      ["Cancelled", when(subscription.cancelledAt, zone)],
    ];
    const curl = `curl "${apiUrl ?? "$API_URL"}/subscriptions/${subscription.subscriptionId}" -H "X-Api-Key: $KEY"`;
    const preview = `${curl.replace(/" -H/, '/cancel/preview" -H')} --json '{"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"}'`;
    return html`<section><h2>${subscription.display ?? subscription.subscriptionId}</h2>
        ${contradiction ? html`<p class="bad">Contradiction: ${contradiction}</p>` : nothing}${list(facts)}
        <div class="buttons">${button("Copy as curl", "Copy the request that reads this subscription", () => copy(curl))}
          ${button("Copy preview as curl", "Copy the request that tells what cancelling would do", () => copy(preview))}
          ${button("Copy command", "Copy the command that shows this subscription", () => copy(`connect subscriptions show ${subscription.subscriptionId} --tenant ${tenant.tenant}`))}</div></section>
      ${section("Cancellation", cancellation ? details(cancellation, zone) : html`<p class="empty">None was ever requested.</p>`)}
      ${section("Timeline", html`<ol class="timeline">${history.items.map((entry) => moment(entry, zone))}</ol>`)}
      <details><summary>Document</summary><pre tabindex="0" aria-label="Document"><code>${JSON.stringify(subscription, null, 2)}</code></pre></details>`;
  },
};

/** Names and values. One without a value is left out. */
const list = (facts) => html`<dl>${facts.filter(([, value]) => value && value !== nothing).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;

const details = ({ state, scheduledAt, effectiveAt, reason: code, comment, metadata, requestedAt, requestedBy, withdrawnAt, withdrawnBy, executedAt }, zone) =>
  list([
    ["State", words(STATES, state)], ["Date", date(scheduledAt)], ["Takes effect", when(effectiveAt, zone)], ["Reason", reason(code)],
    ["Comment", comment], ["Metadata", metadata && html`<code>${JSON.stringify(metadata)}</code>`],
    ["Requested", html`${when(requestedAt, zone)} ${by(requestedBy)}`],
    ["Withdrawn", withdrawnAt && html`${when(withdrawnAt, zone)} ${by(withdrawnBy)}`], ["Executed", when(executedAt, zone)],
  ]);

/** One change in the timeline. */
function moment({ version, at, cause, source, requestedBy, requestId, cancellation, replaces, status }, zone) {
  const who = by(requestedBy) || words(SOURCES, source);
  const about = ({ scheduledAt, reason: code, comment }) => html`for ${date(scheduledAt)}: ${reason(code)}${comment ? ` (${comment})` : ""}`;
  const is = cause !== "IMPORTED" && cause !== "ERASED" && cancellation;
  return html`<li><strong>${words(CAUSES, cause)}</strong> ${is ? about(cancellation) : nothing}
    ${replaces ? html`<br>In place of ${date(replaces.scheduledAt)}` : nothing}
    <br>${when(at, zone)} by ${who}. <small>Version ${version}, ${words(STATUSES, status)}${requestId ? `, request ${requestId}` : ""}</small></li>`;
}

/** API keys, and what one of them has requested. */
const keys = {
  title: "Keys",
  load: async ({ read, tenant, about, query }) => {
    const of = ["--tenant", tenant.tenant];
    if (about[0]) return { key: about[0], activity: await read("keys", "activity", about[0], ...of, "--since", "90d") };
    // The whole history is read for the last changes.
    return { keys: await read("keys", "list", ...of, ...(query.get("changes") ? ["--last-used"] : [])) };
  },
  show: ({ key, activity, keys: all }, context) => {
    const { zone, href, tenant, change, mayChange } = context;
    const of = ["--tenant", tenant.tenant];
    if (key) {
      const row = ({ at, cause, subscriptionId, cancellation, requestedBy, requestId }) => [
        when(at, zone), words(CAUSES, cause),
        html`<a href=${href(`/subscriptions/${subscriptionId}`)}><code>${subscriptionId}</code></a>`,
        date(cancellation?.scheduledAt), requestedBy?.actor ?? "", requestId ?? "",
      ];
      return html`${section(`Changes by the key ${key} in 90 days`, html`<p><a href=${href("/keys")}>All keys</a></p>`,
        table(["At", "Change", "Subscription", "Date", "For", "Request"], activity.map(row), "None. Reads are not here: the log has those."))}
        ${terminal(context, `connect cancellations withdraw --tenant ${tenant.tenant} --requested-by ${key} --since 90d`)}`;
    }
    const actions = ({ keyId, state, expiresAt }) => {
      if (!mayChange || state !== "valid") return nothing;
      const expires = expiresAt ? ["--expires", "365d"] : [];
      return html`${button("Replace now", `Replace the key ${keyId} now`, () => change(["keys", "rotate", keyId, ...of, "--now", ...expires], `The key ${keyId} is replaced.`))}
        ${button("Revoke", `Revoke the key ${keyId}`, () => change(["keys", "revoke", keyId, ...of], `The key ${keyId} is revoked.`))}`;
    };
    const row = (each) => [
      html`<a href=${href(`/keys/${each.keyId}`)}><strong>${each.name ?? each.keyId}</strong></a> <small>${each.name ? each.keyId : ""} <span class="date">${each.lastFour ? `…${each.lastFour}` : ""}</span></small>`,
      each.scopes.join(" "), when(each.createdAt, zone), when(each.expiresAt, zone), date(each.lastUsed), words({ valid: "Valid", expired: "Expired", revoked: "Revoked" }, each.state), actions(each),
    ];
    const create = (event) => {
      event.preventDefault();
      const { name } = Object.fromEntries(new FormData(event.target));
      change(["keys", "create", ...of, "--name", name], `The key ${name} is created.`);
    };
    return html`${section(`API keys of ${tenant.name}`, table(["Key", "Scopes", "Created", "Expires", "Last change", "State", ""], all.map(row), "There is no key yet."),
        html`<p><a href=${href("/keys", { changes: 1 })}>Show the day of each key's last change</a></p>`)}
      ${mayChange ? section("New key", html`<form class="find" @submit=${create}><label>Name <input name="name" required maxlength="64" autocomplete="off"></label><button class="primary">Create</button></form>`) : nothing}`;
  },
};

/** Webhooks, and the last attempts to post events. */
const webhooks = {
  title: "Webhooks",
  load: async ({ read, tenant }) => {
    const of = ["--tenant", tenant.tenant];
    return { all: await read("webhooks", "list", ...of), attempts: await read("webhooks", "attempts", ...of, "--since", "7d", "--limit", "50") };
  },
  show: ({ all, attempts }, context) => {
    const { zone, tenant, change, mayChange } = context;
    const of = ["--tenant", tenant.tenant];
    const actions = ({ webhookId, enabled }) => {
      if (!mayChange) return nothing;
      const verb = enabled ? "disable" : "enable";
      return html`${button(enabled ? "Disable" : "Enable", `${enabled ? "Disable" : "Enable"} ${webhookId}`, () => change(["webhooks", verb, webhookId, ...of], `The webhook is ${verb}d.`))}
        ${button("Send missed again", `Send again what ${webhookId} missed`, () => change(["webhooks", "resend", "--failed", "--since", "7d", ...of, "--webhook", webhookId], "What was missed in 7 days is sent again."))}`;
    };
    const row = (each) => [
      html`<strong>${each.url}</strong> <small>${each.webhookId}</small>`, each.events.join(" ") || "All", when(each.createdAt, zone),
      each.enabled ? "Enabled" : html`<span class="badge no">Disabled</span> ${when(each.disabledAt, zone)}`, actions(each),
    ];
    const attempt = ({ at, type, eventId, webhookId, outcome, status, milliseconds, answer }) => [
      when(at, zone), html`${type} <small>${eventId}</small>`, all.find((each) => each.webhookId === webhookId)?.url ?? webhookId,
      words(OUTCOMES, outcome), [status ?? "no answer", `${milliseconds} ms`, answer].filter(Boolean).join(", "),
    ];
    return html`${section(`Webhooks of ${tenant.name}`, table(["Webhook", "Events", "Added", "State", ""], all.map(row), "There is no webhook: connect webhooks add adds one."))}
      ${section("Attempts of 7 days", table(["At", "Event", "Webhook", "Outcome", "Answer"], attempts.map(attempt), "None."))}`;
  },
};

/** Batches, and what became of them. */
const batches = {
  title: "Batches",
  load: ({ read, tenant }) => read("cancellations", "batches", "--tenant", tenant.tenant),
  show: (all, context) => {
    const { zone, tenant } = context;
    const command = (batch) => `connect cancellations withdraw --tenant ${tenant.tenant} --batch ${batch}`;
    const row = (each) => [
      html`<strong>${each.batch}</strong>`, html`${when(each.requestedAt, zone)} ${each.requestedBy ?? ""}`,
      each.from === each.to ? date(each.from) : html`${date(each.from)} to ${date(each.to)}`, each.pending, each.executed, each.withdrawn,
      each.pending ? button("Copy withdrawal", `Copy the command that withdraws ${each.batch}`, () => context.copy(command(each.batch))) : nothing,
    ];
    return section(`Batches of ${tenant.name}`, table(["Batch", "Requested", "Date", "Pending", "Executed", "Withdrawn", ""], all.map(row),
      "There is none: connect cancellations schedule cancels many subscriptions at once."));
  },
};

/** The findings of the doctor. */
const doctor = {
  title: "Doctor",
  load: ({ read }) => read("doctor"),
  show: (findings, context) => {
    const mark = { ok: html`<span class="badge yes">OK</span>`, wrong: html`<span class="badge no">Wrong</span>`, unknown: html`<span class="badge">Not known</span>` };
    const row = ({ check, state, what, fix }) => [check, mark[state], html`${what}${fix ? html`<br><strong>Fix:</strong> ${fix}` : nothing}`];
    return html`${section("Doctor", table(["Check", "State", "Finding"], findings.map(row), "Nothing was checked."),
      html`<p class="buttons"><button type="button" @click=${context.go}>Check again</button></p>`)}`;
  },
};

/** All views, by the first part of their address. */
export const VIEWS = { "": today, subscriptions, due, batches, keys, webhooks, doctor };
