// Parts that every screen is made of.

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import type { Answer, Problem } from '../lib/api';
import { type Grade, grade, mos, none } from '../lib/format';
import { flagWords, ours } from '../lib/explain';
import { Icon } from './icon';

type Kids = { children?: ComponentChildren };

/** Head is the title of a screen, what it is for, and its tools. */
export function Head({ title, about, children }: Kids & { title: ComponentChildren; about?: ComponentChildren }) {
  return (
    <div class="head">
      <div>
        <h1>{title}</h1>
        {about && <p>{about}</p>}
      </div>
      {children && <div class="tools">{children}</div>}
    </div>
  );
}

/** Card is a titled box. */
export function Card({ title, tools, span, flush, children, label }: Kids & { title?: ComponentChildren; tools?: ComponentChildren; span?: number; flush?: boolean; label?: string }) {
  const id = useId();
  return (
    <section class={`card${span ? ' span' + span : ''}`} aria-labelledby={title ? id : undefined} aria-label={title ? undefined : label}>
      {title && (
        <header>
          <h2 id={id}>{title}</h2>
          {tools && <div class="tools">{tools}</div>}
        </header>
      )}
      <div class={flush ? 'flush' : 'body'}>{children}</div>
    </section>
  );
}

/** Empty says that there is nothing, and what to do about it. */
export function Empty({ icon = 'search', title, children }: Kids & { icon?: string; title: string }) {
  return (
    <div class="empty" role="status">
      <Icon name={icon} />
      <b>{title}</b>
      {children && <p>{children}</p>}
    </div>
  );
}

export function Wait({ children = 'Loading' }: Kids) {
  return (
    <div class="wait" role="status">
      {children}
    </div>
  );
}

const remedies: Record<string, string> = {
  forbidden: 'Your roles do not include this. An administrator can give you one that does (Users & tokens).',
  'not-available': 'This ringside runs without that part, as `ringside serve` does without capture.',
};

