// Trends: any metric by any dimension, over time, with what it comes to in all.

import { url, useGet } from '../lib/api';
import { count, none, percent, plural, short, span } from '../lib/format';
import { change, href, type Place } from '../lib/route';
import type { Series, Top } from '../lib/types';
import { hues, type Line, Lines } from '../ui/chart';
import { FilterBar } from '../ui/filterbar';
import { Icon } from '../ui/icon';
import { Card, Empty, Head, Loaded } from '../ui/parts';
import { RangeMenu, setRange, useRange } from '../ui/range';
import { timesOf } from './calls';

const metrics: [string, string][] = [['calls', 'Calls'], ['answered', 'Answered calls'], ['failed', 'Failed calls'], ['concurrent', 'Concurrent calls'], ['asr', 'Answer-seizure ratio (ASR)'], ['ner', 'Network effectiveness (NER)'], ['acd', 'Mean call length (ACD)'], ['pdd', 'Post-dial delay, mean'], ['pdd_p95', 'Post-dial delay, 95 %'], ['mos', 'MOS, mean'], ['mos_p10', 'MOS, worst tenth'], ['loss', 'Loss by the network'], ['jitter', 'Jitter'], ['talk', 'Talk time'], ['2xx', '2xx final responses'], ['3xx', '3xx'], ['4xx', '4xx'], ['5xx', '5xx'], ['6xx', '6xx']];
const dimensions: [string, string][] = [['', 'all calls'], ['outcome', 'outcome'], ['class', 'class of status'], ['status', 'status'], ['trunk', 'trunk (signalling addresses)'], ['caller', 'caller’s number'], ['called', 'called number'], ['caller_prefix', 'prefix of the caller'], ['called_prefix', 'prefix of the called'], ['media', 'media address'], ['codec', 'codec'], ['agent', 'user agent'], ['domain', 'domain'], ['sensor', 'sensor']];
const filters: Record<string, (value: string) => string> = {
  outcome: (v) => `outcome:${v}`, status: (v) => `status:${v}`, class: (v) => `status:${v}`, caller: (v) => `caller:${quote(v)}`, called: (v) => `called:${quote(v)}`, caller_prefix: (v) => `caller:${quote(v + '*')}`, called_prefix: (v) => `called:${quote(v + '*')}`,
  trunk: (v) => `signal_ip:${v}`, media: (v) => `media_ip:${v}`, codec: (v) => `codec:${quote(v)}`, agent: (v) => `agent:${quote(v)}`, domain: (v) => `domain:${quote(v)}`, sensor: (v) => `sensor:${v}`,
};

