// Spool: what packets are kept, how far back, and for how long it will last.

import { useGet } from '../lib/api';
import { bytes, count, none, span, stamp } from '../lib/format';
import { usePages } from '../lib/hooks';
import type { Place } from '../lib/route';
import { href } from '../lib/route';
import type { SpoolOverview, SpoolSegment } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Chip, Empty, Head, Loaded, Meter } from '../ui/parts';
import { VTable } from '../ui/vtable';

export function Spool(_: { place: Place }) {
  const o = useGet<SpoolOverview>('/spool', {}, 10000);
  return (
    <>
      <Head title="Spool" about="Packets of calls in plain pcapng segments, by class and minute. The oldest go first; held calls stay." />
      <Loaded of={o}>
        {(d) => (
          <>
            {d.state !== 'ok' && <div class={`note ${d.state === 'full' ? 'fair' : 'poor'}`} role="status"><Icon name="warn" /><div><b class="strong">The spool is {d.state}.</b> {d.why} Calls go on being recorded in the store; their packets are not kept meanwhile.</div></div>}
            <div class="cards">
              {d.volumes?.map((v) => {
                const used = v.total_bytes - v.free_bytes;
                return (
                  <Card key={v.dir} span={d.volumes.length > 1 ? 6 : 12} title={<span class="mono">{v.dir}</span>}>
                    <p class="row"><b class="big">{bytes(v.free_bytes)}</b><span class="muted">free of {bytes(v.total_bytes)}</span></p>
                    <Meter share={v.total_bytes ? used / v.total_bytes : 0} label="volume in use" warn={0.9} bad={0.97} />
                    <dl class="facts pad0"><dt>Quota</dt><dd>{v.quota_bytes ? bytes(v.quota_bytes) : 'none of its own'}</dd><dt>Stays free</dt><dd>{bytes(v.reserve_bytes)}</dd></dl>
                  </Card>
                );
              })}
              <Card span={12} title="Classes" flush>
                <table class="plain">
                  <thead><tr><th>Class</th><th class="num">Segments</th><th class="num">Packets</th><th class="num">Bytes</th><th class="num">Quota</th><th class="num">At most</th><th>Reaches back to</th><th class="num">Per second</th><th class="num">Will reach back</th><th class="num">Full in</th></tr></thead>
                  <tbody>
                    {d.classes?.map((c) => (
                      <tr key={c.class}>
                        <td class="strong">{c.class}</td><td class="num">{count(c.segments)}{c.damaged ? <span class="poor"> {c.damaged} damaged</span> : null}</td><td class="num">{count(c.packets)}</td><td class="num">{bytes(c.bytes)}</td>
                        <td class="num">{c.quota_bytes ? bytes(c.quota_bytes) : 'shared'}</td><td class="num">{c.max_days ? `${c.max_days} d` : none}</td><td>{stamp(c.first)}</td><td class="num">{c.rate ? `${bytes(c.rate)}/s` : none}</td><td class="num">{c.lasts_s ? span(c.lasts_s) : none}</td><td class="num">{c.full_in_s ? span(c.full_in_s) : none}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Card>
              {d.held?.length ? (
                <Card span={12} title={`Held calls, ${d.held.length}`}>
                  <ul class="chips">{d.held.map((h) => <li key={h}><a class="chip mono" href={href('/calls', { q: `callid:"${h}"`, range: 'all' })}>{h}</a></li>)}</ul>
                </Card>
              ) : null}
            </div>
            <Segments />
          </>
        )}
      </Loaded>
    </>
  );
}

function Segments() {
  const pages = usePages<SpoolSegment>('/spool/segments', {});
  return (
    <div class="tall">
      <VTable label="Segments, the newest first" rows={pages.rows} id={(s) => s.path} loading={pages.loading} more={pages.more}
        cols={[
          { id: 'minute', name: 'Minute', width: '130px', cell: (s) => stamp(s.minute).replace(/:\d\d$/, '') },
          { id: 'class', name: 'Class', width: '80px', cell: (s) => s.class },
          { id: 'path', name: 'Segment', width: 'minmax(240px, 2fr)', cell: (s) => <span class="mono">{s.path}</span> },
          { id: 'packets', name: 'Packets', width: '90px', num: true, cell: (s) => count(s.packets) },
          { id: 'calls', name: 'Calls', width: '70px', num: true, cell: (s) => count(s.calls) },
          { id: 'bytes', name: 'Size', width: '90px', num: true, cell: (s) => bytes(s.bytes) },
          { id: 'state', name: 'State', width: 'minmax(80px, 1fr)', cell: (s) => (s.damage ? <Chip kind="poor">{s.damage}</Chip> : s.open ? <Chip kind="accent">open</Chip> : 'whole') },
        ]}
        narrow={(s) => <><span class="mono cut">{s.path}</span><span>{bytes(s.bytes)}</span><span class="muted">{count(s.calls)} calls, {count(s.packets)} packets</span><span class="muted">{s.open ? 'open' : s.damage ? 'damaged' : ''}</span></>}>
        <Empty icon="spool" title="No segment yet">The first one is closed a minute after the first call that a rule wants.</Empty>
      </VTable>
    </div>
  );
}
