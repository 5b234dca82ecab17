// Overview: how it goes now, against the day before; what was lost, and by whom.

import { useGet } from '../lib/api';
import { ago, bits, bytes, clock, count, milli, mos, none, percent, plural, share, short, span, stamp } from '../lib/format';
import { useNow } from '../lib/hooks';
import { href, type Place } from '../lib/route';
import { can, parts, status } from '../lib/session';
import type { EventRecord, Interface, List, OverviewData, Summary } from '../lib/types';
import { Bars, Legend, Lines, Spark } from '../ui/chart';
import { Icon } from '../ui/icon';
import { Card, Change, Chip, Empty, Failure, Figure, Graded, Head, Loaded, Meter } from '../ui/parts';

const color: Record<string, string> = { answered: 'var(--accent)', failed: 'var(--mark-poor)', 'auth-failed': 'var(--mark-fair)' };

export function Overview(_: { place: Place }) {
  const o = useGet<OverviewData>('/stats/overview', {}, 15000);
  return (
    <>
      <Head title="Overview" about={o.data ? <>The last 24 hours, to {clock(o.data.to)}{o.data.exact ? '' : ', of a sample'}.</> : undefined} />
      <Live />
      <Loaded of={o}>{(d) => <Body d={d} />}</Loaded>
    </>
  );
}

/** Live is what goes on at this moment, and what our capture lost. */
function Live() {
  const s = status.use();
  useNow(5000);
  if (!s) return null;
  return (
    <>
      {s.why?.length ? (
        <div class={`note ${s.state === 'failing' ? 'poor' : 'fair'}`} role="status">
          <Icon name="warn" />
          <div><b class="strong">{s.state === 'failing' ? 'Failing' : 'Degraded'} since {stamp(s.since)}.</b> {s.why.join('. ')}.</div>
        </div>
      ) : null}
      {s.pending?.length ? (
        <div class="note" role="status"><Icon name="settings" /><div><b class="strong">A restart is needed.</b> Changed, and not in force yet: {s.pending.join('; ')}.</div></div>
      ) : null}
      <dl class="figures">
        <Figure name={<><span class="dot good" />Live calls</>} value={<a class="quiet" href="/live">{count(s.calls)}</a>} sub={`${short(s.call_rate)} new per second`} />
        <Figure name="SIP" value={short(s.sip_rate)} unit="messages/s" sub={`RTP ${short(s.rtp_rate)} packets/s`} />
        <Figure name="Traffic" value={bits(s.bit_rate).split(' ')[0]} unit={bits(s.bit_rate).split(' ')[1] ?? ''} sub={`fullest ring ${share(s.rings)}`} />
        <Figure name="Lost by our capture" kind={s.lost ? 'own' : ''} value={short(s.lost)} unit="packets" sub={s.lost ? <a href="/interfaces">where, and the remedy</a> : `none in ${span(s.uptime_s)}`} title="Packets that ringside itself could not take since it started. Never counted as loss of the network." />
        <Figure name="Busiest worker" value={share(Math.max(0, ...s.cpu))} unit="" sub={`${plural(s.cpu.length, 'worker')}, ${bytes(s.memory_bytes)}`} />
        <Figure name="Spool and store" value={s.spool < 0 ? none : share(s.spool)} unit={s.spool < 0 ? '' : 'of buffers'} sub={s.store_away ? <span class="down">store is away: records wait on disk</span> : `store queue ${share(s.store)}`} />
      </dl>
    </>
  );
}

