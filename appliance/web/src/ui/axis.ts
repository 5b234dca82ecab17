// Axes: round numbers for figures, round times for time.

/** ticks are about n round values from 0 (or least) to most, most included or passed. */
export function ticks(least: number, most: number, n = 4): number[] {
  if (!(most > least)) most = least + 1;
  const raw = (most - least) / n;
  const mag = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * mag).find((s) => s >= raw * 0.999) ?? mag * 10;
  const out: number[] = [];
  for (let v = Math.floor(least / step) * step; v < most + step * 0.999; v += step) out.push(Number(v.toPrecision(12)));
  return out;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const aDay = 24 * hour;
const steps = [second, 2 * second, 5 * second, 10 * second, 15 * second, 30 * second, minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, aDay, 2 * aDay, 7 * aDay, 14 * aDay, 28 * aDay];

export interface TimeTick {
  at: number; // ms
  text: string;
}

const pad = (n: number) => String(n).padStart(2, '0');

/** timeTicks are at most n round local times between two, in ms. */
export function timeTicks(from: number, to: number, n: number): TimeTick[] {
  const step = steps.find((s) => (to - from) / s <= Math.max(1, n)) ?? 56 * aDay;
  const zone = new Date(from).getTimezoneOffset() * minute;
  const out: TimeTick[] = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) {
    const d = new Date(at);
    const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
    const text = step >= aDay || (midnight && to - from > 6 * hour)
      ? `${d.getDate()} ${d.toLocaleString('en-GB', { month: 'short' })}`
      : `${pad(d.getHours())}:${pad(d.getMinutes())}${step < minute ? ':' + pad(d.getSeconds()) : ''}`;
    out.push({ at, text });
  }
  return out;
}
