// Receives events with node:http: verifies each signature, drops duplicates, and keeps the latest state of each subscription.
// Prints each event that changes that state, as one line of JSON. Needs standardwebhooks (npm), and TLS in front of it.
//   WEBHOOK_SECRET=whsec_… PORT=4000 node receive.mjs   (compiled by tsc)
// The ids and the versions are only in memory here. Keep them in the database that the events change, for 30 days, and write both
// in one transaction.
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

type Event = { eventId: string; type: string; version: number; data: { subscriptionId: string } };

const { WEBHOOK_SECRET, PORT } = process.env;
if (!WEBHOOK_SECRET || !PORT) throw new Error("WEBHOOK_SECRET and PORT must be set");
const webhook = new Webhook(WEBHOOK_SECRET);
const seen = new Set<string>();
const versions = new Map<string, number>();

/** Processes an event once. One that was overtaken by a later one changes nothing. */
function processOnce(event: Event): void {
  if (seen.has(event.eventId)) return;
  if (event.type.startsWith("subscription.")) {
    const { subscriptionId } = event.data;
    if (event.version > (versions.get(subscriptionId) ?? 0)) {
      versions.set(subscriptionId, event.version);
      console.log(JSON.stringify(event));
    }
  }
  seen.add(event.eventId);
}

createServer(async (request, response) => {
  // The signature is that of the body as it came.
  const body = await text(request);
  let event: Event;
  try {
    event = webhook.verify(body, request.headers as Record<string, string>) as Event;
  } catch {
    response.writeHead(401).end();
    return;
  }
  try {
    processOnce(event);
    response.writeHead(204).end();
  } catch {
    // It lacks a member.
    response.writeHead(400).end();
  }
}).listen(Number(PORT), "127.0.0.1");