export function Trends({ place }: { place: Place }) {
  const { q = '', metric = 'calls', by = '' } = place.query;
  const range = useRange(place);
  const params = { metric, by, q, from: range.from, to: range.to };
  const s = useGet<Series>('/stats/series', params);
  const top = useGet<Top>(!by ? null : '/stats/top', { by, q, from: range.from, to: range.to, top: 20, metric: metric === 'concurrent' ? 'calls' : metric });
  const name = metrics.find((m) => m[0] === metric)?.[1] ?? metric;
  return (
    <>
      <Head title="Trends">
        <a class="button" download href={url('/stats/series', params)}><Icon name="down" />JSON</a>
        <RangeMenu range={range} all={false} />
      </Head>
      <div class="filterbar">
        <label class="picker">Show<select value={metric} onChange={(e) => change({ metric: (e.currentTarget as HTMLSelectElement).value })}>{metrics.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>
        <label class="picker">by<select value={by} onChange={(e) => change({ by: (e.currentTarget as HTMLSelectElement).value || undefined })}>{dimensions.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select></label>
        <FilterBar value={q} set={(v) => change({ q: v || undefined })} label="Only calls that match" placeholder="only calls that match, as called:+49*" />
      </div>
      <Loaded of={s}>
        {(d) => {
          const times = timesOf(d);
          const unit = /^(calls|MOS|)$/.test(d.unit) ? '' : d.unit;
          const format = (v: number) => `${metric.startsWith('mos') ? v.toFixed(2).replace(/0$/, '') : short(v)}${unit ? ` ${unit}` : ''}`;
          if (!d.lines?.some((l) => l.points.some((v) => v))) return <Empty icon="trends" title="No calls to draw">Choose a longer time, or loosen the filter.</Empty>;
          const all = d.lines;
          const lines: Line[] = all.map((l, i) => ({ name: keyName(by, l.value), color: hues[i % hues.length]!, values: l.points, area: all.length === 1 }));
          return (
            <>
              <Card title={`${name}${!by ? '' : ' by ' + (dimensions.find((x) => x[0] === by)?.[1] ?? by)}`} tools={<>every {span(d.step / 1e9)}{d.exact ? '' : d.sampled ? ', of a sample' : ', estimated'}{d.more ? `; ${plural(d.more, 'value')} more` : ''}<button class="button small" onClick={() => setRange((d.from - (d.to - d.from) / 2) / 1e6, d.to / 1e6)}><Icon name="zoomout" />Longer</button></>}>
                <Lines label={`${name} over time`} times={times} lines={lines} format={format} height={300} {...(metric.startsWith('mos') ? { min: lowest(lines), max: 5, fixed: true } : {})} />
              </Card>
              {by && <Loaded of={top}>{(t) => <TopTable top={t} by={by} range={place.query} shown={all.map((l) => l.value)} />}</Loaded>}
            </>
          );
        }}
      </Loaded>
    </>
  );
}

/** lowest is where the axis of a MOS begins: half a point below what there is. */
const lowest = (lines: Line[]) => Math.max(1, Math.floor(Math.min(...lines.flatMap((l) => l.values.filter((v): v is number => typeof v === 'number'))) * 2) / 2 - 0.5);

/** quote makes a value of the filter language of any text. */
const quote = (v: string) => (/^[\w+*.@-]+$/.test(v) ? v : `"${v.replace(/["\\]/g, '\\$&')}"`);

const keyName = (by: string, key: string) => (!by ? 'all calls' : key || 'none');

function TopTable({ top, by, range, shown }: { top: Top; by: string; range: Record<string, string>; shown: string[] }) {
  const link = (key: string) => (filters[by] && key ? href('/calls', { q: filters[by](key), range: range.range, from: range.from, to: range.to }) : undefined);
  return (
    <Card title="In all" flush tools={top.exact ? undefined : top.sampled ? 'of a sample' : 'estimated'}>
      <table class="plain">
        <thead><tr><th>{dimensions.find((d) => d[0] === by)?.[1]}</th><th class="num">Calls</th><th class="num">Answered</th><th class="num">ASR</th><th class="num">NER</th><th class="num">ACD</th><th class="num">PDD</th><th class="num">MOS</th><th class="num">Loss</th><th class="num">Jitter</th></tr></thead>
        <tbody>
          {top.values?.map((r) => {
            const i = shown.indexOf(r.value);
            const to = link(r.value);
            return (
              <tr key={r.value}>
                <td class="break"><i class="swatch" style={{ background: i < 0 ? 'transparent' : hues[i % hues.length] }} />{to ? <a href={to}>{keyName(by, r.value)}</a> : keyName(by, r.value)}</td>
                <td class="num">{count(r.calls)}</td><td class="num">{count(r.answered)}</td><td class="num">{percent(r.asr, 1)}</td><td class="num">{percent(r.ner, 1)}</td>
                <td class="num">{r.acd_s === undefined ? none : span(r.acd_s)}</td><td class="num">{r.pdd_s === undefined ? none : `${r.pdd_s.toFixed(2)} s`}</td>
                <td class="num">{r.mos?.toFixed(2) ?? none}</td><td class="num">{percent(r.loss_pct)}</td><td class="num">{r.jitter_ms === undefined ? none : `${r.jitter_ms.toFixed(1)} ms`}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Card>
  );
}
