// The tab Notes: what people wrote about a call.

import { useState } from 'preact/hooks';
import { send, useGet } from '../lib/api';
import { stamp } from '../lib/format';
import { can, me } from '../lib/session';
import type { List, Note } from '../lib/types';
import { Icon } from '../ui/icon';
import { Empty, Loaded, toast } from '../ui/parts';

export function NotesTab({ id }: { id: string }) {
  const notes = useGet<List<Note>>(`/calls/${id}/notes`);
  const [text, setText] = useState('');
  const change = async (f: () => Promise<unknown>) => {
    try {
      await f();
      notes.reload();
    } catch (e) {
      toast((e as Error).message);
    }
  };
  return (
    <div class="notes">
      {can('notes:write') && (
        <form class="form card" onSubmit={(e) => { e.preventDefault(); if (text.trim()) void change(async () => { await send('POST', `/calls/${id}/notes`, { text }); setText(''); }); }}>
          <label>New note<textarea rows={3} value={text} maxLength={4000} onInput={(e) => setText((e.currentTarget as HTMLTextAreaElement).value)} placeholder="What did you find out? Everybody who may see this call can read it." /></label>
          <div class="actions"><button class="button primary" disabled={!text.trim()}>Keep the note</button></div>
        </form>
      )}
      <Loaded of={notes}>
        {(l) => (l.items?.length ? (
          <ul class="notelist">
            {l.items.map((n) => (
              <li key={n.id} class="card body">
                <p class="row"><b class="strong">{n.author}</b><span class="muted">{stamp(n.time)}</span>
                  {can('notes:write') && (n.author === me.get()?.user || can('users:manage')) && <button class="button plain small" aria-label="Remove this note" onClick={() => void change(() => send('DELETE', `/calls/${id}/notes/${n.id}`))}><Icon name="trash" /></button>}
                </p>
                <p class="break pre">{n.text}</p>
              </li>
            ))}
          </ul>
        ) : <Empty icon="audit" title="No notes yet" />)}
      </Loaded>
    </div>
  );
}
