// Records that are no calls are listed alike: fields to look for, a list, and one
// record in full beside it.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { url } from '../lib/api';
import { usePages } from '../lib/hooks';
import { change, type Place } from '../lib/route';
import { Icon } from './icon';
import { Empty, Failure, Head, Menu } from './parts';
import { RangeMenu, useRange } from './range';
import { type Col, VTable } from './vtable';

export interface Field {
  id: string; // parameter of the API, and of the address
  name: string;
  options?: [string, string][]; // value and text
  hint?: string;
}

interface Props<T> {
  place: Place;
  path: string; // of the API
  title: string;
  about: string;
  fields: Field[];
  cols: Col<T>[];
  narrow: (row: T) => ComponentChildren;
  detail: (row: T) => [string, ComponentChildren][]; // of one record
  name: (row: T) => string;
  empty: ComponentChildren;
  id: (row: T) => string;
  exports?: boolean;
  above?: ComponentChildren;
}

export function Records<T>(p: Props<T>) {
  const range = useRange(p.place);
  const params: Record<string, string> = { from: range.from, to: range.to };
  for (const f of p.fields) params[f.id] = p.place.query[f.id] ?? '';
  const pages = usePages<T>(p.path, params, range.to ? 0 : 10000);
  const [chosen, choose] = useState<T | null>(null);
  const filtered = p.fields.some((f) => p.place.query[f.id]);
  return (
    <>
      <Head title={p.title} about={p.about}>
        <RangeMenu range={range} />
        {p.exports !== false && (
          <Menu label="Export" icon="down">
            {(close) => <><Download path={p.path} params={params} accept="text/csv" name="csv" close={close} /><Download path={p.path} params={params} accept="application/x-ndjson" name="ndjson" close={close} /></>}
          </Menu>
        )}
      </Head>
      {p.above}
      <form class="filterbar fieldsline" role="search" onSubmit={(e) => { e.preventDefault(); change(Object.fromEntries([...new FormData(e.currentTarget as HTMLFormElement)].map(([k, v]) => [k, String(v).trim() || undefined]))); }}>
        {p.fields.map((f) => (f.options
          ? <label key={f.id}><span>{f.name}</span><select name={f.id} value={p.place.query[f.id] ?? ''} onChange={(e) => change({ [f.id]: (e.currentTarget as HTMLSelectElement).value || undefined })}><option value="">any</option>{f.options.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>
          : <label key={f.id}><span>{f.name}</span><input name={f.id} defaultValue={p.place.query[f.id] ?? ''} key={p.place.query[f.id] ?? ''} placeholder={f.hint} spellcheck={false} /></label>))}
        <button class="button"><Icon name="search" />Look</button>
        {filtered && <button type="button" class="button plain" onClick={() => change(Object.fromEntries(p.fields.map((f) => [f.id, undefined])))}>Remove filters</button>}
      </form>
      {pages.error && <Failure problem={pages.error} retry={pages.reload} />}
      <div class={`twoparts${chosen ? '' : ' one'}`}>
        <VTable label={p.title} cols={p.cols} rows={pages.rows} id={p.id} open={choose} loading={pages.loading} more={pages.more} narrow={p.narrow}>
          {!pages.error && <Empty title={filtered ? 'Nothing is like this' : 'Nothing in this time'}>{filtered ? 'Remove a filter, or choose a longer time.' : <>{p.empty} {range.from && <a href="?range=all">Show all times</a>}</>}</Empty>}
        </VTable>
        {chosen && (
          <aside class="card detail" aria-label="The record chosen">
            <header><h2 class="break">{p.name(chosen)}</h2><div class="tools"><button class="button plain small" aria-label="Close" onClick={() => choose(null)}><Icon name="close" /></button></div></header>
            <div class="body"><dl class="facts">{p.detail(chosen).filter(([, v]) => v !== undefined && v !== '' && v !== null).map(([k, v]) => <><dt>{k}</dt><dd>{v}</dd></>)}</dl></div>
          </aside>
        )}
      </div>
    </>
  );
}

function Download({ path, params, accept, name, close }: { path: string; params: Record<string, string>; accept: string; name: string; close: () => void }) {
  const get = async () => {
    close();
    const r = await fetch(url(path, params), { headers: { Accept: accept } });
    if (!r.ok) return;
    const a = document.createElement('a');
    a.href = URL.createObjectURL(await r.blob());
    a.download = `${path.slice(1)}.${name}`;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
  };
  return <button class="item" onClick={() => void get()}>{name.toUpperCase()} of all that match</button>;
}
