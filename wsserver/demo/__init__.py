"""The default application: what `wsserver serve` answers with when it is given no other.

It searches a folder of text and Markdown files and quotes what it finds. `generate` is the callback, `check`
tells before the server starts whether its settings can work.
"""

from wsserver.demo.app import check, generate

__all__ = ["check", "generate"]
