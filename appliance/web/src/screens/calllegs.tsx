// The tab Legs: dialogs of the call, calls that belong to it, and its course.

import { clock, host, length, stamp } from '../lib/format';
import type { Call } from '../lib/types';
import { Card, Chip, Outcome, Score } from '../ui/parts';

const reasons: Record<string, string> = {
  'session-id': 'the same Session-ID', 'x-cid': 'X-CID names it', icid: 'the same ICID', header: 'the header that you configured', replaces: 'Replaces names it', score: 'numbers, times and addresses fit',
};

export function LegsTab({ call: c }: { call: Call }) {
  const course: [string, number | undefined][] = [['First message', c.start], ['Trying', c.trying], ['Ringing', c.ring], ['Answer', c.answer], ['BYE', c.bye_at], ['End', c.end], ['Last message', c.last]];
  return (
    <div class="cards">
      <Card title="Course" span={4}>
        <dl class="facts">
          {course.filter(([, t]) => t).map(([name, t]) => (
            <><dt>{name}</dt><dd class="row">{clock(t, 3)}<span class="muted">{t === c.start ? '' : `+${((t! - c.start) / 1e9).toFixed(3)} s`}</span></dd></>
          ))}
        </dl>
      </Card>
      <Card title="Belongs to" span={8} flush>
        {c.links?.length ? (
          <table class="plain">
            <thead><tr><th>Began</th><th>Caller</th><th>Called</th><th>Outcome</th><th class="num">Talk</th><th class="num">MOS</th><th>Because</th></tr></thead>
            <tbody>
              {c.links.map((l, i) => l.call && (
                <tr key={i}>
                  <td><a href={`/calls/${l.call.id}`}>{stamp(l.call.start)}</a></td><td>{l.call.caller.number}</td><td>{l.call.called.number}</td>
                  <td><Outcome outcome={l.call.outcome} status={l.call.last_status} /></td><td class="num">{length(l.call.connected)}</td><td class="num"><Score value={l.call.mos_min} /></td>
                  <td>{reasons[l.reason] ?? l.reason} <span class="muted">{l.score} of 100 sure</span></td>
                </tr>
              ))}
            </tbody>
          </table>
        ) : <p class="pad muted">No other call is known to belong to this one.</p>}
      </Card>
      <Card title="Dialogs" span={8} flush>
        {c.legs?.length ? (
          <table class="plain">
            <thead><tr><th>To tag</th><th>First response</th><th>Answer</th><th class="num">Status</th></tr></thead>
            <tbody>
              {c.legs.map((l) => <tr key={l.tag}><td class="mono break">{l.tag}</td><td>{clock(l.first, 3)}</td><td>{clock(l.answer, 3)}</td><td class="num">{l.status || '–'}</td></tr>)}
            </tbody>
          </table>
        ) : <p class="pad muted">No response with a tag was seen.</p>}
      </Card>
      <Card title="Counts" span={4}>
        <dl class="facts">
          <dt>INVITE</dt><dd>{c.invites}{c.reinvites ? `, ${c.reinvites} of them re-INVITE` : ''}</dd>
          <dt>Retransmissions</dt><dd>{c.retransmissions}</dd>
          <dt>Challenges</dt><dd>{c.challenges ?? 0}</dd>
          <dt>Holds</dt><dd>{c.holds ?? 0}</dd>
          <dt>Forks</dt><dd>{c.forks ?? 0}</dd>
          <dt>Transport</dt><dd>{c.transport}{c.vlan >= 0 ? `, VLAN ${c.vlan}` : ''}, DSCP {c.dscp ?? 0}</dd>
          <dt>Ended</dt><dd>{c.end_reason}{c.hung_up ? ` by the ${c.hung_up}` : ''}</dd>
        </dl>
      </Card>
      {c.digits?.length ? (
        <Card title="Digits dialled" span={12}>
          <p class="chips">{c.digits.map((d, i) => <Chip key={i} title={`${clock(d.time, 3)}, ${d.duration_ms} ms, ${d.method}`} kind={d.from === 'caller' ? 'accent' : ''}>{d.digit}</Chip>)}</p>
          <p class="muted">Those of the caller are coloured. {host(c.caller.addr)} to {host(c.called.addr)}.</p>
        </Card>
      ) : null}
    </div>
  );
}
