// Types are what the API sends; openapi.json is the contract. Records are as
// flow/record writes them. Ids are strings: they have 63 bits.

export interface Party {
  number: string; domain?: string; name?: string; tag?: string;
  addr: string; agent?: string; contact?: string;
}

export interface Stored { level: string; packets?: number; missed?: number }

export interface Message {
  time: number; src: string; dst: string; method: string; status?: number; reason?: string;
  cseq: number; sdp?: boolean; retrans?: boolean;
}

export interface Media {
  side: Side; kind: string; addr: string; codecs: string; ptime?: number; mode: string;
  srtp?: boolean; from: number; epoch: number;
}

export type Side = '' | 'caller' | 'called';

export interface Digit { time: number; from: Side; digit: string; method: string; duration_ms: number }

export interface Leg { tag: string; first: number; answer?: number; status: number }

export interface XR {
  reports: number; loss: number; discard: number; rtt_ms: number; end_delay_ms: number;
  mos_lq: number; mos_cq: number; jitter_buffer_ms: number;
}

export interface Stream {
  src: string; dst: string; ssrc: number; from: Side; codec: string; payload: number; rate: number;
  ptime: number; first: number; last: number;
  packets: number; received: number; bytes: number; expected: number; lost: number; duplicate: number;
  reordered: number; stray?: number; resets?: number; loss_runs: number[]; loss_run_max: number;
  jitter_ms: number; jitter_avg_ms: number; jitter_max_ms: number; delay_hist: number[];
  delta_max_ms: number; skew_ppm: number; late_f1: number; late_f2: number; late_ad: number;
  mos: { cq: number; lq: number; min: number; r: number; ppl: number; burst_r: number; ie: number; bpl: number; method: string; confidence: string; delay_ms: number; n: number };
  rtcp: { reports: number; lost: number; frac_avg: number; frac_max: number; jitter_avg_ms: number; jitter_max_ms: number; rtt_avg_ms: number; rtt_max_ms: number };
  xr: XR; dscp?: number; ttl_min: number; ttl_max: number; vlan: number; srtp?: boolean; epoch: number; flags?: string;
  compat: { mos_f1: number; mos_f2: number; mos_adapt: number; loss_perc: number };
}

/** Call is a call detail record; a row of a list lacks its lists. */
export interface Call {
  id: string; call_id: string; sensor: number;
  start: number; trying?: number; ring?: number; answer?: number; bye_at?: number; end: number; last: number;
  outcome: string; end_reason: string; hung_up: Side;
  caller: Party; called: Party; request_user?: string; request_domain?: string;
  last_status: number; last_reason?: string; last_provisional?: number;
  sip_cause?: number; sip_text?: string; q850_cause?: number; q850_text?: string;
  invites: number; reinvites?: number; retransmissions: number; challenges?: number; holds?: number; forks?: number;
  transport: string; vlan: number; dscp?: number; flag_names?: string[];
  rule?: string; sip_stored?: Stored; rtp_stored?: Stored;
  legs?: Leg[]; messages?: Message[]; messages_total: number; streams?: Stream[]; media?: Media[]; digits?: Digit[];
  duration?: number; connected?: number; pdd?: number; stream_count?: number;
  mos_min?: number; loss_max?: number; jitter_max?: number;
  links?: Link[]; quality?: QualityReport[];
}

export interface Link { reason: string; key?: string; score: number; call?: Call }

export interface QualityReport {
  id: string; time: number; kind: string; src: string; local: string; remote: string; codec?: string; xr: XR;
}

export interface LiveCall {
  id: string; call_id: string; sensor: number; start: number; ring?: number; answer?: number; state: string;
  caller: Party; called: Party; last_status: number; messages_total: number; stream_count: number;
  codec?: string; mos?: number; loss?: number; jitter?: number; recording?: string; flag_names?: string[];
}

export interface SIPMessage {
  time: string; src: string; dst: string; transport: string; sensor: number; interface?: string;
  method: string; status?: number; reason?: string; call_id: string; from: string; to: string;
  text?: string; missed?: number;
}

