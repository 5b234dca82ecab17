import { useGet } from '../lib/api';
import { ago, span, stamp } from '../lib/format';
import type { Place } from '../lib/route';
import { status } from '../lib/session';
import type { About as AboutData } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Chip, Head, Loaded } from '../ui/parts';
import { Mark } from '../ui/shell';

const parts: [string, string][] = [['live', 'live calls'], ['capture', 'capture'], ['spool', 'spool'], ['packets', 'packets of calls'], ['audio', 'audio'], ['rules', 'capture rules'], ['settings', 'settings'], ['bundle', 'support bundle']];

export function About(_: { place: Place }) {
  const a = useGet<AboutData>('/about');
  const s = status.use();
  return (
    <>
      <Head title="About" />
      <Loaded of={a}>
        {(d) => (
          <div class="cards">
            {d.previous && <div class="note fair span12"><Icon name="warn" /><div><b class="strong">The run before ended badly.</b> {d.previous}</div></div>}
            <Card span={6} label="Version">
              <p class="aboutmark"><Mark /><b>ringside</b> <span class="muted">{d.version}</span></p>
              <dl class="facts">
                <dt>Commit</dt><dd class="mono">{d.commit || 'not known'}{d.built ? `, ${stamp(d.built)}` : ''}</dd>
                <dt>Go</dt><dd>{d.go}</dd>
                <dt>Host</dt><dd>{d.host}{d.kernel ? `, Linux ${d.kernel}` : ''}</dd>
                <dt>Sensor</dt><dd>{d.sensor}{d.sensor_name ? `, ${d.sensor_name}` : ''}</dd>
                <dt>Started</dt><dd>{stamp(d.started)}, {ago(d.started)}{s ? `; up ${span(s.uptime_s)}` : ''}</dd>
                <dt>Store</dt><dd class="mono">{d.store}</dd>
              </dl>
            </Card>
            <Card span={6} title="This ringside has">
              <p class="chips">{parts.map(([id, name]) => <Chip key={id} kind={d.can?.includes(id) ? 'good' : ''}>{d.can?.includes(id) ? name : `no ${name}`}</Chip>)}</p>
              <p class="muted pad0">All that this page shows comes from the API, which is there for you too: <a href="/api/v1/openapi.json" target="_blank" rel="noopener">openapi.json</a>. Metrics for Prometheus are at <a href="/metrics" target="_blank" rel="noopener">/metrics</a>, health at <a href="/readyz" target="_blank" rel="noopener">/readyz</a>.</p>
              <p class="muted">Licence: Apache 2.0. Of others, this interface has Preact and the typeface Inter: <a href="/assets/licences.txt" target="_blank" rel="noopener">their licences</a>.</p>
            </Card>
          </div>
        )}
      </Loaded>
    </>
  );
}
