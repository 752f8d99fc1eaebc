-- A page of a client's trades in one instrument is read in order from an index, however many the
-- client made in others.
DROP INDEX trades_by_maker;
CREATE INDEX trades_by_maker
    ON trades (maker_client_id, instrument, sequence DESC, event_index DESC);
DROP INDEX trades_by_taker;
CREATE INDEX trades_by_taker
    ON trades (taker_client_id, instrument, sequence DESC, event_index DESC);