export interface LiveStatus {
  time: string; state: string; since: string; why?: string[]; uptime_s: number;
  calls: number; call_rate: number; sip_rate: number; rtp_rate: number; bit_rate: number;
  rings: number; spool: number; store: number; store_away: boolean;
  lost: number; cpu: number[]; memory_bytes: number; memory_budget_bytes?: number; pending?: string[];
}

export interface Queue { number: number; packets: number; drops: number }

export interface Ring { number: number; cpu: number; packets: number; drops: number; fill: number; busy: number; bytes: number }

export interface Interface {
  name: string; state: string; why?: string; driver?: string; speed_mbit?: number; mtu?: number;
  dedicated: boolean; filter: string; steer?: string; queues?: Queue[]; rings: Ring[]; notes?: string[];
  packets: number; bytes: number; lost: number; packet_rate: number; bit_rate: number;
}

export interface LedgerRow { interface?: string; stage: string; reason: string; packets: number; bytes?: number; lost?: boolean; rate?: number }

export interface Ledger { time: string; balanced: boolean; rows: LedgerRow[]; gaps?: string[] }

export interface SpoolVolume { dir: string; total_bytes: number; free_bytes: number; quota_bytes: number; reserve_bytes: number }

export interface SpoolClass {
  class: string; segments: number; damaged: number; packets: number; bytes: number; quota_bytes: number;
  max_days: number; first?: string; last?: string; rate: number; lasts_s: number; full_in_s: number;
}

export interface SpoolOverview { state: string; why?: string; volumes: SpoolVolume[]; classes: SpoolClass[]; held: string[] }

export interface SpoolSegment { path: string; class: string; minute: string; open: boolean; packets: number; calls: number; bytes: number; damage?: string }

export interface Interval { time: number; packets: number; lost: number; late: number; jitter_ms: number; delay_ms: number; mos: number }

export interface StreamIntervals { ssrc: number; src: string; dst: string; step_s: number; intervals: Interval[] }

export interface AudioInfo {
  playable: boolean; seconds: number; start?: string; rate_hz?: number; why?: string; notes?: string[];
  streams: { ssrc: number; side: string; codec: string; playable: boolean; why?: string; packets: number; lost: number }[];
}

export interface Waveform { seconds: number; channels: { side: string; peaks: number[]; lost: number[] }[] }

export interface RuleProblem { line: number; col: number; text: string; warning?: boolean }

export interface Setting { key: string; section: string; value: string; default: string; from: string; help: string; restart: boolean; secret: boolean }

export interface Registration {
  id: string; sensor: number; aor: string; user: string; domain: string; contact?: string; instance?: string;
  call_id: string; agent?: string; src: string; dst: string; transport: string; nat?: boolean;
  start: number; last: number; end: number; expires_at?: number; expires: number; state: string;
  registers: number; successes: number; challenges: number; failures: number; timeouts: number;
  last_status: number; last_reason?: string; rtt_avg_ms: number; rtt_max_ms: number;
}

export interface Exchange {
  id: string; kind: string; sensor: number; call_id: string; caller: Party; called: Party; transport: string;
  start: number; last: number; end: number; state: string; note?: string; event?: string; expires?: number;
  requests: number; answered: number; failures: number; timeouts: number; notifies: number;
  last_status: number; last_reason?: string; rtt_avg_ms: number; rtt_max_ms: number;
  content_type?: string; text?: string; size?: number;
}

export interface EventRecord {
  id: string; time: number; kind: string; sensor: number; src: string; dst: string; aor?: string; target?: string;
  call_id?: string; method?: string; status?: number; text?: string; agent?: string; count: number;
}

/** List is a page of a list; next is the cursor of the page after it. */
export interface List<T> { items: T[]; next?: string }

export interface CallPage extends List<Call> { searched?: number }

export interface Count { count: number; exact: boolean }

export interface Entity { addr: string; ports: number[]; side?: string; agent?: string }

export interface SDPLine { where: string; what: string; old?: string; new?: string }

