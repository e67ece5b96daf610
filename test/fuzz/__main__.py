"""`python test/fuzz`: see `command`."""

import sys
from pathlib import Path

TEST = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(TEST), str(TEST.parent)]  # run as a folder, Python puts the folder itself there

if __name__ == "__main__":
    from fuzz.command import main

    sys.exit(main())
