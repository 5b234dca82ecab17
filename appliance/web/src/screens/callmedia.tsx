// The tab Media: each stream in figures, and both directions over time. What the
// network lost and what our capture lost are never drawn alike.

import { bytes, clock, count, grade, host, jitterGrade, lossGrade, milli, mos, none, percent, portOf } from '../lib/format';
import type { Call, Interval, StreamRow } from '../lib/types';
import { type Line, Lines } from '../ui/chart';
import { Card, Chip, Empty, Graded, Score, Wait } from '../ui/parts';

const directions: Record<string, string> = { caller: 'caller → called', called: 'called → caller', '': 'direction not known' };
const colors = ['var(--h1)', 'var(--h2)', 'var(--h3)', 'var(--h4)', 'var(--h5)', 'var(--h6)'];

export function MediaTab({ call: c, streams, why, loading }: { call: Call; streams: StreamRow[]; why?: string; loading: boolean }) {
  if (!streams.length) {
    return loading ? <Wait /> : <Empty icon="tail" title="No RTP of this call was seen">{c.answer ? 'Its media may not pass here, or on ports that are not captured. Whether RTP came without a call is under ' : 'It was not answered. Media without a call is under '}<a href="/orphans">RTP without call</a>.</Empty>;
  }
  return (
    <div class="cards">
      <Card title="Streams" span={12} flush>
        <StreamTable streams={streams} />
      </Card>
      <Overtime call={c} streams={streams} {...(why ? { why } : {})} loading={loading} />
      {streams.map((s) => <StreamCard key={s.n} stream={s} />)}
      {c.quality?.length ? <Reported call={c} /> : null}
      <Card title="Media as SDP named it" span={12} flush>
        <table class="plain">
          <thead><tr><th>Receives</th><th>Kind</th><th>Address</th><th>Codecs</th><th>Mode</th><th>Since</th></tr></thead>
          <tbody>
            {c.media?.map((m, i) => (
              <tr key={i}><td>{m.side}</td><td>{m.kind}</td><td class="mono">{m.addr}</td><td>{m.codecs}{m.ptime ? `, ${m.ptime} ms` : ''}{m.srtp ? ', SRTP' : ''}</td><td>{m.mode}</td><td>{clock(m.from, 3)}</td></tr>
            ))}
          </tbody>
        </table>
      </Card>
    </div>
  );
}

