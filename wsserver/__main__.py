"""`python -m wsserver`: the same as the command `wsserver`."""

import sys

from .cli import main

sys.exit(main())
