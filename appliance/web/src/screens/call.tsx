// One call: who, what became of it and why, and everything about it in tabs.

import { useEffect } from 'preact/hooks';
import { send, url, useGet } from '../lib/api';
import { explain } from '../lib/explain';
import { full, host, length, seconds, stamp } from '../lib/format';
import { useKeys } from '../lib/hooks';
import { go, href, type Place } from '../lib/route';
import { can } from '../lib/session';
import type { Call, StreamRow, Streams } from '../lib/types';
import { Icon } from '../ui/icon';
import { Empty, Failure, Flags, Menu, Outcome, Score, Tabs, toast, Wait } from '../ui/parts';
import { AudioTab } from './callaudio';
import { LegsTab } from './calllegs';
import { LadderTab } from './callladder';
import { MediaTab } from './callmedia';
import { MessagesTab } from './callmessages';
import { NotesTab } from './callnotes';

const tabs: [string, string, string][] = [
  ['ladder', 'Ladder', 'signalling:read'], ['messages', 'Messages', 'signalling:read'], ['media', 'Media', 'calls:read'], ['audio', 'Audio', 'audio:read'],
  ['legs', 'Legs', 'calls:read'], ['notes', 'Notes', 'calls:read'], ['raw', 'Raw', 'calls:read'],
];

export function CallPageScreen({ place }: { place: Place }) {
  const id = place.parts[1]!;
  const call = useGet<Call>(`/calls/${encodeURIComponent(id)}`);
  const streams = useGet<Streams>(call.data ? `/calls/${encodeURIComponent(id)}/streams` : null);
  const mine = tabs.filter((t) => can(t[2]));
  const at = mine.some((t) => t[0] === place.parts[2]) ? place.parts[2]! : mine[0]?.[0] ?? 'media';
  const to = (tab: string) => href(`/calls/${id}/${tab}`);
  const step = (n: number) => {
    const i = mine.findIndex((t) => t[0] === at);
    go(to(mine[(i + n + mine.length) % mine.length]![0]), true);
  };
  useKeys({ '[': () => step(-1), ']': () => step(1), Escape: () => history.length > 1 ? history.back() : go('/calls') });
  useEffect(() => {
    if (call.data) document.title = `${call.data.caller.number} to ${call.data.called.number} · ringside`;
  }, [call.data]);
  if (call.error?.status === 404) return <Empty icon="calls" title="There is no such call">It may be older than the store keeps, or outside of what your account may see. <a href="/calls">To the calls</a>.</Empty>;
  if (call.error && !call.data) return <Failure problem={call.error} retry={call.reload} />;
  if (!call.data) return <Wait>Loading the call</Wait>;
  const c = call.data;
  const rows = streams.data?.items ?? plainStreams(c);
  return (
    <>
      <CallHead call={c} />
      <Verdict call={c} streams={rows} />
      <Strip call={c} />
      <Tabs label="About the call" at={at} tabs={mine.map((t) => ({ id: t[0], href: to(t[0]), name: <>{t[1]}{badge(t[0], c)}</> }))} />
      <div role="tabpanel" id="tabpanel" aria-labelledby={`tab-${at}`} class="tabpanel">
        {at === 'ladder' && <LadderTab id={id} />}
        {at === 'messages' && <MessagesTab id={id} />}
        {at === 'media' && <MediaTab call={c} streams={rows} {...(streams.data?.why ? { why: streams.data.why } : {})} loading={streams.loading && !streams.data} />}
        {at === 'audio' && <AudioTab call={c} />}
        {at === 'legs' && <LegsTab call={c} />}
        {at === 'notes' && <NotesTab id={id} />}
        {at === 'raw' && <Raw call={c} />}
      </div>
    </>
  );
}

/** plainStreams are the streams of the record, until those with intervals are there. */
const plainStreams = (c: Call): StreamRow[] => (c.streams ?? []).map((s, i) => ({ ...s, n: i + 1, loss: s.expected ? (s.lost * 100) / s.expected : 0, intervals: null }));

function badge(tab: string, c: Call) {
  const n = { messages: c.messages_total, media: c.streams?.length, legs: (c.links?.length ?? 0) + (c.legs?.length ?? 0) }[tab];
  return n ? <small>{n}</small> : null;
}

