"""`python -m flowctl`."""

from __future__ import annotations

import sys

from flowctl.cli.main import main

sys.exit(main())
