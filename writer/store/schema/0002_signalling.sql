-- Registrations, exchanges, events, links of calls, reports of endpoints,
-- digits; and what calls, media and streams know since then.
--
-- As in 0001: times are nanoseconds since the Unix epoch, addresses bytes,
-- enumerations names. Each table begins with the time that its rows are
-- clustered by and the deterministic id, and is ordered by the two.
--
-- Columns marked SENSITIVE hold what a reader of lists need not see: keys of
-- encrypted media, the text of messages, digits that were dialled in a call.

ALTER TABLE calls ADD COLUMN tunnel_kind VARCHAR(32) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN tunnel_src VARBINARY(16);
ALTER TABLE calls ADD COLUMN tunnel_dst VARBINARY(16);
ALTER TABLE calls ADD COLUMN tunnel_id BIGINT NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN session_id VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN x_call_id VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN icid VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN link_header VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN replaces VARCHAR(255) NOT NULL DEFAULT '';

-- call_media.crypto is SENSITIVE: a=crypto lines with their keys, one per line.
ALTER TABLE call_media ADD COLUMN epoch INT NOT NULL DEFAULT 0;
ALTER TABLE call_media ADD COLUMN crypto TEXT NOT NULL DEFAULT ('');

-- What an endpoint reported of the stream (RFC 3611); xr_reports 0: nothing.
ALTER TABLE stream ADD COLUMN epoch INT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_reports BIGINT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_loss DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_discard DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_burst_loss DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_gap_loss DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_burst DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_gap DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_rtt DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_end_delay DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_signal_db INT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_noise_db INT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_rerl_db INT NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_r DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_external_r DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_mos_lq DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_mos_cq DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_jitter_buffer DOUBLE NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN xr_jitter_buffer_max DOUBLE NOT NULL DEFAULT 0;

CREATE TABLE call_digit (
    start_at   BIGINT NOT NULL,
    id         BIGINT NOT NULL,
    seq        INT NOT NULL,
    pressed_at BIGINT NOT NULL,
    side       VARCHAR(16) NOT NULL, -- who sent it
    digit      VARCHAR(16) NOT NULL, -- SENSITIVE
    method     VARCHAR(16) NOT NULL,
    duration   BIGINT NOT NULL, -- ms
    volume     INT NOT NULL,    -- -dBm0
    ssrc       BIGINT NOT NULL,
    PRIMARY KEY (start_at, id, seq)
) WITHOUT ROWID;

-- Bindings of addresses of record. start_at is the first REGISTER.

CREATE TABLE registration (
    start_at        BIGINT NOT NULL,
    id              BIGINT NOT NULL,
    sensor          INT NOT NULL,
    aor             VARCHAR(255) NOT NULL, -- user@domain
    aor_user        VARCHAR(255) NOT NULL,
    aor_domain      VARCHAR(255) NOT NULL,
    contact         TEXT NOT NULL,
    instance        TEXT NOT NULL,
    path            TEXT NOT NULL,
    call_id         VARCHAR(255) NOT NULL,
    agent           TEXT NOT NULL,
    auth_user       TEXT NOT NULL,
    src_addr        VARBINARY(16),
    src_port        INT NOT NULL,
    dst_addr        VARBINARY(16),
    dst_port        INT NOT NULL,
    transport       VARCHAR(16) NOT NULL,
    vlan            INT NOT NULL, -- -1: untagged
    nat             INT NOT NULL,
    last_at         BIGINT NOT NULL,
    end_at          BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    expires         BIGINT NOT NULL, -- s
    state           VARCHAR(16) NOT NULL,
    registers       BIGINT NOT NULL,
    successes       BIGINT NOT NULL,
    challenges      BIGINT NOT NULL,
    failures        BIGINT NOT NULL,
    timeouts        BIGINT NOT NULL,
    retransmissions BIGINT NOT NULL,
    last_status     INT NOT NULL,
    last_reason     TEXT NOT NULL,
    rtt_avg         DOUBLE NOT NULL, -- ms
    rtt_min         DOUBLE NOT NULL,
    rtt_max         DOUBLE NOT NULL,
    PRIMARY KEY (start_at, id)
) WITHOUT ROWID;

CREATE INDEX registration_aor ON registration (aor);
CREATE INDEX registration_user ON registration (aor_user);
CREATE INDEX registration_src ON registration (src_addr);

-- SIP outside of calls and registrations: subscriptions, publications, text
-- messages, and how addresses answer to OPTIONS.

