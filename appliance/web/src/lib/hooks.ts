// Hooks that several screens share.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { get, type Params, Problem, url } from './api';
import type { List } from './types';

/** useWidth is the width of an element as it is laid out, in pixels. */
export function useWidth<T extends Element>(): [{ current: T | null }, number] {
  const ref = useRef<T>(null);
  const [width, set] = useState(0);
  useEffect(() => {
    const el = ref.current;
    if (!el) return;
    set(el.getBoundingClientRect().width);
    const watch = new ResizeObserver((all) => set(all[0]!.contentRect.width));
    watch.observe(el);
    return () => watch.disconnect();
  }, []);
  return [ref, width];
}

/** useNarrow is whether the window is as narrow as a phone. */
export function useNarrow(): boolean {
  const query = '(max-width: 760px)';
  const [narrow, set] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const m = matchMedia(query);
    const f = () => set(m.matches);
    m.addEventListener('change', f);
    return () => m.removeEventListener('change', f);
  }, []);
  return narrow;
}

export interface Pages<T> {
  rows: T[];
  error?: Problem;
  loading: boolean;
  done: boolean;
  more: () => void;
  reload: () => void;
}

/** most is how many rows are kept: beyond, a filter is the better way. */
const most = 20000;

/** atTop is whether nobody has scrolled the list: then new rows may push the others down. */
const atTop = () => [...document.querySelectorAll('.vtable')].every((e) => e.scrollTop < 4);

/**
 * usePages reads a list page by page, as far as somebody scrolls. Every so many ms,
 * if told, it looks for new rows, unless somebody has scrolled or looks elsewhere.
 */
export function usePages<T>(path: string | null, params: Params, every = 0, limit = 100): Pages<T> {
  const [state, set] = useState<{ key: string; rows: T[]; next: string; error?: Problem; loading: boolean; done: boolean }>({ key: '', rows: [], next: '', loading: true, done: false });
  const [turn, setTurn] = useState(0);
  const key = path === null ? '' : url(path, params);
  const busy = useRef<AbortController | null>(null);

  const load = useCallback(
    async (cursor: string, before: T[]) => {
      if (path === null) return;
      busy.current?.abort();
      const stop = new AbortController();
      busy.current = stop;
      // A list that is read again stays as it is until the answer comes.
      set((s) => (s.key === key && cursor === '' ? { ...s, loading: s.rows.length === 0 } : { key, rows: before, next: cursor, loading: true, done: s.done && cursor !== '' }));
      try {
        let rows = before;
        let next = cursor;
        // A page may be empty and not the last: the API searched and found nothing yet.
        for (let i = 0; i < 20; i++) {
          const page = await get<List<T>>(path, { ...params, limit, cursor: next }, stop.signal);
          rows = rows.concat(page.items ?? []);
          next = page.next ?? '';
          if (!next || rows.length > before.length) break;
        }
        if (stop.signal.aborted) return;
        set({ key, rows, next, loading: false, done: !next || rows.length >= most });
      } catch (e) {
        if (stop.signal.aborted) return;
        const error = e instanceof Problem ? e : new Problem(0, 'error of this page', String(e), 'ui');
        set({ key, rows: before, next: cursor, error, loading: false, done: true });
      }
    },
    [key],
  );
  useEffect(() => {
    void load('', []);
    return () => busy.current?.abort();
  }, [key, turn]);
  const first = state.key === key && state.rows.length <= limit;
  useEffect(() => {
    if (!every || !first) return;
    const timer = setInterval(() => {
      if (!document.hidden && atTop()) setTurn((n) => n + 1);
    }, every);
    return () => clearInterval(timer);
  }, [every, first, key]);
  const more = useCallback(() => {
    if (!state.loading && !state.done && state.key === key) void load(state.next, state.rows);
  }, [state, key]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  return { ...state, more, reload };
}

/** useKeys calls functions for keys, unless somebody is typing. */
export function useKeys(keys: Record<string, (e: KeyboardEvent) => void>) {
  const ref = useRef(keys);
  ref.current = keys;
  useEffect(() => {
    const f = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
      const t = e.target as HTMLElement;
      if (t.closest?.('input, textarea, select, dialog, [contenteditable]')) return;
      const run = ref.current[e.key];
      if (run) run(e);
    };
    addEventListener('keydown', f);
    return () => removeEventListener('keydown', f);
  }, []);
}

/** useNow renews itself every so many ms, so that ages are right. */
export function useNow(every = 1000): number {
  const [now, set] = useState(Date.now);
  useEffect(() => {
    const t = setInterval(() => set(Date.now()), every);
    return () => clearInterval(t);
  }, [every]);
  return now;
}
