import { host, listed, milli, span, stamp } from '../lib/format';
import type { Place } from '../lib/route';
import type { Registration } from '../lib/types';
import { Chip } from '../ui/parts';
import { Records } from '../ui/records';

const kinds: Record<string, string> = { registered: 'good', rejected: 'poor', expired: 'fair', unregistered: '', evicted: 'own' };

export function Registrations({ place }: { place: Place }) {
  return (
    <Records<Registration>
      place={place} path="/registrations" title="Registrations" about="The life of each binding: from the REGISTER that made it until it was removed or ran out." id={(r) => r.id}
      fields={[{ id: 'aor', name: 'Address of record', hint: '1001*' }, { id: 'addr', name: 'Address', hint: '10.0.0.0/8' }, { id: 'agent', name: 'User agent has', hint: 'Yealink' }, { id: 'state', name: 'State', options: ['registered', 'unregistered', 'expired', 'rejected'].map((s) => [s, s]) }, { id: 'failed', name: 'Failures', options: [['true', 'with a failure']] }]}
      cols={[
        { id: 'start', name: 'Since', width: '112px', cell: (r) => listed(r.start) },
        { id: 'aor', name: 'Address of record', width: 'minmax(140px, 1.4fr)', cell: (r) => <span class="strong">{r.aor}</span> },
        { id: 'state', name: 'State', width: '100px', cell: (r) => <Chip kind={kinds[r.state] ?? ''}>{r.state}</Chip> },
        { id: 'src', name: 'From', width: 'minmax(96px, .8fr)', cell: (r) => <>{host(r.src)}{r.nat && <span class="muted"> NAT</span>}</> },
        { id: 'dst', name: 'Registrar', width: 'minmax(96px, .8fr)', cell: (r) => host(r.dst) },
        { id: 'expires', name: 'Granted', width: '72px', num: true, cell: (r) => (r.expires ? span(r.expires) : '–') },
        { id: 'ok', name: 'OK', title: 'answered by 2xx', width: '48px', num: true, cell: (r) => r.successes },
        { id: 'bad', name: 'Failed', width: '54px', num: true, cell: (r) => <span class={r.failures + r.timeouts ? 'poor strong' : ''}>{r.failures + r.timeouts}</span> },
        { id: 'code', name: 'Code', width: '46px', num: true, cell: (r) => r.last_status || '–' },
        { id: 'rtt', name: 'Response', width: '74px', num: true, cell: (r) => milli(r.rtt_avg_ms) },
        { id: 'agent', name: 'User agent', width: 'minmax(90px, 1fr)', cell: (r) => r.agent },
      ]}
      narrow={(r) => <><span class="strong cut">{r.aor}</span><Chip kind={kinds[r.state] ?? ''}>{r.state}</Chip><span class="muted cut">{host(r.src)} · {stamp(r.start)}</span><span class="muted">{r.last_status || ''}</span></>}
      name={(r) => r.aor}
      detail={(r) => [
        ['State', <Chip kind={kinds[r.state] ?? ''}>{r.state}</Chip>], ['Contact', <span class="mono">{r.contact}</span>], ['Instance', r.instance], ['From', <span class="mono">{r.src}</span>], ['Registrar', <span class="mono">{r.dst}</span>], ['Transport', r.transport], ['User agent', r.agent],
        ['First REGISTER', stamp(r.start, 3)], ['Last success', stamp(r.last, 3)], ['End', stamp(r.end, 3)], ['Runs out', r.expires_at ? stamp(r.expires_at) : undefined],
        ['REGISTER', `${r.registers}, ${r.successes} granted, ${r.challenges} challenged, ${r.failures} refused, ${r.timeouts} without an answer`], ['Last response', `${r.last_status || 'none'} ${r.last_reason ?? ''}`], ['Response time', `${milli(r.rtt_avg_ms)}, at most ${milli(r.rtt_max_ms)}`], ['Call-ID', <span class="mono">{r.call_id}</span>],
      ]}
      empty="Bindings appear here when they end, run out, or change."
    />
  );
}