/** Failure shows a problem, and what can be done. */
export function Failure({ problem, retry }: { problem: Problem; retry?: () => void }) {
  const own = problem.status === 403 ? remedies.forbidden : problem.status === 501 ? remedies['not-available'] : '';
  const kind = problem.status === 501 || problem.status === 404 ? '' : problem.status === 403 ? 'fair' : 'poor';
  return (
    <div class={`note ${kind}`} role="alert">
      <Icon name={kind ? 'warn' : 'about'} />
      <div class="grow">
        <b class="strong">{sentence(problem.title)}</b>
        {problem.detail && <div class="break">{sentence(problem.detail)}</div>}
        {own && <div class="muted">{own}</div>}
        {problem.status === 503 && <div class="muted">It is tried again by itself.</div>}
      </div>
      {retry && (
        <button class="button small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export const sentence = (s: string) => (s ? s.slice(0, 1).toUpperCase() + s.slice(1) + (/[.!?]$/.test(s) ? '' : '.') : '');

/** Loaded shows an answer when it is there, and else that it comes or why not. */
export function Loaded<T>({ of, children, wait }: { of: Answer<T>; children: (data: T) => ComponentChildren; wait?: string }) {
  if (of.data !== undefined) {
    return (
      <>
        {of.error && <Failure problem={of.error} retry={of.reload} />}
        {children(of.data)}
      </>
    );
  }
  if (of.error) return <Failure problem={of.error} retry={of.reload} />;
  return <Wait>{wait ?? 'Loading'}</Wait>;
}

export function Chip({ kind = '', title, children }: Kids & { kind?: string; title?: string }) {
  return (
    <span class={`chip ${kind}`} title={title}>
      {children}
    </span>
  );
}

/** Score is a MOS with its grade as a mark beside it. */
export function Score({ value, title }: { value: number | undefined | null; title?: string }) {
  const g = grade(value);
  const words: Record<Grade, string> = { good: 'good', fair: 'fair: some users dissatisfied', poor: 'poor: many users dissatisfied', none: 'no MOS known' };
  return (
    <span class={`score ${g}`} title={title ?? words[g]}>
      {g !== 'none' && <i />}
      {mos(value)}
    </span>
  );
}

/** Graded is a figure in the colour of its grade. */
export function Graded({ grade: g, children }: Kids & { grade: Grade }) {
  return <span class={g === 'good' || g === 'none' ? '' : `strong ${g}`}>{children}</span>;
}

const outcomeKind: Record<string, string> = { answered: 'good', failed: 'poor', 'auth-failed': 'poor', busy: '', 'no-answer': '', cancelled: '', redirected: '', partial: 'own' };

export function Outcome({ outcome, status }: { outcome: string; status?: number }) {
  return (
    <Chip kind={outcomeKind[outcome] ?? ''}>
      {outcome || 'unknown'}
      {status && outcome !== 'answered' ? <span class="muted">{status}</span> : null}
    </Chip>
  );
}

/** Flags are a call's flags as words; those about our capture are violet. */
export function Flags({ names }: { names?: string[] | undefined }) {
  if (!names?.length) return null;
  return (
    <span class="chips">
      {names.map((n) => (
        <Chip key={n} kind={ours.has(n) ? 'own' : n === 'one-way' || n === 'no-rtp' || n === 'silence' ? 'poor' : ''}>
          {flagWords[n] ?? n}
        </Chip>
      ))}
    </span>
  );
}

/** Figure is one number of a row of numbers. */
export function Figure({ name, value, unit, sub, kind = '', title }: { name: ComponentChildren; value: ComponentChildren; unit?: string; sub?: ComponentChildren; kind?: string; title?: string }) {
  return (
    <div class="figure" title={title}>
      <dt>{name}</dt>
      <dd class={kind}>
        {value}
        {unit && value !== none && <small>{unit}</small>}
      </dd>
      <div class="sub">{sub}</div>
    </div>
  );
}

/** Change says how a figure compares with the time before. */
export function Change({ now, before, better = 'up', unit = '%' }: { now?: number | undefined; before?: number | undefined; better?: 'up' | 'down' | 'none'; unit?: '%' | 'abs' }) {
  if (now === undefined || before === undefined || (unit === '%' && before === 0)) return <>no comparison</>;
  const d = unit === '%' ? ((now - before) / before) * 100 : now - before;
  const text = unit === '%' ? `${Math.abs(d).toFixed(Math.abs(d) < 10 ? 1 : 0)} %` : Math.abs(d).toFixed(2);
  if (Math.abs(d) < (unit === '%' ? 0.05 : 0.005)) return <>as 24 h before</>;
  const kind = better === 'none' ? '' : (d > 0) === (better === 'up') ? 'up' : 'down';
  return (
    <>
      <span class={kind}>
        {d > 0 ? '▲' : '▼'} {text}
      </span>{' '}
      on 24 h before
    </>
  );
}

/** Meter is a share of one as a bar. */
export function Meter({ share, label, warn = 0.75, bad = 0.92 }: { share: number; label: string; warn?: number; bad?: number }) {
  const s = Math.max(0, Math.min(1, share));
  return (
    <div class="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(s * 100)}>
      <i class={share >= bad ? 'poor' : share >= warn ? 'fair' : ''} style={{ width: `${s * 100}%` }} />
    </div>
  );
}

/** Menu is a button with a panel that opens below it; Escape and a click outside close it. */
export function Menu({ label, icon, children, left, title }: { label: ComponentChildren; icon?: string; left?: boolean; title?: string; children: (close: () => void) => ComponentChildren }) {
  const [open, set] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) return;
    const away = (e: Event) => {
      if (!box.current?.contains(e.target as Node)) set(false);
    };
    addEventListener('pointerdown', away);
    return () => removeEventListener('pointerdown', away);
  }, [open]);
  const key = (e: KeyboardEvent) => {
    if (e.key === 'Escape' && open) {
      e.stopPropagation();
      set(false);
      box.current?.querySelector('button')?.focus();
    }
  };
  return (
    <div class="pop" ref={box} onKeyDown={key}>
      <button type="button" class="button" aria-expanded={open} aria-haspopup="true" title={title} onClick={() => set(!open)}>
        {icon && <Icon name={icon} />}
        {label}
      </button>
      {open && <div class={`panel${left ? ' left' : ''}`}>{children(() => set(false))}</div>}
    </div>
  );
}

/** Dialog is modal; it gives the focus back when it closes. */
export function Dialog({ title, close, children }: Kids & { title: string; close: () => void }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    ref.current?.showModal();
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onClose={close} onClick={(e) => e.target === ref.current && ref.current?.close()}>
      <header>
        <h2 id={id}>{title}</h2>
        <button class="button plain" aria-label="Close" onClick={() => ref.current?.close()}>
          <Icon name="close" />
        </button>
      </header>
      <div class="body">{children}</div>
    </dialog>
  );
}

export interface Tab {
  id: string;
  name: ComponentChildren;
  href: string;
}

/** Tabs are links, so that each has an address; arrows move between them. */
export function Tabs({ tabs, at, label }: { tabs: Tab[]; at: string; label: string }) {
  const key = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
    if (!step) return;
    const all = [...(e.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('[role=tab]')];
    const i = all.indexOf(document.activeElement as HTMLElement);
    all[(i + step + all.length) % all.length]?.focus();
    e.preventDefault();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={key}>
      {tabs.map((t) => (
        <a key={t.id} class="tab" role="tab" id={`tab-${t.id}`} aria-selected={t.id === at} aria-controls="tabpanel" tabIndex={t.id === at ? 0 : -1} href={t.href}>
          {t.name}
        </a>
      ))}
    </div>
  );
}

let showToast: (text: string) => void = () => {};

/** toast says something in passing; screen readers hear it too. */
export const toast = (text: string) => showToast(text);

export function Toasts() {
  const [text, set] = useState('');
  useEffect(() => {
    let timer = 0;
    showToast = (t) => {
      set(t);
      clearTimeout(timer);
      timer = window.setTimeout(() => set(''), 5000);
    };
    return () => clearTimeout(timer);
  }, []);
  return (
    <div aria-live="polite" role="status">
      {text && <div class="toast">{text}</div>}
    </div>
  );
}
