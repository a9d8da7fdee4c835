// The words and the times of the console: codes as people say them, and instants in a tenant's time zone beside UTC.
import { html, nothing } from "./lit-html.js";

export const REASONS = {
  BETTER_DEAL_PRICE: "Better deal or price elsewhere",
  NOT_HAPPY_MISSING_FUNCTIONS: "Not happy: functions are missing",
  NOT_HAPPY_COVERAGE_SLA: "Not happy: coverage or service level",
  NOT_HAPPY_COMPLEX_ADMIN: "Not happy: administration is complex",
  NOT_HAPPY_SUPPORT_ENGAGEMENT: "Not happy: support",
  FRAUD: "Fraud",
  FRAUD_ATTEMPT: "Attempted fraud",
  TEST_OR_MARKETING: "Test or marketing",
  NO_NEED: "No need any more",
  WRONG_ORDER: "Wrong order",
  OTHER: "Another reason",
};

export const STATUSES = {
  PENDING: "Ordered",
  ACTIVATED: "Active",
  BLOCKED: "Blocked",
  PAUSED: "Paused by the customer",
  CANCELLED: "Cancelled",
};

export const STATES = { PENDING: "Pending", EXECUTED: "Executed", WITHDRAWN: "Withdrawn", REPLACED: "Replaced" };

export const CAUSES = {
  SCHEDULED: "Cancellation scheduled",
  REPLACED: "Cancellation replaced",
  WITHDRAWN: "Cancellation withdrawn",
  EXECUTED: "Cancellation executed",
  IMPORTED: "Imported",
  ERASED: "Erased",
};

export const SOURCES = { API: "API", SCHEDULE: "the schedule", IMPORT: "an import", OPERATOR: "an operator" };

export const OUTCOMES = {
  DELIVERED: "Delivered",
  RETRYING: "Tried again",
  GIVEN_UP: "Given up",
  GONE: "Gone, so disabled",
  DISABLED: "Not posted, as disabled",
};

/** Returns the words for a code. A code that is newer than this page stands for itself. */
export const words = (table, code) => (code ? (table[code] ?? code) : "");

/** Returns the reason of a cancellation in words; an imported one has none. */
export const reason = (code) => (code ? words(REASONS, code) : "None: imported");

const parts = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };

/** Returns an instant in a time zone: 2026-02-01 00:00. */
export function there(instant, zone) {
  // The Swedish form is that of ISO 8601.
  return new Intl.DateTimeFormat("sv-SE", { ...parts, timeZone: zone }).format(new Date(instant));
}

/** Shows an instant in the tenant's time zone, with UTC beside it. No line breaks within either. */
export function when(instant, zone) {
  if (!instant) return nothing;
  const utc = `${instant.slice(0, 10)} ${instant.slice(11, 16)} UTC`;
  return html`<time datetime=${instant}><span class="date">${there(instant, zone)}</span> <small class="date">${utc}</small></time>`;
}

/** Shows a date, which never breaks. */
export const date = (text) => (text ? html`<span class="date">${text}</span>` : nothing);

/** Says who made a request: the caller's own user, and the API key or the batch. */
export function by({ actor, keyName, keyId, batch } = {}) {
  const key = keyName ?? keyId;
  return [actor, key && `key ${key}`, batch && `batch ${batch}`].filter(Boolean).join(", ");
}

/** Returns a number with its noun: 1 change, 2 changes. */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
