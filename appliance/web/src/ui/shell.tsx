// The shell: navigation, the bar that always says how capture does, keys.

import { useEffect, useRef, useState } from 'preact/hooks';
import { send } from '../lib/api';
import { ago, bits, count, share, short } from '../lib/format';
import { useKeys } from '../lib/hooks';
import { go, usePlace } from '../lib/route';
import { can, choose, dress, followStatus, me, parts, prefs, reached, status } from '../lib/session';
import { screens } from '../screens';
import { NewPassword } from '../screens/login';
import { Icon } from './icon';
import { Dialog, Empty, Menu, toast } from './parts';

export function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <g fill="none" stroke-width="2.6" stroke-linecap="round">
        <path d="M7 11v10M12 8v16M17 12.500v7M22 6.500v19M26.500 13v6" />
      </g>
    </svg>
  );
}

export function Shell() {
  const place = usePlace();
  const [help, setHelp] = useState(false);
  const [open, setOpen] = useState(false);
  const [password, setPassword] = useState(false);
  const main = useRef<HTMLElement>(null);
  const who = me.use()!;
  useEffect(() => (can('status:read') && parts.get().includes('live') ? followStatus() : undefined), [who.user]);
  const screen = screens.find((s) => s.path === '/' + (place.parts[0] ?? ''));
  useEffect(() => {
    document.title = `${screen?.name ?? 'Not found'} · ringside`;
    setOpen(false);
  }, [place.path]);
  useEffect(() => {
    if (place.path !== '/') return;
    const home = screens.find((s) => (!s.needs || can(s.needs)) && (!s.part || parts.get().includes(s.part)));
    if (home) go(home.path, true);
  }, [place.path]);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) main.current?.focus({ preventScroll: true });
    first.current = false;
  }, [screen]);
  const jump = useRef(0);
  useKeys({
    '?': () => setHelp(true),
    g: () => (jump.current = Date.now()),
    d: () => theme(),
    ...Object.fromEntries(screens.filter((s) => s.key).map((s) => [s.key!, () => Date.now() - jump.current < 1500 && go(s.path)])),
  });
  const Body = screen?.body;
  return (
    <div class={`shell${open ? ' open' : ''}`}>
      <a class="button skip" href="#main" onClick={(e) => { e.preventDefault(); main.current?.focus(); }}>Skip to content</a>
      <a class="brand" href="/overview"><Mark />ringside</a>
      <header class="bar">
        <button class="button plain menu" aria-label="Menu" aria-expanded={open} onClick={() => setOpen(!open)}><Icon name="menu" /></button>
        <Health />
        <button class="button plain" onClick={theme} aria-label="Light or dark" title="Light or dark (d)"><Icon name={prefs.use().theme === 'dark' || document.documentElement.dataset.theme === 'dark' ? 'sun' : 'moon'} /></button>
        <button class="button plain helpbutton" onClick={() => setHelp(true)} aria-label="Help and keys" title="Help and keys (?)"><Icon name="help" /></button>
        <Menu label={<span class="username">{who.user}</span>} icon="users" title="Account">
          {(close) => (
            <>
              <p>{who.roles.join(', ')}</p>
              <hr />
              <button class="item" onClick={() => { close(); setPassword(true); }}><Icon name="settings" />Change password</button>
              <a class="item" href="/users?tab=tokens" onClick={close}><Icon name="parse" />API tokens</a>
              <button class="item" onClick={logout}><Icon name="logout" />Log out</button>
            </>
          )}
        </Menu>
      </header>
      <Nav path={screen?.path ?? ''} />
      <div class="veil" onClick={() => setOpen(false)} />
      <main id="main" ref={main} tabIndex={-1} class={screen?.fixed && place.parts.length < 2 ? 'fixed' : ''}>
        {Body && screen && (!screen.needs || can(screen.needs))
          ? <Body key={screen.path} place={place} />
          : screen
            ? <Empty icon="warn" title="This is not for your roles">{screen.name} needs the permission {screen.needs}. An administrator can give you a role that has it.</Empty>
            : <Empty icon="search" title="There is no such page">Choose one from the navigation, or press ? for the keys.</Empty>}
      </main>
      {help && <Help close={() => setHelp(false)} />}
      {password && <Dialog title="Change password" close={() => setPassword(false)}><NewPassword done={() => { setPassword(false); toast('Your password is changed; other sessions of yours have ended.'); }} /></Dialog>}
    </div>
  );
}

