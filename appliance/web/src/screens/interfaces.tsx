// Interfaces: where packets come from, and the ledger of what became of each.

import { useState } from 'preact/hooks';
import { useGet } from '../lib/api';
import { bits, bytes, clock, count, share, short } from '../lib/format';
import type { Place } from '../lib/route';
import { status } from '../lib/session';
import type { Interface, Ledger, List } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Chip, Empty, Figure, Head, Loaded, Meter } from '../ui/parts';

export function Interfaces(_: { place: Place }) {
  const i = useGet<List<Interface>>('/interfaces', {}, 2000);
  const l = useGet<Ledger>('/ledger', {}, 2000);
  const s = status.use();
  return (
    <>
      <Head title="Interfaces" about="Every packet is accounted for, from the card to the record. What we lost ourselves is violet, here and everywhere." />
      {s && (
        <dl class="figures">
          <Figure name="Traffic" value={bits(s.bit_rate).split(' ')[0]} unit={bits(s.bit_rate).split(' ')[1] ?? ''} sub={`${short(s.rtp_rate)} RTP/s, ${short(s.sip_rate)} SIP/s`} />
          <Figure name="Fullest ring" value={share(s.rings)} sub="beyond 100 % the kernel drops" />
          <Figure name="Lost since the start" kind={s.lost ? 'own' : ''} value={count(s.lost)} unit="packets" sub={s.lost ? 'see the ledger' : 'nothing'} />
          <Figure name="Busiest worker" value={share(Math.max(0, ...s.cpu))} sub={s.cpu.map((c) => share(c)).join(', ')} />
          <Figure name="Memory" value={bytes(s.memory_bytes).split(' ')[0]} unit={bytes(s.memory_bytes).split(' ')[1] ?? ''} sub={s.memory_budget_bytes ? `of ${bytes(s.memory_budget_bytes)} that it may use` : ''} />
        </dl>
      )}
      <Loaded of={i}>
        {(d) => (d.items?.length ? <div class="cards">{d.items.map((f) => <One key={f.name} f={f} wide={d.items.length === 1} />)}</div>
          : <Empty icon="interfaces" title="No interface is captured">Name one with <code>interface = eth1</code> in the configuration, or <code>ringside run -i eth1</code>.</Empty>)}
      </Loaded>
      <Loaded of={l}>{(d) => <LedgerView ledger={d} />}</Loaded>
    </>
  );
}

function One({ f, wide }: { f: Interface; wide: boolean }) {
  const dropped = (f.queues ?? []).reduce((n, q) => n + q.drops, 0);
  return (
    <Card span={wide ? 12 : 6} title={<><span class={`dot inline ${f.state === 'up' ? 'good' : f.state === 'silent' ? 'fair' : 'poor'}`} />{f.name}</>} tools={<>{f.lost ? <Chip kind="own">{count(f.lost)} lost by us</Chip> : <Chip kind="good">nothing lost</Chip>}<Chip>{f.dedicated ? 'dedicated' : 'shared'}</Chip></>}>
      {f.why && <div class="note fair"><Icon name="warn" />{f.why}</div>}
      <dl class="facts two">
        <dt>Now</dt><dd>{bits(f.bit_rate)}, {short(f.packet_rate)} packets/s</dd>
        <dt>Since the start</dt><dd>{count(f.packets)} packets, {bytes(f.bytes)}</dd>
        <dt>Card</dt><dd>{[f.driver, f.speed_mbit ? `${count(f.speed_mbit)} Mbit/s` : '', f.mtu ? `MTU ${f.mtu}` : ''].filter(Boolean).join(', ') || '–'}</dd>
        <dt>Filter in the kernel</dt><dd>{f.filter}{f.steer ? `; packets dealt out by ${f.steer}` : ''}</dd>
      </dl>
      <div class="scroll"><table class="plain rings">
        <thead><tr><th>Ring</th><th>CPU</th><th class="num">Packets</th><th class="num">Dropped</th><th>Full</th><th>Thread busy</th></tr></thead>
        <tbody>
          {f.rings.map((r) => (
            <tr key={r.number}>
              <td>{r.number} <span class="muted">{bytes(r.bytes)}</span></td><td>{r.cpu < 0 ? 'any' : r.cpu}</td><td class="num">{count(r.packets)}</td><td class={`num ${r.drops ? 'own strong' : ''}`}>{count(r.drops)}</td>
              <td><span class="gauge"><Meter share={r.fill} label={`ring ${r.number} full`} />{share(r.fill)}</span></td>
              <td><span class="gauge"><Meter share={r.busy} label={`thread of ring ${r.number} busy`} warn={0.8} bad={0.95} />{share(r.busy)}</span></td>
            </tr>
          ))}
        </tbody>
      </table></div>
      {f.queues?.length ? <p class="muted pad0">{f.queues.length} queues of the card: {f.queues.map((q) => short(q.packets)).join(', ')} packets{dropped ? <span class="own strong">, {count(dropped)} dropped by the card</span> : ', none dropped'}.</p> : null}
      {f.notes?.length ? <ul class="muted said">{f.notes.map((n) => <li key={n}>{n.startsWith(f.name + ': ') ? n.slice(f.name.length + 2) : n}</li>)}</ul> : null}
    </Card>
  );
}

function LedgerView({ ledger: l }: { ledger: Ledger }) {
  const [zeros, setZeros] = useState(false);
  const rows = (l.rows ?? []).filter((r) => zeros || r.packets > 0);
  const parts = [...new Set(rows.map((r) => `${r.interface ?? ''}\u0000${r.stage}`))];
  return (
    <Card title="Ledger" flush tools={<><label class="row"><input type="checkbox" checked={zeros} onChange={() => setZeros(!zeros)} />what was never met, too</label>{l.balanced ? <Chip kind="good">every sum balances</Chip> : <Chip kind="own">packets are missing between two counters</Chip>}as of {clock(l.time)}</>}>
      {l.gaps?.map((g) => <div key={g} class="note own"><Icon name="own" />{g}</div>)}
      <table class="plain ledger">
        <thead><tr><th>What became of them</th><th class="num">Packets</th><th class="num">Bytes</th><th class="num">Per second</th></tr></thead>
        <tbody>
          {parts.map((p) => {
            const [iface, stage] = p.split('\u0000');
            return (
              <>
                <tr key={p} class="section"><td colSpan={4}>{iface ? `${iface}: ` : ''}{stage}</td></tr>
                {rows.filter((r) => (r.interface ?? '') === iface && r.stage === stage).map((r) => (
                  <tr key={r.reason} class={r.lost && r.packets ? 'own' : ''}>
                    <td>{r.lost && r.packets ? <Icon name="own" /> : null}{r.reason}{r.lost && r.packets ? ' — lost by us' : ''}</td><td class="num">{count(r.packets)}</td><td class="num">{r.bytes ? bytes(r.bytes) : ''}</td><td class="num">{r.rate ? short(r.rate) : ''}</td>
                  </tr>
                ))}
              </>
            );
          })}
        </tbody>
      </table>
    </Card>
  );
}
