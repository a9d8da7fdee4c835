// The pages of a running service, as a person uses them. CONNECT_URL is the URL of the service.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NARROW, WIDE, barriers, fits, openAt, screenshots } from "./browser.js";

const url = process.env.CONNECT_URL;
const open = (test, path, options) => openAt(url, test, path, options);

const row = (page, name) => page.locator("#rows").getByRole("row").filter({ hasText: name });
const cells = (row) => row.getByRole("cell").allTextContents();

/** Goes to a section of the reference. A section is rendered only when it is needed. */
async function openSection(page, name) {
  await page.getByRole("link", { name }).first().click();
  await page.getByRole("heading", { name }).waitFor();
}

test("the reference sends a key of its own with each change", async (t) => {
  const page = await open(t, "/docs");
  const keys = [];
  const send = async () => {
    const answered = page.waitForResponse((response) => new URL(response.url()).pathname.endsWith("/cancel"));
    await page.getByRole("button", { name: /^Send .*request to/ }).click();
    const answer = await answered;
    keys.push((await answer.request().allHeaders())["x-idempotency-key"]);
    return (await answer.json()).code ?? answer.status();
  };
  await openSection(page, "Cancel a subscription");
  await page.getByRole("button", { name: /Test Request.*post \/subscriptions/i }).click();
  assert.equal(await send(), 200);
  assert.equal(await send(), 200);
  await page.keyboard.press("Escape");
  await openSection(page, "Withdraw a cancellation");
  await page.getByRole("button", { name: /Test Request.*delete \/subscriptions/i }).click();
  assert.equal(await send(), 200);
  assert.equal(await send(), "no_pending_cancellation");
  assert.equal(new Set(keys).size, 4);
  for (const key of keys) assert.match(key, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test("a cancellation, from the click to its effect", async (t) => {
  const page = await open(t, "/");
  const subscription = row(page, "rid_crm-1001");
  await subscription.getByText("ACTIVATED").waitFor();
  await subscription.getByRole("button", { name: /^Cancel/ }).click();
  const preview = page.locator("#preview");
  await preview.getByText("Takes effect when 2026-02-01 begins in Europe/Stockholm: 2026-01-31T23:00:00Z.").waitFor();
  await page.getByLabel("Schedule").selectOption("CancelAtDate");
  await page.getByLabel("Date", { exact: true }).fill("2020-01-01");
  await preview.getByText("the date must be later than today").waitFor();
  await page.getByLabel("Schedule").selectOption("CancelNextDay");
  await page.getByLabel("Reason").selectOption("OTHER");
  await page.getByRole("button", { name: "Cancel the subscription" }).click();
  await page.getByRole("alert").getByText("/comment: the reason OTHER needs a comment").waitFor();
  await page.getByLabel("Comment").fill("Moves abroad");
  await page.getByRole("button", { name: "Cancel the subscription" }).click();
  await subscription.getByText("CANCELLED on 2026-02-01").waitFor();
  assert.equal(await subscription.getByText("ACTIVATED", { exact: true }).count(), 1);
  if (screenshots) await page.screenshot({ path: `${screenshots}/page-pending.png` });

  await page.getByRole("button", { name: "Next day (2026-02-01)" }).click();
  await page.getByRole("status").getByText("1 executed.").waitFor();
  await subscription.getByText("CANCELLED", { exact: true }).waitFor();
  await subscription.getByText("2026-01-31T23:00:00Z").waitFor();
  assert.equal(await subscription.getByRole("button", { name: /^Cancel/ }).isDisabled(), true);
  const execution = page.locator("#sweeps").getByRole("row").first();
  assert.deepEqual((await cells(execution)).slice(1, 4), ["1", "1", "0"]);
  const published = page.locator("#published").getByRole("row");
  await published.filter({ hasText: "subscription.cancelled" }).filter({ hasText: "delivered" }).waitFor();
  assert.deepEqual(await cells(published.first()), [
    "2026-01-31T23:00:00Z", "subscription.cancelled", "rid_crm-1001", "CANCELLED", "delivered",
  ]);
  assert.deepEqual((await cells(published.nth(1))).slice(1, 4), [
    "subscription.updated", "rid_crm-1001", "ACTIVATED, CANCELLED on 2026-02-01",
  ]);
});

test("the history of a subscription says who changed it, when and why", async (t) => {
  const page = await open(t, "/");
  const subscription = row(page, "rid_crm-1006");
  await subscription.waitFor();
  const { apiKey } = await (await fetch(`${url}/_local/api-key`)).json();
  const headers = { "X-Api-Key": apiKey, "X-Actor": "agent-17", "Content-Type": "application/json" };
  const send = (method, body) =>
    fetch(`${url}/subscriptions/rid_crm-1006/cancel`, { method, headers, body: body && JSON.stringify(body) });
  const asked = { schedule: { type: "CancelAtDate", date: "2999-01-01" }, reason: "OTHER", comment: "Moves <b>abroad</b>" };
  assert.equal((await send("POST", asked)).status, 200);
  assert.equal((await send("POST", { ...asked, schedule: { type: "CancelAtDate", date: "2999-02-01" } })).status, 200);
  assert.equal((await send("DELETE")).status, 200);
  // An event is published after its entry is in the history.
  await page.locator("#published").getByRole("row").filter({ hasText: "rid_crm-1006" }).nth(2).waitFor();
  const button = subscription.getByRole("button", { name: /^History/ });
  await button.click();
  const history = page.getByRole("dialog", { name: /^History of/ });
  const entries = history.locator("#entries").getByRole("row");
  await entries.nth(3).waitFor();
  const [withdrawn, replaced, scheduled, imported] = await Promise.all([0, 1, 2, 3].map((n) => cells(entries.nth(n))));
  assert.deepEqual(withdrawn.slice(1, 3), ["4. Cancellation withdrawn", "agent-17"]);
  assert.match(withdrawn[4], /^WITHDRAWN for 2999-02-01/);
  assert.match(replaced[4], /^PENDING for 2999-02-01, OTHER, Moves <b>abroad<\/b>, in place of 2999-01-01$/);
  assert.deepEqual(scheduled.slice(1, 3), ["2. Cancellation scheduled", "agent-17"]);
  assert.notEqual(scheduled[3], "");
  assert.deepEqual(imported.slice(1), ["1. Imported", "an import", "", "", imported[5]]);
  assert.deepEqual(await barriers(page), []);
  if (screenshots) await page.screenshot({ path: `${screenshots}/history.png` });
  await history.getByRole("button", { name: "Close" }).click();
  assert.equal(await button.evaluate((node) => node === document.activeElement), true, "the focus is lost");
});

test("a delivery is shown with the answer of the receiver, and its event is sent again", async (t) => {
  const page = await open(t, "/");
  const attempts = page.locator("#attempts").getByRole("row").filter({ hasText: "delivered" });
  await attempts.first().waitFor();
  const before = await attempts.count();
  const [at, type, webhook, outcome, answer] = await cells(attempts.first());
  assert.match(at, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.match(type, /^subscription\./);
  assert.match(webhook, /^http:\/\/127\.0\.0\.1:\d+$/);
  assert.equal(outcome, "delivered");
  assert.match(answer, /^204, after \d+ ms$/);
  const button = attempts.first().getByRole("button", { name: /^Event/ });
  await button.click();
  const event = page.getByRole("dialog", { name: "Event" });
  await event.getByText('"eventId"').waitFor();
  assert.equal(JSON.parse(await event.locator("#payload").textContent()).type, type);
  assert.deepEqual(await barriers(page), []);
  await event.getByRole("button", { name: "Send again" }).click();
  await event.getByText("Sent again to 1 webhook.").waitFor();
  if (screenshots) await page.screenshot({ path: `${screenshots}/event.png` });
  await event.getByRole("button", { name: "Close" }).click();
  await attempts.nth(before).waitFor();
  const { webhooks } = await (await fetch(`${url}/_local/deliveries`)).json();
  assert.equal(JSON.stringify(webhooks).includes("whsec_"), false);
});

test("a cancellation is withdrawn", async (t) => {
  const page = await open(t, "/");
  const subscription = row(page, "rid_crm-1007");
  const withdraw = subscription.getByRole("button", { name: /^Withdraw/ });
  await subscription.getByRole("button", { name: /^Cancel/ }).click();
  await page.getByRole("button", { name: "Cancel the subscription" }).click();
  await withdraw.click();
  await page.getByRole("status").getByText("The cancellation was withdrawn.").waitFor();
  await withdraw.waitFor({ state: "hidden" });
  assert.equal(await subscription.getByText(/CANCELLED/).count(), 0);
  const cancel = subscription.getByRole("button", { name: /^Cancel/ });
  assert.equal(await cancel.evaluate((node) => node === document.activeElement), true, "the focus is lost");
});

test("the same with the keyboard alone", async (t) => {
  const page = await open(t, "/");
  const button = row(page, "rid_crm-1002").getByRole("button", { name: /^Cancel/ });
  await button.waitFor();
  for (let presses = 0; !(await button.evaluate((node) => node === document.activeElement)); presses += 1) {
    assert.ok(presses < 40, "the button can't be reached");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  assert.equal(await button.evaluate((node) => node === document.activeElement), true, "the focus is lost");

  await page.keyboard.press("Enter");
  await page.keyboard.type("At");
  await page.keyboard.press("Tab");
  await page.keyboard.type("03152099");
  await page.keyboard.press("Enter");
  await row(page, "rid_crm-1002").getByText("CANCELLED on 2099-03-15").waitFor();
  // The clock goes on. The focus stays on the button.
  const now = await page.locator("#now").textContent();
  await page.waitForFunction((before) => document.getElementById("now").textContent !== before, now);
  assert.equal(await button.evaluate((node) => node === document.activeElement), true, "the focus is lost");
});

test("the clock turns by a month and by 24 hours", async (t) => {
  await fetch(`${url}/_local/clock`, { method: "POST", body: JSON.stringify({ now: "2026-03-15T12:00:00Z" }) });
  const page = await open(t, "/");
  const now = async () => Date.parse(await page.locator("#now").textContent());
  await page.getByRole("button", { name: "Next month (2026-04-01)" }).waitFor();
  await page.getByRole("button", { name: /^Next month/ }).click();
  await page.getByRole("status").getByText("0 executed.").waitFor();
  const month = await now();
  assert.match(new Date(month).toISOString(), /^2026-03-31T22:00/);
  await page.getByRole("button", { name: "+24 h" }).click();
  await page.waitForFunction((before) => Date.parse(document.getElementById("now").textContent) >= before + 86_400_000, month);
});

test("the clock goes to a date, says what takes effect on the way, and comes back", async (t) => {
  await fetch(`${url}/_local/clock`, { method: "POST", body: JSON.stringify({ now: "2026-04-15T12:00:00Z" }) });
  const page = await open(t, "/");
  const subscription = row(page, "rid_crm-1005");
  await subscription.getByRole("button", { name: /^Cancel/ }).click();
  await page.getByRole("button", { name: "Cancel the subscription" }).click();
  await subscription.getByText("CANCELLED on 2026-04-16").waitFor();
  await page.getByLabel("Clock date").fill("2026-05-01");
  await page.getByText("1 cancellation takes effect on the way.").waitFor();
  await page.getByRole("button", { name: "Go to its beginning" }).click();
  await page.getByRole("status").getByText("1 executed.").waitFor();
  assert.match(await page.locator("#now").textContent(), /^2026-04-30T22:00/);
  await page.getByRole("button", { name: "Back to the real time" }).click();
  await page.waitForFunction(() => Math.abs(Date.parse(document.getElementById("now").textContent) - Date.now()) < 60_000);
});

test("a service that is gone is said to be gone", async (t) => {
  const page = await open(t, "/");
  await row(page, "rid_crm-1003").getByText("ACTIVATED").waitFor();
  await page.route("**/_local/status", (route) => route.abort());
  await page.getByRole("status").getByText("The service does not answer").waitFor();
  await page.unroute("**/_local/status");
  await page.getByRole("status").getByText("The service does not answer").waitFor({ state: "detached" });
});

for (const colorScheme of ["light", "dark"]) {
  for (const viewport of [NARROW, WIDE]) {
    test(`the pages can be read, ${colorScheme}, ${viewport.width} pixels wide`, async (t) => {
      for (const path of ["/", "/problems", "/problems/idempotency_key_locked"]) {
        const page = await open(t, path, { colorScheme, viewport });
        if (path === "/") await row(page, "rid_crm-1008").waitFor();
        assert.deepEqual(await barriers(page), []);
        assert.equal(await fits(page), true, "the page is too wide");
        if (path === "/") {
          if (screenshots) await page.screenshot({ path: `${screenshots}/page-${colorScheme}-${viewport.width}.png` });
          await row(page, "rid_crm-1003").getByRole("button", { name: /^Cancel/ }).click();
          assert.deepEqual(await barriers(page), []);
        }
      }
    });

    test(`the reference can be read, ${colorScheme}, ${viewport.width} pixels wide`, async (t) => {
      const page = await open(t, "/docs", { colorScheme, viewport });
      await page.getByRole("heading", { name: "Retrying safely" }).waitFor();
      if (viewport === WIDE) await openSection(page, "Cancel a subscription");
      assert.equal(await fits(page), true, "the page is too wide");
      if (screenshots) await page.screenshot({ path: `${screenshots}/docs-${colorScheme}-${viewport.width}.png` });
    });
  }
}

test("the index of problems leads to each, with its status, an example and whether to retry", async (t) => {
  const page = await open(t, "/problems");
  const locked = page.getByRole("row").filter({ hasText: "idempotency_key_locked" });
  await locked.getByText("409").waitFor();
  await locked.getByText("Yes").waitFor();
  await page.getByRole("row").filter({ hasText: "api_key_missing" }).getByText("No", { exact: true }).waitFor();
  await locked.getByRole("link").click();
  await page.getByRole("heading", { name: "idempotency_key_locked" }).waitFor();
  await page.getByText('"code": "idempotency_key_locked"').waitFor();
});

test("the reference has a section on each problem", async (t) => {
  const page = await open(t, "/docs");
  for (const code of ["api_key_missing", "idempotency_key_locked", "internal_error"]) {
    await page.getByRole("heading", { name: code }).waitFor();
  }
});

test("the reference tries an operation out, with the key filled in", async (t) => {
  const page = await open(t, "/docs");
  await openSection(page, "Read a subscription");
  await page.getByRole("button", { name: /Test Request.*get \/subscriptions\/\{subscriptionId\}\)/i }).click();
  const answered = page.waitForResponse((response) => new URL(response.url()).pathname.startsWith("/subscriptions/"));
  await page.getByRole("button", { name: "Send Request" }).click();
  const answer = await answered;
  assert.equal(answer.status(), 200);
  assert.equal((await answer.json()).subscriptionId, "5f0c1a52-7f0e-4b6e-9d41-0a6d3f1c0001");
});