CREATE TABLE exchange (
    start_at        BIGINT NOT NULL,
    id              BIGINT NOT NULL,
    kind            VARCHAR(16) NOT NULL,
    sensor          INT NOT NULL,
    call_id         VARCHAR(255) NOT NULL,
    caller_number   VARCHAR(255) NOT NULL,
    caller_domain   VARCHAR(255) NOT NULL,
    caller_name     TEXT NOT NULL,
    caller_tag      TEXT NOT NULL,
    caller_addr     VARBINARY(16),
    caller_port     INT NOT NULL,
    caller_agent    TEXT NOT NULL,
    caller_contact  TEXT NOT NULL,
    called_number   VARCHAR(255) NOT NULL,
    called_domain   VARCHAR(255) NOT NULL,
    called_name     TEXT NOT NULL,
    called_tag      TEXT NOT NULL,
    called_addr     VARBINARY(16),
    called_port     INT NOT NULL,
    called_agent    TEXT NOT NULL,
    called_contact  TEXT NOT NULL,
    transport       VARCHAR(16) NOT NULL,
    vlan            INT NOT NULL, -- -1: untagged
    last_at         BIGINT NOT NULL,
    end_at          BIGINT NOT NULL,
    state           VARCHAR(32) NOT NULL,
    note            TEXT NOT NULL,
    event           VARCHAR(255) NOT NULL, -- event package (RFC 6665)
    expires         BIGINT NOT NULL,       -- s
    requests        BIGINT NOT NULL,
    answered        BIGINT NOT NULL,
    failures        BIGINT NOT NULL,
    timeouts        BIGINT NOT NULL,
    notifies        BIGINT NOT NULL,
    retransmissions BIGINT NOT NULL,
    changes         BIGINT NOT NULL,
    last_status     INT NOT NULL,
    last_reason     TEXT NOT NULL,
    rtt_avg         DOUBLE NOT NULL, -- ms
    rtt_min         DOUBLE NOT NULL,
    rtt_max         DOUBLE NOT NULL,
    content_type    VARCHAR(255) NOT NULL,
    body            TEXT NOT NULL,   -- SENSITIVE
    body_size       BIGINT NOT NULL, -- bytes
    PRIMARY KEY (start_at, id)
) WITHOUT ROWID;

CREATE INDEX exchange_kind ON exchange (kind);
CREATE INDEX exchange_call_id ON exchange (call_id);
CREATE INDEX exchange_caller ON exchange (caller_number);
CREATE INDEX exchange_called ON exchange (called_number);

CREATE TABLE event (
    occurred_at BIGINT NOT NULL,
    id          BIGINT NOT NULL,
    kind        VARCHAR(32) NOT NULL,
    sensor      INT NOT NULL,
    src_addr    VARBINARY(16),
    src_port    INT NOT NULL,
    dst_addr    VARBINARY(16),
    dst_port    INT NOT NULL,
    aor         VARCHAR(255) NOT NULL,
    target      TEXT NOT NULL,
    call_id     VARCHAR(255) NOT NULL,
    method      VARCHAR(64) NOT NULL,
    status      INT NOT NULL,
    detail      TEXT NOT NULL,
    agent       TEXT NOT NULL,
    occurrences BIGINT NOT NULL, -- this one, and those that a rate limit held back
    PRIMARY KEY (occurred_at, id)
) WITHOUT ROWID;

CREATE INDEX event_kind ON event (kind);
CREATE INDEX event_aor ON event (aor);
CREATE INDEX event_src ON event (src_addr);
CREATE INDEX event_call_id ON event (call_id);

-- Calls that belong together. start_at and first_id are the key of the call
-- that began first, other_at and second_id that of the other.

CREATE TABLE call_link (
    start_at  BIGINT NOT NULL,
    id        BIGINT NOT NULL,
    first_id  BIGINT NOT NULL,
    second_id BIGINT NOT NULL,
    other_at  BIGINT NOT NULL,
    reason    VARCHAR(16) NOT NULL,
    link_key  TEXT NOT NULL, -- what they have in common
    score     INT NOT NULL,  -- 0 to 100
    PRIMARY KEY (start_at, id)
) WITHOUT ROWID;

CREATE INDEX call_link_first ON call_link (first_id);
CREATE INDEX call_link_second ON call_link (second_id);

-- What endpoints reported of a call (RFC 6035). reported_start and
-- reported_stop are by the clock of the endpoint.

CREATE TABLE quality_report (
    sent_at              BIGINT NOT NULL,
    id                   BIGINT NOT NULL,
    sensor               INT NOT NULL,
    call_id              VARCHAR(255) NOT NULL, -- of the call reported on
    kind                 VARCHAR(16) NOT NULL,
    src_addr             VARBINARY(16),
    src_port             INT NOT NULL,
    local_id             TEXT NOT NULL,
    remote_id            TEXT NOT NULL,
    local_addr           VARBINARY(16),
    local_port           INT NOT NULL,
    remote_addr          VARBINARY(16),
    remote_port          INT NOT NULL,
    ssrc                 BIGINT NOT NULL,
    codec                VARCHAR(64) NOT NULL,
    reported_start       BIGINT NOT NULL,
    reported_stop        BIGINT NOT NULL,
    xr_reports           BIGINT NOT NULL,
    xr_loss              DOUBLE NOT NULL, -- per cent
    xr_discard           DOUBLE NOT NULL,
    xr_burst_loss        DOUBLE NOT NULL,
    xr_gap_loss          DOUBLE NOT NULL,
    xr_burst             DOUBLE NOT NULL, -- ms
    xr_gap               DOUBLE NOT NULL,
    xr_rtt               DOUBLE NOT NULL, -- ms
    xr_end_delay         DOUBLE NOT NULL,
    xr_signal_db         INT NOT NULL,
    xr_noise_db          INT NOT NULL,
    xr_rerl_db           INT NOT NULL,
    xr_r                 DOUBLE NOT NULL,
    xr_external_r        DOUBLE NOT NULL,
    xr_mos_lq            DOUBLE NOT NULL, -- -1: not reported
    xr_mos_cq            DOUBLE NOT NULL,
    xr_jitter_buffer     DOUBLE NOT NULL, -- ms
    xr_jitter_buffer_max DOUBLE NOT NULL,
    PRIMARY KEY (sent_at, id)
) WITHOUT ROWID;

CREATE INDEX quality_report_call_id ON quality_report (call_id);
