"""python -m b2mount"""

from b2mount.cli.main import run

run()
