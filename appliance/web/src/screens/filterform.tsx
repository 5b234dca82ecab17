// The side form: fields that make a filter expression, for who does not know the
// language yet. The expression that comes of it is shown, which teaches it.

import { useState } from 'preact/hooks';
import { flagWords } from '../lib/explain';

const outcomes = ['answered', 'busy', 'no-answer', 'cancelled', 'redirected', 'auth-failed', 'failed', 'partial'];

interface Field {
  id: string;
  name: string;
  hint: string;
  make: (v: string) => string;
}

/** quote makes a value that may have blanks or operators in it. */
const quote = (v: string) => (/^[\w+*.@:/,-]+$/.test(v) ? v : `"${v.replace(/["\\]/g, '\\$&')}"`);

const fields: Field[] = [
  { id: 'caller', name: 'Caller', hint: '+4930*', make: (v) => `caller:${quote(v)}` },
  { id: 'called', name: 'Called', hint: '*123', make: (v) => `called:${quote(v)}` },
  { id: 'number', name: 'Either number', hint: '+4930*', make: (v) => `number:${quote(v)}` },
  { id: 'ip', name: 'Address', hint: '10.0.0.0/8', make: (v) => `ip:${quote(v)}` },
  { id: 'status', name: 'Final status', hint: '486 or 5xx', make: (v) => `status:${quote(v)}` },
  { id: 'codec', name: 'Codec', hint: 'PCMA', make: (v) => `codec:${quote(v)}` },
  { id: 'mos', name: 'MOS below', hint: '3.6', make: (v) => `mos<${quote(v)}` },
  { id: 'loss', name: 'Loss above, %', hint: '1', make: (v) => `loss>${quote(v)}` },
  { id: 'jitter', name: 'Jitter above, ms', hint: '30', make: (v) => `jitter>${quote(v)}` },
  { id: 'duration', name: 'Longer than', hint: '30s', make: (v) => `duration>${quote(v)}` },
  { id: 'pdd', name: 'Post-dial delay above', hint: '3s', make: (v) => `pdd>${quote(v)}` },
  { id: 'agent', name: 'User agent has', hint: 'Asterisk', make: (v) => `agent:${quote(v)}` },
  { id: 'domain', name: 'Domain', hint: 'example.net', make: (v) => `domain:${quote(v)}` },
  { id: 'callid', name: 'Call-ID', hint: 'a84b4c76e66710@…', make: (v) => `callid:${quote(v)}` },
];

export function FilterForm({ apply }: { apply: (q: string) => void }) {
  const [values, set] = useState<Record<string, string>>({});
  const [outcome, setOutcome] = useState<string[]>([]);
  const [flag, setFlag] = useState('');
  const q = [
    ...fields.filter((f) => values[f.id]?.trim()).map((f) => f.make(values[f.id]!.trim())),
    ...(outcome.length ? [`outcome:${outcome.join(',')}`] : []),
    ...(flag ? [`flag:${flag}`] : []),
  ].join(' and ');
  return (
    <form class="form" onSubmit={(e) => { e.preventDefault(); apply(q); }}>
      <div class="fields">
        {fields.map((f) => (
          <label key={f.id}>{f.name}<input value={values[f.id] ?? ''} placeholder={f.hint} spellcheck={false} onInput={(e) => set({ ...values, [f.id]: (e.currentTarget as HTMLInputElement).value })} /></label>
        ))}
        <label>
          Fact
          <select value={flag} onChange={(e) => setFlag((e.currentTarget as HTMLSelectElement).value)}>
            <option value="">any</option>
            {Object.entries(flagWords).map(([id, words]) => <option key={id} value={id}>{words}</option>)}
          </select>
        </label>
      </div>
      <fieldset>
        <legend>Outcome</legend>
        <div class="row">
          {outcomes.map((o) => (
            <label key={o} class="check"><input type="checkbox" checked={outcome.includes(o)} onChange={() => setOutcome(outcome.includes(o) ? outcome.filter((x) => x !== o) : [...outcome, o])} />{o}</label>
          ))}
        </div>
      </fieldset>
      <p class="muted">{q ? <>As an expression: <code>{q}</code></> : 'What is left empty does not matter. * stands for anything.'}</p>
      <div class="actions"><button class="button primary">Show these calls</button></div>
    </form>
  );
}
