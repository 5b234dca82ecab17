// The filter bar: one expression, completed and checked by the API while it is
// typed; what is wrong is underlined where it stands.

import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { get } from '../lib/api';
import { useKeys } from '../lib/hooks';
import type { Completion, FilterCheck, FilterError } from '../lib/types';
import { Icon } from './icon';

interface Props {
  value: string;
  set: (q: string) => void;
  label: string;
  placeholder?: string;
  errors?: FilterError[]; // that the list answered with
  check?: boolean; // ask the API for completions (those of calls)
}

/** units counts UTF-16 units up to a place in characters, as the API counts. */
const units = (s: string, chars: number) => [...s].slice(0, chars).join('').length;

export function FilterBar({ value, set, label, placeholder, errors, check = true }: Props) {
  const [text, setText] = useState(value);
  const [said, setSaid] = useState<FilterCheck | null>(null);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const list = useId();
  const wrong = useId();
  const asked = useRef(0);
  useEffect(() => {
    setText(value);
    if (!value) setSaid(null);
  }, [value]);
  useKeys({
    '/': (e) => {
      e.preventDefault();
      input.current?.focus();
      input.current?.select();
    },
  });

  const ask = (q: string) => {
    if (!check) return;
    clearTimeout(asked.current);
    asked.current = window.setTimeout(async () => {
      const cursor = [...q.slice(0, input.current?.selectionStart ?? q.length)].length;
      try {
        const answer = await get<FilterCheck>('/calls/filter', { q: q || ' ', pos: cursor });
        if (input.current?.value !== q) return;
        setSaid(answer);
        setAt(-1);
      } catch {
        // The list says what is wrong once the filter is applied.
      }
    }, 120);
  };
  const type = (q: string) => {
    setText(q);
    setOpen(true);
    ask(q);
  };
  const apply = (q: string) => {
    setOpen(false);
    set(q.trim());
  };
  const take = (c: Completion) => {
    const from = units(text, c.from);
    const q = text.slice(0, from) + c.text + text.slice(units(text, c.to));
    setText(q);
    requestAnimationFrame(() => {
      const end = from + c.text.length;
      input.current?.focus();
      input.current?.setSelectionRange(end, end);
      ask(q);
    });
  };
  const options = open ? (said?.completions ?? []).slice(0, 40) : [];
  const key = (e: KeyboardEvent) => {
    if (e.key === 'ArrowDown' && options.length) setAt((at + 1) % options.length);
    else if (e.key === 'ArrowUp' && options.length) setAt(at <= 0 ? options.length - 1 : at - 1);
    else if (e.key === 'Tab' && options.length && !e.shiftKey && (at >= 0 || text)) take(options[Math.max(0, at)]!);
    else if (e.key === 'Enter' && at >= 0 && options[at]) take(options[at]);
    else if (e.key === 'Enter') apply(text);
    else if (e.key === 'Escape') {
      if (options.length) setOpen(false);
      else input.current?.blur();
    } else return;
    e.preventDefault();
  };
  const shown = text === value && errors?.length ? errors : said?.errors ?? [];
  return (
    <div class="filter" role="search">
      <Icon name="search" />
      <input
        ref={input} type="text" value={text} aria-label={label} placeholder={placeholder} spellcheck={false} autocomplete="off" autocapitalize="none" maxLength={4000}
        role="combobox" aria-expanded={options.length > 0} aria-controls={list} aria-autocomplete="list" aria-activedescendant={at >= 0 ? `${list}-${at}` : undefined}
        aria-invalid={shown.length > 0} aria-describedby={shown.length ? wrong : undefined}
        onInput={(e) => type((e.currentTarget as HTMLInputElement).value)} onKeyDown={key}
        onFocus={() => { ask(text); setOpen(true); }} onBlur={() => setTimeout(() => setOpen(false), 150)}
      />
      <span class="state">
        {text && <button class="button plain small" aria-label="Remove the filter" onClick={() => { setText(''); setSaid(null); apply(''); }}><Icon name="close" /></button>}
        {text !== value && <kbd>Enter</kbd>}
        {!text && <kbd>/</kbd>}
      </span>
      {options.length > 0 && (
        <ul class="options" id={list} role="listbox" aria-label="Completions">
          {options.map((c, i) => (
            <li key={c.text} id={`${list}-${i}`} role="option" aria-selected={i === at} onPointerDown={(e) => { e.preventDefault(); take(c); }}>
              <code>{c.text}</code>
              <span>{c.help}</span>
            </li>
          ))}
        </ul>
      )}
      {shown.length > 0 && (text === value || !open || options.length === 0) && (
        <div class="wrong" id={wrong} role="alert">
          {shown.map((e) => <Wrong key={e.pos} text={text} error={e} />)}
        </div>
      )}
    </div>
  );
}

/** Wrong shows the place of an error with some of what stands around it. */
function Wrong({ text, error }: { text: string; error: FilterError }) {
  const from = units(text, error.pos);
  const to = units(text, error.pos + Math.max(1, error.len));
  const part = text.slice(from, to);
  return (
    <span>
      <code>{text.slice(Math.max(0, from - 16), from)}</code>
      <mark>{part || ' '}</mark>
      <code>{text.slice(to, to + 12)}</code> {error.text}
    </span>
  );
}
