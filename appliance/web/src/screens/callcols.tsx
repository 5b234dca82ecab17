// The columns that the list of calls can show.

import { host, jitterGrade, length, listed, lossGrade, milli, percent, seconds } from '../lib/format';
import type { Call } from '../lib/types';
import { Flags, Graded, Outcome, Score } from '../ui/parts';
import type { Col } from '../ui/vtable';

// standard columns are shown at first; wide ones only where the window has room.
type CallCol = Col<Call> & { standard?: boolean; wide?: boolean };

export const callCols: CallCol[] = [
  { id: 'start', name: 'Start', width: '112px', standard: true, cell: (c) => listed(c.start, 3) },
  { id: 'caller', name: 'Caller', width: 'minmax(128px, 1.2fr)', standard: true, cell: (c) => <Who number={c.caller.number} name={c.caller.name} /> },
  { id: 'called', name: 'Called', width: 'minmax(128px, 1.2fr)', standard: true, cell: (c) => <Who number={c.called.number} name={c.called.name} /> },
  { id: 'outcome', name: 'Outcome', width: '116px', standard: true, cell: (c) => <Outcome outcome={c.outcome} status={c.last_status} /> },
  { id: 'connected', name: 'Talk', title: 'from the answer to the end', width: '48px', num: true, standard: true, cell: (c) => length(c.connected) },
  { id: 'pdd', name: 'PDD', title: 'post-dial delay: until it rang', width: '54px', num: true, standard: true, cell: (c) => seconds(c.pdd) },
  { id: 'mos', name: 'MOS', title: 'of the worst stream, 1 to 5', width: '52px', num: true, standard: true, cell: (c) => <Score value={c.mos_min} /> },
  { id: 'loss', name: 'Loss', title: 'of the worst stream', width: '58px', num: true, standard: true, cell: (c) => <Graded grade={lossGrade(c.loss_max)}>{percent(c.loss_max)}</Graded> },
  { id: 'jitter', name: 'Jitter', title: 'greatest of any stream', width: '64px', num: true, standard: true, cell: (c) => <Graded grade={jitterGrade(c.jitter_max)}>{milli(c.jitter_max)}</Graded> },
  { id: 'caller_addr', name: 'From address', width: 'minmax(100px, .8fr)', standard: true, wide: true, cell: (c) => host(c.caller.addr) },
  { id: 'called_addr', name: 'To address', width: 'minmax(100px, .8fr)', standard: true, wide: true, cell: (c) => host(c.called.addr) },
  { id: 'flags', name: 'Facts', width: 'minmax(100px, 1fr)', standard: true, cell: (c) => <Flags names={c.flag_names} /> },
  { id: 'duration', name: 'Duration', title: 'from the first message to the end', width: '66px', num: true, cell: (c) => length(c.duration) },
  { id: 'status', name: 'Code', width: '48px', num: true, cell: (c) => c.last_status || '–' },
  { id: 'reason', name: 'Reason', width: 'minmax(90px, .7fr)', cell: (c) => c.last_reason },
  { id: 'hung_up', name: 'Hung up', width: '64px', cell: (c) => c.hung_up },
  { id: 'caller_agent', name: 'Caller’s agent', width: 'minmax(120px, 1fr)', cell: (c) => c.caller.agent },
  { id: 'called_agent', name: 'Called’s agent', width: 'minmax(120px, 1fr)', cell: (c) => c.called.agent },
  { id: 'caller_domain', name: 'Caller’s domain', width: 'minmax(100px, .8fr)', cell: (c) => c.caller.domain },
  { id: 'called_domain', name: 'Called’s domain', width: 'minmax(100px, .8fr)', cell: (c) => c.called.domain },
  { id: 'messages', name: 'SIP', title: 'SIP messages', width: '44px', num: true, cell: (c) => c.messages_total },
  { id: 'retransmissions', name: 'Retr.', title: 'SIP messages sent again', width: '44px', num: true, cell: (c) => c.retransmissions },
  { id: 'streams', name: 'Streams', width: '58px', num: true, cell: (c) => c.stream_count },
  { id: 'transport', name: 'Transport', width: '68px', cell: (c) => c.transport },
  { id: 'sensor', name: 'Sensor', width: '52px', num: true, cell: (c) => c.sensor },
  { id: 'vlan', name: 'VLAN', width: '48px', num: true, cell: (c) => (c.vlan < 0 ? '–' : c.vlan) },
  { id: 'stored', name: 'Stored', title: 'packets in the spool: SIP, RTP', width: '92px', cell: (c) => `${c.sip_stored?.level || '–'}, ${c.rtp_stored?.level || '–'}` },
  { id: 'rule', name: 'Rule', width: '80px', cell: (c) => c.rule },
  { id: 'call_id', name: 'Call-ID', width: 'minmax(180px, 1.4fr)', cell: (c) => <span class="mono">{c.call_id}</span> },
];

export function Who({ number, name }: { number: string; name?: string | undefined }) {
  return (
    <>
      <span class="strong">{number || 'anonymous'}</span>
      {name && name !== number && <span class="muted"> {name}</span>}
    </>
  );
}

export const standardCols = callCols.filter((c) => c.standard && (!c.wide || innerWidth >= 1500)).map((c) => c.id);

/** NarrowCall is a call in two lines, for a phone. */
export function NarrowCall({ call: c }: { call: Call }) {
  return (
    <>
      <span class="cut"><Who number={c.caller.number} /> <span class="muted">to</span> <Who number={c.called.number} /></span>
      <span class="num"><Score value={c.mos_min} /></span>
      <span class="muted cut">{listed(c.start)} · {c.answer ? `${length(c.connected)} talk` : `${c.outcome} ${c.last_status || ''}`}</span>
      <span class="num muted">{c.loss_max === undefined ? '' : `${percent(c.loss_max)} loss`}</span>
    </>
  );
}
