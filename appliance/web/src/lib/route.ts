// Where the user is: the path names the screen, the query is its state, so that
// every view can be sent as a link and the browser's back button works.

import { useEffect, useState } from 'preact/hooks';

export type Query = Record<string, string>;

export interface Place {
  path: string;
  parts: string[]; // of the path
  query: Query;
}

function here(): Place {
  const path = location.pathname;
  const query: Query = {};
  new URLSearchParams(location.search).forEach((v, k) => (query[k] = v));
  return { path, parts: path.split('/').filter(Boolean).map(unescapePart), query };
}

function unescapePart(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

const listeners = new Set<() => void>();
const tell = () => listeners.forEach((f) => f());
addEventListener('popstate', tell);

/** href is a link to a screen with its state; empty values are left out. */
export function href(path: string, query: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(query)) if (v) q.set(k, v);
  const s = q.toString();
  return path + (s ? '?' + s : '');
}

/** go shows another place. Replacing leaves no step for the back button. */
export function go(to: string, replace = false) {
  if (to === location.pathname + location.search) return;
  if (replace) history.replaceState(null, '', to);
  else history.pushState(null, '', to);
  tell();
}

/** change sets values of the query where the user is; undefined removes one. */
export function change(values: Record<string, string | undefined>, replace = false) {
  go(href(location.pathname, { ...here().query, ...values }), replace);
}

export function usePlace(): Place {
  const [place, set] = useState(here);
  useEffect(() => {
    const f = () => set(here());
    listeners.add(f);
    return () => void listeners.delete(f);
  }, []);
  return place;
}

/** follow lets links within the UI change the place without loading the page. */
export function follow(e: MouseEvent) {
  if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
  const a = (e.target as Element).closest?.('a');
  if (!a || a.target || a.hasAttribute('download') || a.origin !== location.origin) return;
  if (a.pathname.startsWith('/api/') || a.pathname.startsWith('/assets/')) return;
  e.preventDefault();
  const moved = a.pathname !== location.pathname;
  go(a.pathname + a.search);
  if (moved) document.getElementById('main')?.scrollTo(0, 0);
}
