// The tab Audio: hear the call, both sides apart, with its waveform. Where
// packets were lost there is silence; what was heard depends on the buffer.

import { useEffect, useRef, useState } from 'preact/hooks';
import { url, useGet } from '../lib/api';
import { count, plural, span, stamp } from '../lib/format';
import { useKeys, useWidth } from '../lib/hooks';
import type { AudioInfo, Call, Waveform } from '../lib/types';
import { Icon } from '../ui/icon';
import { Card, Empty, Loaded } from '../ui/parts';

const party = (side: string) => (side === 'a' ? 'Caller' : 'Called party');
const missing = (i: AudioInfo) => i.streams?.some((s) => s.playable && s.lost > 0);
const minutes = (s: number) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`;

export function AudioTab({ call }: { call: Call }) {
  const info = useGet<AudioInfo>(`/calls/${call.id}/audio/info`);
  return (
    <Loaded of={info} wait="Looking into the spool">
      {(i) => (i.playable ? <Player call={call} info={i} /> : (
        <Empty icon="play" title="This call cannot be heard">
          {i.why ? `${i.why}.` : i.streams?.length ? i.streams.map((s) => `${s.side === 'a' ? 'Caller' : 'Called party'}: ${s.why || s.codec + ' cannot be played'}.`).join(' ') : 'No payload of it is stored. Capture rules say which calls are.'}
        </Empty>
      ))}
    </Loaded>
  );
}

function Player({ call, info }: { call: Call; info: AudioInfo }) {
  const [side, setSide] = useState('both');
  const [heard, setHeard] = useState('');
  const [at, setAt] = useState(0);
  const [playing, setPlaying] = useState(false);
  const [problem, setProblem] = useState('');
  const audio = useRef<HTMLAudioElement>(null);
  const wave = useGet<Waveform>(`/calls/${call.id}/waveform`, { points: 800 });
  const source = url(`/calls/${call.id}/audio`, { side, as_heard: heard });
  const toggle = () => {
    const a = audio.current!;
    if (a.paused) a.play().catch((e) => setProblem(String((e as Error).message)));
    else a.pause();
  };
  const seek = (t: number) => {
    if (audio.current) audio.current.currentTime = Math.max(0, Math.min(info.seconds, t));
    setAt(Math.max(0, Math.min(info.seconds, t)));
  };
  useKeys({ ' ': (e) => { if (!(e.target as Element).closest('button, a')) { e.preventDefault(); toggle(); } } });
  useEffect(() => {
    let frame = 0;
    const tick = () => {
      if (audio.current && !audio.current.paused) setAt(audio.current.currentTime);
      frame = requestAnimationFrame(tick);
    };
    if (playing) frame = requestAnimationFrame(tick);
    return () => cancelAnimationFrame(frame);
  }, [playing]);
  return (
    <Card title="Audio" tools={<span>{stamp(info.start)} · {span(info.seconds)}{info.rate_hz ? ` · ${info.rate_hz / 1000} kHz` : ''}</span>}>
      <audio ref={audio} src={source} preload="none" onPlay={() => setPlaying(true)} onPause={() => setPlaying(false)} onEnded={() => setPlaying(false)}
        onError={() => audio.current?.error && setProblem('The audio did not come: ' + (audio.current.error.message || 'the spool may have dropped it meanwhile'))} />
      <div class="player row">
        <button class="button primary" onClick={toggle} aria-label={playing ? 'Pause' : 'Play'}><Icon name={playing ? 'pause' : 'play'} />{playing ? 'Pause' : 'Play'}</button>
        <span class="clockface"><b>{minutes(at)}</b> <span class="muted">of {minutes(info.seconds)}</span></span>
        <label class="row">Side<select value={side} onChange={(e) => setSide((e.currentTarget as HTMLSelectElement).value)}><option value="both">both, stereo</option><option value="a">caller</option><option value="b">called</option></select></label>
        <label class="row">Heard<select value={heard} onChange={(e) => setHeard((e.currentTarget as HTMLSelectElement).value)}><option value="">as sent</option><option value="50">through a buffer of 50 ms</option><option value="200">through a buffer of 200 ms</option></select></label>
        <a class="button" download href={source}><Icon name="down" />WAV</a>
      </div>
      {problem && <p class="poor" role="alert">{problem}</p>}
      <Loaded of={wave} wait="Drawing the waveform">{(w) => <Wave wave={w} at={at} seconds={info.seconds} seek={seek} />}</Loaded>
      <p class="muted pad0">{info.streams?.filter((s) => s.playable).map((s) => `${party(s.side)}: ${s.lost ? `${plural(s.lost, 'packet')} of ${count(s.packets + s.lost)} missing` : 'no packet missing'}`).join('; ')}. {missing(info) && <><i class="gapmark" aria-hidden="true" /> marks where. </>}Left is the caller, right the called party. Lost packets are silence. Playing is written to the audit log. Space plays and pauses; in the waveform the arrows move by 5 s.</p>
      {info.streams?.some((s) => !s.playable) && <p class="fair">{info.streams.filter((s) => !s.playable).map((s) => `${party(s.side)}: ${s.why || s.codec}.`).join(' ')}</p>}
    </Card>
  );
}

function Wave({ wave, at, seconds, seek }: { wave: Waveform; at: number; seconds: number; seek: (t: number) => void }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const lane = 58;
  const gutter = 56;
  const plot = Math.max(10, width - gutter);
  const x = (t: number) => gutter + (t / Math.max(0.01, seconds)) * plot;
  const gaps = (lost: number[] | undefined, mid: number) => (lost ?? []).map((n, i, all) => (n ? `M${(gutter + ((i + 0.5) / all.length) * plot).toFixed(1)} ${mid - lane / 2}v${lane}` : '')).join('');
  const key = (e: KeyboardEvent) => {
    const d = { ArrowRight: 5, ArrowLeft: -5, PageUp: 30, PageDown: -30 }[e.key];
    if (d) {
      e.preventDefault();
      seek(at + d);
    }
  };
  return (
    <div ref={box} class="wave" tabIndex={0} role="slider" aria-label="Position" aria-valuemin={0} aria-valuemax={Math.round(seconds)} aria-valuenow={Math.round(at)} aria-valuetext={minutes(at)} onKeyDown={key}>
      {width > 0 && (
        <svg width={width} height={wave.channels.length * (lane + 8)} onPointerDown={(e) => seek(((e.offsetX - gutter) / plot) * seconds)}>
          {wave.channels.map((c, i) => {
            const mid = i * (lane + 8) + lane / 2 + 2;
            const d = c.peaks.map((p, n) => {
              const px = gutter + (n / c.peaks.length) * plot;
              const h = Math.max(0.5, (p * lane) / 2);
              return `M${px.toFixed(1)} ${(mid - h).toFixed(1)}v${(2 * h).toFixed(1)}`;
            }).join('');
            return (
              <g key={c.side}>
                <text class="tick" x="0" y={mid + 4}>{c.side === 'a' ? 'caller' : 'called'}</text>
                <line class="grid" x1={gutter} x2={width} y1={mid} y2={mid} />
                {c.lost?.some((n) => n > 0) && <path class="gaps" d={gaps(c.lost, mid)} stroke-width={Math.max(2, plot / c.peaks.length)} />}
                <path d={d} stroke={i ? 'var(--h2)' : 'var(--h1)'} stroke-width={Math.max(1, (plot / c.peaks.length) * 0.8)} />
              </g>
            );
          })}
          <rect class="played" x={gutter} y="0" width={Math.max(0, x(at) - gutter)} height={wave.channels.length * (lane + 8)} />
          <line class="playhead" x1={x(at)} x2={x(at)} y1="0" y2={wave.channels.length * (lane + 8)} />
        </svg>
      )}
    </div>
  );
}
