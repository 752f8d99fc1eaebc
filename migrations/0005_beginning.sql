-- Tables made again from a journal without its beginning hold whole days only after the one within
-- which that journal begins. The events that told so before are dropped when their time is over.
ALTER TABLE follower_positions ADD COLUMN begins_ns BIGINT NOT NULL DEFAULT 0; -- 0: whole
UPDATE follower_positions SET begins_ns = coalesce(
    (SELECT min(minute) * 60000000000 FROM minute_bars), (SELECT min(time_ns) FROM order_events), 0)
WHERE NOT EXISTS (SELECT FROM order_events WHERE sequence = 1);
