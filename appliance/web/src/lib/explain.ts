// Explain says in plain sentences why a call sounded as it did, or why it did
// not come about: what, who, when, and whether our own capture can be trusted.
// It reads the record; nothing is guessed that the record does not say.

import { clock, grade, type Grade, host, milli, mos, percent, seconds, span } from './format';
import type { Call, Interval, StreamRow } from './types';

export interface Explanation {
  grade: Grade;
  title: string; // one sentence: the verdict
  points: { kind: Grade | 'own' | 'info'; text: string }[];
}

const has = (c: Call, flag: string) => c.flag_names?.includes(flag) ?? false;

export function explain(c: Call, streams: StreamRow[]): Explanation {
  const out: Explanation = { grade: 'none', title: '', points: [] };
  if (c.answer) quality(c, streams, out);
  else failure(c, out);
  capture(c, out);
  return out;
}

const who = (c: Call, side: string) =>
  side === 'caller' ? `the caller (${c.caller.number || host(c.caller.addr)})` : side === 'called' ? `the called party (${c.called.number || host(c.called.addr)})` : 'one side';

const upper = (s: string) => s.slice(0, 1).toUpperCase() + s.slice(1);

/** failure says why there was no conversation. */
function failure(c: Call, out: Explanation) {
  const after = span((c.end - c.start) / 1e9);
  const code = c.last_status ? `${c.last_status}${c.last_reason ? ' ' + c.last_reason : ''}` : '';
  const last = [...(c.messages ?? [])].reverse().find((m) => m.method === 'INVITE' && m.status === c.last_status);
  const by = last ? `, first said by ${host(firstSender(c, last.status!))}` : '';
  out.grade = c.outcome === 'failed' || c.outcome === 'auth-failed' ? 'poor' : 'none';
  const titles: Record<string, string> = {
    busy: `The called party was busy (${code}${by}).`,
    'no-answer': c.ring ? `Nobody answered: it rang for ${span((c.end - c.ring) / 1e9)}${code ? `, then ${code}${by}` : ''}.` : `Nothing came of it in ${after}${code ? `: ${code}${by}` : ', and nobody ever responded'}.`,
    cancelled: `${upper(who(c, 'caller'))} gave up after ${after}, ${c.ring ? 'while it rang' : 'before it rang'}.`,
    redirected: `The call was redirected (${code}${by}).`,
    'auth-failed': `The call was refused: ${code}${by}. The credentials were wrong or missing.`,
    failed: `The call failed after ${after}: ${code || 'no final response'}${by}.`,
    partial: 'Capture began after the call: how it started is not known.',
  };
  out.title = titles[c.outcome] ?? `The call was not answered${code ? ` (${code})` : ''}.`;
  if (c.q850_cause || c.q850_text) out.points.push({ kind: 'info', text: `Reason given by the network: Q.850 cause ${c.q850_cause}${c.q850_text ? `, “${c.q850_text}”` : ''}.` });
  else if (c.sip_text) out.points.push({ kind: 'info', text: `Reason given: “${c.sip_text}”.` });
  if (c.retransmissions > 2) out.points.push({ kind: 'fair', text: `${c.retransmissions} SIP messages had to be sent again: they, or their answers, were lost or late on the way.` });
}

function firstSender(c: Call, status: number): string {
  return c.messages?.find((m) => m.method === 'INVITE' && m.status === status)?.src ?? '';
}

/** quality says how the conversation sounded, worst direction first. */
function quality(c: Call, streams: StreamRow[], out: Explanation) {
  if (has(c, 'no-rtp')) {
    out.grade = 'poor';
    out.title = 'The call was answered, but nobody could hear anything: no RTP was seen after the answer.';
    return;
  }
  const own = streams.filter((s) => s.mos.lq > 0 && s.packets > 0).sort((a, b) => a.mos.lq - b.mos.lq);
  const worst = own[0];
  if (has(c, 'one-way')) {
    out.grade = 'poor';
    const heard = streams.find((s) => s.packets > 0);
    const silent = heard?.from === 'caller' ? 'called' : 'caller';
    out.title = `One-way audio: no RTP of ${who(c, silent)} was seen after the answer, so the other side heard nothing.`;
    if (worst) out.points.push({ kind: grade(worst.mos.lq), text: `The direction that there was had MOS ${mos(worst.mos.lq)}.` });
    return;
  }
  if (!worst) {
    out.title = streams.length ? 'The call was answered. Its codec has no known MOS model; loss and jitter are below.' : 'The call was answered. Its media did not pass here.';
    return;
  }
  out.grade = grade(worst.mos.lq);
  const listener = worst.from === 'caller' ? 'called' : 'caller';
  const words = { good: 'good', fair: 'fair', poor: 'poor', none: 'not known' }[out.grade];
  out.title = `What ${who(c, worst.from ? listener : '')} heard was ${words}, MOS ${mos(worst.mos.lq)} of 5`;
  const causes = causesOf(worst);
  out.title += causes.length && out.grade !== 'good' ? `: ${causes[0]}.` : '.';
  for (const cause of out.grade === 'good' ? [] : causes.slice(1)) out.points.push({ kind: 'info', text: upper(cause) + '.' });
  const when = worstTime(worst.intervals ?? [], worst.step_s ?? 1);
  if (when) out.points.push({ kind: out.grade, text: when });
  const other = own.find((s) => s.from && s.from !== worst.from);
  if (other) {
    out.points.push({ kind: grade(other.mos.lq), text: `The other direction, from ${who(c, other.from)}, had MOS ${mos(other.mos.lq)}${other.loss >= 0.05 ? ` with ${percent(other.loss)} lost` : ''}.` });
  }
  if (has(c, 'silence')) out.points.push({ kind: 'poor', text: 'A side stopped sending RTP more than 10 s before the end.' });
  const codec = codecLimit(worst);
  if (codec && !causes.includes(codec)) out.points.push({ kind: 'info', text: upper(codec) + '.' });
}

