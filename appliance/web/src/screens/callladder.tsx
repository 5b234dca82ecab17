// The tab Ladder: the arrows, and beside them the message that is chosen with
// what its SDP changes.

import { useState } from 'preact/hooks';
import { useGet } from '../lib/api';
import { stamp } from '../lib/format';
import type { Arrow, Ladder, Messages } from '../lib/types';
import { LadderView, nameOf } from '../ui/ladder';
import { Chip, Empty, Loaded } from '../ui/parts';
import { SIPTextView } from '../ui/siptext';

export function LadderTab({ id }: { id: string }) {
  const [ports, setPorts] = useState(false);
  const [again, setAgain] = useState(true);
  const ladder = useGet<Ladder>(`/calls/${id}/ladder`, { ports: ports || undefined });
  const messages = useGet<Messages>(`/calls/${id}/messages`);
  const [chosen, choose] = useState(0);
  return (
    <Loaded of={ladder}>
      {(l) => {
        if (!l.arrows?.length) return <Empty title="No message of this call is listed">Its signalling was not captured.</Empty>;
        const shown = again ? l : { ...l, arrows: l.arrows.filter((a) => !a.retrans) };
        const arrow = l.arrows.find((a) => a.n === chosen);
        const retrans = l.arrows.filter((a) => a.retrans).length;
        return (
          <div class="ladderpane">
            <div class="card">
              <div class="toolline laddertools">
                <label class="row"><input type="checkbox" checked={again} onChange={() => setAgain(!again)} />retransmissions{retrans ? ` (${retrans})` : ''}</label>
                <label class="row"><input type="checkbox" checked={ports} onChange={() => setPorts(!ports)} />a line for each port</label>
                {l.total > l.arrows.length && <Chip kind="own">{l.arrows.length} of {l.total} messages listed</Chip>}
                {!l.bodies && l.why && <span class="muted">{l.why}</span>}
              </div>
              <LadderView ladder={shown} chosen={chosen} choose={choose} />
            </div>
            <aside class="card detail" aria-label="The message chosen" aria-live="polite">
              {arrow ? <Chosen arrow={arrow} messages={messages.data} /> : <Empty icon="tail" title="Choose a message">Click an arrow, or use the arrow keys in the ladder. Δ marks SDP that changed something.</Empty>}
            </aside>
          </div>
        );
      }}
    </Loaded>
  );
}

function Chosen({ arrow: a, messages }: { arrow: Arrow; messages?: Messages | undefined }) {
  const m = messages?.items.find((x) => x.n === a.n);
  return (
    <>
      <header>
        <h2>{nameOf(a)}</h2>
        <div class="tools">{stamp(a.time, 6)}</div>
      </header>
      <div class="body">
        <dl class="facts">
          <dt>From</dt><dd class="mono">{a.src}</dd>
          <dt>To</dt><dd class="mono">{a.dst}</dd>
          <dt>CSeq</dt><dd>{a.cseq} {a.method}</dd>
          {a.retrans && <><dt>Retransmission</dt><dd>{a.of ? `of message ${a.of}` : 'of an earlier message'}</dd></>}
        </dl>
        {a.sdp_diff && <Diff arrow={a} />}
        {m?.text ? <SIPTextView text={m.text} /> : <p class="muted pad">{messages?.why || 'The text of this message is not stored.'}</p>}
      </div>
    </>
  );
}

function Diff({ arrow }: { arrow: Arrow }) {
  const d = arrow.sdp_diff!;
  if (d.same || !d.changes?.length) return <p class="muted pad">Its SDP is that of message {d.against}.</p>;
  return (
    <div class="diff">
      <h3>SDP, against message {d.against}</h3>
      <table class="plain">
        <tbody>
          {d.changes.map((c, i) => (
            <tr key={i}>
              <th scope="row">{c.where} {c.what}</th>
              <td>{c.old && <del>{c.old}</del>} {c.new && <ins>{c.new}</ins>}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
