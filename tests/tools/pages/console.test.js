// The console, as an operator uses it. CONNECT_URL is the URL of a service on this machine, with a console that may change things.
// CONSOLE_URL is the link of a console that only reads, on the same database.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NARROW, WIDE, barriers, fits, openAt, screenshots } from "./browser.js";

const url = process.env.CONNECT_URL;
const link = new URL(process.env.CONSOLE_URL);
const ID = "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0004";
const open = (test, place, options) => openAt(url, test, `/console#${place}`, options);

/** Runs a command by the console of the service, as its page does. */
async function command(...parts) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ arguments: parts }) };
  return (await fetch(`${url}/_console/run`, request)).json();
}

async function api(path, body, key) {
  const apiKey = key ?? (await (await fetch(`${url}/_local/api-key`)).json()).apiKey;
  const headers = { "X-Api-Key": apiKey, "X-Actor": "agent-17", "Content-Type": "application/json" };
  const answer = await fetch(`${url}/subscriptions/${path}`, body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers });
  return answer.json();
}

test("a customer is found by the phone number, with the timeline in words and in local time", async (t) => {
  await api(`${ID}/cancel`, { schedule: { type: "CancelAtDate", date: "2099-03-01" }, reason: "NOT_HAPPY_SUPPORT_ENGAGEMENT", comment: "waited for weeks" });
  const { display, msisdn } = await api(ID);
  const page = await open(t, "/subscriptions");
  await page.getByLabel("Text").fill(msisdn.replace("+", " "));
  await page.getByRole("button", { name: "Find" }).click();
  await page.getByRole("link", { name: display ?? msisdn }).click();
  await page.getByRole("heading", { name: "Timeline" }).waitFor();
  const cancellation = page.getByRole("region").or(page.locator("section")).filter({ hasText: "Takes effect" });
  await cancellation.getByText("Not happy: support").waitFor();
  await cancellation.getByText("2099-03-01 00:00").waitFor();
  await cancellation.getByText("2099-02-28 23:00 UTC").waitFor();
  const first = page.locator(".timeline li").first();
  await first.getByText("Cancellation scheduled").waitFor();
  await first.getByText(/agent-17/).waitFor();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy the request that reads this subscription" }).click();
  await page.getByRole("status").getByText("Copied.").waitFor();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), new RegExp(`^curl "http.*/subscriptions/${ID}" -H`));
});

test("due cancellations are counted by day, and each day leads to its cancellations", async (t) => {
  const page = await open(t, "/due?until=2099-12-31");
  await page.getByRole("row").filter({ hasText: "2099-03-01" }).getByText("Not happy: support: 1").waitFor();
  await page.getByRole("link", { name: "2099-03-01" }).click();
  await page.getByRole("heading", { name: "1 cancellation on 2099-03-01" }).waitFor();
  await page.getByRole("link", { name: ID }).waitFor();
});

test("executions are paused and resumed with one click", async (t) => {
  const page = await open(t, "/");
  await page.getByRole("button", { name: "Pause the cancellations of demo" }).click();
  await page.getByRole("status").getByText("The cancellations of demo are paused.").waitFor();
  await page.getByText("Paused", { exact: true }).waitFor();
  const { result } = await command("tenants", "show", "demo");
  assert.ok(result.paused.at);
  await page.getByRole("button", { name: "Resume the cancellations of demo" }).click();
  await page.getByRole("status").getByText("The cancellations of demo are resumed.").waitFor();
});

test("a leaked key is replaced in two clicks, and the new token is shown once", async (t) => {
  await command("keys", "create", "--tenant", "demo", "--name", "Leaked");
  const page = await open(t, "/keys");
  const row = page.getByRole("row").filter({ hasText: "Leaked" });
  await row.getByRole("button", { name: /^Replace the key/ }).click();
  await page.getByRole("dialog").getByText(/This locks out everyone who uses the key/).waitFor();
  assert.deepEqual(await barriers(page), []);
  await page.getByRole("button", { name: "Go on" }).click();
  const secret = page.getByRole("dialog").filter({ hasText: "Shown only once" });
  await secret.getByText(/^ck_demo_/).waitFor();
  await secret.getByRole("button", { name: "Close" }).click();
  await row.filter({ hasText: "Revoked" }).waitFor();
  assert.equal(await row.count(), 2);
  assert.equal((await page.content()).includes("ck_demo_"), false, "the token is still in the page");
});

test("the changes by a key are one click away", async (t) => {
  const { result } = await command("keys", "create", "--tenant", "demo", "--name", "Shop");
  await api(`${ID}/cancel`, { schedule: { type: "CancelAtDate", date: "2099-04-01" }, reason: "NO_NEED" }, result.token);
  let activity = [];
  while (activity.length === 0) {
    activity = (await command("keys", "activity", result.keyId, "--tenant", "demo", "--since", "1d")).result;
  }
  const page = await open(t, "/keys");
  await page.getByRole("link", { name: "Shop" }).click();
  const row = page.getByRole("row").filter({ hasText: ID });
  await row.getByText("2099-04-01").waitFor();
  await row.getByText("agent-17").waitFor();
  await row.getByRole("link", { name: ID }).waitFor();
});

