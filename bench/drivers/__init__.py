"""What loads a server, one closed loop for each way in: `python -m bench.drivers`."""
