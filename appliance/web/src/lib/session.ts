// Who is logged in, what they may do, and what they chose; the latest status.
// Plain values with subscribers: every screen needs them, and few.

import { useEffect, useState } from 'preact/hooks';
import { get, type Problem, send } from './api';
import type { About, LiveStatus, Me, Preferences } from './types';

class Value<T> {
  private subscribers = new Set<() => void>();
  constructor(private value: T) {}
  get = () => this.value;
  set = (v: T) => {
    this.value = v;
    this.subscribers.forEach((f) => f());
  };
  use = (): T => {
    const [, renew] = useState(0);
    useEffect(() => {
      const f = () => renew((n) => n + 1);
      this.subscribers.add(f);
      return () => void this.subscribers.delete(f);
    }, []);
    return this.value;
  };
}

/** me is who is logged in: undefined is not known yet, null is nobody. */
export const me = new Value<Me | null | undefined>(undefined);

/** can is whether whoever is logged in may do something. */
export const can = (permission: string) => me.get()?.permissions.includes(permission) ?? false;

/** status is the latest of the appliance, null where it has no capture or does not answer. */
export const status = new Value<LiveStatus | null>(null);

/** parts are what this ringside has: live, capture, spool, packets, audio, rules, settings, bundle. */
export const parts = new Value<string[]>([]);

/** reached is whether the appliance answers at present. */
export const reached = new Value<boolean>(true);

/**
 * followStatus keeps status up to date until the returned function is called. It
 * asks instead of listening: a browser has six connections to a host of HTTP/1.1,
 * shared by all its tabs, and those are for what is worth one.
 */
export function followStatus(): () => void {
  let timer = 0;
  const ask = async () => {
    try {
      status.set(await get<LiveStatus>('/live/status'));
      reached.set(true);
    } catch (e) {
      const code = (e as Problem).status;
      if (code === 501 || code === 403) return status.set(null); // there is none to be had
      if (code === 0 || code >= 500) reached.set(false);
    }
    timer = window.setTimeout(ask, document.hidden ? 10000 : 2000);
  };
  void ask();
  return () => clearTimeout(timer);
}

/** prefs are what a user has chosen; they live in the account and, until it is known, in the browser. */
export const prefs = new Value<Preferences>(local());

function local(): Preferences {
  try {
    return JSON.parse(localStorage.getItem('ringside') ?? '{}') as Preferences;
  } catch {
    return {};
  }
}

let timer = 0;

/** choose changes preferences and keeps them. */
export function choose(change: Preferences) {
  const now = { ...prefs.get(), ...change };
  prefs.set(now);
  try {
    localStorage.setItem('ringside', JSON.stringify(now));
  } catch {
    // Without storage the choice holds until the page is closed.
  }
  if (!me.get()) return;
  clearTimeout(timer);
  timer = window.setTimeout(() => void send('PUT', '/session/preferences', now).catch(() => {}), 800);
}

/** begin takes over what a login brought. */
export async function begin(m: Me): Promise<void> {
  try {
    parts.set((await get<About>('/about')).can ?? []);
  } catch {
    // The screens say themselves what is not there.
  }
  me.set(m);
  if (m.preferences && Object.keys(m.preferences).length) prefs.set({ ...prefs.get(), ...m.preferences });
  dress();
}

/** identify asks who is logged in. */
export async function identify(): Promise<void> {
  try {
    await begin(await get<Me>('/session'));
  } catch {
    me.set(null);
  }
}

/** dress applies the theme: the one chosen, else the system's. */
export function dress() {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = prefs.get().theme ?? (dark ? 'dark' : 'light');
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', dress);
dress();
