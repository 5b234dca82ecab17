// The time that a screen shows: a span before now, or two times. It is part of
// the address: range=24h, or from and to in RFC 3339.

import { useMemo } from 'preact/hooks';
import { stamp } from '../lib/format';
import { change, type Place } from '../lib/route';
import { Icon } from './icon';
import { Menu } from './parts';

export interface Range {
  from: string; // as the API takes it; empty: no bound
  to: string;
  fromMs: number; // for axes
  toMs: number;
  text: string;
}

const spans: [string, string, number][] = [
  ['15m', 'Last 15 minutes', 900], ['1h', 'Last hour', 3600], ['6h', 'Last 6 hours', 6 * 3600], ['24h', 'Last 24 hours', 86400],
  ['7d', 'Last 7 days', 7 * 86400], ['30d', 'Last 30 days', 30 * 86400], ['all', 'All times', 0],
];

/** useRange reads the time from the address. */
export function useRange(place: Place, fallback = '24h'): Range {
  const { from, to, range } = place.query;
  return useMemo(() => rangeOf(from ?? '', to ?? '', range ?? fallback), [from, to, range, fallback]);
}

function rangeOf(from: string, to: string, range: string): Range {
  const now = Date.now();
  if (from || to) {
    const a = Date.parse(from);
    const b = to ? Date.parse(to) : now;
    return { from, to, fromMs: a, toMs: b, text: `${stamp(a * 1e6)} – ${to ? shortEnd(a, b) : 'now'}` };
  }
  const s = spans.find((x) => x[0] === range) ?? spans[3]!;
  if (!s[2]) return { from: '', to: '', fromMs: 0, toMs: now, text: s[1] };
  return { from: `-${s[2]}s`, to: '', fromMs: now - s[2] * 1000, toMs: now, text: s[1] };
}

function shortEnd(a: number, b: number): string {
  const end = stamp(b * 1e6);
  const begin = stamp(a * 1e6);
  const [day, clock] = end.split(' ');
  return clock && begin.startsWith(day!) ? clock : end;
}

/** setRange puts two times, in ms, into the address. */
export function setRange(from: number, to: number) {
  const iso = (t: number) => new Date(Math.floor(t / 1000) * 1000).toISOString().replace('.000', '');
  change({ from: iso(from), to: iso(to + 999), range: undefined, cursor: undefined });
}

const local = (t: number) => {
  const d = new Date(t - new Date(t).getTimezoneOffset() * 60000);
  return d.toISOString().slice(0, 19);
};

export function RangeMenu({ range, all = true }: { range: Range; all?: boolean }) {
  return (
    <Menu label={range.text} icon="clock" title="Time">
      {(close) => (
        <>
          {spans.filter((s) => all || s[2]).map(([id, text]) => (
            <button key={id} class="item" onClick={() => { change({ range: id, from: undefined, to: undefined }); close(); }}>{text}</button>
          ))}
          <hr />
          <form
            class="form rangeform"
            onSubmit={(e) => {
              e.preventDefault();
              const v = new FormData(e.currentTarget as HTMLFormElement);
              const a = Date.parse(String(v.get('from')));
              const b = Date.parse(String(v.get('to')));
              if (b > a) {
                setRange(a, b);
                close();
              }
            }}
          >
            <label>From<input type="datetime-local" name="from" step="1" required value={range.fromMs ? local(range.fromMs) : ''} /></label>
            <label>To<input type="datetime-local" name="to" step="1" required value={local(range.toMs)} /></label>
            <button class="button primary"><Icon name="ok" />Show this time</button>
          </form>
        </>
      )}
    </Menu>
  );
}
