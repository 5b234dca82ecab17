// Charts are small SVGs: lines over time with a crosshair, bars that can be
// brushed, and lists of bars. What a chart shows can be read as text, too.

import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { day, none, stamp } from '../lib/format';
import { useWidth } from '../lib/hooks';
import { ticks, timeTicks } from './axis';

export interface Line {
  name: string;
  color: string; // CSS
  values: (number | null | undefined)[];
  area?: boolean;
  dash?: boolean;
}

interface LinesProps {
  times: number[]; // ms
  lines: Line[];
  format: (v: number) => string;
  height?: number;
  min?: number;
  max?: number; // at least so much
  fixed?: boolean; // min and max are the ends of the axis
  label: string;
  bands?: { from: number; to: number; kind: string }[]; // times that are marked
  legend?: boolean;
}

const left = 46;
const foot = 20;

/** Lines shows figures over time. Arrow keys move the crosshair. */
export function Lines({ times, lines, format, height = 180, min = 0, max = 0, fixed, label, bands, legend = true }: LinesProps) {
  const [box, width] = useWidth<HTMLDivElement>();
  const [at, setAt] = useState<number | null>(null);
  const all = lines.flatMap((l) => l.values).filter((v): v is number => v !== null && v !== undefined);
  const marks = fixed ? ticks(min, max, height < 110 ? 2 : 4) : ticks(min, Math.max(max, ...all, min + 1e-9), height < 110 ? 2 : 4);
  const low = marks[0]!;
  const high = fixed ? max : marks[marks.length - 1]!;
  const from = times[0] ?? 0;
  const to = times[times.length - 1] ?? 1;
  const plot = Math.max(10, width - left - 8);
  const x = (t: number) => left + ((t - from) / Math.max(1, to - from)) * plot;
  const y = (v: number) => 6 + (1 - (v - low) / (high - low)) * (height - foot - 6);
  const nearest = (px: number) => {
    const t = from + ((px - left) / plot) * (to - from);
    let best = 0;
    times.forEach((v, i) => {
      if (Math.abs(v - t) < Math.abs(times[best]! - t)) best = i;
    });
    return best;
  };
  const key = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
    if (!step) return;
    e.preventDefault();
    setAt((i) => Math.max(0, Math.min(times.length - 1, (i ?? (step > 0 ? -1 : times.length)) + step)));
  };
  const said = at === null ? label : `${stamp(times[at]! * 1e6)}: ${lines.map((l) => `${l.name} ${text(l.values[at], format)}`).join(', ')}`;
  return (
    <div class="chart" ref={box}>
      {legend && lines.length > 0 && <Legend items={lines.map((l) => ({ name: l.name, color: l.color, value: at === null ? undefined : text(l.values[at], format) }))} at={at === null ? '' : stamp(times[at]! * 1e6)} />}
      {width > 0 && (
        <svg
          width={width} height={height} role="img" aria-label={said} tabIndex={0} onKeyDown={key}
          onPointerMove={(e) => setAt(nearest(e.offsetX))} onPointerLeave={() => setAt(null)} onBlur={() => setAt(null)}
        >
          {bands?.map((b) => <rect key={b.from} class={`band ${b.kind}`} x={x(b.from)} width={Math.max(2, x(b.to) - x(b.from))} y={4} height={height - foot - 4} />)}
          {marks.filter((v) => v <= high).map((v) => (
            <g key={v}>
              <line class="grid" x1={left} x2={left + plot} y1={y(v)} y2={y(v)} />
              <text class="tick" x={left - 6} y={y(v) + 4} text-anchor="end">{format(v)}</text>
            </g>
          ))}
          <TimeAxis from={from} to={to} x={x} y={height} n={plot / 84} />
          {lines.map((l) => (
            <g key={l.name}>
              {l.area && areas(l.values).map((d, i) => <path key={i} d={path(d, times, x, y) + `L${x(times[d[d.length - 1]!.i]!)} ${y(low)}L${x(times[d[0]!.i]!)} ${y(low)}Z`} fill={l.color} opacity=".13" />)}
              {areas(l.values).map((d, i) => (d.length > 1
                ? <path key={i} d={path(d, times, x, y)} fill="none" stroke={l.color} stroke-width="1.6" stroke-linejoin="round" stroke-dasharray={l.dash ? '4 3' : undefined} />
                : <circle key={i} cx={x(times[d[0]!.i]!)} cy={y(d[0]!.v)} r="2.5" fill={l.color} />))}
            </g>
          ))}
          {at !== null && (
            <g>
              <line class="cross" x1={x(times[at]!)} x2={x(times[at]!)} y1={4} y2={height - foot} />
              {lines.map((l) => (l.values[at] === null || l.values[at] === undefined ? null : <circle key={l.name} cx={x(times[at]!)} cy={y(l.values[at]!)} r="3" fill={l.color} stroke="var(--surface)" />))}
            </g>
          )}
        </svg>
      )}
    </div>
  );
}

