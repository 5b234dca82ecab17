-- Statistics, searches that stay fast in a store of many millions of calls, and
-- notes.
--
-- An index of calls begins with the hour of the call: all that is inserted goes
-- into a few pages of it, however large it is, and a search goes from hour to
-- hour until it has a page of calls. A server has partitions for that: there the
-- indexes are without the hour (mysql.go leaves it out).

/* sqlite */ DROP INDEX calls_caller;
/* sqlite */ DROP INDEX calls_caller_reverse;
/* sqlite */ DROP INDEX calls_called;
/* sqlite */ DROP INDEX calls_called_reverse;
/* sqlite */ CREATE INDEX calls_caller ON calls (start_at / 3600000000000, caller_number);
/* sqlite */ CREATE INDEX calls_caller_reverse ON calls (start_at / 3600000000000, caller_reverse);
/* sqlite */ CREATE INDEX calls_called ON calls (start_at / 3600000000000, called_number);
/* sqlite */ CREATE INDEX calls_called_reverse ON calls (start_at / 3600000000000, called_reverse);
CREATE INDEX calls_status ON calls (start_at / 3600000000000, last_status);
CREATE INDEX calls_mos ON calls (start_at / 3600000000000, mos_min);

-- codec is that of the stream with the most packets. rolled 1: the call is counted
-- in the rollups.
ALTER TABLE calls ADD COLUMN codec VARCHAR(64) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN rolled INT NOT NULL DEFAULT 0;
UPDATE calls SET codec = COALESCE((SELECT s.codec FROM stream s WHERE s.orphan = 0 AND s.start_at = calls.start_at AND s.id = calls.id
    ORDER BY s.packets DESC, s.seq LIMIT 1), '');

-- The addresses of a call, each once. roles adds up: 1 signalling of the caller,
-- 2 of the called party, 4 media (RTP, or named by SDP). hour is that of start_at.

CREATE TABLE call_addr (
    start_at BIGINT NOT NULL,
    id       BIGINT NOT NULL,
    hour     INT NOT NULL,
    addr     VARBINARY(16) NOT NULL,
    roles    INT NOT NULL,
    PRIMARY KEY (hour, addr, start_at, id)
) WITHOUT ROWID;

REPLACE INTO call_addr (start_at, id, hour, addr, roles)
SELECT start_at, id, (start_at - start_at % 3600000000000) / 3600000000000, addr, SUM(role) FROM (
    SELECT start_at, id, caller_addr AS addr, 1 AS role FROM calls
    UNION SELECT start_at, id, called_addr, 2 FROM calls
    UNION SELECT start_at, id, src_addr, 4 FROM stream WHERE orphan = 0
    UNION SELECT start_at, id, dst_addr, 4 FROM stream WHERE orphan = 0
    UNION SELECT start_at, id, addr, 4 FROM call_media) AS x
WHERE addr IS NOT NULL GROUP BY start_at, id, addr;

-- Rollups: calls counted by the minute and the hour in which they began, their
-- sensor, and a value of a dimension (dim total: all calls, value empty). They
-- are kept in the transaction that stores the calls. A call that is replaced is
-- taken away first. Sums have their unit in their name; ppm are millionths,
-- milli thousandths. pdd_N counts the calls with a post-dial delay of N ms or
-- more, up to the next N; mos_N likewise, in thousandths. ended counts calls by
-- their end (dim total only). Counters may be NULL as far as the schema goes: SQLite
-- keeps a journal of each statement else, which costs as much as the statement.

