-- Columns by the names under which the documents, replies and exports know the same thing.
ALTER TABLE orders RENAME COLUMN created TO created_at;
ALTER TABLE orders RENAME COLUMN filled TO filled_quantity;
ALTER TABLE orders RENAME COLUMN remaining TO remaining_quantity;
ALTER TABLE orders RENAME COLUMN cancelled TO cancelled_quantity;
ALTER TABLE trades RENAME COLUMN time TO timestamp;
ALTER TABLE order_events RENAME COLUMN time TO timestamp;
ALTER TABLE order_events RENAME COLUMN event TO event_data;