const text = (v: number | null | undefined, format: (v: number) => string) => (v === null || v === undefined ? none : format(v));

/** areas are the pieces of a line between which there is nothing. */
function areas(values: (number | null | undefined)[]): { i: number; v: number }[][] {
  const out: { i: number; v: number }[][] = [];
  let piece: { i: number; v: number }[] = [];
  values.forEach((v, i) => {
    if (v === null || v === undefined) {
      if (piece.length) out.push(piece);
      piece = [];
    } else piece.push({ i, v });
  });
  if (piece.length) out.push(piece);
  return out;
}

const path = (d: { i: number; v: number }[], times: number[], x: (t: number) => number, y: (v: number) => number) =>
  d.map((p, i) => `${i ? 'L' : 'M'}${x(times[p.i]!).toFixed(1)} ${y(p.v).toFixed(1)}`).join('');

function TimeAxis({ from, to, x, y, n }: { from: number; to: number; x: (t: number) => number; y: number; n: number }) {
  return (
    <g>
      {timeTicks(from, to, n).map((t) => (
        <text key={t.at} class="tick" x={x(t.at)} y={y - 5} text-anchor="middle">{t.text}</text>
      ))}
    </g>
  );
}

export function Legend({ items, at }: { items: { name: string; color: string; value?: ComponentChildren }[]; at?: string }) {
  return (
    <div class="legend" aria-hidden="true">
      {items.map((i) => (
        <span key={i.name}>
          <i style={{ background: i.color }} />
          {i.name}
          {i.value !== undefined && <b>{i.value}</b>}
        </span>
      ))}
      {at && <span class="at">{at}</span>}
    </div>
  );
}

export interface Layer {
  name: string;
  color: string;
  values: number[];
}

/**
 * Timeline shows counts over time as stacked bars. Dragging over it chooses a
 * time; with the keyboard + and - zoom, the arrows move.
 */
