// Users, their sessions and API tokens. Everybody sees their own; administrators
// see all.

import { useState } from 'preact/hooks';
import { type Problem, send, useGet } from '../lib/api';
import { ago, stamp } from '../lib/format';
import { href, type Place } from '../lib/route';
import { can, me } from '../lib/session';
import type { List, Scope, Session, Token, User } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Chip, Dialog, Empty, Failure, Head, Loaded, Tabs, toast } from '../ui/parts';

const roles: [string, string][] = [['viewer', 'call records and charts'], ['analyst', 'and signalling, pcap without sound, notes'], ['listener', 'and audio, also in pcap; no other role has it'], ['operator', 'and capture, spool, rules, settings'], ['admin', 'everything but audio']];

export function Users({ place }: { place: Place }) {
  const admin = can('users:manage');
  const tab = place.query.tab ?? (admin ? 'users' : 'tokens');
  const tabs = [...(admin ? [['users', 'Users']] : []), ['tokens', 'API tokens'], ['sessions', 'Sessions']] as [string, string][];
  return (
    <>
      <Head title="Users & tokens" about={admin ? undefined : 'Your own tokens and sessions.'} />
      <Tabs label="Users and tokens" at={tab} tabs={tabs.map(([id, name]) => ({ id, name, href: href('/users', { tab: id }) }))} />
      <div role="tabpanel" id="tabpanel" aria-labelledby={`tab-${tab}`}>
        {tab === 'users' && admin && <UserList />}
        {tab === 'tokens' && <Tokens />}
        {tab === 'sessions' && <Sessions />}
      </div>
    </>
  );
}

/** attempt does something and says what went wrong. */
async function attempt(f: () => Promise<unknown>, then: () => void) {
  try {
    await f();
    then();
  } catch (e) {
    toast((e as Error).message);
  }
}

const scopeText = (s: Scope) => [s.sensors?.length ? `sensors ${s.sensors.join(', ')}` : '', s.prefixes?.length ? `numbers ${s.prefixes.map((p) => p + '*').join(', ')}` : '', s.nets?.length ? `networks ${s.nets.join(', ')}` : ''].filter(Boolean).join('; ');

