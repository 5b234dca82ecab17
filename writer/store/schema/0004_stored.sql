-- What became of the packets of a call: the capture rule that decided, and of
-- signalling and media the most that was wanted (empty: there was no spool), the
-- packets given to the spool, and those that it had no memory for.
ALTER TABLE calls ADD COLUMN rule_name  VARCHAR(255) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN sip_level  VARCHAR(16) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN sip_stored BIGINT NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN sip_missed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN rtp_level  VARCHAR(16) NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN rtp_stored BIGINT NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN rtp_missed BIGINT NOT NULL DEFAULT 0;
