// Times of the access log: strftime with Envoy's additions, compiled once. UTC only, as a waypoint runs in UTC.

export type TimeFormatter = (ms: number) => string;

let second = Number.NaN;
let secondText = '';

/** `2026-08-22T10:00:00.123Z`, the default of START_TIME. The text of the second is kept. */
export function isoMillis(ms: number): string {
  const whole = Math.floor(ms);
  const now = Math.floor(whole / 1000);
  if (now !== second) {
    second = now;
    secondText = new Date(now * 1000).toISOString().slice(0, 20);
  }
  const rest = whole - now * 1000;
  return `${secondText}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
}

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];
const two = (value: number): string => String(value).padStart(2, '0');

/** Digits of the second's fraction, from fractional milliseconds. Beyond microseconds the clock tells nothing: zeros. */
function fraction(ms: number, digits: number): string {
  const micros = Math.floor(ms * 1000) % 1_000_000;
  return String((micros + 1_000_000) % 1_000_000)
    .padStart(6, '0')
    .padEnd(9, '0')
    .slice(0, digits);
}

const dayOfYear = (date: Date): number =>
  Math.floor(
    (Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()) -
      Date.UTC(date.getUTCFullYear(), 0, 0)) /
      86_400_000,
  );

const fields: Readonly<Record<string, (date: Date, ms: number) => string>> = {
  Y: (date) => String(date.getUTCFullYear()),
  y: (date) => two(date.getUTCFullYear() % 100),
  m: (date) => two(date.getUTCMonth() + 1),
  d: (date) => two(date.getUTCDate()),
  e: (date) => String(date.getUTCDate()).padStart(2, ' '),
  H: (date) => two(date.getUTCHours()),
  I: (date) => two(date.getUTCHours() % 12 || 12),
  M: (date) => two(date.getUTCMinutes()),
  S: (date) => two(date.getUTCSeconds()),
  p: (date) => (date.getUTCHours() < 12 ? 'AM' : 'PM'),
  j: (date) => String(dayOfYear(date)).padStart(3, '0'),
  a: (date) => (days[date.getUTCDay()] as string).slice(0, 3),
  A: (date) => days[date.getUTCDay()] as string,
  b: (date) => (months[date.getUTCMonth()] as string).slice(0, 3),
  h: (date) => (months[date.getUTCMonth()] as string).slice(0, 3),
  B: (date) => months[date.getUTCMonth()] as string,
  u: (date) => String(date.getUTCDay() || 7),
  w: (date) => String(date.getUTCDay()),
  F: (date) => date.toISOString().slice(0, 10),
  T: (date) => date.toISOString().slice(11, 19),
  R: (date) => date.toISOString().slice(11, 16),
  D: (date) => `${two(date.getUTCMonth() + 1)}/${two(date.getUTCDate())}/${two(date.getUTCFullYear() % 100)}`,
  s: (_, ms) => String(Math.floor(ms / 1000)),
  f: (_, ms) => fraction(ms, 9),
  z: () => '+0000',
  Z: () => 'UTC',
  '%': () => '%',
  n: () => ' ',
  t: () => '\t',
};

const directive = /%(?:E([1-9*])S|([1-9])f|(.))|[^%]+|%$/gs;

/** `problem` tells which directive is not known. */
export function compileTimeFormat(format: string): TimeFormatter | { readonly problem: string } {
  if (format === '' || format === '%Y-%m-%dT%H:%M:%E3SZ') return isoMillis;
  const parts: ((date: Date, ms: number) => string)[] = [];
  for (const [text, secondsDigits, digits, name] of format.matchAll(directive)) {
    if (secondsDigits !== undefined) {
      const count = secondsDigits === '*' ? 6 : Number(secondsDigits);
      parts.push((date, ms) => `${two(date.getUTCSeconds())}.${fraction(ms, count)}`);
    } else if (digits !== undefined) parts.push((_, ms) => fraction(ms, Number(digits)));
    else if (name !== undefined && Object.hasOwn(fields, name))
      parts.push(fields[name] as (date: Date, ms: number) => string);
    else if (text.startsWith('%')) return { problem: `time directive "${text}" is not known` };
    else parts.push(() => text);
  }
  return (ms) => {
    const date = new Date(ms);
    return parts.map((part) => part(date, ms)).join('');
  };
}
