/** Beginnings of days in a time zone, by the data of `Intl`. */

const DAY = 86_400_000;

const clocks = new Map<string, Intl.DateTimeFormat>();

/** Returns the local time of a zone at an instant. A formatter is costly to create, so each zone has one. */
function shown(instant: number, timeZone: string): string {
  let clock = clocks.get(timeZone);
  if (clock === undefined) {
    // Sweden writes dates and times as ISO 8601 does.
    clock = new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short', timeStyle: 'medium' });
    clocks.set(timeZone, clock);
  }
  return clock.format(instant);
}

const isoDate = (instant: number) => new Date(instant).toISOString().slice(0, 10);

export const exists = (date: string) =>
  /^\d{4}-\d\d-\d\d$/.test(date) && isoDate(Date.parse(date) || 0) === date;

export const today = (timeZone: string, now: number) => shown(now, timeZone).slice(0, 10);

export const nextDay = (date: string) => isoDate(Date.parse(date) + DAY);

export function firstOfNextMonth(date: string): string {
  const first = new Date(`${date.slice(0, 7)}-01`);
  first.setUTCMonth(first.getUTCMonth() + 1);
  return isoDate(first.getTime());
}

/** Returns the first instant at which a zone's clocks show a date, or `undefined` if they skip it. */
export function beginningOf(date: string, timeZone: string): Date | undefined {
  const midnight = Date.parse(date);
  const ahead = (at: number) => Date.parse(`${shown(at, timeZone).replace(' ', 'T')}Z`) - at;
  // Clocks may change on that very day, even at midnight: the offsets of the days around it are tried.
  const candidates = [midnight - ahead(midnight - DAY), midnight - ahead(midnight + DAY)];
  const first = Math.min(...candidates.filter((at) => today(timeZone, at) === date));
  return Number.isFinite(first) ? new Date(first) : undefined;
}
