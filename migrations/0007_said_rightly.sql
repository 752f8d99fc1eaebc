-- What the tables say of themselves, where a name or a comment of an earlier migration is wrong.
ALTER TABLE settlements RENAME COLUMN trade_count TO fill_count;
COMMENT ON COLUMN settlements.fill_count IS 'sides of trades: one with oneself counts twice';
COMMENT ON TABLE trades IS
    'kept for ever unless [history] trades_keep_days says otherwise; whole months are dropped';
COMMENT ON TABLE order_events IS
    'kept for 90 days unless [history] events_keep_days says otherwise; whole months are dropped';
COMMENT ON TABLE orderbook_snapshots IS
    'open orders by price, after the last command of each minute in which there was one';
