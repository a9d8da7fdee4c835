// The console: its pages are views of the operator's commands. A view runs commands, and shows their results; nothing else reads or
// changes anything. The address has the view and the tenant, so every page can be kept and sent.
import { html, nothing, render } from "./lit-html.js";
import { VIEWS } from "./console-views.js";

const element = (id) => document.getElementById(id);

/** The console does not answer. */
class Offline extends Error {}

/** A command failed. */
class Failed extends Error {}

/** The secret of the session, in this window only. The console of the service on this machine needs none. */
const session = () => ({ "X-Console-Session": sessionStorage.getItem("session") ?? "" });

async function ask(path, body) {
  const request = body
    ? { method: "POST", headers: { "Content-Type": "application/json", ...session() }, body: JSON.stringify(body) }
    : { headers: session() };
  let response;
  try {
    response = await fetch(`/_console/${path}`, request);
  } catch {
    throw new Offline("The console does not answer.");
  }
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    throw new Failed(text);
  }
}

/** Faults of the commands of a view that have done their work in part. */
let faults = [];

/** Runs a command, and returns its result, also that of one that has done its work in part. */
async function read(...parts) {
  const { result, error, notes = [] } = await ask("run", { arguments: parts });
  if (result === undefined) throw new Failed(error ?? notes.join(" "));
  // The doctor's faults are its result.
  if (error && parts[0] !== "doctor") faults.push(error, ...notes);
  return result;
}

/** Exchanges the token of the link for a session, and takes it out of the address. */
async function enter(token) {
  history.replaceState(null, "", "/console");
  const { session: secret, error } = await ask("enter", { token });
  if (error) throw new Failed(error);
  sessionStorage.setItem("session", secret);
}

const say = (text) => { element("said").textContent = text; };

/** Runs a command that changes something, after its question if it has one. Shows its secret, if it made one. */
async function change(parts, done) {
  say("");
  try {
    let answer = await ask("run", { arguments: parts });
    if (answer.question) {
      if (!(await agrees(answer.question))) return;
      answer = await ask("run", { arguments: [...parts, "--yes"] });
    }
    if (answer.error) throw new Failed(answer.error);
    const secret = answer.result?.token ?? answer.result?.secret;
    if (secret) await reveal(secret);
    await go();
    say(done);
  } catch (error) {
    // The request may have arrived, and its answer not.
    say(error instanceof Offline ? "The console does not answer, so it is not known whether this was done." : `Not done: ${error.message}`);
  }
}

/** Asks a question. Anything other than the button is no. */
function agrees(question) {
  const dialog = element("question");
  element("question-text").textContent = `${question}.`;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((answered) => {
    dialog.addEventListener("close", () => answered(dialog.returnValue === "yes"), { once: true });
  });
}

function reveal(secret) {
  const dialog = element("secret");
  element("secret-text").textContent = secret;
  element("secret-copy").onclick = () => copy(secret);
  dialog.showModal();
  return new Promise((closed) => {
    dialog.addEventListener("close", () => {
      element("secret-text").textContent = "";
      closed();
    }, { once: true });
  });
}

async function copy(text) {
  await navigator.clipboard.writeText(text);
  say("Copied.");
}

/** Returns the view that the address names, with what it says about it. */
function place() {
  const [path, query] = location.hash.slice(1).split("?");
  const [, name = "", ...rest] = (path || "/").split("/");
  return { name, about: rest.map(decodeURIComponent), query: new URLSearchParams(query) };
}

/** Returns the address of a view of a tenant. */
const link = (tenant) => (path, query = {}) => {
  const all = new URLSearchParams({ tenant, ...query });
  return `#${path}?${all}`;
};

function navigation({ tenants, tenant, href, name }) {
  const entry = ([path, { title }]) => html`<a href=${href(`/${path}`)} aria-current=${path === name ? "page" : "false"}>${title}</a>`;
  const choose = (event) => { location.hash = link(event.target.value)(`/${name}`).slice(1); };
  const option = ({ tenant: id, name: shown }) => html`<option value=${id} ?selected=${id === tenant.tenant}>${shown} (${id})</option>`;
  return html`<div class="views">${Object.entries(VIEWS).filter(([, view]) => view.title).map(entry)}</div>
    <label class="tenant">Tenant <select @change=${choose}>${tenants.map(option)}</select></label>`;
}

/** Counts what was asked, so that an answer that comes late does not replace a newer one. */
let asking = 0;

/** Shows the view that the address names. */
async function go() {
  asking += 1;
  const nth = asking;
  const main = element("main");
  const { name, about, query } = place();
  const view = VIEWS[name] ?? VIEWS[""];
  const show = (content) => { if (nth === asking) render(content, main); };
  main.setAttribute("aria-busy", "true");
  const late = setTimeout(() => show(html`<p class="loading">Loading…</p>`), 300);
  faults = [];
  try {
    if (query.has("token")) await enter(query.get("token"));
    const self = await ask("about");
    if (self.error) throw new Failed(self.error);
    const tenants = await read("tenants", "list");
    element("offline").hidden = true;
    element("place").textContent = `${self.place}${self.mayChange ? "" : ", read-only"}`;
    const tenant = tenants.find(({ tenant: id }) => id === query.get("tenant")) ?? tenants[0];
    if (!tenant) {
      show(html`<section><h2>No tenant yet</h2><p>Create one: <code>connect tenants create acme --time-zone Europe/Stockholm</code></p></section>`);
      return;
    }
    const href = link(tenant.tenant);
    const context = { read, change, copy, say, go, tenants, tenant, zone: tenant.timeZone, href, about, query, ...self };
    render(navigation({ tenants, tenant, href, name }), element("navigation"));
    const data = await view.load(context);
    const partly = faults.length ? html`<p role="alert" class="bad">Not everything could be read: ${faults.join(" ")}</p>` : nothing;
    show(html`${partly}${view.show(data, context)}`);
    if (nth === asking) document.title = `${view.title ?? about[0]} · Connect Subscriptions`;
  } catch (error) {
    if (error instanceof Offline) {
      element("offline").hidden = false;
      setTimeout(() => { if (nth === asking) go(); }, 2000);
    } else {
      show(html`<section><h2>That did not work</h2><p role="alert">${error.message}</p>
        <p class="buttons"><button type="button" @click=${go}>Try again</button></p></section>`);
    }
  } finally {
    clearTimeout(late);
    if (nth === asking) main.setAttribute("aria-busy", "false");
  }
}

addEventListener("hashchange", () => {
  say("");
  go();
  element("main").focus();
});
render(nothing, element("navigation"));
go();