test("a question that is not answered with the button changes nothing", async (t) => {
  const page = await open(t, "/keys");
  const row = page.getByRole("row").filter({ hasText: "Leaked" }).filter({ hasText: "Valid" });
  await row.getByRole("button", { name: /^Revoke the key/ }).click();
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  assert.equal(await row.count(), 1);
});

test("an error, an absence, a view that loads and a console that is gone are said", async (t) => {
  const page = await open(t, "/subscriptions?by=msisdn&text=000");
  await page.getByText("Nothing is found.").waitFor();
  await page.goto(`${url}/console#/subscriptions/00000000-0000-4000-8000-000000000000`);
  await page.getByRole("alert").getByText("demo has no such subscription").waitFor();
  await page.goto(`${url}/console#/batches`);
  await page.getByText("There is none: connect cancellations schedule").waitFor();
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route("**/_console/run", async (route) => {
    await held;
    await route.continue();
  });
  await page.getByRole("link", { name: "Doctor" }).click();
  await page.getByText("Loading…").waitFor();
  release();
  await page.getByRole("cell", { name: "database", exact: true }).waitFor();
  await page.unroute("**/_console/run");
  await page.route("**/_console/about", (route) => route.abort());
  await page.getByRole("link", { name: "Today" }).click();
  await page.getByText("The console does not answer.").waitFor();
  await page.unroute("**/_console/about");
  await page.getByRole("heading", { name: "Tenants" }).waitFor();
  await page.getByText("The console does not answer.").waitFor({ state: "hidden" });
});

test("a command that uses files, or is not one, is refused", async () => {
  for (const [parts, why] of [
    [["subscriptions", "export", "/tmp/x", "--tenant", "demo"], "this command runs in a terminal only"],
    [["backup", "/tmp/x", "--tenant", "demo"], "this command runs in a terminal only"],
    [["keys", "revoke", "-", "--tenant", "demo"], "this command runs in a terminal only"],
    [["keys", "activity", " -", "--tenant", "demo"], "this command runs in a terminal only"],
    [["nonsense"], "unrecognized subcommand 'nonsense'"],
  ]) {
    assert.equal((await command(...parts)).error, why);
  }
});

test("the link of a console is good once, and a console that only reads changes nothing", async (t) => {
  const at = (path) => new URL(path, link).href;
  const enter = (token) => fetch(at("/_console/enter"), { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
  assert.equal((await fetch(at("/_console/about"))).status, 403);
  assert.equal((await enter("guess")).status, 403);
  const page = await openAt(link.origin, t, link.pathname + link.hash);
  await page.getByRole("heading", { name: "Tenants" }).waitFor();
  await page.getByText(/read-only$/).waitFor();
  assert.equal(page.url().includes("token"), false);
  assert.equal(await page.getByRole("button", { name: /^Pause/ }).count(), 0);
  const refused = await page.evaluate(async () => {
    const headers = { "Content-Type": "application/json", "X-Console-Session": sessionStorage.getItem("session") };
    const request = { method: "POST", headers, body: JSON.stringify({ arguments: ["cancellations", "pause", "--all"] }) };
    const answer = await fetch("/_console/run", request);
    return [answer.status, (await answer.json()).error];
  });
  assert.deepEqual(refused, [403, "this console only reads; connect console --allow-changes allows more"]);
  await page.reload();
  await page.getByRole("heading", { name: "Tenants" }).waitFor();
  assert.equal((await enter(new URLSearchParams(link.hash.split("?")[1]).get("token"))).status, 403, "the link is good twice");
  const other = await openAt(link.origin, t, link.pathname + link.hash);
  await other.getByRole("alert").getByText(/open in another window/).waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  for (const viewport of [NARROW, WIDE]) {
    test(`the console can be read, ${colorScheme}, ${viewport.width} pixels wide`, async (t) => {
      const page = await open(t, "/", { colorScheme, viewport });
      for (const [place, heading] of [
        ["/", "Tenants"], ["/subscriptions", "Find"], [`/subscriptions/${ID}`, "Timeline"], ["/due?until=2099-12-31", "Due and to come"],
        ["/keys", "API keys of Demo Telecom"], ["/webhooks", "Attempts of 7 days"], ["/batches", "Batches of Demo Telecom"], ["/doctor", "Doctor"],
      ]) {
        await page.goto(`${url}/console#${place}`);
        await page.getByRole("heading", { name: heading }).waitFor();
        await page.locator("main[aria-busy=false]").waitFor();
        assert.deepEqual(await barriers(page), [], place);
        assert.equal(await fits(page), true, `${place} is too wide`);
        const name = place.split(/[/?]/).slice(1, 2)[0] || "today";
        if (screenshots) await page.screenshot({ path: `${screenshots}/console-${name}${place.includes(ID) ? "-one" : ""}-${colorScheme}-${viewport.width}.png`, fullPage: true });
      }
    });
  }
}
