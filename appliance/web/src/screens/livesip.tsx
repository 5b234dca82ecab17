// Live SIP: messages as they come. What the browser or the connection is too
// slow for is counted and said, never silently left out.

import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { listen } from '../lib/api';
import { clock, count } from '../lib/format';
import { change, type Place } from '../lib/route';
import type { SIPMessage } from '../lib/types';
import { FilterBar } from '../ui/filterbar';
import { Icon } from '../ui/icon';
import { kindOf, nameOf } from '../ui/ladder';
import { Chip, Empty, Head } from '../ui/parts';
import { SIPTextView } from '../ui/siptext';
import { type Col, VTable } from '../ui/vtable';

type Row = SIPMessage & { n: number };

const most = 2000;

export function LiveSIP({ place }: { place: Place }) {
  const q = place.query.q ?? '';
  const [rows, set] = useState<Row[]>([]);
  const [missed, setMissed] = useState(0);
  const [state, setState] = useState<'open' | 'waiting'>('waiting');
  const [paused, pause] = useState(false);
  const [chosen, choose] = useState<Row | null>(null);
  const waiting = useRef<Row[]>([]);
  const n = useRef(0);
  useEffect(() => {
    if (paused) return;
    // Messages are shown in groups, four times a second: a flood must not freeze the page.
    const timer = setInterval(() => {
      const more = waiting.current.reverse();
      waiting.current = [];
      if (more.length) set((old) => [...more, ...old].slice(0, most));
    }, 250);
    const stop = listen('/live/sip', { q }, {
      on: {
        sip: (d) => {
          const m = d as SIPMessage;
          if (m.missed) setMissed((x) => x + m.missed!);
          if (waiting.current.length < most) waiting.current.push({ ...m, n: ++n.current });
          else setMissed((x) => x + 1);
        },
      },
      state: setState,
    });
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [q, paused]);
  const cols = useMemo<Col<Row>[]>(() => [
    { id: 'time', name: 'Time', width: '112px', cell: (m) => clock(m.time, 6) },
    { id: 'what', name: 'Message', width: 'minmax(150px, 1fr)', cell: (m) => <b class={`sipkind ${kindOf(m)}`}>{nameOf(m)}</b> },
    { id: 'cseq', name: 'Of', width: '76px', cell: (m) => (m.status ? m.method : '') },
    { id: 'from', name: 'From', width: 'minmax(90px, .8fr)', cell: (m) => m.from },
    { id: 'to', name: 'To', width: 'minmax(90px, .8fr)', cell: (m) => m.to },
    { id: 'src', name: 'Source', width: 'minmax(130px, 1fr)', cell: (m) => <span class="mono">{m.src}</span> },
    { id: 'dst', name: 'Destination', width: 'minmax(130px, 1fr)', cell: (m) => <span class="mono">{m.dst}</span> },
    { id: 'tr', name: 'Over', width: '46px', cell: (m) => m.transport },
    { id: 'callid', name: 'Call-ID', width: 'minmax(120px, 1fr)', cell: (m) => <span class="mono muted">{m.call_id}</span> },
  ], []);
  return (
    <>
      <Head title="Live SIP">
        <button class="button" aria-pressed={paused} onClick={() => pause(!paused)}><Icon name={paused ? 'play' : 'pause'} />{paused ? 'Go on' : 'Pause'}</button>
        <button class="button" onClick={() => { set([]); setMissed(0); }}>Clear</button>
      </Head>
      <div class="filterbar"><FilterBar value={q} set={(v) => { change({ q: v || undefined }); set([]); }} label="Filter of live SIP" placeholder="method:INVITE and ip:10.0.0.5" check={false} /></div>
      <div class="toolline">
        <span><b>{count(rows.length)}</b> messages{rows.length >= most ? ', the newest' : ''}</span>
        <span class="row"><span class={`dot ${paused ? '' : state === 'open' ? 'good' : 'fair'}`} />{paused ? 'paused' : state === 'open' ? 'live' : 'connecting'}</span>
        {missed > 0 && <Chip kind="own" title="This view was slower than the messages came. They are captured and counted all the same.">{count(missed)} not shown here</Chip>}
      </div>
      <div class={`twoparts${chosen ? '' : ' one'}`}>
        <VTable label="SIP messages, the newest first" cols={cols} rows={rows} id={(m) => String(m.n)} open={choose}
          narrow={(m) => <><b class={`sipkind cut ${kindOf(m)}`}>{nameOf(m)}</b><span class="muted">{clock(m.time, 3)}</span><span class="muted cut">{m.from} → {m.to}</span><span class="muted">{m.transport}</span></>}>
          <Empty icon="tail" title={state === 'open' ? 'No message yet' : 'Connecting'}>{q ? 'Messages that the filter chooses appear here as they come.' : 'SIP appears here as it is captured. If none comes, look at the SIP ports under Settings and at Interfaces.'}</Empty>
        </VTable>
        {chosen && (
          <aside class="card detail" aria-label="The message chosen">
            <header><h2>{nameOf(chosen)}</h2><div class="tools"><a href={`/calls?q=${encodeURIComponent(`callid:"${chosen.call_id}"`)}&range=all`}>its call</a><button class="button plain small" aria-label="Close" onClick={() => choose(null)}><Icon name="close" /></button></div></header>
            <div class="body">{chosen.text ? <SIPTextView text={chosen.text} /> : <p class="muted">No text came with it.</p>}</div>
          </aside>
        )}
      </div>
    </>
  );
}
