"""What is run by hand, in an environment of its own, is not even collected where that is not there."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("ktem") else ["kotaemon"]
