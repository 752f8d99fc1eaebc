-- A page of a client's trades in one instrument is read in order from an index, however many the
-- client made in others.
CREATE INDEX trades_of_maker
    ON trades (maker_client_id, instrument, sequence DESC, event_index DESC);
CREATE INDEX trades_of_taker
    ON trades (taker_client_id, instrument, sequence DESC, event_index DESC);
