// Numbers and times as people read them. Never: a clock, the DOM. What is not known reads as a dash.

export const UNKNOWN = "–";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const oneDigit = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

type Maybe = number | null | undefined;

const known = (n: Maybe): n is number => typeof n === "number" && Number.isFinite(n);

/** How many: 1,234, and from 100 000 on 123K. */
export function count(n: Maybe): string {
  if (!known(n)) return UNKNOWN;
  return Math.abs(n) < 100_000 ? whole.format(n) : compact.format(n);
}

/** Per second: one digit below 10. */
export const perSecond = (n: Maybe): string => (known(n) && Math.abs(n) < 10 ? oneDigit.format(n) : count(n));

/** A measured value with four digits, or more before the point. */
export function measured(n: Maybe): string {
  if (!known(n)) return UNKNOWN;
  if (Math.abs(n) >= 1e7 || (n !== 0 && Math.abs(n) < 1e-4)) return n.toExponential(2);
  return Math.abs(n) >= 1000 ? whole.format(n) : significant.format(n);
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function bytes(n: Maybe): string {
  if (!known(n)) return UNKNOWN;
  let [rest, unit] = [n, 0];
  while (Math.abs(rest) >= 1024 && unit < BYTE_UNITS.length - 1) [rest, unit] = [rest / 1024, unit + 1];
  return `${unit === 0 || Math.abs(rest) >= 100 ? whole.format(rest) : oneDigit.format(rest)} ${BYTE_UNITS[unit]}`;
}

/** A length of time: 380 ms, 1.2 s, 4 min, 3.5 h, 2 d. */
export function duration(ms: Maybe): string {
  if (!known(ms)) return UNKNOWN;
  const size = Math.abs(ms);
  if (size < 9.95) return `${oneDigit.format(ms)} ms`;
  if (size < 999.5) return `${whole.format(ms)} ms`;
  if (size < 9_950) return `${oneDigit.format(ms / 1000)} s`;
  if (size < 120_000) return `${whole.format(ms / 1000)} s`;
  if (size < 7_200_000) return `${whole.format(ms / 60_000)} min`;
  if (size < 172_800_000) return `${oneDigit.format(ms / 3_600_000)} h`;
  return `${whole.format(ms / 86_400_000)} d`;
}

/** How long ago `ms` was, seen from `now`. A time ahead of `now` is told as such: a device's clock may be wrong. */
export function ago(ms: Maybe, now: Maybe): string {
  if (!known(ms) || !known(now)) return UNKNOWN;
  const past = now - ms;
  if (past < -2_000) return `${duration(-past)} ahead`;
  return past < 1_500 ? "just now" : `${duration(Math.round(past / 1000) * 1000)} ago`;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** Time of day, by the reader's time zone. */
export function clock(ms: Maybe): string {
  if (!known(ms)) return UNKNOWN;
  const at = new Date(ms);
  return Number.isNaN(at.getTime()) ? UNKNOWN : `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** "1 window", "2 windows". */
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;