CREATE TABLE rollup_minute (
    from_at     BIGINT NOT NULL,
    dim         VARCHAR(16) NOT NULL,
    value       VARCHAR(255) NOT NULL,
    sensor      INT NOT NULL,
    calls       BIGINT,
    connected   BIGINT,
    talk_ms     BIGINT,
    pdd_ms      BIGINT,
    mos_milli   BIGINT,
    with_rtp    BIGINT,
    loss_ppm    BIGINT,
    jitter_us   BIGINT,
    ended       BIGINT,
    unknown     BIGINT,
    answered    BIGINT,
    busy        BIGINT,
    no_answer   BIGINT,
    cancelled   BIGINT,
    redirected  BIGINT,
    auth_failed BIGINT,
    failed      BIGINT,
    partial     BIGINT,
    status_none BIGINT,
    status_2xx  BIGINT,
    status_3xx  BIGINT,
    status_4xx  BIGINT,
    status_5xx  BIGINT,
    status_6xx  BIGINT,
    pdd_0       BIGINT,
    pdd_250     BIGINT,
    pdd_500     BIGINT,
    pdd_1000    BIGINT,
    pdd_1500    BIGINT,
    pdd_2000    BIGINT,
    pdd_3000    BIGINT,
    pdd_5000    BIGINT,
    pdd_8000    BIGINT,
    pdd_15000   BIGINT,
    mos_1000    BIGINT,
    mos_2000    BIGINT,
    mos_2580    BIGINT,
    mos_3100    BIGINT,
    mos_3350    BIGINT,
    mos_3600    BIGINT,
    mos_3850    BIGINT,
    mos_4030    BIGINT,
    mos_4200    BIGINT,
    mos_4340    BIGINT,
    PRIMARY KEY (dim, from_at, value, sensor)
) WITHOUT ROWID;

CREATE TABLE rollup_hour (
    from_at     BIGINT NOT NULL,
    dim         VARCHAR(16) NOT NULL,
    value       VARCHAR(255) NOT NULL,
    sensor      INT NOT NULL,
    calls       BIGINT,
    connected   BIGINT,
    talk_ms     BIGINT,
    pdd_ms      BIGINT,
    mos_milli   BIGINT,
    with_rtp    BIGINT,
    loss_ppm    BIGINT,
    jitter_us   BIGINT,
    ended       BIGINT,
    unknown     BIGINT,
    answered    BIGINT,
    busy        BIGINT,
    no_answer   BIGINT,
    cancelled   BIGINT,
    redirected  BIGINT,
    auth_failed BIGINT,
    failed      BIGINT,
    partial     BIGINT,
    status_none BIGINT,
    status_2xx  BIGINT,
    status_3xx  BIGINT,
    status_4xx  BIGINT,
    status_5xx  BIGINT,
    status_6xx  BIGINT,
    pdd_0       BIGINT,
    pdd_250     BIGINT,
    pdd_500     BIGINT,
    pdd_1000    BIGINT,
    pdd_1500    BIGINT,
    pdd_2000    BIGINT,
    pdd_3000    BIGINT,
    pdd_5000    BIGINT,
    pdd_8000    BIGINT,
    pdd_15000   BIGINT,
    mos_1000    BIGINT,
    mos_2000    BIGINT,
    mos_2580    BIGINT,
    mos_3100    BIGINT,
    mos_3350    BIGINT,
    mos_3600    BIGINT,
    mos_3850    BIGINT,
    mos_4030    BIGINT,
    mos_4200    BIGINT,
    mos_4340    BIGINT,
    PRIMARY KEY (dim, from_at, value, sensor)
) WITHOUT ROWID;

-- Calls of earlier versions that are not in the rollups yet: Maintain counts them.

CREATE TABLE rollup_pending (
    from_at  BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    PRIMARY KEY (from_at)
) WITHOUT ROWID;

REPLACE INTO rollup_pending (from_at, until_at) SELECT MIN(start_at), MAX(start_at) FROM calls HAVING COUNT(*) > 0;

-- What people wrote about calls. A call that is stored again keeps its notes; with
-- the call they go.

CREATE TABLE call_note (
    start_at   BIGINT NOT NULL, -- of the call
    id         BIGINT NOT NULL, -- of the call
    note_id    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    author     VARCHAR(255) NOT NULL,
    tag        INT NOT NULL,    -- 1: a tag, by which calls are found
    body       TEXT NOT NULL,
    PRIMARY KEY (start_at, id, note_id)
) WITHOUT ROWID;
