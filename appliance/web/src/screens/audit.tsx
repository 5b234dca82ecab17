import { get, type Problem } from '../lib/api';
import { useState } from 'preact/hooks';
import { bytes, listed, stamp } from '../lib/format';
import type { Place } from '../lib/route';
import type { AuditEntry } from '../lib/types';
import { Icon } from '../ui/icon';
import { Chip } from '../ui/parts';
import { Records } from '../ui/records';

const kindOf = (o: string) => (o === 'ok' || o === '' ? '' : 'poor');

export function Audit({ place }: { place: Place }) {
  return (
    <Records<AuditEntry>
      place={place} path="/audit" title="Audit" about="Who did what, when, from where: every login, download, playback and change." id={(e) => String(e.seq)}
      above={<Verify />}
      fields={[{ id: 'user', name: 'User', hint: 'admin' }, { id: 'action', name: 'Action', hint: 'login' }]}
      cols={[
        { id: 'time', name: 'Time', width: '112px', cell: (e) => listed(e.time, 3) },
        { id: 'user', name: 'User', width: '90px', cell: (e) => <span class="strong">{e.user || '–'}</span> },
        { id: 'action', name: 'Action', width: '120px', cell: (e) => e.action },
        { id: 'outcome', name: 'Outcome', width: '70px', cell: (e) => <Chip kind={kindOf(e.outcome)}>{e.outcome || 'ok'}</Chip> },
        { id: 'object', name: 'What', width: 'minmax(140px, 1fr)', cell: (e) => e.object },
        { id: 'detail', name: 'Detail', width: 'minmax(160px, 1.5fr)', cell: (e) => e.detail },
        { id: 'from', name: 'From', width: '110px', cell: (e) => <span class="mono">{e.from}</span> },
        { id: 'via', name: 'Via', width: '90px', cell: (e) => e.via },
        { id: 'bytes', name: 'Bytes', width: '80px', num: true, cell: (e) => (e.bytes ? bytes(e.bytes) : '') },
      ]}
      narrow={(e) => <><span class="cut"><b class="strong">{e.user}</b> {e.action}</span><Chip kind={kindOf(e.outcome)}>{e.outcome || 'ok'}</Chip><span class="muted cut">{stamp(e.time)} · {e.from}</span><span class="muted">{e.bytes ? bytes(e.bytes) : ''}</span></>}
      name={(e) => e.action}
      detail={(e) => [['Entry', e.seq], ['Time', stamp(e.time, 3)], ['User', e.user], ['From', <span class="mono">{e.from}</span>], ['Via', e.via], ['What', e.action.startsWith('call.') && /^\d+$/.test(e.object ?? '') ? <a href={`/calls/${e.object}`}>call {e.object}</a> : e.object], ['Detail', <span class="pre">{e.detail}</span>], ['Outcome', e.outcome], ['Bytes', e.bytes ? bytes(e.bytes) : undefined]]}
      empty="Nobody did anything."
    />
  );
}

/** Verify asks whether the log is as it was written: each entry carries a hash of the one before. */
function Verify() {
  const [said, set] = useState<{ ok: boolean; text: string } | null>(null);
  const ask = async () => {
    try {
      const c = await get<{ ok: boolean; entries: number; breaks?: { file: string; line: number; why: string }[] }>('/audit/verify');
      const flaw = c.breaks?.[0];
      set({ ok: c.ok, text: c.ok ? `All ${c.entries} entries are as they were written.` : flaw ? `${flaw.file}, line ${flaw.line}: ${flaw.why}.` : 'The log was changed.' });
    } catch (e) {
      set({ ok: false, text: (e as Problem).message });
    }
  };
  return (
    <div class="toolline">
      <button class="button small" onClick={() => void ask()}><Icon name="ok" />Verify the log</button>
      {said && <span role="status" class={said.ok ? 'good' : 'poor strong'}>{said.text}</span>}
    </div>
  );
}