function UserList() {
  const users = useGet<List<User>>('/users');
  const [edit, setEdit] = useState<User | 'new' | null>(null);
  return (
    <>
      <Loaded of={users}>
        {(d) => (
          <Card title={`${d.items.length} accounts`} flush tools={<button class="button small primary" onClick={() => setEdit('new')}><Icon name="plus" />New user</button>}>
            <table class="plain">
              <thead><tr><th>Name</th><th>Roles</th><th>Sees</th><th>Last login</th><th>State</th><th><span class="sr">Change</span></th></tr></thead>
              <tbody>
                {d.items.map((u) => (
                  <tr key={u.name}>
                    <td class="strong">{u.name}{u.name === me.get()?.user && <span class="muted"> you</span>}</td>
                    <td><span class="chips">{u.roles.map((r) => <Chip key={r} kind={r === 'admin' ? 'accent' : ''}>{r}</Chip>)}</span></td>
                    <td>{scopeText(u.scope) || <span class="muted">everything</span>}</td>
                    <td>{u.last_login?.time ? <span title={`from ${u.last_login.from}`}>{ago(u.last_login.time)}</span> : <span class="muted">never</span>}</td>
                    <td>{u.disabled ? <Chip kind="poor">disabled</Chip> : u.must_change_password ? <Chip kind="fair">must change the password</Chip> : <Chip kind="good">active</Chip>}</td>
                    <td class="num"><button class="button small" onClick={() => setEdit(u)}>Change</button></td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Card>
        )}
      </Loaded>
      {edit && <EditUser user={edit === 'new' ? null : edit} close={() => setEdit(null)} done={() => { setEdit(null); users.reload(); }} />}
    </>
  );
}

const list = (s: unknown) => String(s ?? '').split(/[\s,]+/).filter(Boolean);

function EditUser({ user, close, done }: { user: User | null; close: () => void; done: () => void }) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const path = `/users/${encodeURIComponent(user?.name ?? '')}`;
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    const v = new FormData(e.currentTarget as HTMLFormElement);
    const password = String(v.get('password') ?? '');
    const scope = { sensors: list(v.get('sensors')).map(Number), prefixes: list(v.get('prefixes')), nets: list(v.get('nets')) };
    const chosen = v.getAll('role').map(String);
    const must = v.has('must');
    const name = user?.name ?? String(v.get('name')).trim();
    try {
      if (!user) await send('POST', '/users', { name, password, roles: chosen, scope, must_change_password: must });
      else {
        await send('PATCH', path, { roles: chosen, scope, disabled: v.has('disabled') });
        if (password) await send('PUT', `${path}/password`, { password, must_change_password: must });
      }
      toast(user ? `${name} is changed; their sessions have ended.` : `${name} can log in.`);
      done();
    } catch (x) {
      setProblem(x as Problem);
    }
  };
  return (
    <Dialog title={user ? `Change ${user.name}` : 'New user'} close={close}>
      {problem && <Failure problem={problem} />}
      <form class="form" onSubmit={submit}>
        {!user && <label>Name<input name="name" required autocomplete="off" autocapitalize="none" spellcheck={false} /></label>}
        <label>{user ? 'New password' : 'Password'}<input name="password" type="password" autocomplete="new-password" required={!user} />{user && <small>Left empty it stays as it is.</small>}</label>
        <fieldset>
          <legend>Roles</legend>
          {roles.map(([r, what]) => <label key={r} class="check"><input type="checkbox" name="role" value={r} defaultChecked={user ? user.roles.includes(r) : r === 'viewer'} />{r}<span class="muted">{what}</span></label>)}
        </fieldset>
        <fieldset>
          <legend>Sees only (empty: everything)</legend>
          <div class="fields">
            <label>Sensors<input name="sensors" defaultValue={user?.scope.sensors?.join(', ') ?? ''} placeholder="1, 2" /></label>
            <label>Numbers that begin with<input name="prefixes" defaultValue={user?.scope.prefixes?.join(', ') ?? ''} placeholder="+4930, 0049" /></label>
            <label>Networks<input name="nets" defaultValue={user?.scope.nets?.join(', ') ?? ''} placeholder="10.1.0.0/16" /></label>
          </div>
        </fieldset>
        <label class="check"><input type="checkbox" name="must" defaultChecked />{user ? 'a new password has to be changed at the next login' : 'must choose a password of their own at the first login'}</label>
        {user && <label class="check"><input type="checkbox" name="disabled" defaultChecked={user.disabled} />disabled: cannot log in</label>}
        <div class="actions">
          {user && user.name !== me.get()?.user && <button type="button" class="button danger" onClick={() => confirm(`Remove ${user.name}? What they did stays in the audit log.`) && void attempt(() => send('DELETE', path), done)}>Remove</button>}
          <span class="grow" />
          <button class="button primary">{user ? 'Change' : 'Make the account'}</button>
        </div>
      </form>
    </Dialog>
  );
}

function Tokens() {
  const tokens = useGet<List<Token>>('/tokens');
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<Token | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const make = async (e: SubmitEvent) => {
    e.preventDefault();
    const v = new FormData(e.currentTarget as HTMLFormElement);
    const days = Number(v.get('days'));
    try {
      setMade(await send<Token>('POST', '/tokens', { name: String(v.get('name')).trim(), permissions: v.getAll('permission').map(String), ...(days ? { expires: new Date(Date.now() + days * 86400e3).toISOString() } : {}) }));
      setMaking(false);
      setProblem(null);
      tokens.reload();
    } catch (x) {
      setProblem(x as Problem);
    }
  };
  return (
    <>
      {made?.secret && (
        <div class="note good" role="status">
          <Icon name="ok" />
          <div class="grow"><b class="strong">{made.name}: copy it now, it is shown this once.</b><pre class="break secret" tabIndex={0}>{made.secret}</pre><small>Send it as <code>Authorization: Bearer …</code></small></div>
          <button class="button small" onClick={() => void navigator.clipboard?.writeText(made.secret!).then(() => toast('Copied.'))}><Icon name="copy" />Copy</button>
        </div>
      )}
      <Loaded of={tokens}>
        {(d) => (
          <Card title="API tokens" flush tools={<button class="button small primary" onClick={() => setMaking(true)}><Icon name="plus" />New token</button>}>
            {d.items.length ? (
              <table class="plain">
                <thead><tr><th>Name</th><th>Of</th><th>May</th><th>Made</th><th>Runs out</th><th>Last use</th><th><span class="sr">Remove</span></th></tr></thead>
                <tbody>
                  {d.items.map((t) => (
                    <tr key={t.id}><td class="strong">{t.name}</td><td>{t.user}</td><td><span class="chips">{t.permissions.map((p) => <Chip key={p}>{p}</Chip>)}</span></td><td>{stamp(t.created)}</td><td>{t.expires ? stamp(t.expires) : 'never'}</td><td>{t.last_use?.time ? ago(t.last_use.time) : 'never'}</td>
                      <td class="num"><button class="button small danger" onClick={() => confirm(`Remove the token ${t.name}? Whoever uses it is locked out at once.`) && void attempt(() => send('DELETE', `/tokens/${encodeURIComponent(t.id)}`), tokens.reload)}>Remove</button></td></tr>
                  ))}
                </tbody>
              </table>
            ) : <Empty icon="parse" title="No token yet">A script or a dashboard logs in with one. It can do no more than you, and less if you say so.</Empty>}
          </Card>
        )}
      </Loaded>
      {making && (
        <Dialog title="New API token" close={() => setMaking(false)}>
          {problem && <Failure problem={problem} />}
          <form class="form" onSubmit={make}>
            <label>What it is for<input name="name" required maxLength={60} placeholder="Grafana" /></label>
            <fieldset><legend>It may</legend><div class="fields">{me.get()?.permissions.map((p) => <label key={p} class="check"><input type="checkbox" name="permission" value={p} defaultChecked={p === 'calls:read' || p === 'stats:read'} />{p}</label>)}</div></fieldset>
            <label>Runs out after<select name="days"><option value="90">90 days</option><option value="30">30 days</option><option value="365">a year</option><option value="0">never</option></select></label>
            <div class="actions"><button class="button primary">Make the token</button></div>
          </form>
        </Dialog>
      )}
    </>
  );
}

function Sessions() {
  const s = useGet<List<Session>>('/sessions');
  return (
    <Loaded of={s}>
      {(d) => (
        <Card title="Sessions" flush>
          <table class="plain">
            <thead><tr><th>User</th><th>From</th><th>Browser</th><th>Since</th><th>Last use</th><th><span class="sr">End</span></th></tr></thead>
            <tbody>
              {d.items.map((x) => (
                <tr key={x.id}><td class="strong">{x.user}</td><td class="mono">{x.from}</td><td class="break muted">{x.agent}</td><td>{stamp(x.created)}</td><td>{ago(x.seen)}</td>
                  <td class="num">{x.current ? <Chip kind="accent">this one</Chip> : <button class="button small" onClick={() => void attempt(() => send('DELETE', `/sessions/${encodeURIComponent(x.id)}`), s.reload)}>End it</button>}</td></tr>
              ))}
            </tbody>
          </table>
        </Card>
      )}
    </Loaded>
  );
}
