// Settings: every key with its value, where it comes from, and what it does.

import { useState } from 'preact/hooks';
import { type Problem, send, useGet } from '../lib/api';
import { change, type Place } from '../lib/route';
import { can } from '../lib/session';
import type { List, Setting } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Chip, Empty, Failure, Head, Loaded } from '../ui/parts';

interface Reloaded { changed: { key: string; old: string; new: string }[] | null; restart: string[] | null }

export function Settings({ place }: { place: Place }) {
  const s = useGet<List<Setting>>('/settings');
  const [done, setDone] = useState<Reloaded | null>(null);
  const [failed, setFailed] = useState<Problem | null>(null);
  const find = (place.query.find ?? '').toLowerCase();
  const only = place.query.only === 'set';
  const reload = async () => {
    try {
      setDone(await send<Reloaded>('POST', '/reload'));
      setFailed(null);
      s.reload();
    } catch (e) {
      setFailed(e as Problem);
      setDone(null);
    }
  };
  return (
    <>
      <Head title="Settings" about="The configuration as it holds. It is changed in its file and read again; what holds only after a restart says so.">
        {can('settings:manage') && <button class="button" onClick={() => void reload()}><Icon name="exchanges" />Read the file again</button>}
        {can('debug:read') && <a class="button" download href="/api/v1/support-bundle"><Icon name="down" />Support bundle</a>}
      </Head>
      {failed && <Failure problem={failed} />}
      {done && (
        <div class="note good" role="status">
          <Icon name="ok" />
          <div>
            {done.changed?.length ? <>Changed: {done.changed.map((c) => <span key={c.key} class="mono"> {c.key} {c.old || '(none)'} → {c.new || '(none)'};</span>)}</> : 'Nothing has changed.'}
            {done.restart?.length ? <b class="strong"> After a restart only: {done.restart.join(', ')}.</b> : null}
          </div>
        </div>
      )}
      <div class="filterbar">
        <input type="search" class="grow" placeholder="Find a key, or a word of what it does" aria-label="Find a setting" value={place.query.find ?? ''} onInput={(e) => change({ find: (e.currentTarget as HTMLInputElement).value || undefined }, true)} />
        <label class="row"><input type="checkbox" checked={only} onChange={() => change({ only: only ? undefined : 'set' })} />only those that are set</label>
      </div>
      <Loaded of={s}>
        {(d) => {
          const shown = (d.items ?? []).filter((x) => (!find || `${x.key} ${x.help} ${x.value}`.toLowerCase().includes(find)) && (!only || x.from !== 'default'));
          const sections = [...new Set(shown.map((x) => x.section))];
          if (!d.items?.length) return <Empty icon="settings" title="There is no configuration file">ringside was started with flags alone. <code>ringside init</code> writes a file with every key, and <code>ringside run --config</code> reads it.</Empty>;
          if (!shown.length) return <Empty title="No setting is like this">Look for another word, or show those that are not set, too.</Empty>;
          return sections.map((name) => (
            <Card key={name} title={name || 'General'} flush>
              <table class="plain settings">
                <thead class="sr"><tr><th>Key</th><th>Value</th><th>What it does</th></tr></thead>
                <tbody>
                  {shown.filter((x) => x.section === name).map((x) => (
                    <tr key={x.key}>
                      <td class="mono">{x.key}</td>
                      <td class="mono break">{x.secret ? <span class="muted">{x.value ? 'set, not shown' : 'not set'}</span> : x.value || <span class="muted">none</span>}{x.from !== 'default' && <div class="muted from">{x.from}{!x.secret && x.default ? `, by default ${x.default}` : ''}</div>}</td>
                      <td>{x.help} {x.restart && <Chip title="A change holds after a restart">restart</Chip>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Card>
          ));
        }}
      </Loaded>
    </>
  );
}