export interface Arrow {
  n: number; time: number; offset_ms: number; from: number; to: number; src: string; dst: string;
  method: string; status?: number; reason?: string; cseq: number; sdp?: boolean; retrans?: boolean; of?: number;
  sdp_diff?: { against: number; same: boolean; changes: SDPLine[] };
}

export interface Bar { from: number; to: number; side: Side; codec: string; first: number; last: number; mos: number; loss: number }

export interface Ladder { entities: Entity[]; arrows: Arrow[]; media: Bar[]; total: number; bodies: boolean; why?: string }

export interface SIPTree { start: string; headers: { name: string; long?: string; value: string; line: number }[]; body?: string }

export interface SIPText {
  n: number; time: number; src: string; dst: string; transport?: string; method: string; status?: number; reason?: string;
  cseq: number; sdp?: boolean; retrans?: boolean; text?: string; parsed?: SIPTree;
}

export interface Messages { items: SIPText[]; stored: boolean; why?: string; total: number }

export interface StreamRow extends Stream { n: number; loss: number; step_s?: number; intervals: Interval[] | null }

export interface Streams { items: StreamRow[]; why?: string }

export interface Lint { line: number; severity: string; text: string; rfc?: string }

export interface Parsed { messages: (SIPTree & { lint: Lint[] })[] }

export interface Column { name: string; title: string; unit?: string; default: boolean }

export interface FilterError { pos: number; len: number; text: string }

export interface Completion { text: string; help: string; from: number; to: number }

export interface FilterCheck { ok: boolean; errors: FilterError[]; completions: Completion[]; indexed: boolean }

/** Scope is what an account may see: an empty list is no bound. */
export interface Scope { sensors?: number[]; prefixes?: string[]; nets?: string[] }

/** Use is when and from where something was used last. */
export interface Use { time: string; from: string }

export interface Me {
  user: string; roles: string[]; permissions: string[]; scope: Scope; must_change_password?: boolean;
  via: string; expires?: string; preferences?: Preferences;
}

/** Preferences are kept with the account: what a user has chosen in the UI. */
export interface Preferences { columns?: string[]; filters?: { name: string; q: string }[]; theme?: string }

export interface User {
  name: string; roles: string[]; scope: Scope; disabled: boolean; must_change_password: boolean; created?: string; last_login?: Use;
}

export interface Token {
  id: string; name: string; user: string; permissions: string[]; scope: Scope; created: string; expires?: string; last_use?: Use; secret?: string;
}

export interface Session { id: string; user: string; from: string; agent: string; created: string; seen: string; expires: string; current?: boolean }

export interface AuditEntry {
  seq: number; time: string; user: string; from: string; via?: string; action: string; object?: string; detail?: string; outcome: string; bytes?: number;
}

export interface Note { id: string; time: number; author: string; text: string }

export interface RulesText { text: string; path?: string; writable: boolean; pending?: string; problems: RuleProblem[] }

export interface About {
  name: string; version: string; commit?: string; built?: string; go: string; kernel?: string; host?: string;
  started: string; sensor: number; sensor_name?: string; store: string; previous?: string; can: string[];
}

/** Figures are calls in figures; one that does not exist is left out. */
export interface Figures {
  calls: number; answered: number; failed: number; asr?: number; ner?: number; acd_s?: number; talk_s: number;
  pdd_s?: number; pdd_p95_s?: number; mos?: number; mos_p10?: number; loss_pct?: number; jitter_ms?: number; classes: number[];
}

export interface OverviewData {
  from: number; to: number; now: Figures; before: Figures;
  outcomes: { outcome: string; calls: number; before: number }[]; hours: { at: number; now: Figures; before: Figures }[];
  exact: boolean; sampled?: number;
}

export interface Summary { mos: { low: number; high: number; calls: number }[]; mos_calls: number }

/** Series is a metric over time: times and step in ns, a line for each value of a dimension. */
export interface Series {
  metric: string; unit: string; by: string; from: number; to: number; step: number;
  lines: { value: string; calls: number; points: (number | null)[] }[] | null; more?: number; exact: boolean; sampled?: number;
}

export interface Top { by: string; metric: string; values: ({ value: string } & Figures)[] | null; more?: number; exact: boolean; sampled?: number }
