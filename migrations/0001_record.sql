-- What the journal says, for people and reports. The journal is the truth: every row here is a fold
-- of it up to `follower_positions.sequence`, written in the same transaction as that position.
--
-- Numbers: prices, quantities and money are exact decimals. Times: `..._ns` is the stamp, exact, ns
-- since 1970 UTC; the timestamp beside it is the same cut to microseconds, for people, ranges and
-- partitions. An event, and with it a trade, is named by (sequence, event_index).
--
-- Foreign keys hold the small tables together. Orders, trades and events have none: they come in
-- bulk from a journal that the engine has already checked, a check of each row would cost as much
-- as the row, and partitions that are dropped when their time is over must not be held by others.

CREATE TYPE side AS ENUM ('buy', 'sell');
CREATE TYPE order_type AS ENUM ('limit', 'market');
CREATE TYPE time_in_force AS ENUM ('gtc', 'ioc', 'fok');
CREATE TYPE order_status AS ENUM ('open', 'partially_filled', 'filled', 'cancelled', 'rejected');

CREATE TABLE follower_positions (
    follower TEXT PRIMARY KEY,
    journal TEXT NOT NULL,      -- identity of the journal that the rows are of, hexadecimal
    sequence BIGINT NOT NULL,   -- everything up to here is in the tables
    time_ns BIGINT NOT NULL     -- stamp of that sequence
);

CREATE TABLE instruments (
    instrument TEXT PRIMARY KEY,
    tick NUMERIC NOT NULL,
    lot NUMERIC NOT NULL,
    price_min NUMERIC NOT NULL,
    price_max NUMERIC NOT NULL,
    quantity_min NUMERIC NOT NULL,
    quantity_max NUMERIC NOT NULL,
    maker_fee NUMERIC NOT NULL, -- of the notional; negative is a rebate
    taker_fee NUMERIC NOT NULL,
    self_trade_prevention SMALLINT NOT NULL,
    sequence BIGINT NOT NULL    -- of the command that made it so
);

-- One row for each order ever placed, as it stands. Ids may come again once they are forgotten;
-- the sequence of the placing command is the unique name.
CREATE TABLE orders (
    placed_sequence BIGINT PRIMARY KEY,
    order_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    client_reference TEXT NOT NULL,
    instrument TEXT NOT NULL,
    side side NOT NULL,
    type order_type NOT NULL,
    time_in_force time_in_force NOT NULL,
    post_only BOOLEAN NOT NULL,
    self_trade_prevention SMALLINT NOT NULL,
    price NUMERIC NOT NULL,     -- 0 for a market order
    quantity NUMERIC NOT NULL,  -- filled + remaining + cancelled
    filled NUMERIC NOT NULL,
    remaining NUMERIC NOT NULL,
    cancelled NUMERIC NOT NULL,
    status order_status NOT NULL,
    end_reason SMALLINT NOT NULL,   -- number of `EndReason` of the contract; 0 where none is needed
    session_id BIGINT NOT NULL,
    created TIMESTAMPTZ NOT NULL,
    created_ns BIGINT NOT NULL,
    updated_ns BIGINT NOT NULL,
    updated_sequence BIGINT NOT NULL -- of the last event that changed it
) WITH (fillfactor = 80);
CREATE INDEX orders_by_id ON orders (order_id, placed_sequence DESC);
CREATE INDEX orders_by_client ON orders (client_id, placed_sequence DESC);
CREATE INDEX orders_by_instrument ON orders (instrument, placed_sequence DESC);
CREATE INDEX orders_by_time ON orders USING brin (created);
CREATE INDEX orders_open ON orders (instrument, placed_sequence DESC)
    WHERE status IN ('open', 'partially_filled');

