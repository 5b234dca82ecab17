// Capture rules: the text, checked while it is written.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type Problem, send, useGet } from '../lib/api';
import type { Place } from '../lib/route';
import { can } from '../lib/session';
import type { RuleProblem, RulesText } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Failure, Head, Loaded, toast } from '../ui/parts';

export function Rules(_: { place: Place }) {
  const r = useGet<RulesText>('/rules');
  return (
    <>
      <Head title="Capture rules" about="Which calls are stored, and how much of them. The first rule whose conditions all hold decides; where none does, the default." />
      <Loaded of={r}>{(d) => <Editor rules={d} reload={r.reload} />}</Loaded>
    </>
  );
}

function Editor({ rules, reload }: { rules: RulesText; reload: () => void }) {
  const [text, setText] = useState(rules.text);
  const [problems, setProblems] = useState<RuleProblem[]>(rules.problems ?? []);
  const [failed, setFailed] = useState<Problem | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const may = can('rules:manage') && rules.writable;
  useEffect(() => {
    if (text === rules.text) {
      setProblems(rules.problems ?? []);
      return;
    }
    const t = setTimeout(() => {
      send<{ ok: boolean; problems: RuleProblem[] | null }>('POST', '/rules/check', { text }).then((c) => setProblems(c.problems ?? []), () => {});
    }, 300);
    return () => clearTimeout(t);
  }, [text, rules]);
  const worst = new Map<number, boolean>();
  for (const p of problems) worst.set(p.line, (worst.get(p.line) ?? true) && !!p.warning);
  const errors = problems.filter((p) => !p.warning).length;
  const lines = text.split('\n');
  const jump = (p: RuleProblem) => {
    const at = lines.slice(0, p.line - 1).reduce((n, l) => n + l.length + 1, 0) + Math.max(0, p.col - 1);
    area.current?.focus();
    area.current?.setSelectionRange(at, at);
  };
  const save = async () => {
    try {
      const now = await send<RulesText>('PUT', '/rules', { text });
      setFailed(null);
      toast(now.pending ? 'The rules are written. They hold after a restart.' : 'The rules hold from now on, for calls that begin now too.');
      reload();
    } catch (e) {
      setFailed(e as Problem);
    }
  };
  return (
    <div class="cards top">
      <Card span={8} title={rules.path ? <span class="mono">{rules.path}</span> : 'Rules'} tools={may ? <><button class="button small" disabled={text === rules.text} onClick={() => setText(rules.text)}>Undo</button><button class="button small primary" disabled={text === rules.text || errors > 0} onClick={() => void save()}>Put into force</button></> : <span>{rules.writable ? 'Changing them needs the role operator' : 'Kept nowhere: name a file with the key rules'}</span>}>
        {failed && <Failure problem={failed} />}
        {rules.pending && <div class="note fair" role="status"><Icon name="warn" /><div><b class="strong">A restart is needed.</b> {rules.pending}.</div></div>}
        <div class="editor">
          <div class="gutter mono" ref={gutter} aria-hidden="true">{lines.map((_, i) => <span key={i} class={worst.has(i + 1) ? (worst.get(i + 1) ? 'fair' : 'poor') : ''}>{i + 1}</span>)}</div>
          <textarea ref={area} class="mono" aria-label="Capture rules" spellcheck={false} readOnly={!may} rows={Math.max(16, Math.min(40, lines.length + 2))} wrap="off" value={text} aria-invalid={errors > 0} aria-describedby="ruleproblems"
            onInput={(e) => setText((e.currentTarget as HTMLTextAreaElement).value)} onScroll={(e) => gutter.current && (gutter.current.scrollTop = (e.currentTarget as HTMLElement).scrollTop)} />
        </div>
      </Card>
      <div class="span4 side">
        <Card title="Check" label="Check">
          <div id="ruleproblems" aria-live="polite">
            {problems.length === 0 ? <p class="row good"><Icon name="ok" />The rules are fine.</p> : (
              <ul class="problems">{problems.map((p, i) => <li key={i}><button class={`item ${p.warning ? 'fair' : 'poor'}`} onClick={() => jump(p)}>{`Line ${p.line}, column ${p.col}`}</button><span class="break">{p.text}</span></li>)}</ul>
            )}
          </div>
        </Card>
        <Card title="How rules are written" label="How rules are written">
          <pre class="sip">{`rule optout: header X-Privacy is full -> sip none, rtp none
rule bad: mos < 3.5 or loss > 5% -> rtp full, lookback 30s
rule failed: status 5xx|6xx -> rtp full, lookback 10s
rule trunk: address 192.0.2.0/24 -> rtp header
default -> sip full, rtp none`}</pre>
          <p class="muted">Put exceptions above what they are exceptions from. <code>lookback</code> brings what came before a rule held; it costs memory. Before you put rules into force, <code>ringside rules try</code> tells which past calls each would have chosen.</p>
        </Card>
      </div>
    </div>
  );
}
