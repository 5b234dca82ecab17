// Calls: the filter, a timeline that can be brushed, and the list. The address
// is the whole state, but for what is ticked.

import { useMemo, useState } from 'preact/hooks';
import { Problem, url, useGet } from '../lib/api';
import { ago, count, day, ms, stamp } from '../lib/format';
import { usePages } from '../lib/hooks';
import { change, href, type Place } from '../lib/route';
import { can, choose, prefs } from '../lib/session';
import type { Call, CallPage, Count, FilterError, Series } from '../lib/types';
import { type Layer, Timeline } from '../ui/chart';
import { FilterBar } from '../ui/filterbar';
import { Icon } from '../ui/icon';
import { Dialog, Empty, Failure, Head, Menu } from '../ui/parts';
import { type Range, RangeMenu, setRange, useRange } from '../ui/range';
import { VTable } from '../ui/vtable';
import { CallPageScreen } from './call';
import { callCols, NarrowCall, standardCols } from './callcols';
import { FilterForm } from './filterform';

export function Calls({ place }: { place: Place }) {
  return place.parts[1] ? <CallPageScreen place={place} /> : <CallList place={place} />;
}

function CallList({ place }: { place: Place }) {
  const q = place.query.q ?? '';
  const range = useRange(place);
  const chosen = prefs.use().columns ?? standardCols;
  const filter = { q, from: range.from, to: range.to };
  // A time that ends now goes on: calls that are over appear by themselves.
  const goes = !range.to;
  const pages = usePages<Call>('/calls', filter, goes ? 4000 : 0);
  const total = useGet<Count>('/calls/count', filter, goes ? 8000 : 0);
  const [picked, setPicked] = useState<Set<string>>(new Set());
  const [form, setForm] = useState(false);
  const cols = useMemo(() => chosen.map((id) => callCols.find((c) => c.id === id)).filter((c) => c !== undefined), [chosen]);
  const pick = (id: string) => {
    const next = new Set(picked);
    if (!next.delete(id)) next.add(id);
    setPicked(next);
  };
  const bad = pages.error?.body.errors as FilterError[] | undefined;
  return (
    <>
      <Head title="Calls">
        <Columns chosen={chosen} />
        <Export filter={filter} picked={picked} total={total.data} />
      </Head>
      <div class="filterbar">
        <FilterBar value={q} set={(v) => change({ q: v || undefined })} label="Filter of calls" placeholder="caller:+4930* and mos<3.5 and not codec:pcma" {...(bad ? { errors: bad } : {})} />
        <button class="button" onClick={() => setForm(true)} title="Put a filter together from fields"><Icon name="sliders" />Form</button>
        <Saved q={q} />
        <RangeMenu range={range} />
      </div>
      <CallTimeline range={range} filter={filter} every={goes ? 30000 : 0} />
      <div class="toolline">
        <span><b>{total.data ? `${total.data.exact ? '' : 'at least '}${count(total.data.count)}` : total.error ? '–' : '…'}</b> calls{q ? ' match' : ''}</span>
        {picked.size > 0 && <><span><b>{picked.size}</b> ticked</span><button class="button small plain" onClick={() => setPicked(new Set())}>Untick all</button></>}
        {place.query.from && <button class="button small plain" onClick={() => change({ from: undefined, to: undefined })}><Icon name="zoomout" />Leave this time</button>}
      </div>
      {pages.error && !bad && <Failure problem={pages.error} retry={pages.reload} />}
      <VTable label="Calls" cols={cols} rows={pages.rows} id={(c) => c.id} href={(c) => `/calls/${c.id}`} loading={pages.loading} more={pages.more} pick={pick} picked={picked}
        rowClass={(c) => (c.flag_names?.includes('incomplete') ? 'missed' : '')} narrow={(c) => <NarrowCall call={c} />}>
        {bad ? <Empty icon="warn" title="The filter cannot be understood">What is wrong is marked below it.</Empty> : !pages.error && <NoCalls q={q} range={range} />}
      </VTable>
      {form && <Dialog title="Filter calls" close={() => setForm(false)}><FilterForm apply={(v) => { change({ q: v || undefined }); setForm(false); }} /></Dialog>}
    </>
  );
}

/** NoCalls says where calls are, if not here. */
function NoCalls({ q, range }: { q: string; range: Range }) {
  const newest = useGet<CallPage>('/calls', { q, limit: 1 });
  const c = newest.data?.items?.[0];
  if (newest.loading) return null;
  if (c && range.from) {
    const at = ms(c.start);
    return (
      <Empty icon="calls" title="No calls in this time">
        The newest {q ? 'that the filter chooses ' : ''}began {ago(c.start)}, on {stamp(c.start)}.{' '}
        <a href={href('/calls', { q, from: new Date(at - 3600e3).toISOString(), to: new Date(at + 60e3).toISOString() })}>Show the hour before it</a> or <a href={href('/calls', { q, range: 'all' })}>all times</a>.
      </Empty>
    );
  }
  if (q) return <Empty title="No call is like this">Loosen a condition: <code>mos&lt;3.5</code> leaves out calls without RTP, and numbers match whole unless they have a <code>*</code>.</Empty>;
  return <Empty icon="calls" title="No calls yet">Calls appear here when they are over. Those that go on are under <a href="/live">Live calls</a>; whether packets come at all is under <a href="/interfaces">Interfaces</a>.</Empty>;
}

