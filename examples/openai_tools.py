"""A model that may call functions: `OPENAI_API_KEY=… wsserver serve examples.openai_tools:generate`.

`OPENAI_BASE_URL` and `OPENAI_MODEL` choose another endpoint and model than OpenAI's.
"""

from datetime import date, timedelta
from typing import Literal

from wsserver.adapters.openai import Function, callback


def today() -> date:
    """The date of today."""
    return date.today()


async def delivery(order: int, speed: Literal["normal", "express"] = "normal") -> dict[str, object]:
    """When an order arrives."""
    days = 2 if speed == "express" else 5  # your database
    return {"order": order, "arrives": date.today() + timedelta(days)}


generate = callback(
    system="You answer for a shop. Be short. Never guess a date.",
    tools={"today": today, "delivery": Function(delivery, message="looking up your order …")},
)
