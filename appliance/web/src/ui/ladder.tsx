// The ladder: hosts as vertical lines, messages as arrows in the order of time,
// streams as wide arrows. Retransmissions are dashed and pale. Arrows are chosen
// with the mouse or with the arrow keys.

import { useEffect, useRef } from 'preact/hooks';
import { clock, grade, host, mos, percent, portOf } from '../lib/format';
import { useWidth } from '../lib/hooks';
import type { Arrow, Bar, Ladder } from '../lib/types';

const row = 32;
const head = 50;

type Row = { kind: 'sip'; at: number; arrow: Arrow } | { kind: 'rtp'; at: number; bar: Bar };

/** kindOf is the colour class of a message. */
export function kindOf(a: { method: string; status?: number | undefined }): string {
  if (!a.status) return a.method === 'BYE' || a.method === 'CANCEL' ? 'end' : 'request';
  if (a.status < 200) return 'provisional';
  if (a.status < 300) return 'ok';
  if (a.status < 400 || a.status === 401 || a.status === 407) return 'redirect';
  return 'error';
}

export const nameOf = (a: { method: string; status?: number | undefined; reason?: string | undefined }) => (a.status ? `${a.status} ${a.reason ?? ''}`.trim() : a.method);

/** offset is time since the first message: +1.642 s. */
export function offset(ms: number): string {
  if (ms < 1000) return `+${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  if (ms < 60000) return `+${(ms / 1000).toFixed(3)} s`;
  return `+${Math.floor(ms / 60000)}:${((ms % 60000) / 1000).toFixed(1).padStart(4, '0')}`;
}

function rowsOf(l: Ladder): Row[] {
  const out: Row[] = l.arrows.map((arrow) => ({ kind: 'sip', at: arrow.time, arrow }));
  for (const bar of l.media ?? []) out.push({ kind: 'rtp', at: bar.first, bar });
  return out.sort((a, b) => a.at - b.at);
}

export function LadderView({ ladder, chosen, choose }: { ladder: Ladder; chosen: number; choose: (n: number) => void }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const list = useRef<SVGSVGElement>(null);
  const n = ladder.entities.length;
  const narrow = width < 480;
  const gutter = narrow ? 66 : 82; // of times
  const half = narrow ? 56 : 74; // of the box of a host
  const gap = Math.max(2 * half + 8, Math.min(320, (width - gutter - 2 * half - 10) / Math.max(1, n - 1)));
  const x = (i: number) => gutter + half + 2 + i * gap;
  const total = Math.max(width - 2, x(n - 1) + half + 8);
  const rows = rowsOf(ladder);
  const height = rows.length * row + 14;
  useEffect(() => {
    list.current?.querySelector('.chosen')?.scrollIntoView({ block: 'nearest' });
  }, [chosen]);
  const key = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowDown' || e.key === 'j' ? 1 : e.key === 'ArrowUp' || e.key === 'k' ? -1 : 0;
    if (!step) return;
    e.preventDefault();
    e.stopPropagation();
    const all = rows.flatMap((r) => (r.kind === 'sip' ? [r.arrow.n] : []));
    choose(all[Math.max(0, Math.min(all.length - 1, all.indexOf(chosen) + step))] ?? chosen);
  };
  return (
    <div class="ladder" ref={box} tabIndex={0} onKeyDown={key} role="listbox" aria-label="SIP messages by time" aria-activedescendant={chosen ? `arrow-${chosen}` : undefined}>
      {width > 0 && (
        <>
          <svg class="ladderhead" width={total} height={head} aria-hidden="true">
            {ladder.entities.map((e, i) => (
              <g key={e.addr + e.ports?.join()} class={`entity ${e.side ?? ''}`}>
                <rect x={x(i) - half} y="5" width={2 * half} height="40" rx="5" />
                <text x={x(i)} y="22" text-anchor="middle" class="addr">{cut(e.addr, half)}</text>
                <text x={x(i)} y="37" text-anchor="middle" class="side">{e.side === 'caller' ? 'caller' : e.side === 'called' ? 'called' : cut(e.agent ?? '', half) || (e.ports?.length === 1 ? `port ${e.ports[0]}` : '')}</text>
                <title>{`${e.addr}, port ${e.ports?.join(', ') ?? 'not known'}${e.agent ? '\n' + e.agent : ''}`}</title>
              </g>
            ))}
          </svg>
          <svg ref={list} width={total} height={height} class="ladderbody">
            {ladder.entities.map((e, i) => <line key={e.addr + i} class="life" x1={x(i)} x2={x(i)} y1="0" y2={height} />)}
            {rows.map((r, i) => (r.kind === 'sip'
              ? <SIPRow key={`s${r.arrow.n}`} a={r.arrow} y={i * row} x={x} gutter={gutter} width={total} chosen={r.arrow.n === chosen} choose={choose} before={before(rows, i)} />
              : <RTPRow key={`r${i}`} b={r.bar} y={i * row} x={x} gutter={gutter} gap={gap} n={n} />))}
          </svg>
        </>
      )}
    </div>
  );
}

function before(rows: Row[], i: number): number {
  for (let k = i - 1; k >= 0; k--) {
    const r = rows[k]!;
    if (r.kind === 'sip') return r.arrow.offset_ms;
  }
  return 0;
}

const cut = (s: string, half: number) => {
  const most = Math.floor((2 * half - 8) / 6.6);
  return s.length > most ? s.slice(0, most - 1) + '…' : s;
};

function SIPRow({ a, y, x, gutter, width, chosen, choose, before: last }: { a: Arrow; y: number; x: (i: number) => number; gutter: number; width: number; chosen: boolean; choose: (n: number) => void; before: number }) {
  const mid = y + 22;
  const from = x(a.from);
  const self = a.from === a.to;
  const to = self ? from + 44 : x(a.to);
  const dir = to > from ? 1 : -1;
  const label = nameOf(a) + (a.sdp ? ' · SDP' : '');
  const changes = a.sdp_diff && !a.sdp_diff.same ? a.sdp_diff.changes.length : 0;
  const wait = a.offset_ms - last;
  return (
    <g
      id={`arrow-${a.n}`} class={`msg ${kindOf(a)}${a.retrans ? ' again' : ''}${chosen ? ' chosen' : ''}`} role="option" aria-selected={chosen} data-n={a.n} onClick={() => choose(a.n)}
      aria-label={`${offset(a.offset_ms)}, ${nameOf(a)} from ${host(a.src)} to ${host(a.dst)}${a.retrans ? ', a retransmission' : ''}${a.sdp ? ', with SDP' : ''}${changes ? `, ${changes} changes` : ''}`}
    >
      <rect class="back" x="0" y={y + 2} width={width} height={row} />
      <text class="time" x={gutter - 12} y={mid + 3} text-anchor="end">{offset(a.offset_ms)}</text>
      {wait > 2000 && <text class="later" x={gutter - 12} y={mid - 9} text-anchor="end">{`${(wait / 1000).toFixed(1)} s later`}</text>}
      {self
        ? <path class="shaft" d={`M${from} ${mid - 8}h36v12h-30`} fill="none" />
        : <line class="shaft" x1={from} x2={to - dir * 6} y1={mid} y2={mid} />}
      {self
        ? <path class="tip-arrow" d={`M${from + 1} ${mid + 4}l9 -4v8z`} />
        : <path class="tip-arrow" d={`M${to} ${mid}l${-dir * 9} -4v8z`} />}
      <text class="label" x={self ? from + 42 : (from + to) / 2} y={self ? mid : mid - 5} text-anchor={self ? 'start' : 'middle'}>
        {label}
        {a.retrans && <tspan class="note-again"> again</tspan>}
        {changes > 0 && <tspan class="note-diff"> Δ{changes}</tspan>}
      </text>
      <title>{`${portOf(a.src)} → ${portOf(a.dst)}, CSeq ${a.cseq} ${a.method}`}</title>
    </g>
  );
}

function RTPRow({ b, y, x, gutter, gap, n }: { b: Bar; y: number; x: (i: number) => number; gutter: number; gap: number; n: number }) {
  const mid = y + 19;
  const end = (i: number, other: number) => (i >= 0 ? x(i) : other <= 0 ? x(n - 1) + 60 : x(0) - 60);
  const from = end(b.from, b.to);
  const to = end(b.to, b.from);
  const dir = to >= from ? 1 : -1;
  const roomy = Math.abs(to - from) > 220 || gap > 220;
  const text = `RTP ${b.codec}${b.mos ? ` · ${roomy ? 'MOS ' : ''}${mos(b.mos)}` : ''}${b.loss && roomy ? ` · ${percent(b.loss)} lost` : ''}`;
  return (
    <g class={`rtp ${grade(b.mos)}`}>
      <path d={`M${from} ${mid - 9}H${to - dir * 10}L${to} ${mid}L${to - dir * 10} ${mid + 9}H${from}Z`} />
      <text class="time" x={gutter - 12} y={mid + 4} text-anchor="end">media</text>
      <text class="label" x={(from + to) / 2} y={mid + 4} text-anchor="middle">{text}</text>
      <title>{`${clock(b.first, 3)} to ${clock(b.last, 3)}, ${percent(b.loss)} lost`}</title>
    </g>
  );
}
