"""How fast the exchange is: `python -m bench`. Each figure stands beside a baseline of its run.

The exchange and its baseline take turns (A B A B …) with the same driver, the same requests and the
same machine, so that their ratio survives what the machine does meanwhile; the ratio shown is the
median over the turns, with the least and the greatest.

    engine     operations on one instrument    baseline: a bare book that keeps its events
    session    TradingSession, n a message     baseline: a stream that parses and answers prepared
    unary      PlaceOrder, 50 in flight        baseline: an empty echo of the same messages
    http       POST /orders, 50 connections    baseline: an echo behind the same Envoy configuration
    batch      POST /orders/batch, ten each    baseline: POST /orders, one each
    followers  orders with all parts following baseline: the same without them

`books`, `recovery`, `websocket` and `page` have no baseline but their aims: a hundred books in a
call; a start with a million commands or open orders, and what they take of memory; a thousand
readers of one instrument, beside one that stops reading; the web page in a browser. `ghz` holds our
own drivers against that load generator.

A driver is a process of its own, its requests are bytes before the clock starts, and it is bounded
in time and in count. The echo runs with the server's loop, channel options and size of replies.
Everything is on the loopback interface; the journal is on the file system named in the header.
"""