export function Timeline({ times, step, layers, height = 74, choose, label }: { times: number[]; step: number; layers: Layer[]; height?: number; choose?: (from: number, to: number) => void; label: string }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const [drag, setDrag] = useState<{ a: number; b: number } | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const hint = useId();
  const from = times[0] ?? 0;
  const to = (times[times.length - 1] ?? 0) + step;
  const sums = times.map((_, i) => layers.reduce((n, l) => n + (l.values[i] ?? 0), 0));
  const marks = ticks(0, Math.max(1, ...sums), 2);
  const high = marks[marks.length - 1]!;
  const plot = Math.max(10, width - left - 2);
  const x = (t: number) => left + ((t - from) / Math.max(1, to - from)) * plot;
  const when = (px: number) => from + (Math.max(0, Math.min(plot, px - left)) / plot) * (to - from);
  const full = height - foot;
  const key = (e: KeyboardEvent) => {
    const w = to - from;
    const moves: Record<string, [number, number]> = { '+': [from + w / 4, to - w / 4], '=': [from + w / 4, to - w / 4], '-': [from - w / 2, to + w / 2], ArrowLeft: [from - w / 4, to - w / 4], ArrowRight: [from + w / 4, to + w / 4] };
    const m = moves[e.key];
    if (!m || !choose) return;
    e.preventDefault();
    choose(m[0], m[1]);
  };
  const total = sums.reduce((a, b) => a + b, 0);
  const end = () => {
    if (drag && choose && Math.abs(drag.a - drag.b) > 4) choose(when(Math.min(drag.a, drag.b)), when(Math.max(drag.a, drag.b)));
    setDrag(null);
  };
  return (
    <div class="chart timeline" ref={box}>
      {width > 0 && (
        <svg
          width={width} height={height} tabIndex={choose ? 0 : -1} role="img" aria-label={`${label}: ${total} in all, at most ${Math.max(0, ...sums)} in one step`} aria-describedby={hint}
          class={choose ? 'brush' : ''} onKeyDown={key}
          onPointerDown={(e) => {
            if (!choose || e.button !== 0) return;
            (e.currentTarget as Element).setPointerCapture(e.pointerId);
            setDrag({ a: e.offsetX, b: e.offsetX });
          }}
          onPointerMove={(e) => {
            setAt(Math.floor((when(e.offsetX) - from) / step));
            if (drag) setDrag({ a: drag.a, b: e.offsetX });
          }}
          onPointerUp={end} onPointerCancel={() => setDrag(null)} onPointerLeave={() => setAt(null)}
        >
          {marks.map((v) => (
            <g key={v}>
              <line class="grid" x1={left} x2={left + plot} y1={5 + (1 - v / high) * (full - 5)} y2={5 + (1 - v / high) * (full - 5)} />
              <text class="tick" x={left - 6} y={5 + (1 - v / high) * (full - 5) + 4} text-anchor="end">{v}</text>
            </g>
          ))}
          {times.map((t, i) => {
            let below = 0;
            const w = Math.max(1, x(t + step) - x(t) - (plot / times.length > 4 ? 1 : 0));
            return layers.map((l) => {
              const v = l.values[i] ?? 0;
              if (!v) return null;
              const h = (v / high) * (full - 5);
              below += h;
              return <rect key={`${t}${l.name}`} x={x(t)} y={full - below} width={w} height={h} fill={l.color} opacity={at === i ? 1 : 0.86} />;
            });
          })}
          <line class="axis" x1={left} x2={left + plot} y1={full} y2={full} />
          <TimeAxis from={from} to={to} x={x} y={height} n={plot / 84} />
          {drag && <rect class="selection" x={Math.min(drag.a, drag.b)} width={Math.abs(drag.a - drag.b)} y={2} height={full - 2} />}
        </svg>
      )}
      {at !== null && at >= 0 && at < times.length && (
        <div class="tip" style={{ left: `${Math.min(Math.max(left, x(times[at]!) - 60), Math.max(left, width - 170))}px` }}>
          <b>{day(times[at]! * 1e6) === day(Date.now() * 1e6) ? '' : day(times[at]! * 1e6) + ' '}{stamp(times[at]! * 1e6).split(' ').pop()}</b>
          {layers.map((l) => (l.values[at] ? <span key={l.name}><i style={{ background: l.color }} />{l.name} <b>{l.values[at]}</b></span> : null))}
          {!sums[at] && <span>none</span>}
        </div>
      )}
      <span id={hint} class="sr">{choose ? 'Drag to choose a time. With the keyboard: plus and minus zoom, arrows move.' : ''}</span>
    </div>
  );
}

/** Spark is a line without axes, for a tile. */
export function Spark({ values, color = 'var(--accent)', height = 26 }: { values: (number | undefined | null)[]; color?: string; height?: number }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const known = values.filter((v): v is number => v !== undefined && v !== null);
  const high = Math.max(...known, 1e-9);
  const low = Math.min(...known, high);
  const y = (v: number) => 2 + (1 - (v - low) / Math.max(1e-9, high - low)) * (height - 4);
  const x = (t: number) => (t / Math.max(1, values.length - 1)) * width;
  return (
    <div ref={box} class="spark" aria-hidden="true">
      {width > 0 && known.length > 1 && (
        <svg width={width} height={height}>
          {areas(values).map((d, i) => <path key={i} d={path(d, values.map((_, n) => n), x, y)} fill="none" stroke={color} stroke-width="1.5" stroke-linejoin="round" />)}
        </svg>
      )}
    </div>
  );
}

/** Bars is a list of named counts, the greatest full. */
export function Bars({ rows, format, label }: { rows: { key: string; name: ComponentChildren; value: number; color?: string; href?: string; extra?: ComponentChildren }[]; format: (v: number) => string; label: string }) {
  const most = Math.max(1e-9, ...rows.map((r) => r.value));
  return (
    <ul class="bars" aria-label={label}>
      {rows.map((r) => (
        <li key={r.key}>
          <span class="name cut">{r.href ? <a href={r.href}>{r.name}</a> : r.name}</span>
          <span class="track" aria-hidden="true">{r.value > 0 && <i style={{ width: `${(r.value / most) * 100}%`, background: r.color ?? 'var(--accent)' }} />}</span>
          <span class="num">{format(r.value)}</span>
          {r.extra !== undefined && <span class="num extra">{r.extra}</span>}
        </li>
      ))}
    </ul>
  );
}

/** hues tell rows of a chart apart, in light and dark. */
export const hues = ['var(--h1)', 'var(--h2)', 'var(--h3)', 'var(--h4)', 'var(--h5)', 'var(--h6)', 'var(--h7)', 'var(--h8)', 'var(--h9)', 'var(--h10)'];