function Body({ d }: { d: OverviewData }) {
  const { now, before } = d;
  const hours = d.hours ?? [];
  const mosOf = useGet<Summary>('/calls/summary', { from: '-24h' }, 60000);
  if (!now.calls && !before.calls) {
    return <Empty icon="calls" title="No calls in the last two days">As soon as calls are over they are counted here. Whether packets come is under <a href="/interfaces">Interfaces</a>; older calls are under <a href="/calls?range=all">Calls</a>.</Empty>;
  }
  const times = hours.map((h) => h.at / 1e6);
  const wide = parts.get().includes('capture') ? 4 : 6;
  return (
    <div class="cards">
      <Card title="Calls, 24 hours" span={8} tools={<Legend items={[{ name: 'all', color: 'var(--h9)' }, { name: 'answered', color: 'var(--accent)' }, { name: 'failed', color: 'var(--mark-poor)' }, { name: 'all, the day before', color: 'var(--line-strong)' }]} />}>
        <Lines label="Calls per hour" times={times} format={(v) => short(v)} height={196} legend={false} lines={[
          { name: 'the day before', color: 'var(--line-strong)', values: hours.map((h) => h.before.calls), dash: true },
          { name: 'all', color: 'var(--h9)', values: hours.map((h) => h.now.calls) },
          { name: 'answered', color: 'var(--accent)', values: hours.map((h) => h.now.answered), area: true },
          { name: 'failed', color: 'var(--mark-poor)', values: hours.map((h) => h.now.failed) },
        ]} />
      </Card>
      <div class="span4 tiles">
        <Tile name="Calls" value={count(now.calls)} sub={<Change now={now.calls} before={before.calls} better="none" />} values={hours.map((h) => h.now.calls)} />
        <Tile name="Answered (ASR)" value={percent(now.asr, 1)} sub={<Change now={now.asr} before={before.asr} />} values={hours.map((h) => h.now.asr)} />
        <Tile name="MOS, mean" value={mos(now.mos)} sub={<Change now={now.mos} before={before.mos} unit="abs" />} values={hours.map((h) => h.now.mos)} />
        <Tile name="Post-dial delay" value={now.pdd_s === undefined ? none : `${now.pdd_s.toFixed(2)} s`} sub={<Change now={now.pdd_s} before={before.pdd_s} better="down" />} values={hours.map((h) => h.now.pdd_s)} />
        <Tile name="Loss by the network" value={percent(now.loss_pct)} sub={<Change now={now.loss_pct} before={before.loss_pct} better="down" unit="abs" />} values={hours.map((h) => h.now.loss_pct)} />
        <Tile name="Jitter" value={milli(now.jitter_ms)} sub={<Change now={now.jitter_ms} before={before.jitter_ms} better="down" />} values={hours.map((h) => h.now.jitter_ms)} />
      </div>
      <Card title="What became of them" span={wide} tools={<a href="/trends?metric=calls&by=outcome">over time</a>}>
        <Bars label="Calls by outcome" format={count} rows={(d.outcomes ?? []).map((o) => ({ key: o.outcome, name: o.outcome, value: o.calls, color: color[o.outcome] ?? 'var(--h9)', href: href('/calls', { q: `outcome:${o.outcome}` }), extra: <span class="muted">{percent((o.calls / Math.max(1, now.calls)) * 100, 1)}</span> }))} />
      </Card>
      <Card title="Quality of calls, by MOS" span={wide} tools={<a href={href('/calls', { q: 'mos<3.6' })}>poor ones</a>}>
        <Bars label="Calls by MOS" format={count} rows={[...(mosOf.data?.mos ?? [])].reverse().map((b) => ({ key: String(b.low), name: b.high > 5 ? `${b.low.toFixed(2)} and more` : b.low <= 1 ? `below ${b.high.toFixed(2)}` : `${b.low.toFixed(2)} to ${b.high.toFixed(2)}`, value: b.calls, color: b.low >= 4.03 ? 'var(--mark-good)' : b.low >= 3.6 ? 'var(--mark-fair)' : 'var(--mark-poor)' }))} />
        <p class="muted pad0">{count(mosOf.data?.mos_calls)} calls with a MOS, each by its worst stream.</p>
      </Card>
      {parts.get().includes('capture') && <Sensors />}
      <Notable />
    </div>
  );
}

/** notable are the kinds of events that somebody should know of. */
const notable = 'auth-failed,reg-expired,other-failed,other-timeout,parse-error,peer-up,peer-down,mirror-duplicates,one-direction';

function Notable() {
  const e = useGet<List<EventRecord>>('/events', { kind: notable, limit: 8, from: '-24h' }, 15000);
  return (
    <Card title="Latest events worth a look" span={12} flush tools={<a href="/events">all events</a>}>
      {e.error && !e.data ? <Failure problem={e.error} /> : e.data?.items?.length ? (
          <table class="plain">
            <tbody>
              {e.data.items.map((e) => (
                <tr key={e.id}><td class="nowrap" title={stamp(e.time)}>{ago(e.time)}</td><td><Chip kind={eventKind(e.kind)}>{e.kind}</Chip></td><td class="mono">{e.src}</td><td class="break">{[e.aor, e.target && `→ ${e.target}`, e.method, e.status || '', e.text].filter(Boolean).join(' ')}{e.count > 1 ? ` (${count(e.count)} times)` : ''}</td></tr>
              ))}
            </tbody>
          </table>
        ) : <p class="pad muted">{e.loading ? 'Loading' : 'Nothing in the last 24 hours that somebody should know of.'}</p>}
    </Card>
  );
}

export function eventKind(kind: string): string {
  if (/^mirror-|one-direction/.test(kind)) return 'own';
  if (/failed|timeout|down|error|expired/.test(kind)) return 'poor';
  return kind === 'call-attempt' ? 'fair' : '';
}

function Tile({ name, value, sub, values }: { name: string; value: string; sub: preact.ComponentChildren; values: (number | undefined)[] }) {
  return (
    <section class="card tile" aria-label={name}>
      <h3>{name}</h3>
      <b>{value}</b>
      <Spark values={values} />
      <small>{sub}</small>
    </section>
  );
}

/** Sensors is each interface in a line: what it takes, what it lost. */
function Sensors() {
  const i = useGet<List<Interface>>(can('status:read') ? '/interfaces' : null, {}, 5000);
  return (
    <Card title="Interfaces" span={4} tools={<a href="/interfaces">details</a>}>
      {i.error ? <Failure problem={i.error} /> : i.data?.items?.length ? (
        <ul class="ifaces">
          {i.data.items.map((f) => (
            <li key={f.name}>
              <p class="row"><span class={`dot ${f.state === 'up' ? 'good' : f.state === 'silent' ? 'fair' : 'poor'}`} /><b class="strong">{f.name}</b><span class="muted">{f.state}</span><span class="grow" /><span>{bits(f.bit_rate)}</span></p>
              <p class="row muted">{short(f.packet_rate)} packets/s<span class="grow" /><Graded grade="none"><span class={f.lost ? 'own strong' : ''}>{f.lost ? `${short(f.lost)} lost by us` : 'nothing lost'}</span></Graded></p>
              <Meter share={Math.max(0, ...f.rings.map((r) => r.fill))} label={`${f.name}: fullest ring`} />
            </li>
          ))}
        </ul>
      ) : <p class="muted">No interface is captured. <code>ringside run -i eth1</code> captures one.</p>}
    </Card>
  );
}
