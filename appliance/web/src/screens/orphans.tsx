import { clock, count, jitterGrade, listed, lossGrade, milli, percent, stamp } from '../lib/format';
import type { Place } from '../lib/route';
import type { Stream } from '../lib/types';
import { Graded, Score } from '../ui/parts';
import { Records } from '../ui/records';

type Orphan = Stream & { id: string; loss: number };

export function Orphans({ place }: { place: Place }) {
  return (
    <Records<Orphan>
      place={place} path="/orphans" title="RTP without call" about="Streams that no SDP named. Many of them mean that signalling is missed: its ports, or a mirror that shows media only." id={(s) => s.id}
      fields={[{ id: 'addr', name: 'Address', hint: '10.0.0.0/8' }, { id: 'codec', name: 'Codec', hint: 'PCMA' }, { id: 'ssrc', name: 'SSRC', hint: '0x1a2b3c4d' }]}
      cols={[
        { id: 'first', name: 'First packet', width: '112px', cell: (s) => listed(s.first) },
        { id: 'last', name: 'Last', width: '72px', cell: (s) => clock(s.last) },
        { id: 'src', name: 'From', width: 'minmax(150px, 1fr)', cell: (s) => <span class="mono">{s.src}</span> },
        { id: 'dst', name: 'To', width: 'minmax(150px, 1fr)', cell: (s) => <span class="mono">{s.dst}</span> },
        { id: 'codec', name: 'Codec', width: '90px', cell: (s) => s.codec || `type ${s.payload}` },
        { id: 'packets', name: 'Packets', width: '76px', num: true, cell: (s) => count(s.packets) },
        { id: 'loss', name: 'Loss', width: '70px', num: true, cell: (s) => <Graded grade={lossGrade(s.loss)}>{percent(s.loss)}</Graded> },
        { id: 'jitter', name: 'Jitter', width: '74px', num: true, cell: (s) => <Graded grade={jitterGrade(s.jitter_max_ms)}>{milli(s.jitter_max_ms)}</Graded> },
        { id: 'mos', name: 'MOS', width: '54px', num: true, cell: (s) => <Score value={s.mos.lq} /> },
      ]}
      narrow={(s) => <><span class="mono cut">{s.src} → {s.dst}</span><Score value={s.mos.lq} /><span class="muted cut">{stamp(s.first)} · {s.codec} · {count(s.packets)} packets</span><span class="muted">{percent(s.loss)}</span></>}
      name={(s) => `${s.codec || 'RTP'}, SSRC 0x${s.ssrc.toString(16).padStart(8, '0')}`}
      detail={(s) => [['From', <span class="mono">{s.src}</span>], ['To', <span class="mono">{s.dst}</span>], ['First packet', stamp(s.first, 3)], ['Last packet', stamp(s.last, 3)], ['Packets', `${count(s.packets)}, ${count(s.lost)} lost, ${count(s.duplicate)} twice`], ['Payload type', s.payload], ['Codec', s.codec], ['Jitter', `${milli(s.jitter_avg_ms)} mean, ${milli(s.jitter_max_ms)} max`], ['MOS', <Score value={s.mos.lq} />], ['DSCP', s.dscp], ['Marks', s.flags]]}
      empty="Every RTP stream of this time belongs to a call."
    />
  );
}
