"""A plugin of pytest: a profile of hypothesis that ends at the first example that fails."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile(
    "no-shrinking",
    deadline=None,
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)
