import { count, host, listed, stamp } from '../lib/format';
import { href, type Place } from '../lib/route';
import type { EventRecord } from '../lib/types';
import { Chip } from '../ui/parts';
import { Records } from '../ui/records';
import { eventKind } from './overview';

const kinds = ['call-start', 'call-end', 'call-attempt', 'auth-failed', 'reg-new', 'reg-del', 'reg-expired', 'sub-new', 'sub-del', 'other-ok', 'other-failed', 'other-timeout', 'parse-error', 'peer-up', 'peer-down', 'mirror-duplicates', 'one-direction'];

export function Events({ place }: { place: Place }) {
  return (
    <Records<EventRecord>
      place={place} path="/events" title="Events" about="What happened, at once. Of floods some are held back; the count says for how many an event stands." id={(e) => e.id}
      fields={[{ id: 'kind', name: 'Kind', options: kinds.map((k) => [k, k]) }, { id: 'aor', name: 'Who', hint: '1001*' }, { id: 'addr', name: 'Address', hint: '10.0.0.0/8' }, { id: 'status', name: 'Status', hint: '4xx' }, { id: 'call_id', name: 'Call-ID' }]}
      cols={[
        { id: 'time', name: 'Time', width: '112px', cell: (e) => listed(e.time, 3) },
        { id: 'kind', name: 'Kind', width: '118px', cell: (e) => <Chip kind={eventKind(e.kind)}>{e.kind}</Chip> },
        { id: 'src', name: 'Source', width: 'minmax(96px, .8fr)', cell: (e) => host(e.src) },
        { id: 'dst', name: 'Destination', width: 'minmax(96px, .8fr)', cell: (e) => host(e.dst) },
        { id: 'aor', name: 'Who', width: 'minmax(110px, 1.2fr)', cell: (e) => e.aor },
        { id: 'target', name: 'To', width: 'minmax(110px, 1.2fr)', cell: (e) => e.target },
        { id: 'method', name: 'Method', width: '74px', cell: (e) => e.method },
        { id: 'status', name: 'Code', width: '46px', num: true, cell: (e) => e.status || '–' },
        { id: 'count', name: 'Count', width: '56px', num: true, cell: (e) => count(e.count) },
        { id: 'text', name: 'Text', width: 'minmax(80px, 1fr)', cell: (e) => e.text },
      ]}
      narrow={(e) => <><span class="cut"><Chip kind={eventKind(e.kind)}>{e.kind}</Chip> {e.aor}</span><span class="muted">{e.status || ''}</span><span class="muted cut">{stamp(e.time)} · {host(e.src)} {e.text}</span><span class="muted">{e.count > 1 ? `× ${count(e.count)}` : ''}</span></>}
      name={(e) => e.kind}
      detail={(e) => [
        ['Time', stamp(e.time, 6)], ['Stands for', e.count > 1 ? `${count(e.count)} events` : undefined], ['Source', <span class="mono">{e.src}</span>], ['Destination', <span class="mono">{e.dst}</span>], ['Who', e.aor], ['To', e.target], ['Method', e.method], ['Status', e.status || undefined], ['Text', e.text], ['User agent', e.agent], ['Sensor', e.sensor],
        ['Call-ID', e.call_id ? <span class="mono">{e.call_id}</span> : undefined], ['Call', e.kind.startsWith('call-') && e.call_id ? <a href={href('/calls', { q: `callid:"${e.call_id}"`, range: 'all' })}>find it</a> : undefined],
      ]}
      empty="Logins that fail, peers that go down, registrations that run out and the like appear here."
    />
  );
}
