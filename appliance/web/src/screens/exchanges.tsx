import { bytes, host, listed, milli, span, stamp } from '../lib/format';
import type { Place } from '../lib/route';
import type { Exchange } from '../lib/types';
import { Chip } from '../ui/parts';
import { Records } from '../ui/records';

const kindOf = (s: string) => (/failed|down|rejected|timeout/.test(s) ? 'poor' : /ok|up|active/.test(s) ? 'good' : s === 'expired' || s === 'pending' ? 'fair' : '');

export function Exchanges({ place }: { place: Place }) {
  return (
    <Records<Exchange>
      place={place} path="/exchanges" title="Other SIP" about="Reachability (OPTIONS), subscriptions, publications and text messages." id={(x) => x.id}
      fields={[{ id: 'kind', name: 'Kind', options: [['options', 'OPTIONS'], ['subscription', 'subscription'], ['publication', 'publication'], ['message', 'text message']] }, { id: 'number', name: 'Number', hint: '1001*' }, { id: 'addr', name: 'Address', hint: '10.0.0.0/8' }, { id: 'state', name: 'State', hint: 'down' }, { id: 'failed', name: 'Failures', options: [['true', 'with a failure']] }]}
      cols={[
        { id: 'start', name: 'Since', width: '112px', cell: (x) => listed(x.start) },
        { id: 'kind', name: 'Kind', width: '82px', cell: (x) => x.kind },
        { id: 'state', name: 'State', width: '84px', cell: (x) => <Chip kind={kindOf(x.state)}>{x.state}</Chip> },
        { id: 'caller', name: 'From', width: 'minmax(72px, 1fr)', cell: (x) => x.caller.number || host(x.caller.addr) },
        { id: 'called', name: 'To', width: 'minmax(72px, 1fr)', cell: (x) => x.called.number || host(x.called.addr) },
        { id: 'src', name: 'From address', width: 'minmax(96px, .9fr)', cell: (x) => host(x.caller.addr) },
        { id: 'dst', name: 'To address', width: 'minmax(96px, .9fr)', cell: (x) => host(x.called.addr) },
        { id: 'n', name: 'Requests', width: '66px', num: true, cell: (x) => x.requests },
        { id: 'bad', name: 'Failed', width: '54px', num: true, cell: (x) => <span class={x.failures + x.timeouts ? 'poor strong' : ''}>{x.failures + x.timeouts}</span> },
        { id: 'code', name: 'Code', width: '46px', num: true, cell: (x) => x.last_status || '–' },
        { id: 'rtt', name: 'Response', width: '74px', num: true, cell: (x) => milli(x.rtt_avg_ms) },
        { id: 'what', name: 'What', width: 'minmax(90px, 1.2fr)', cell: (x) => x.text || x.event || x.note },
      ]}
      narrow={(x) => <><span class="strong cut">{x.caller.number || host(x.caller.addr)} → {x.called.number || host(x.called.addr)}</span><Chip kind={kindOf(x.state)}>{x.state}</Chip><span class="muted cut">{x.kind} · {stamp(x.start)}</span><span class="muted">{x.last_status || ''}</span></>}
      name={(x) => `${x.kind}: ${x.caller.number || host(x.caller.addr)} to ${x.called.number || host(x.called.addr)}`}
      detail={(x) => [
        ['State', <Chip kind={kindOf(x.state)}>{x.state}</Chip>], ['From', <span class="mono">{x.caller.addr}</span>], ['To', <span class="mono">{x.called.addr}</span>], ['Transport', x.transport], ['Event package', x.event], ['Note', x.note], ['Granted', x.expires ? span(x.expires) : undefined],
        ['First request', stamp(x.start, 3)], ['Last message', stamp(x.last, 3)], ['End', stamp(x.end, 3)], ['Requests', `${x.requests}, ${x.answered} answered, ${x.failures} refused, ${x.timeouts} without an answer`], ['NOTIFY', x.notifies || undefined],
        ['Last response', `${x.last_status || 'none'} ${x.last_reason ?? ''}`], ['Response time', `${milli(x.rtt_avg_ms)}, at most ${milli(x.rtt_max_ms)}`], ['Text', x.text ? <span class="pre">{x.text}</span> : undefined], ['Content', x.content_type ? `${x.content_type}, ${bytes(x.size)}` : undefined], ['User agent', x.caller.agent], ['Call-ID', <span class="mono">{x.call_id}</span>],
      ]}
      empty="OPTIONS, SUBSCRIBE, PUBLISH and MESSAGE appear here."
    />
  );
}
