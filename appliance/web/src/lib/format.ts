// Format makes text of figures. Units are always shown; what is not known is an
// en dash and never a zero. Times of records are ns since the epoch, those of the
// API's own objects RFC 3339.

export const none = '–';

/** When is a time as the API gives it: ns since the epoch, or RFC 3339. */
export type When = number | string | undefined | null;

/** ms makes milliseconds since the epoch of a time; 0 where there is none. */
export function ms(t: When): number {
  if (!t) return 0;
  if (typeof t === 'number') return t / 1e6;
  if (/^\d+$/.test(t)) return Number(t) / 1e6;
  const n = Date.parse(t);
  return Number.isNaN(n) || n < 0 ? 0 : n;
}

const pad = (n: number, width = 2) => String(n).padStart(width, '0');

/** clock is the time of day, local, with as many decimals as asked for. */
export function clock(t: When, decimals = 0): string {
  const at = ms(t);
  if (!at) return none;
  const d = new Date(at);
  let s = `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
  if (decimals > 0) {
    const us = Math.floor((at - Math.floor(at / 1000) * 1000) * 1000);
    s += '.' + pad(us, 6).slice(0, decimals);
  }
  return s;
}

/** day is the date, local. */
export function day(t: When): string {
  const at = ms(t);
  if (!at) return none;
  const d = new Date(at);
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
}

/** stamp is date and time, local; of today the time alone. */
export function stamp(t: When, decimals = 0): string {
  const at = ms(t);
  if (!at) return none;
  return day(t) === day(Date.now() * 1e6) ? clock(t, decimals) : `${day(t)} ${clock(t, decimals)}`;
}

/** listed is stamp for the column of a list: short, and always of one width on one day. */
export function listed(t: When, decimals = 0): string {
  const at = day(t);
  const now = day(Date.now() * 1e6);
  if (at === none || at === now) return clock(t, decimals);
  return `${at.slice(0, 4) === now.slice(0, 4) ? at.slice(5) : at.slice(2)} ${clock(t)}`;
}

/** full is date, time and zone, for titles. */
export function full(t: When): string {
  const at = ms(t);
  return at ? `${day(t)} ${clock(t, 3)} local, ${new Date(at).toISOString()}` : 'not known';
}

/** ago says how long something has been, in one unit. */
export function ago(t: When, now = Date.now()): string {
  const at = ms(t);
  if (!at) return none;
  const s = Math.max(0, (now - at) / 1000);
  if (s < 2) return 'now';
  for (const [unit, n] of [['d', 86400], ['h', 3600], ['min', 60]] as const) if (s >= 2 * n) return `${Math.floor(s / n)} ${unit} ago`;
  return `${Math.floor(s)} s ago`;
}

/** span is a length in seconds, in its largest one or two units. */
export function span(s: number | undefined | null): string {
  if (s === undefined || s === null || Number.isNaN(s)) return none;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? Number(s.toFixed(1)) : Math.round(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`.replace(' 0 s', '');
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`.replace(' 0 min', '');
  const d = Math.floor(s / 86400);
  return d < 10 ? `${d} d ${Math.round((s % 86400) / 3600)} h`.replace(' 0 h', '') : `${d} d`;
}

/** length is the duration of a call, from ns: 0:25, 1:02:03. */
export function length(ns: number | undefined | null): string {
  if (ns === undefined || ns === null) return none;
  const s = Math.max(0, Math.round(ns / 1e9));
  const m = Math.floor(s / 60);
  return m < 60 ? `${m}:${pad(s % 60)}` : `${Math.floor(m / 60)}:${pad(m % 60)}:${pad(s % 60)}`;
}

/** seconds of ns with decimals: 1.64 s. */
export function seconds(ns: number | undefined | null, decimals = 2): string {
  return ns === undefined || ns === null ? none : `${(ns / 1e9).toFixed(decimals)} s`;
}

/** count is a whole number with thousands apart: 1 204. */
export function count(n: number | undefined | null): string {
  if (n === undefined || n === null || Number.isNaN(n)) return none;
  return Math.round(n).toLocaleString('en-US');
}

/** short is a number in four characters or so: 1.2k, 45M. */
export function short(n: number | undefined | null): string {
  if (n === undefined || n === null || Number.isNaN(n)) return none;
  const a = Math.abs(n);
  if (a < 10) return String(Math.round(n * 100) / 100);
  if (a < 1000) return String(Math.round(n * 10) / 10);
  for (const [limit, unit] of [[1e6, 'k'], [1e9, 'M'], [1e12, 'G']] as const) {
    if (a < limit) {
      const v = (n / limit) * 1000;
      return `${v < 100 ? v.toFixed(1).replace('.0', '') : Math.round(v)}${unit}`;
    }
  }
  return n.toExponential(1);
}

/** bytes in binary units: 1.4 GiB. */
export function bytes(n: number | undefined | null): string {
  if (n === undefined || n === null || Number.isNaN(n)) return none;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let i = 0;
  let v = n;
  while (Math.abs(v) >= 1024 && i < units.length - 1) {
    v /= 1024;
    i++;
  }
  return `${i === 0 || v >= 100 ? Math.round(v) : v.toFixed(1).replace('.0', '')} ${units[i]}`;
}

/** bits per second: 171 Mbit/s. */
export function bits(n: number | undefined | null): string {
  if (n === undefined || n === null) return none;
  for (const [limit, unit] of [[1e3, 'bit/s'], [1e6, 'kbit/s'], [1e9, 'Mbit/s']] as const) {
    if (n < limit) return `${short((n / limit) * 1000)} ${unit}`;
  }
  return `${(n / 1e9).toFixed(2)} Gbit/s`;
}

/** percent of a figure that already is one: 0.85 %. */
export function percent(n: number | undefined | null, decimals = 2): string {
  if (n === undefined || n === null || Number.isNaN(n)) return none;
  if (n > 0 && n < 0.005) return '<0.01 %';
  return `${n.toFixed(decimals)} %`;
}

/** share of one, as per cent: 26 %. */
export function share(n: number | undefined | null, decimals = 0): string {
  return n === undefined || n === null || n < 0 ? none : `${(n * 100).toFixed(decimals)} %`;
}

/** milli is a figure in ms. */
export function milli(n: number | undefined | null, decimals = 1): string {
  return n === undefined || n === null || Number.isNaN(n) ? none : `${n.toFixed(decimals)} ms`;
}

/** mos is a mean opinion score, 1 to 5. Zero is none. */
export function mos(n: number | undefined | null): string {
  return n ? n.toFixed(2) : none;
}

/** grade is what people say of a MOS; the borders are those of G.107 table B.1. */
export type Grade = 'good' | 'fair' | 'poor' | 'none';

export function grade(n: number | undefined | null): Grade {
  if (!n) return 'none';
  n = Math.round(n * 100) / 100; // as it is shown
  if (n >= 4.03) return 'good';
  return n >= 3.6 ? 'fair' : 'poor';
}

/** lossGrade is the same for loss in per cent. */
export function lossGrade(n: number | undefined | null): Grade {
  if (n === undefined || n === null) return 'none';
  if (n < 1) return 'good';
  return n < 3 ? 'fair' : 'poor';
}

/** jitterGrade is the same for jitter in ms. */
export function jitterGrade(n: number | undefined | null): Grade {
  if (n === undefined || n === null) return 'none';
  if (n < 20) return 'good';
  return n < 50 ? 'fair' : 'poor';
}

/** plural makes "1 call", "2 calls". */
export function plural(n: number, one: string, many = one + 's'): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** host is an address without its port: 10.0.0.1:5060, [2001:db8::1]:5060. */
export function host(addr: string | undefined): string {
  if (!addr) return '';
  const v6 = /^\[(.+)\]:\d+$/.exec(addr);
  if (v6) return v6[1]!;
  return addr.replace(/:\d+$/, '');
}

/** portOf is the port of an address; empty where there is none. */
export function portOf(addr: string | undefined): string {
  return /:(\d+)$/.exec(addr ?? '')?.[1] ?? '';
}
