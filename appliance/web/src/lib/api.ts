// The one way to the API: JSON over same-origin fetch, problems of RFC 9457 as
// errors, live data as server-sent events.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export const base = '/api/v1';

/** Problem is an answer that is none: what the API says went wrong, or the network. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly code: string,
    readonly body: Record<string, unknown> = {},
  ) {
    super(detail || title);
  }
}

export type Params = Record<string, string | number | boolean | undefined | null>;

/** url is a path of the API with its query; empty values are left out. */
export function url(path: string, params: Params = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) {
    if (v !== undefined && v !== null && v !== '') q.set(k, String(v));
  }
  const s = q.toString();
  return base + path + (s ? '?' + s : '');
}

let onLoggedOut = () => {};

/** whenLoggedOut names what happens when the API says that nobody is logged in. */
export function whenLoggedOut(f: () => void) {
  onLoggedOut = f;
}

async function problemOf(r: Response): Promise<Problem> {
  let body: Record<string, unknown> = {};
  try {
    body = (await r.json()) as Record<string, unknown>;
  } catch {
    // A proxy in between answers in its own words.
  }
  const title = String(body.title ?? r.statusText ?? 'error');
  return new Problem(r.status, title, String(body.detail ?? ''), String(body.code ?? ''), body);
}

async function request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json', 'X-Ringside': '1' };
  const init: RequestInit = { method, headers, credentials: 'same-origin' };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  }
  let r: Response;
  try {
    r = await fetch(path, init);
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Problem(0, 'ringside does not answer', 'It may be restarting, or the network is away. This page tries again by itself.', 'unreachable');
  }
  if (!r.ok) {
    const p = await problemOf(r);
    if (r.status === 401 && !path.startsWith(base + '/session')) onLoggedOut();
    throw p;
  }
  return r;
}

/** get asks for JSON. */
export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<T> {
  return (await request('GET', url(path, params), undefined, signal)).json() as Promise<T>;
}

/** send changes something. */
export async function send<T = unknown>(method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown, params: Params = {}): Promise<T> {
  const r = await request(method, url(path, params), body);
  const text = await r.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** Answer is what a question to the API has brought so far. */
export interface Answer<T> {
  data?: T;
  error?: Problem;
  loading: boolean;
  reload: () => void;
}

/**
 * useGet asks the API, again when path or parameters change, and every so many
 * ms if told. The last answer stays while the next is under way, unless the path
 * has changed. A null path asks nothing.
 */
export function useGet<T>(path: string | null, params: Params = {}, every = 0): Answer<T> {
  const [state, set] = useState<{ path: string | null; data?: T; error?: Problem; loading: boolean }>({ path, loading: path !== null });
  const [turn, setTurn] = useState(0);
  const key = path === null ? null : url(path, params);
  const paramsRef = useRef(params);
  paramsRef.current = params;
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer = 0;
    const ask = async () => {
      try {
        const data = await get<T>(path, paramsRef.current, stop.signal);
        if (!stop.signal.aborted) set({ path, data, loading: false });
      } catch (e) {
        if (stop.signal.aborted) return;
        const error = e instanceof Problem ? e : new Problem(0, 'error of this page', String(e), 'ui');
        set((s) => ({ path, ...(s.path === path && s.data !== undefined && error.status === 0 ? { data: s.data } : {}), error, loading: false }));
        if (!every && (error.status === 0 || error.status === 503)) timer = window.setTimeout(ask, 3000);
      }
      if (every && !stop.signal.aborted) timer = window.setTimeout(ask, document.hidden ? every * 5 : every);
    };
    set((s) => (s.path === path ? { ...s, loading: true } : { path, loading: true }));
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, turn, every]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  return { ...state, reload };
}

/** Listener is what becomes of a stream of events. */
export interface Listener {
  on: Record<string, (data: unknown) => void>;
  state?: (s: 'open' | 'waiting') => void;
}

/**
 * listen follows server-sent events until the returned function is called. While
 * nobody looks at the page the connection is given back: there are few of them.
 */
export function listen(path: string, params: Params, l: Listener): () => void {
  let stop = document.hidden ? () => {} : connect(path, params, l);
  const look = () => {
    stop();
    stop = document.hidden ? () => {} : connect(path, params, l);
  };
  document.addEventListener('visibilitychange', look);
  return () => {
    document.removeEventListener('visibilitychange', look);
    stop();
  };
}

function connect(path: string, params: Params, l: Listener): () => void {
  const source = new EventSource(url(path, params));
  source.onopen = () => l.state?.('open');
  let retry = 0;
  let closed = false;
  let stop = () => {};
  source.onerror = () => {
    l.state?.('waiting');
    // An answer that is no event stream (401, 503) ends an EventSource for good.
    if (source.readyState === EventSource.CLOSED && !closed) {
      retry = window.setTimeout(() => {
        if (!closed) stop = connect(path, params, l);
      }, 3000);
    }
  };
  for (const [name, f] of Object.entries(l.on)) {
    source.addEventListener(name, (e) => {
      try {
        f(JSON.parse((e as MessageEvent<string>).data));
      } catch {
        // An event that is cut off by the end of a connection comes again.
      }
    });
  }
  return () => {
    closed = true;
    clearTimeout(retry);
    source.close();
    stop();
  };
}
