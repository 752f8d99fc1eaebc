-- Days whose trades were netted into `settlements`; a day without trades has a row here only.
CREATE TABLE settled_days (
    day DATE PRIMARY KEY,             -- UTC
    through_sequence BIGINT NOT NULL, -- the tables were complete up to here
    trade_count BIGINT NOT NULL,
    digest TEXT NOT NULL              -- SHA-256 of the day's rows in order, hexadecimal
);