/** CallTimeline is calls over time by what became of them. */
function CallTimeline({ range, filter, every }: { range: Range; filter: { q: string; from: string; to: string }; every: number }) {
  const s = useGet<Series>(can('stats:read') && range.from ? '/stats/series' : null, { ...filter, metric: 'calls', by: 'outcome' }, every);
  if (!range.from || s.error || !s.data) return null;
  const times = timesOf(s.data);
  return <Timeline times={times} step={s.data.step / 1e6} layers={layersOf(s.data, times.length)} choose={setRange} label="Calls over time" />;
}

/** timesOf is where the steps of a series begin, in ms. */
export const timesOf = (s: Series) => Array.from({ length: Math.max(0, Math.round((s.to - s.from) / s.step)) }, (_, i) => (s.from + i * s.step) / 1e6);

function layersOf(s: Series, steps: number): Layer[] {
  const kinds: [string, string, string[]][] = [
    ['answered', 'var(--accent)', ['answered']],
    ['not answered', 'var(--line-strong)', ['busy', 'no-answer', 'cancelled', 'redirected', 'partial', 'unknown']],
    ['failed', 'var(--mark-poor)', ['failed', 'auth-failed']],
  ];
  return kinds.map(([name, color, keys]) => ({
    name, color,
    values: Array.from({ length: steps }, (_, i) => (s.lines ?? []).filter((l) => keys.includes(l.value)).reduce((n, l) => n + (l.points[i] ?? 0), 0)),
  }));
}

function Columns({ chosen }: { chosen: string[] }) {
  const toggle = (id: string) => {
    const on = new Set(chosen);
    if (!on.delete(id)) on.add(id);
    choose({ columns: callCols.map((c) => c.id).filter((x) => on.has(x)) });
  };
  return (
    <Menu label="Columns" icon="columns">
      {() => (
        <>
          {callCols.map((c) => (
            <label key={c.id}><input type="checkbox" checked={chosen.includes(c.id)} disabled={c.id === 'start'} onChange={() => toggle(c.id)} />{c.name}{c.title && <span class="muted cut">{c.title}</span>}</label>
          ))}
          <hr />
          <button class="item" onClick={() => choose({ columns: standardCols })}>As at first</button>
        </>
      )}
    </Menu>
  );
}

function Saved({ q }: { q: string }) {
  const saved = prefs.use().filters ?? [];
  const ready: [string, string][] = [['Poor quality', 'mos<3.6'], ['One-way audio', 'flag:one-way,no-rtp'], ['Failed', 'outcome:failed,auth-failed'], ['Server errors', 'status:5xx'], ['Long set-up', 'pdd>5s'], ['Our capture lost packets', 'flag:incomplete']];
  return (
    <Menu label="Saved" icon="star" title="Saved filters">
      {(close) => (
        <>
          {[...saved.map((s) => [s.name, s.q] as const), ...ready].map(([name, text], i) => (
            <span key={name} class="row item">
              <button class="item grow" onClick={() => { change({ q: text }); close(); }}><span>{name}</span><code class="muted cut">{text}</code></button>
              {i < saved.length && <button class="button plain small" aria-label={`Forget ${name}`} onClick={() => choose({ filters: saved.filter((_, n) => n !== i) })}><Icon name="trash" /></button>}
            </span>
          ))}
          <hr />
          <form
            class="form rangeform"
            onSubmit={(e) => {
              e.preventDefault();
              const name = String(new FormData(e.currentTarget as HTMLFormElement).get('name')).trim();
              if (name && q) choose({ filters: [...saved.filter((s) => s.name !== name), { name, q }] });
            }}
          >
            <label>Save the present filter as<input name="name" maxLength={60} disabled={!q} placeholder={q ? 'a name' : 'there is no filter'} /></label>
            <button class="button" disabled={!q}>Save</button>
          </form>
        </>
      )}
    </Menu>
  );
}

function Export({ filter, picked, total }: { filter: { q: string; from: string; to: string }; picked: Set<string>; total?: Count | undefined }) {
  const ids = [...picked].join(',');
  const which = picked.size ? `of the ${picked.size} ticked` : 'of all that match';
  const csv = async (accept: string, name: string) => {
    const r = await fetch(url('/calls', filter), { headers: { Accept: accept } });
    if (!r.ok) throw new Problem(r.status, 'export failed', await r.text(), 'export');
    const a = document.createElement('a');
    a.href = URL.createObjectURL(await r.blob());
    a.download = name;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
  };
  const name = `calls-${day(Date.now() * 1e6)}`;
  return (
    <Menu label="Export" icon="down">
      {(close) => (
        <>
          <button class="item" onClick={() => { close(); void csv('text/csv', name + '.csv'); }}>CSV of all that match</button>
          <button class="item" onClick={() => { close(); void csv('application/x-ndjson', name + '.ndjson'); }}>NDJSON of all that match</button>
          <hr />
          {can('packets:read') ? (
            <>
              {[['pcapng, SIP and RTP', 'pcapng', 'all'], ['pcapng, SIP', 'pcapng', 'sip'], ['pcap, SIP and RTP', 'pcap', 'all']].map(([text, format, cls]) => (
                <a key={text} class="item" download href={url('/calls/pcap', picked.size ? { ids, format, class: cls } : { ...filter, format, class: cls, limit: 1000 })} onClick={close}>{text}, {which}</a>
              ))}
              {!picked.size && (total?.count ?? 0) > 1000 && <p>Packets of the newest 1,000 calls at most. Tick calls (x) to choose.</p>}
            </>
          ) : <p>Packets need the role analyst.</p>}
        </>
      )}
    </Menu>
  );
}
