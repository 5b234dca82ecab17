CREATE TABLE schema_version (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL);
INSERT INTO schema_version VALUES (1, 0);
CREATE TABLE calls (
    start_at         BIGINT NOT NULL,
    id               BIGINT NOT NULL,
    call_id          VARCHAR(255) NOT NULL, -- SIP Call-ID
    sensor           INT NOT NULL,
    trying_at        BIGINT NOT NULL,
    ring_at          BIGINT NOT NULL,
    answer_at        BIGINT NOT NULL,
    bye_at           BIGINT NOT NULL,
    end_at           BIGINT NOT NULL,
    last_at          BIGINT NOT NULL,
    outcome          VARCHAR(32) NOT NULL,
    end_reason       VARCHAR(32) NOT NULL,
    hung_up          VARCHAR(16) NOT NULL,
    caller_number    VARCHAR(255) NOT NULL,
    caller_domain    VARCHAR(255) NOT NULL,
    caller_name      TEXT NOT NULL,
    caller_tag       TEXT NOT NULL,
    caller_addr      VARBINARY(16),
    caller_port      INT NOT NULL,
    caller_agent     TEXT NOT NULL,
    caller_contact   TEXT NOT NULL,
    called_number    VARCHAR(255) NOT NULL,
    called_domain    VARCHAR(255) NOT NULL,
    called_name      TEXT NOT NULL,
    called_tag       TEXT NOT NULL,
    called_addr      VARBINARY(16),
    called_port      INT NOT NULL,
    called_agent     TEXT NOT NULL,
    called_contact   TEXT NOT NULL,
    request_user     VARCHAR(255) NOT NULL,
    request_domain   VARCHAR(255) NOT NULL,
    last_status      INT NOT NULL,
    last_reason      TEXT NOT NULL,
    last_provisional INT NOT NULL,
    sip_cause        INT NOT NULL,
    sip_text         TEXT NOT NULL,
    q850_cause       INT NOT NULL,
    q850_text        TEXT NOT NULL,
    invites          BIGINT NOT NULL,
    reinvites        BIGINT NOT NULL,
    retransmissions  BIGINT NOT NULL,
    max_retrans_inv  BIGINT NOT NULL,
    challenges       BIGINT NOT NULL,
    holds            BIGINT NOT NULL,
    forks            BIGINT NOT NULL,
    redirects        BIGINT NOT NULL,
    refers           BIGINT NOT NULL,
    infos            BIGINT NOT NULL,
    pracks           BIGINT NOT NULL,
    updates          BIGINT NOT NULL,
    auth_user        TEXT NOT NULL,
    vlan             INT NOT NULL,          -- -1: untagged
    dscp             INT NOT NULL,
    transport        VARCHAR(16) NOT NULL,
    flags            BIGINT NOT NULL,       -- bits of record.Flags
    messages_total   BIGINT NOT NULL,
    caller_reverse   VARCHAR(255) NOT NULL, -- caller_number backwards, for suffix search
    called_reverse   VARCHAR(255) NOT NULL,
    duration         BIGINT NOT NULL,       -- start to end
    connected        BIGINT,                -- answer to end; NULL: not answered
    pdd              BIGINT,                -- start to ringing, else to answer; NULL: neither
    stream_count     INT NOT NULL,
    mos_min          DOUBLE,                -- lowest listening MOS of a stream; NULL: none computed
    loss_max         DOUBLE,                -- highest loss of a stream, per cent; NULL: no stream
    jitter_max       DOUBLE,                -- highest jitter of a stream, ms; NULL: no stream
    PRIMARY KEY (start_at, id)
) WITHOUT ROWID;
CREATE INDEX calls_id ON calls (id);
CREATE INDEX calls_call_id ON calls (call_id);
CREATE INDEX calls_caller ON calls (caller_number);
CREATE INDEX calls_caller_reverse ON calls (caller_reverse);
CREATE INDEX calls_called ON calls (called_number);
CREATE INDEX calls_called_reverse ON calls (called_reverse);
CREATE TABLE call_leg (
    start_at  BIGINT NOT NULL,
    id        BIGINT NOT NULL,
    seq       INT NOT NULL,
    tag       TEXT NOT NULL,
    first_at  BIGINT NOT NULL,
    answer_at BIGINT NOT NULL,
    status    INT NOT NULL,
    PRIMARY KEY (start_at, id, seq)
) WITHOUT ROWID;
CREATE TABLE call_message (
    start_at BIGINT NOT NULL,
    id       BIGINT NOT NULL,
    seq      INT NOT NULL,
    sent_at  BIGINT NOT NULL,
    src_addr VARBINARY(16),
    src_port INT NOT NULL,
    dst_addr VARBINARY(16),
    dst_port INT NOT NULL,
    method   VARCHAR(64) NOT NULL,
    status   INT NOT NULL, -- 0: a request
    reason   TEXT NOT NULL,
    cseq     BIGINT NOT NULL,
    sdp      INT NOT NULL,
    retrans  INT NOT NULL,
    PRIMARY KEY (start_at, id, seq)
) WITHOUT ROWID;
CREATE TABLE call_media (
    start_at BIGINT NOT NULL,
    id       BIGINT NOT NULL,
    seq      INT NOT NULL,
    side     VARCHAR(16) NOT NULL,
    kind     VARCHAR(64) NOT NULL,
    addr     VARBINARY(16),
    port     INT NOT NULL,
    codecs   TEXT NOT NULL,
    ptime    INT NOT NULL, -- ms
    mode     VARCHAR(16) NOT NULL,
    srtp     INT NOT NULL,
    from_at  BIGINT NOT NULL,
    PRIMARY KEY (start_at, id, seq)
) WITHOUT ROWID;
CREATE TABLE stream (
    orphan               INT NOT NULL,
    start_at             BIGINT NOT NULL,
    id                   BIGINT NOT NULL,
    seq                  INT NOT NULL,
    call_id              VARCHAR(255), -- SIP Call-ID; NULL: that of the call, or no call
    src_addr             VARBINARY(16),
    src_port             INT NOT NULL,
    dst_addr             VARBINARY(16),
    dst_port             INT NOT NULL,
    ssrc                 BIGINT NOT NULL,
    side                 VARCHAR(16) NOT NULL, -- who sends it
    codec                VARCHAR(64) NOT NULL,
    payload              INT NOT NULL,
    rate                 BIGINT NOT NULL, -- Hz
    ptime                INT NOT NULL,    -- ms
    first_at             BIGINT NOT NULL,
    last_at              BIGINT NOT NULL,
    packets              BIGINT NOT NULL,
    received             BIGINT NOT NULL,
    bytes                BIGINT NOT NULL,
    expected             BIGINT NOT NULL,
    lost                 BIGINT NOT NULL,
    duplicate            BIGINT NOT NULL,
    reordered            BIGINT NOT NULL,
    stray                BIGINT NOT NULL,
    resets               BIGINT NOT NULL,
    markers              BIGINT NOT NULL,
    events               BIGINT NOT NULL,
    comfort              BIGINT NOT NULL,
    loss_run_1           BIGINT NOT NULL, -- losses of 1 packet, …
    loss_run_2           BIGINT NOT NULL,
    loss_run_3           BIGINT NOT NULL,
    loss_run_4           BIGINT NOT NULL,
    loss_run_5           BIGINT NOT NULL,
    loss_run_6           BIGINT NOT NULL,
    loss_run_7           BIGINT NOT NULL,
    loss_run_8           BIGINT NOT NULL,
    loss_run_9           BIGINT NOT NULL,
    loss_run_10          BIGINT NOT NULL, -- … of 10 or more
    loss_run_max         BIGINT NOT NULL,
    jitter               DOUBLE NOT NULL, -- ms
    jitter_avg           DOUBLE NOT NULL,
    jitter_max           DOUBLE NOT NULL,
    delay_0              BIGINT NOT NULL, -- packets with a deviation of 0 to 50 ms, …
    delay_50             BIGINT NOT NULL,
    delay_70             BIGINT NOT NULL,
    delay_90             BIGINT NOT NULL,
    delay_120            BIGINT NOT NULL,
    delay_150            BIGINT NOT NULL,
    delay_200            BIGINT NOT NULL,
    delay_300            BIGINT NOT NULL, -- … of 300 ms or more
    delta_max            DOUBLE NOT NULL, -- ms
    delta_min            DOUBLE NOT NULL,
    skew_ppm             DOUBLE NOT NULL,
    late_f1              BIGINT NOT NULL,
    late_f2              BIGINT NOT NULL,
    late_adapt           BIGINT NOT NULL,
    compat_mos_f1        DOUBLE NOT NULL,
    compat_mos_f1_min    DOUBLE NOT NULL,
    compat_mos_f2        DOUBLE NOT NULL,
    compat_mos_f2_min    DOUBLE NOT NULL,
    compat_mos_adapt     DOUBLE NOT NULL,
    compat_mos_adapt_min DOUBLE NOT NULL,
    compat_loss_perc     DOUBLE NOT NULL,
    mos_cq               DOUBLE NOT NULL, -- 0: not computed
    mos_lq               DOUBLE NOT NULL,
    mos_min              DOUBLE NOT NULL,
    mos_r                DOUBLE NOT NULL,
    mos_ppl              DOUBLE NOT NULL,
    mos_burst_r          DOUBLE NOT NULL,
    mos_ie               DOUBLE NOT NULL,
    mos_bpl              DOUBLE NOT NULL,
    mos_method           VARCHAR(16) NOT NULL,
    mos_confidence       VARCHAR(16) NOT NULL,
    mos_delay            DOUBLE NOT NULL, -- ms
    mos_n                BIGINT NOT NULL,
    rtcp_reports         BIGINT NOT NULL,
    rtcp_lost            BIGINT NOT NULL,
    rtcp_frac_avg        DOUBLE NOT NULL, -- per cent
    rtcp_frac_max        DOUBLE NOT NULL,
    rtcp_jitter_avg      DOUBLE NOT NULL, -- ms
    rtcp_jitter_max      DOUBLE NOT NULL,
    rtcp_rtt             DOUBLE NOT NULL, -- ms
    rtcp_rtt_max         DOUBLE NOT NULL,
    rtcp_sender_packets  BIGINT NOT NULL,
    ttl_min              INT NOT NULL,
    ttl_max              INT NOT NULL,
    dscp                 INT NOT NULL,
    vlan                 INT NOT NULL,    -- -1: untagged
    srtp                 INT NOT NULL,
    flags                TEXT NOT NULL,
    PRIMARY KEY (orphan, start_at, id, seq)
) WITHOUT ROWID;
INSERT INTO calls (start_at, id, call_id, sensor, trying_at, ring_at, answer_at, bye_at, end_at, last_at, outcome, end_reason, hung_up, caller_number, caller_domain, caller_name, caller_tag, caller_addr, caller_port, caller_agent, caller_contact, called_number, called_domain, called_name, called_tag, called_port, called_agent, called_contact, request_user, request_domain, last_status, last_reason, last_provisional, sip_cause, sip_text, q850_cause, q850_text, invites, reinvites, retransmissions, max_retrans_inv, challenges, holds, forks, redirects, refers, infos, pracks, updates, auth_user, vlan, dscp, transport, flags, messages_total, caller_reverse, called_reverse, duration, stream_count)
VALUES (1750000000000000000, 1, 'version-1@example.net', 0, 0, 0, 0, 0, 0, 0, 'answered', 'bye', 'caller', '+4930123456', '', '', '', X'C0000201', 5060, '', '', '', '', '', '', 0, '', '', '', '', 0, '', 0, 0, '', 0, '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0, '', 0, 0, '6543210394+', '', 0, 0);
