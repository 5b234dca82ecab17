// Parse lab: paste SIP, see it taken apart, and what is wrong with it. Nothing is
// sent, stored or counted.

import { useState } from 'preact/hooks';
import { base, Problem } from '../lib/api';
import { plural } from '../lib/format';
import type { Place } from '../lib/route';
import type { Parsed } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Chip, Empty, Failure, Head } from '../ui/parts';

const sample = `INVITE sip:bob@example.net SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK776asdhds
Max-Forwards: 70
To: Bob <sip:bob@example.net>
From: Alice <sip:alice@example.com>;tag=1928301774
Call-ID: a84b4c76e66710@192.0.2.7
CSeq: 314159 INVITE
Contact: <sip:alice@192.0.2.7>
Content-Length: 0

`;

export function ParseLab(_: { place: Place }) {
  const [text, setText] = useState('');
  const [said, set] = useState<Parsed | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const parse = async (t: string) => {
    try {
      const r = await fetch(base + '/parse', { method: 'POST', body: t, headers: { 'Content-Type': 'text/plain', 'X-Ringside': '1', Accept: 'application/json' } });
      const body = await r.json();
      if (!r.ok) throw new Problem(r.status, body.title, body.detail ?? '', body.code ?? '');
      set(body as Parsed);
      setProblem(null);
    } catch (e) {
      setProblem(e instanceof Problem ? e : new Problem(0, 'ringside does not answer', String(e), ''));
    }
  };
  return (
    <>
      <Head title="Parse lab" about="Paste SIP messages, as text or as a tool printed them. They are taken apart and checked against RFC 3261; nothing is sent, stored or counted." />
      <div class="cards">
        <Card span={5} title="SIP" tools={<><button class="button small" onClick={() => { setText(sample); void parse(sample); }}>Example</button><button class="button small primary" disabled={!text.trim()} onClick={() => void parse(text)}>Take apart</button></>}>
          <textarea class="mono wide" rows={26} aria-label="SIP messages" spellcheck={false} value={text} placeholder="INVITE sip:bob@example.net SIP/2.0" onInput={(e) => setText((e.currentTarget as HTMLTextAreaElement).value)}
            onKeyDown={(e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) void parse(text); }} />
          <small>Ctrl+Enter takes it apart.</small>
        </Card>
        <div class="span7 side" aria-live="polite">
          {problem && <Failure problem={problem} />}
          {!said && !problem && <Card label="Result"><Empty icon="parse" title="Nothing taken apart yet">Paste a message, or begin with the example.</Empty></Card>}
          {said?.messages?.map((m, i) => (
            <Card key={i} title={<span class="mono break">{m.start}</span>} flush tools={m.lint?.length ? <Chip kind={m.lint.some((l) => l.severity === 'error') ? 'poor' : 'fair'}>{plural(m.lint.length, 'remark')}</Chip> : <Chip kind="good">nothing wrong</Chip>}>
              {m.lint?.length ? <ul class="problems pad">{m.lint.map((l, n) => <li key={n}><span class={l.severity === 'error' ? 'poor strong' : l.severity === 'warning' ? 'fair strong' : 'muted'}><Icon name={l.severity === 'note' ? 'about' : 'warn'} />Line {l.line}</span><span class="break">{l.text}{l.rfc && <span class="muted"> ({l.rfc})</span>}</span></li>)}</ul> : null}
              <table class="plain headers"><tbody>{m.headers?.map((h, n) => <tr key={n}><th scope="row">{h.long || h.name}</th><td class="mono break">{h.value}</td></tr>)}</tbody></table>
              {m.body && <pre class="sip">{m.body}</pre>}
            </Card>
          ))}
        </div>
      </div>
    </>
  );
}