function StreamTable({ streams }: { streams: StreamRow[] }) {
  return (
    <table class="plain streams">
      <thead>
        <tr><th>Direction</th><th>From</th><th>To</th><th>Codec</th><th class="num">Packets</th><th class="num">Lost</th><th class="num">Late, 200 ms</th><th class="num">Jitter, mean / max</th><th class="num">Delay</th><th class="num">MOS</th><th class="num">Worst 10 s</th></tr>
      </thead>
      <tbody>
        {streams.map((s) => (
          <tr key={s.n}>
            <td><i class="swatch" style={{ background: colors[(s.n - 1) % colors.length] }} />{directions[s.from]}</td>
            <td class="mono">{s.src}</td>
            <td class="mono">{s.dst}</td>
            <td>{s.codec}{s.ptime ? <span class="muted"> {s.ptime} ms</span> : null}{s.srtp && <Chip>SRTP</Chip>}</td>
            <td class="num">{count(s.packets)}</td>
            <td class="num"><Graded grade={lossGrade(s.loss)}>{percent(s.loss)}</Graded></td>
            <td class="num">{percent(s.expected ? (Math.max(0, s.late_f2 - s.lost) * 100) / s.expected : 0)}</td>
            <td class="num">{s.jitter_avg_ms.toFixed(1)} / <Graded grade={jitterGrade(s.jitter_max_ms)}>{milli(s.jitter_max_ms)}</Graded></td>
            <td class="num">{s.mos.delay_ms >= 0.5 ? milli(s.mos.delay_ms, 0) : none}</td>
            <td class="num"><Score value={s.mos.lq} /></td>
            <td class="num"><Score value={s.mos.min} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Overtime is the streams over time, one chart for each figure. */
function Overtime({ call, streams, why, loading }: { call: Call; streams: StreamRow[]; why?: string; loading: boolean }) {
  const withTimes = streams.filter((s) => s.intervals?.length);
  if (!withTimes.length) {
    return (
      <Card title="Over time" span={12}>
        {loading ? <Wait>Reading the packets</Wait> : <p class="muted">{why || 'The packets of this call are not stored, so there are only figures of the whole call. A capture rule can store them.'}</p>}
      </Card>
    );
  }
  // Streams begin at moments of their own; one grid of times lets them be compared.
  const step = Math.max(...withTimes.map((s) => s.step_s ?? 1)) * 1e9;
  const begin = Math.min(...withTimes.map((s) => s.intervals![0]!.time));
  const end = Math.max(...withTimes.map((s) => s.intervals![s.intervals!.length - 1]!.time));
  const slot = (t: number) => Math.round((t - begin) / step);
  const times = Array.from({ length: slot(end) + 1 }, (_, i) => begin + i * step);
  const line = (f: (i: Interval) => number | null): Line[] =>
    withTimes.map((s) => {
      const at = new Map(s.intervals!.map((i) => [slot(i.time), i]));
      return { name: directions[s.from]!, color: colors[(s.n - 1) % colors.length]!, values: times.map((_, n) => (at.has(n) ? f(at.get(n)!) : null)) };
    });
  const ms = times.map((t) => t / 1e6);
  const own = call.flag_names?.some((f) => f === 'incomplete' || f === 'mirror-loss');
  const charts: [string, Line[], (v: number) => string, { min?: number; max?: number; fixed?: boolean }][] = [
    ['MOS', line((i) => (i.mos > 0 ? i.mos : null)), (v) => v.toFixed(1), { min: 1, max: 5, fixed: true }],
    ['Loss, %', line((i) => (i.packets + i.lost ? (i.lost * 100) / (i.packets + i.lost) : null)), (v) => `${Number(v.toFixed(1))}`, { max: 2 }],
    ['Jitter, ms', line((i) => (i.packets ? i.jitter_ms : null)), (v) => `${Number(v.toFixed(1))}`, { max: 10 }],
    ['Greatest delay deviation, ms', line((i) => (i.packets ? i.delay_ms : null)), (v) => `${Number(v.toFixed(1))}`, { max: 20 }],
  ];
  return (
    <>
      {charts.map(([name, lines, format, o]) => (
        <Card key={name} title={name} span={6} tools={own && name === 'Loss, %' ? <Chip kind="own">includes packets that our capture missed</Chip> : undefined}>
          <Lines times={ms} lines={lines} format={format} height={136} label={`${name} over time`} {...o} />
        </Card>
      ))}
    </>
  );
}

function StreamCard({ stream: s }: { stream: StreamRow }) {
  const flags = s.flags ? s.flags.split(',') : [];
  return (
    <Card span={6} title={<><i class="swatch" style={{ background: colors[(s.n - 1) % colors.length] }} />{directions[s.from]}, {s.codec}</>} tools={<span>SSRC <span class="mono">0x{s.ssrc.toString(16).padStart(8, '0')}</span></span>}>
      <div class="split">
        <dl class="facts">
          <dt>Path</dt><dd class="mono">{host(s.src)}:{portOf(s.src)} → {host(s.dst)}:{portOf(s.dst)}</dd>
          <dt>Time</dt><dd>{clock(s.first, 3)} to {clock(s.last, 3)}</dd>
          <dt>Expected</dt><dd>{count(s.expected)} packets, {count(s.lost)} lost, {count(s.duplicate)} twice, {count(s.reordered)} out of order</dd>
          <dt>Payload</dt><dd>{bytes(s.bytes)}, type {s.payload}, clock {count(s.rate)} Hz</dd>
          <dt>Longest gap</dt><dd>{milli(s.delta_max_ms)}</dd>
          <dt>Sender’s clock</dt><dd>{s.skew_ppm ? `${Math.abs(s.skew_ppm).toFixed(0)} ppm ${s.skew_ppm > 0 ? 'fast' : 'slow'}` : 'no drift known'}</dd>
          <dt>MOS rests on</dt><dd>{s.mos.lq ? `${s.mos.method}, Ie ${s.mos.ie}, Bpl ${s.mos.bpl}, ${s.mos.confidence}; R ${s.mos.r.toFixed(1)}` : 'no model of this codec'}</dd>
          <dt>As VoIPmonitor says</dt><dd>F1 {mos(s.compat.mos_f1)}, F2 {mos(s.compat.mos_f2)}, adaptive {mos(s.compat.mos_adapt)}</dd>
          <dt>RTCP said</dt><dd>{s.rtcp.reports ? `${percent(s.rtcp.frac_avg)} lost, jitter ${milli(s.rtcp.jitter_avg_ms)}${s.rtcp.rtt_avg_ms >= 0.05 ? `, round trip ${milli(s.rtcp.rtt_avg_ms)}` : ''}` : 'nothing'}</dd>
          <dt>DSCP, TTL</dt><dd>{s.dscp ?? 0}, {s.ttl_min === s.ttl_max ? s.ttl_min : `${s.ttl_min}–${s.ttl_max}`}</dd>
        </dl>
        <div class="histograms">
          <Histogram title="Lost in a row" names={['1', '2', '3', '4', '5', '6', '7', '8', '9', '10+']} values={s.loss_runs} kind={s.lost ? 'poor' : ''} />
          <Histogram title="Delay deviation, ms" names={['<50', '50', '70', '90', '120', '150', '200', '300+']} values={s.delay_hist} kind="" skipFirst />
        </div>
      </div>
      {flags.length > 0 && <p class="chips pad">{flags.map((f) => <Chip key={f} kind={f === 'incomplete' || f === 'mirror-loss' ? 'own' : ''}>{f}</Chip>)}</p>}
    </Card>
  );
}

/** Histogram is counts as bars with their numbers; the first may be too great to be compared. */
function Histogram({ title, names, values, kind, skipFirst }: { title: string; names: string[]; values: number[]; kind: string; skipFirst?: boolean }) {
  const most = Math.max(1, ...values.slice(skipFirst ? 1 : 0));
  const none = values.slice(skipFirst ? 1 : 0).every((v) => !v);
  return (
    <figure class="histogram" aria-label={`${title}: ${names.map((n, i) => `${n} ${values[i] ?? 0}`).join(', ')}`}>
      <figcaption>{title}</figcaption>
      {none ? <p class="muted">{skipFirst ? 'all below 50' : 'none'}</p> : (
        <div class="columns" aria-hidden="true">
          {names.map((n, i) => (
            <span key={n} title={`${n}: ${count(values[i] ?? 0)}`}>
              <b>{values[i] ? (skipFirst && i === 0 ? '' : count(values[i])) : ''}</b>
              <i class={kind} style={{ height: `${Math.min(1, (values[i] ?? 0) / most) * 34}px` }} />
              <small>{n}</small>
            </span>
          ))}
        </div>
      )}
    </figure>
  );
}

function Reported({ call }: { call: Call }) {
  return (
    <Card title="What endpoints reported (RFC 6035)" span={12} flush>
      <table class="plain">
        <thead><tr><th>Time</th><th>Kind</th><th>Reported by</th><th>Heard from</th><th>Codec</th><th class="num">Loss</th><th class="num">Discarded</th><th class="num">Round trip</th><th class="num">MOS-LQ</th></tr></thead>
        <tbody>
          {call.quality!.map((q) => (
            <tr key={q.id}>
              <td>{clock(q.time)}</td><td>{q.kind}</td><td class="mono">{q.local || q.src}</td><td class="mono">{q.remote}</td><td>{q.codec}</td>
              <td class="num">{percent(q.xr.loss)}</td><td class="num">{percent(q.xr.discard)}</td><td class="num">{q.xr.rtt_ms >= 0 ? milli(q.xr.rtt_ms, 0) : none}</td><td class={`num ${grade(q.xr.mos_lq)}`}>{q.xr.mos_lq > 0 ? mos(q.xr.mos_lq) : none}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

