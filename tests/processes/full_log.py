"""`exchange` whose standard output is a file on a full disk."""

import os
import sys

from server.supervisor.main import main

if __name__ == "__main__":
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    sys.exit(main())
