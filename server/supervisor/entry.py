"""Where the command `exchange` begins: Ctrl-C ends it quietly while the rest is loaded, too."""

import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def main() -> int:
    """Run the command that this process was started with: the exit code."""
    try:
        from server.supervisor.main import main as run

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
