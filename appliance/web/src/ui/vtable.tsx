// A table of any length: only the rows that are seen are in the page. Rows are
// chosen with j and k or the arrows, and opened with Enter, wherever the focus
// is but in a field.

import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useKeys, useNarrow } from '../lib/hooks';
import { Wait } from './parts';

export interface Col<T> {
  id: string;
  name: string;
  width: string; // of a grid column
  num?: boolean;
  title?: string;
  cell: (row: T) => ComponentChildren;
}

interface Props<T> {
  label: string;
  cols: Col<T>[];
  rows: T[];
  id: (row: T) => string;
  narrow: (row: T) => ComponentChildren; // a row on a phone, two lines
  href?: (row: T) => string; // where a row leads
  open?: (row: T) => void; // what a click does otherwise
  more?: () => void; // called near the end
  loading?: boolean;
  picked?: Set<string>; // ids of rows that are ticked
  pick?: (id: string) => void;
  rowClass?: (row: T) => string;
  children?: ComponentChildren; // shown when there are no rows
}

export function VTable<T>(p: Props<T>) {
  const narrow = useNarrow();
  const height = narrow ? 58 : 29;
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [seen, setSeen] = useState(600);
  const [chosen, setChosen] = useState(''); // id of a row: rows come and go
  const at = useMemo(() => (chosen ? p.rows.findIndex((r) => p.id(r) === chosen) : -1), [chosen, p.rows]);
  useLayoutEffect(() => {
    const el = box.current!;
    const watch = new ResizeObserver(() => setSeen(el.clientHeight));
    watch.observe(el);
    return () => watch.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(top / height) - 8);
  const last = Math.min(p.rows.length, Math.ceil((top + seen) / height) + 8);
  useEffect(() => {
    if (last > p.rows.length - 20 && !p.loading) p.more?.();
  }, [last, p.rows.length, p.loading]);

  const choose = (i: number) => {
    if (!p.rows.length) return;
    const n = Math.max(0, Math.min(p.rows.length - 1, i));
    setChosen(p.id(p.rows[n]!));
    const el = box.current!;
    const y = n * height;
    const head = narrow ? 0 : 28;
    if (y < el.scrollTop) el.scrollTop = y;
    else if (y + height + head > el.scrollTop + el.clientHeight) el.scrollTop = y + height + head - el.clientHeight;
  };
  const openRow = (i: number) => {
    const row = p.rows[i];
    if (!row) return;
    const el = box.current?.querySelector<HTMLElement>(`[data-row="${i}"] a`);
    if (p.href && el) el.click();
    else p.open?.(row);
  };
  const page = Math.max(1, Math.floor(seen / height) - 2);
  const move = (i: number) => (e: Event) => {
    e.preventDefault();
    choose(i);
  };
  useKeys({
    j: move(at + 1), k: move(at - 1), ArrowDown: move(at + 1), ArrowUp: move(at - 1),
    PageDown: move(at + page), PageUp: move(at - page), Home: move(0), End: move(p.rows.length - 1),
    Enter: (e) => {
      if (at >= 0 && !(e.target as Element).closest('a, button')) openRow(at);
    },
    x: () => {
      const row = p.rows[at];
      if (row) p.pick?.(p.id(row));
    },
  });
  const template = (p.pick ? '16px ' : '') + p.cols.map((c) => c.width).join(' ');
  const grid = narrow ? undefined : { gridTemplateColumns: template };
  // Head and rows are as wide as their columns need, and never narrower than the box.
  const least = p.cols.reduce((n, c) => n + 12 + Number(/\d+/.exec(c.width)?.[0] ?? 60), p.pick ? 52 : 24);
  const width = narrow ? undefined : { minWidth: `${least}px` };
  return (
    <div class="vtable card" ref={box} onScroll={(e) => setTop((e.currentTarget as HTMLElement).scrollTop)} tabIndex={0} role="grid" aria-label={p.label} aria-rowcount={p.rows.length + 1} aria-activedescendant={at >= 0 ? `row-${at}` : undefined}>
      {!narrow && (
        <div class="vhead" role="row" style={{ ...grid, ...width }}>
          {p.pick && <span role="columnheader"><span class="sr">ticked</span></span>}
          {p.cols.map((c) => (
            <span key={c.id} role="columnheader" class={c.num ? 'num' : ''} title={c.title}>
              {c.name}
            </span>
          ))}
        </div>
      )}
      {p.rows.length === 0 && (p.loading ? <Wait /> : p.children)}
      <div class="vbody" style={{ height: `${p.rows.length * height}px`, ...width }} role="rowgroup">
        {p.rows.slice(first, last).map((row, n) => {
          const i = first + n;
          const id = p.id(row);
          return (
            <div
              key={id} id={`row-${i}`} data-row={i} role="row" aria-rowindex={i + 2} aria-selected={i === at}
              class={`vrow${i === at ? ' at' : ''} ${p.rowClass?.(row) ?? ''}${narrow ? ' narrow' : ''}`}
              style={{ ...grid, top: `${i * height}px`, height: `${height}px` }}
              onClick={(e) => {
                setChosen(id);
                if (!(e.target as Element).closest('a, button, input') && !getSelection()?.toString()) openRow(i);
              }}
            >
              {p.pick && !narrow && (
                <span role="gridcell">
                  <input type="checkbox" aria-label="tick this row" checked={p.picked?.has(id) ?? false} onChange={() => p.pick!(id)} />
                </span>
              )}
              {narrow ? <span role="gridcell" class="both">{p.href && <a class="sr" href={p.href(row)} tabIndex={-1}>open</a>}{p.narrow(row)}</span> : p.cols.map((c, ci) => (
                <span key={c.id} role="gridcell" class={c.num ? 'num' : 'cut'}>
                  {ci === 0 && p.href ? <a href={p.href(row)} tabIndex={-1}>{c.cell(row)}</a> : c.cell(row)}
                </span>
              ))}
            </div>
          );
        })}
      </div>
      {p.rows.length > 0 && p.loading && <Wait>Loading more</Wait>}
    </div>
  );
}
