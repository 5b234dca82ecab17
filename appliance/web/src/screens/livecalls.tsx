// Live calls: those that go on, renewed every second.

import { useEffect, useMemo, useState } from 'preact/hooks';
import { listen } from '../lib/api';
import { clock, count, host, length, lossGrade, milli, percent, span } from '../lib/format';
import { useNow } from '../lib/hooks';
import { change, type Place } from '../lib/route';
import type { LiveCall } from '../lib/types';
import { FilterBar } from '../ui/filterbar';
import { Icon } from '../ui/icon';
import { Chip, Empty, Graded, Head, Score } from '../ui/parts';
import { type Col, VTable } from '../ui/vtable';
import { Who } from './callcols';

interface LiveCallsData { as_of: string; total: number; items: LiveCall[] | null }

const states: Record<string, string> = { setup: '', ringing: 'fair', talking: 'good', held: 'accent', ending: '' };

export function LiveCalls({ place }: { place: Place }) {
  const q = place.query.q ?? '';
  const [data, set] = useState<LiveCallsData | null>(null);
  const [state, setState] = useState<'open' | 'waiting'>('waiting');
  const [paused, pause] = useState(false);
  const now = useNow();
  useEffect(() => {
    if (paused) return;
    return listen('/live/calls', { q, limit: 1000 }, { on: { calls: (d) => set(d as LiveCallsData) }, state: setState });
  }, [q, paused]);
  const cols = useMemo<Col<LiveCall>[]>(() => [
    { id: 'start', name: 'Start', width: '60px', cell: (c) => clock(c.start) },
    { id: 'age', name: 'Since', width: '44px', num: true, cell: (c) => length((Date.now() - c.start / 1e6) * 1e6) },
    { id: 'state', name: 'State', width: '66px', cell: (c) => <Chip kind={states[c.state] ?? ''}>{c.state}</Chip> },
    { id: 'caller', name: 'Caller', width: 'minmax(120px, 1.2fr)', cell: (c) => <Who number={c.caller.number} name={c.caller.name} /> },
    { id: 'called', name: 'Called', width: 'minmax(120px, 1.2fr)', cell: (c) => <Who number={c.called.number} name={c.called.name} /> },
    { id: 'from', name: 'From address', width: 'minmax(98px, .7fr)', cell: (c) => host(c.caller.addr) },
    { id: 'to', name: 'To address', width: 'minmax(98px, .7fr)', cell: (c) => host(c.called.addr) },
    { id: 'codec', name: 'Codec', width: '60px', cell: (c) => c.codec },
    { id: 'mos', name: 'MOS', width: '46px', num: true, cell: (c) => <Score value={c.mos} /> },
    { id: 'loss', name: 'Loss', width: '56px', num: true, cell: (c) => (c.stream_count ? <Graded grade={lossGrade(c.loss ?? 0)}>{percent(c.loss ?? 0)}</Graded> : '–') },
    { id: 'jitter', name: 'Jitter', width: '60px', num: true, cell: (c) => (c.stream_count ? milli(c.jitter ?? 0) : '–') },
    { id: 'rec', name: 'Stored', width: '50px', cell: (c) => c.recording },
  ], []);
  const rows = data?.items ?? [];
  const stale = data ? (now - Date.parse(data.as_of)) / 1000 : 0;
  return (
    <>
      <Head title="Live calls">
        <button class="button" aria-pressed={paused} onClick={() => pause(!paused)}><Icon name={paused ? 'play' : 'pause'} />{paused ? 'Go on' : 'Pause'}</button>
      </Head>
      <div class="filterbar"><FilterBar value={q} set={(v) => change({ q: v || undefined })} label="Filter of live calls" placeholder="caller:+4930* or ip:10.0.0.0/8" /></div>
      <div class="toolline" aria-live="off">
        <span><b>{data ? count(data.total) : '…'}</b> calls go on{q ? ' that match' : ''}{data && data.total > rows.length ? `; the oldest ${count(rows.length)} are shown` : ''}</span>
        <span class="row"><span class={`dot ${paused ? '' : state === 'open' ? 'good' : 'fair'}`} />{paused ? 'paused' : state === 'open' ? (stale > 5 ? `as of ${span(stale)} ago` : 'live') : 'connecting'}</span>
      </div>
      <VTable label="Live calls" cols={cols} rows={rows} id={(c) => c.id} loading={!data && state === 'open'} open={(c) => { change({ q: `callid:"${c.call_id}"` }); }}
        narrow={(c) => (
          <>
            <span class="cut"><Who number={c.caller.number} /> <span class="muted">to</span> <Who number={c.called.number} /></span><span><Score value={c.mos} /></span>
            <span class="muted"><Chip kind={states[c.state] ?? ''}>{c.state}</Chip> {length((now - c.start / 1e6) * 1e6)} {c.codec}</span><span class="muted">{c.stream_count ? `${percent(c.loss ?? 0)} loss` : ''}</span>
          </>
        )}>
        {data ? <Empty icon="live" title={q ? 'No call that goes on is like this' : 'No calls go on'}>A call appears here with its INVITE, and leaves when it is over; then it is under <a href="/calls">Calls</a>.</Empty>
          : <Empty icon="live" title="Waiting for live calls">If nothing comes, this ringside runs without capture, or is restarting.</Empty>}
      </VTable>
    </>
  );
}
