-- A page of a client's or an instrument's orders of one status, or of all of that status, is read in
-- order from an index however many others there are.
DROP INDEX orders_by_client;
CREATE INDEX orders_by_client ON orders (client_id, status, placed_sequence DESC);
DROP INDEX orders_by_instrument;
CREATE INDEX orders_by_instrument ON orders (instrument, status, placed_sequence DESC);
DROP INDEX orders_open;
CREATE INDEX orders_by_status ON orders (status, placed_sequence DESC);