/** causesOf names what took quality away, the greatest first. */
function causesOf(s: StreamRow): string[] {
  const out: [number, string][] = [];
  const mirror = s.flags?.includes('mirror-loss');
  const where = `from ${host(s.src)} to ${host(s.dst)}`;
  if (s.lost > 0) {
    const burst = s.loss_run_max > 2 ? `, up to ${s.loss_run_max} in a row` : '';
    const text = mirror
      ? `the ${percent(s.loss)} of packets missing ${where} were lost by the mirror port, not by the network`
      : `${percent(s.loss)} of the packets ${where} did not arrive here${burst}`;
    out.push([s.loss * (s.mos.burst_r > 1 ? s.mos.burst_r : 1), text]);
  }
  const late = Math.max(0, s.late_f2 - s.lost);
  const lateShare = s.expected ? (late * 100) / s.expected : 0;
  if (lateShare > 0.1) out.push([lateShare, `${percent(lateShare)} of the packets ${where} came more than 200 ms late (jitter up to ${milli(s.jitter_max_ms)})`]);
  else if (s.jitter_max_ms > 30) out.push([0.05, `jitter reached ${milli(s.jitter_max_ms)}, which a buffer of 200 ms still takes`]);
  const codec = codecLimit(s);
  if (codec) out.push([s.mos.ie / 10, codec]);
  if (s.mos.delay_ms > 150) out.push([1, `the one-way delay of ${milli(s.mos.delay_ms, 0)} makes conversation hard`]);
  return out.sort((a, b) => b[0] - a[0]).map((c) => c[1]);
}

/** codecLimit says what the codec alone allows, where that is less than good (G.107 with R = 93.2 - Ie). */
function codecLimit(s: StreamRow): string {
  if (s.mos.ie < 10 || s.mos.method !== 'G.107') return '';
  const r = 93.2 - s.mos.ie;
  const best = 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6;
  return `the codec ${s.codec} alone allows ${mos(best)} at best`;
}

/** worstTime says when it was bad, if it was not all the time. */
function worstTime(all: Interval[], step: number): string {
  const heard = all.filter((i) => i.mos > 0);
  const bad = heard.filter((i) => i.mos < 3.6);
  if (bad.length === 0 || bad.length === heard.length) return '';
  const first = bad[0]!;
  const last = bad[bad.length - 1]!;
  const least = bad.reduce((a, b) => (b.mos < a.mos ? b : a));
  return `It was poor for ${span(bad.length * step)} of ${span(heard.length * step)}, between ${clock(first.time)} and ${clock(last.time)}; worst at ${clock(least.time)} (MOS ${mos(least.mos)}, ${least.lost} lost of ${least.lost + least.packets}).`;
}

/** capture says whether what we show can be trusted. */
function capture(c: Call, out: Explanation) {
  const before = out.points.length;
  if (has(c, 'incomplete')) out.points.push({ kind: 'own', text: 'Our own capture lost packets while this call lasted. Loss shown here is an upper bound: the network may have done better.' });
  if (has(c, 'mirror-loss')) out.points.push({ kind: 'own', text: 'The mirror port lost packets: many unrelated streams lost at the same moment. That loss is not the network’s.' });
  if (has(c, 'one-direction')) out.points.push({ kind: 'own', text: 'Only one direction of the signalling reaches us. Check the mirror port: it may be set to ingress or egress only.' });
  if (has(c, 'mid-call')) out.points.push({ kind: 'own', text: 'Capture began after the INVITE: what came before is not known.' });
  if (has(c, 'sip-cut')) out.points.push({ kind: 'own', text: 'A SIP message was cut short when it was captured.' });
  if (out.points.length === before) out.points.push({ kind: 'good', text: 'Capture was complete: we lost nothing while the call lasted.' });
}

/** facts are the flags of a call as words for people. */
export const flagWords: Record<string, string> = {
  'one-way': 'one-way audio', 'no-rtp': 'no RTP', silence: 'went silent', srtp: 'SRTP', incomplete: 'capture incomplete',
  'mid-call': 'begun before capture', 'early-media': 'early media', 'late-sdp': 'RTP before SDP', 'on-hold-at-end': 'on hold at end',
  'port-reuse': 'port reused', nat: 'NAT', 'messages-cut': 'messages not all listed', 'sip-cut': 'SIP cut short', 'shared-media': 'shared media',
  fax: 'T.38 fax', 'encrypted-signalling': 'encrypted signalling', 'one-direction': 'one direction captured', hairpin: 'hairpin', 'mirror-loss': 'mirror loss',
};

/** ours are the flags that are about our capture and not about the call. */
export const ours = new Set(['incomplete', 'mid-call', 'sip-cut', 'one-direction', 'mirror-loss', 'messages-cut']);

/** setup is how long it took to ring, as text. */
export const setup = (c: Call) => (c.pdd === undefined ? '' : seconds(c.pdd));
