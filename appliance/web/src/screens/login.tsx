// Logging in, the first administrator, and a password that has to be changed.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Problem, send } from '../lib/api';
import { begin, identify } from '../lib/session';
import type { Me } from '../lib/types';
import { Icon } from '../ui/icon';
import { sentence } from '../ui/parts';
import { Mark } from '../ui/shell';

function Door({ title, about, problem, children }: { title: string; about?: ComponentChildren; problem: string; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    box.current?.querySelector('input')?.focus();
    document.title = `${title} · ringside`;
  }, []);
  return (
    <div class="door">
      <main class="card" ref={box}>
        <div class="brandline"><Mark />ringside</div>
        <h1>{title}</h1>
        {about && <p class="muted">{about}</p>}
        {problem && (
          <div class="note poor" role="alert">
            <Icon name="warn" />
            <span class="break">{sentence(problem)}</span>
          </div>
        )}
        {children}
      </main>
      <p class="muted">VoIP capture. Every packet accounted for.</p>
    </div>
  );
}

/** useForm sends fields, and says what was wrong with them. */
function useForm(run: (fields: Record<string, string>) => Promise<void>) {
  const [problem, set] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    if (busy) return;
    const fields = Object.fromEntries([...new FormData(e.currentTarget as HTMLFormElement)].map(([k, v]) => [k, String(v)]));
    setBusy(true);
    set('');
    try {
      await run(fields);
    } catch (x) {
      set(x instanceof Problem ? x.message : String(x));
    }
    setBusy(false);
  };
  return { problem, busy, submit };
}

export function Login() {
  const f = useForm(async (v) => begin(await send<Me>('POST', '/session', { user: v.user, password: v.password })));
  return (
    <Door title="Log in" problem={f.problem}>
      <form class="form" onSubmit={f.submit}>
        <label>User<input name="user" autocomplete="username" autocapitalize="none" spellcheck={false} required /></label>
        <label>Password<input name="password" type="password" autocomplete="current-password" required /></label>
        <button class="button primary" disabled={f.busy}>{f.busy ? 'Logging in' : 'Log in'}</button>
      </form>
    </Door>
  );
}

export function Setup() {
  const f = useForm(async (v) => {
    if (v.password !== v.again) throw new Error('the passwords differ: type the same one twice');
    await begin(await send<Me>('POST', '/setup', { token: v.token?.trim(), user: v.user, password: v.password }));
  });
  return (
    <Door title="Set up ringside" about={<>Make the first administrator. The one-time token is in the log of the service: <code>journalctl -u ringside | grep setup</code>, or where you started it.</>} problem={f.problem}>
      <form class="form" onSubmit={f.submit}>
        <label>Setup token<input name="token" autocomplete="off" spellcheck={false} required class="mono" /></label>
        <label>Name of the administrator<input name="user" autocomplete="username" autocapitalize="none" spellcheck={false} required value="admin" /></label>
        <label>Password<input name="password" type="password" autocomplete="new-password" required /></label>
        <label>Password again<input name="again" type="password" autocomplete="new-password" required /></label>
        <button class="button primary" disabled={f.busy}>Make the administrator</button>
      </form>
    </Door>
  );
}

export function NewPassword({ done }: { done?: () => void }) {
  const f = useForm(async (v) => {
    if (v.password !== v.again) throw new Error('the passwords differ: type the same one twice');
    await send('PUT', '/session/password', { old: v.old, new: v.password });
    await identify();
    done?.();
  });
  const form = (
    <form class="form" onSubmit={f.submit}>
      <label>Password until now<input name="old" type="password" autocomplete="current-password" required /></label>
      <label>New password<input name="password" type="password" autocomplete="new-password" required /></label>
      <label>New password again<input name="again" type="password" autocomplete="new-password" required /></label>
      <button class="button primary" disabled={f.busy}>Change password</button>
    </form>
  );
  if (done) {
    return (
      <>
        {f.problem && <div class="note poor" role="alert"><Icon name="warn" />{sentence(f.problem)}</div>}
        {form}
      </>
    );
  }
  return <Door title="Choose a new password" about="Somebody else chose the one you have." problem={f.problem}>{form}</Door>;
}
