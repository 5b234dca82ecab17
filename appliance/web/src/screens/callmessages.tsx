// The tab Messages: every SIP message of the call as it was on the wire.

import { useState } from 'preact/hooks';
import { useGet } from '../lib/api';
import { clock, host } from '../lib/format';
import type { Messages, SIPText } from '../lib/types';
import { kindOf, nameOf } from '../ui/ladder';
import { Empty, Loaded } from '../ui/parts';
import { SIPTextView } from '../ui/siptext';

export function MessagesTab({ id }: { id: string }) {
  const all = useGet<Messages>(`/calls/${id}/messages`);
  const [find, setFind] = useState('');
  const [open, setOpen] = useState<Set<number> | null>(null);
  return (
    <Loaded of={all}>
      {(m) => {
        const needle = find.toLowerCase();
        const shown = m.items.filter((x) => !needle || (x.text ?? nameOf(x)).toLowerCase().includes(needle));
        const isOpen = (x: SIPText) => (open ? open.has(x.n) : x === shown[0] || shown.length <= 4);
        const toggle = (x: SIPText) => {
          const next = new Set(open ?? shown.filter(isOpen).map((y) => y.n));
          if (!next.delete(x.n)) next.add(x.n);
          setOpen(next);
        };
        if (!m.items.length) return <Empty title="No message of this call is there">{m.why}</Empty>;
        return (
          <div class="messages">
            <div class="toolline">
              <input type="search" value={find} placeholder="Find in the messages" aria-label="Find in the messages" onInput={(e) => setFind((e.currentTarget as HTMLInputElement).value)} />
              <span><b>{shown.length}</b> of {m.total} messages</span>
              <button class="button small" onClick={() => setOpen(new Set(shown.map((x) => x.n)))}>Open all</button>
              <button class="button small" onClick={() => setOpen(new Set())}>Close all</button>
              {!m.stored && <span>{m.why || 'Texts are not stored; this is what the record has.'}</span>}
            </div>
            {shown.map((x) => (
              <section key={x.n} class="card message">
                <button class="messagehead" aria-expanded={isOpen(x)} onClick={() => toggle(x)}>
                  <span class="muted num">{x.n}</span>
                  <span class="muted">{clock(x.time, 6)}</span>
                  <span><b class={`sipkind ${kindOf(x)}`}>{nameOf(x)}</b>{x.sdp && <span class="muted"> · SDP</span>}{x.retrans && <span class="muted"> again</span>}</span>
                  <span class="mono muted cut">{host(x.src)} → {host(x.dst)}</span>
                </button>
                {isOpen(x) && (x.text ? <SIPTextView text={x.text} /> : <p class="muted pad">The text is not stored. CSeq {x.cseq} {x.method}{x.sdp ? ', with SDP' : ''}.</p>)}
              </section>
            ))}
          </div>
        );
      }}
    </Loaded>
  );
}
