-- The sum of the prices of a minute's trades, so that their mean is exact over any number of minutes.
ALTER TABLE minute_bars ADD COLUMN price_sum NUMERIC;
UPDATE minute_bars AS bar SET price_sum = coalesce(
    (SELECT sum(price) FROM trades WHERE trades.instrument = bar.instrument
        AND time >= to_timestamp(minute * 60) AND time < to_timestamp((minute + 1) * 60)),
    notional / volume * trade_count); -- where trades were dropped: the nearest there is
ALTER TABLE minute_bars ALTER COLUMN price_sum SET NOT NULL;