function CallHead({ call: c }: { call: Call }) {
  return (
    <div class="head callhead">
      <div class="grow">
        <a class="muted back" href="/calls" onClick={(e) => { if (history.length > 1) { e.preventDefault(); history.back(); } }}><Icon name="left" />Calls</a>
        <h1><Party name={c.caller.number} sub={c.caller.name} /> <span class="arrow" aria-label="to">→</span> <Party name={c.called.number} sub={c.called.name} /></h1>
        <p class="row"><span title={full(c.start)}>{stamp(c.start, 3)}</span><Outcome outcome={c.outcome} status={c.last_status} /><Flags names={c.flag_names} /></p>
      </div>
      <div class="tools">
        {can('spool:manage') && <Hold id={c.id} />}
        <ExportCall call={c} />
      </div>
    </div>
  );
}

const Party = ({ name, sub }: { name: string; sub?: string | undefined }) => (
  <span>{name || 'anonymous'}{sub && sub !== name ? <small> {sub}</small> : null}</span>
);

function Hold({ id }: { id: string }) {
  const hold = async (on: boolean) => {
    try {
      await send(on ? 'PUT' : 'DELETE', `/calls/${id}/hold`);
      toast(on ? 'The packets of this call are held: quota and age do not remove them.' : 'The packets of this call may go with their age again.');
    } catch (e) {
      toast(String((e as Error).message));
    }
  };
  return (
    <Menu label="Hold" icon="pin" title="Keep its packets">
      {(close) => (
        <>
          <button class="item" onClick={() => { close(); void hold(true); }}>Hold its packets</button>
          <button class="item" onClick={() => { close(); void hold(false); }}>Let them go</button>
          <p>Held packets stay whatever quota and age say. The rest of their minute stays with them.</p>
        </>
      )}
    </Menu>
  );
}

function ExportCall({ call: c }: { call: Call }) {
  return (
    <Menu label="Export" icon="down">
      {(close) => (
        <>
          {can('packets:read')
            ? [['Packets, pcapng', 'pcapng', 'all'], ['Packets, pcap', 'pcap', 'all'], ['SIP only, pcapng', 'pcapng', 'sip'], ['RTP only, pcapng', 'pcapng', 'rtp']].map(([name, format, cls]) => (
              <a key={name} class="item" download onClick={close} href={url(`/calls/${c.id}/pcap`, { format, class: cls })}>{name}</a>
            ))
            : <p>Packets need the role analyst.</p>}
          {can('packets:read') && !can('audio:read') && <p>Without the role listener, RTP ends with its header.</p>}
          {can('audio:read') && <a class="item" download onClick={close} href={url(`/calls/${c.id}/audio`, { side: 'both' })}>Audio, WAV in stereo</a>}
          <hr />
          <a class="item" download={`call-${c.id}.json`} onClick={close} href={url(`/calls/${c.id}`)}>Record, JSON</a>
          <p>SIP stored: {c.sip_stored?.level || 'not known'}. RTP stored: {c.rtp_stored?.level || 'not known'}{c.rtp_stored?.missed ? `, ${c.rtp_stored.missed} packets shed` : ''}.</p>
        </>
      )}
    </Menu>
  );
}

/** Verdict says in plain words why the call was as it was. */
function Verdict({ call, streams }: { call: Call; streams: StreamRow[] }) {
  const e = explain(call, streams);
  return (
    <section class={`verdictbox ${e.grade}`} aria-label="Why">
      <p class="lead">{e.title}</p>
      <ul>
        {e.points.map((p) => (
          <li key={p.text} class={p.kind}><Icon name={p.kind === 'own' ? 'own' : p.kind === 'good' ? 'ok' : p.kind === 'info' ? 'about' : 'warn'} />{p.text}</li>
        ))}
      </ul>
    </section>
  );
}

function Strip({ call: c }: { call: Call }) {
  const items: [string, preact.ComponentChildren][] = [
    ['From', <span key="a" class="mono">{host(c.caller.addr) || '–'}</span>], ['To', <span key="b" class="mono">{host(c.called.addr) || '–'}</span>],
    ['Talk', length(c.connected)], ['Post-dial delay', seconds(c.pdd)], ['MOS, worst', <Score key="m" value={c.mos_min} />],
    ['Ended by', c.hung_up || c.end_reason], ['Caller’s agent', c.caller.agent || '–'], ['Called’s agent', c.called.agent || '–'],
  ];
  return (
    <dl class="strip card">
      {items.map(([k, v]) => <div key={k}><dt>{k}</dt><dd class="cut">{v}</dd></div>)}
    </dl>
  );
}

function Raw({ call }: { call: Call }) {
  const text = JSON.stringify(call, null, 2);
  return (
    <div class="card">
      <header><h2>The record as the API gives it</h2><div class="tools"><button class="button small" onClick={() => void navigator.clipboard?.writeText(text).then(() => toast('Copied.'))}><Icon name="copy" />Copy</button></div></header>
      <pre class="body raw" tabIndex={0}>{text}</pre>
    </div>
  );
}
