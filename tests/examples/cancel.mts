// Cancels a subscription for the next day with fetch, safely: a failed request is retried with the same
// idempotency key, so that it takes effect once. Prints the date on which the subscription will be cancelled.
//   CONNECT_URL=… CONNECT_API_KEY=… node cancel.mjs SUBSCRIPTION [KEY]   (compiled by tsc)
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS = 6;

/** A refusal by the service. The same request would be refused again. */
class Refused extends Error {}

/**
 * Cancels, and returns the date of the cancellation. `key` names this one cancellation. Keep it with the order, so that
 * another run of this program can use it again.
 */
async function cancel(subscription: string, key: string): Promise<string> {
  const { CONNECT_URL, CONNECT_API_KEY } = process.env;
  if (!CONNECT_URL || !CONNECT_API_KEY) throw new Error("CONNECT_URL and CONNECT_API_KEY must be set");
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    let wait = (0.5 + Math.random() / 2) * 1000 * 2 ** attempt;
    let answer: Response | undefined;
    let text = "";
    try {
      answer = await fetch(`${CONNECT_URL}/subscriptions/${encodeURIComponent(subscription)}/cancel`, {
        method: "POST",
        headers: { "X-Api-Key": CONNECT_API_KEY, "X-Idempotency-Key": key, "Content-Type": "application/json" },
        body: JSON.stringify({ schedule: { type: "CancelNextDay" }, reason: "NO_NEED" }),
        signal: AbortSignal.timeout(10_000),
      });
      text = await answer.text();
    } catch (error) {
      // The request may have been carried out: the answer was lost, or is incomplete.
      console.error(`no answer (${error})`);
      answer = undefined;
    }
    if (answer !== undefined) {
      if (answer.ok) return (JSON.parse(text) as { pendingStatus: { scheduledAt: string } }).pendingStatus.scheduledAt;
      const isProblem = answer.headers.get("Content-Type") === "application/problem+json";
      const code = isProblem ? (JSON.parse(text) as { code: string }).code : undefined;
      const mayPass = answer.status === 429 || answer.status >= 500 || code === "idempotency_key_locked";
      if (!mayPass) throw new Refused(`${answer.status} ${code}`);
      wait = Math.max(wait, 1000 * (Number(answer.headers.get("Retry-After")) || 0));
      console.error(`${answer.status} ${code}`);
    }
    if (attempt + 1 < ATTEMPTS) await sleep(wait);
  }
  throw new Error("the outcome is unknown; retry with the same key within 24 hours");
}

const [, , subscription, key = randomUUID()] = process.argv;
if (subscription === undefined) throw new Error("the subscription is missing");
console.error(`idempotency key ${key}`);
console.log(await cancel(subscription, key));