-- Kept for ever unless `postgres.trades_keep_days` says otherwise; whole months are dropped.
CREATE TABLE trades (
    sequence BIGINT NOT NULL,
    event_index INTEGER NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    time_ns BIGINT NOT NULL,
    instrument TEXT NOT NULL,
    price NUMERIC NOT NULL,
    quantity NUMERIC NOT NULL,
    aggressor_side side NOT NULL,
    maker_order_id TEXT NOT NULL,
    maker_client_id TEXT NOT NULL,
    maker_placed_sequence BIGINT NOT NULL,
    maker_fee NUMERIC NOT NULL, -- quote currency; negative is a rebate
    taker_order_id TEXT NOT NULL,
    taker_client_id TEXT NOT NULL,
    taker_placed_sequence BIGINT NOT NULL,
    taker_fee NUMERIC NOT NULL,
    PRIMARY KEY (sequence, event_index, time)
) PARTITION BY RANGE (time);
CREATE INDEX trades_by_instrument ON trades (instrument, sequence DESC, event_index DESC);
CREATE INDEX trades_by_time ON trades (instrument, time);
CREATE INDEX trades_by_maker ON trades (maker_client_id, sequence DESC, event_index DESC);
CREATE INDEX trades_by_taker ON trades (taker_client_id, sequence DESC, event_index DESC);

-- Kept for 90 days unless `postgres.events_keep_days` says otherwise; whole months are dropped.
CREATE TABLE order_events (
    sequence BIGINT NOT NULL,
    event_index INTEGER NOT NULL,
    time TIMESTAMPTZ NOT NULL,
    time_ns BIGINT NOT NULL,
    kind SMALLINT NOT NULL,     -- number of the event in the journal
    placed_sequence BIGINT NOT NULL, -- the order; of a trade the taker's
    event JSONB NOT NULL,       -- every field of the event; integers of 10^-8, as `_e8` says
    PRIMARY KEY (sequence, event_index, time)
) PARTITION BY RANGE (time);
CREATE INDEX order_events_by_order ON order_events (placed_sequence, sequence);

-- The open orders of a book, summed by price, as they stood after the first sequence written in a
-- new minute.
CREATE TABLE orderbook_snapshots (
    instrument TEXT NOT NULL REFERENCES instruments,
    sequence BIGINT NOT NULL,
    time_ns BIGINT NOT NULL,
    bids JSONB NOT NULL,        -- [[price, quantity], ...], best first, decimal strings
    asks JSONB NOT NULL,
    PRIMARY KEY (instrument, sequence)
);

CREATE TABLE client_positions (
    client_id TEXT NOT NULL,
    instrument TEXT NOT NULL REFERENCES instruments,
    net_quantity NUMERIC NOT NULL,
    total_cost NUMERIC NOT NULL,    -- has the sign of net_quantity
    realised_pnl NUMERIC NOT NULL,
    fees NUMERIC NOT NULL,
    updated_ns BIGINT NOT NULL,     -- stamp of the last fill
    PRIMARY KEY (client_id, instrument)
);

CREATE TABLE minute_bars (
    instrument TEXT NOT NULL REFERENCES instruments,
    minute BIGINT NOT NULL,     -- minutes since 1970 UTC
    open NUMERIC NOT NULL,
    high NUMERIC NOT NULL,
    low NUMERIC NOT NULL,
    close NUMERIC NOT NULL,
    volume NUMERIC NOT NULL,
    notional NUMERIC NOT NULL,
    trade_count BIGINT NOT NULL,
    PRIMARY KEY (instrument, minute)
);

-- What the exchange took in fees in each currency, rebates deducted.
CREATE TABLE fees (
    currency TEXT PRIMARY KEY,
    balance NUMERIC NOT NULL
);

-- A day's trades of an account in an instrument, netted. Sums to zero over the accounts.
CREATE TABLE settlements (
    day DATE NOT NULL,          -- UTC
    instrument TEXT NOT NULL REFERENCES instruments,
    account TEXT NOT NULL,      -- a client id, or `fees/` and the currency
    quantity NUMERIC NOT NULL,  -- to receive; negative: to deliver
    money NUMERIC NOT NULL,     -- to receive, fees deducted; negative: to pay
    fees NUMERIC NOT NULL,      -- of it; negative: received
    trade_count BIGINT NOT NULL,
    through_sequence BIGINT NOT NULL, -- the tables were complete up to here
    PRIMARY KEY (day, instrument, account)
);