function theme() {
  choose({ theme: document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark' });
  dress();
}

async function logout() {
  await send('DELETE', '/session').catch(() => {});
  me.set(null);
}

function Nav({ path }: { path: string }) {
  const who = me.use()!;
  const groups = [...new Set(screens.map((s) => s.group))];
  return (
    <nav class="nav" aria-label="Screens">
      {groups.map((g) => {
        const all = screens.filter((s) => s.group === g && (!s.needs || can(s.needs)) && (!s.part || parts.get().includes(s.part)));
        if (!all.length) return null;
        return (
          <div key={g}>
            {g && <h2>{g}</h2>}
            {all.map((s) => (
              <a key={s.path} href={s.path} aria-current={s.path === path ? 'page' : undefined}><Icon name={s.icon} />{s.name}</a>
            ))}
          </div>
        );
      })}
      <div class="who">{who.scope.sensors?.length || who.scope.prefixes?.length || who.scope.nets?.length ? <>You see <b>a part</b> of the calls: your account has a scope.</> : null}</div>
    </nav>
  );
}

/** Health is always in sight: how capture does, and what we lost ourselves. */
function Health() {
  const s = status.use();
  const up = reached.use();
  if (!up && s) return <div class="health"><span class="verdict failing" role="alert"><Icon name="warn" />ringside does not answer</span></div>;
  if (!s) return <div class="health">{!parts.get().includes('live') && <span class="verdict"><span class="dot" />records only: nothing is captured here</span>}</div>;
  const lost = s.lost > 0;
  const kind = s.state === 'failing' ? 'failing' : s.state === 'degraded' ? 'degraded' : lost ? 'lost' : '';
  const words = s.state === 'failing' || s.state === 'degraded' ? s.state : lost ? `${short(s.lost)} packets lost by capture` : s.state === 'idle' ? 'idle: nothing is captured' : 'capture complete';
  return (
    <div class="health">
      <a class={`verdict ${kind}`} href="/interfaces" title={[...(s.why ?? []), `Since ${ago(s.since)}`].join('\n')} aria-live="polite">
        {lost ? <Icon name="own" /> : <span class={`dot ${s.state === 'healthy' ? 'good' : s.state === 'failing' ? 'poor' : s.state === 'degraded' ? 'fair' : ''}`} />}
        {words}
      </a>
      {lost && kind !== 'lost' && <span class="fact own">{short(s.lost)} lost by capture</span>}
      <span class="fact"><b>{count(s.calls)}</b><span>calls</span></span>
      <span class="fact"><b>{short(s.call_rate)}</b><span>calls/s</span></span>
      <span class="fact wide"><b>{short(s.sip_rate)}</b><span>SIP/s</span></span>
      <span class="fact wide"><b>{short(s.rtp_rate)}</b><span>RTP/s</span></span>
      <span class="fact wide"><b>{bits(s.bit_rate)}</b></span>
      <span class="fact wide2"><span>rings</span><b>{share(s.rings)}</b></span>
      {s.store_away && <span class="fact poor">store away, records queue up</span>}
    </div>
  );
}

function Help({ close }: { close: () => void }) {
  const keys: [string, string][] = [
    ['j  k', 'next, previous row'], ['Enter', 'open it'], ['/', 'to the filter'], ['x', 'tick a row for export'], ['[  ]', 'previous, next tab of a call'], ['Esc', 'close; leave the filter'], ['d', 'light or dark'], ['?', 'this help'],
  ];
  return (
    <Dialog title="Keys" close={close}>
      <div class="keys">
        <dl class="facts">
          {keys.map(([k, what]) => (
            <><dt>{k.split('  ').map((x) => <><kbd>{x}</kbd> </>)}</dt><dd>{what}</dd></>
          ))}
        </dl>
        <dl class="facts">
          {screens.filter((s) => s.key).map((s) => <><dt><kbd>g</kbd> <kbd>{s.key}</kbd></dt><dd>{s.name}</dd></>)}
        </dl>
      </div>
      <h3>Colours</h3>
      <p class="chips legendline">
        <span class="chip good">good</span><span class="chip fair">fair</span><span class="chip poor">poor, lost by the network</span><span class="chip own">lost or missed by our own capture</span>
      </p>
    </Dialog>
  );
}
