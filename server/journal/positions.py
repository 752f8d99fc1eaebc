"""The file `followers` of the data directory: after which position the journal is kept for whom.

JSON: sequence by the follower's name. `server/maintenance/followers.py` says what is in it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from server.journal.refusals import PositionsDamaged
from server.journal.storage import write_file

FILE_NAME: Final = "followers"


def read_positions(directory: Path) -> dict[str, int]:
    """What it says, nothing where there is none; raises `PositionsDamaged`."""
    path = directory / FILE_NAME
    try:
        found = json.loads(path.read_bytes())
        return {str(name): int(sequence) for name, sequence in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise PositionsDamaged(path, error) from error


def write_positions(directory: Path, positions: Mapping[str, int]) -> None:
    """Make them durable in the place of those before; raises `OSError`."""
    write_file(directory / FILE_NAME, json.dumps(positions, indent=0).encode())
