-- Those of 0008 serve what these did. By itself, since nobody reads trades while an index goes, and
-- anybody may while one is made.
DROP INDEX trades_by_maker;
DROP INDEX trades_by_taker;
