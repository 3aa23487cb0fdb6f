"""Writing a run's tables as a dataset: files by the workers, made visible by one last task.

Names are loaded at first use: most runs write nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapred.process import lazy

if TYPE_CHECKING:
    from mapred.writing.parquet_files import drop as drop
    from mapred.writing.parquet_files import staged_files as staged_files
    from mapred.writing.parquet_files import write_values as write_values
    from mapred.writing.publishing import discard as discard
    from mapred.writing.target import Target as Target
    from mapred.writing.target import write_delta as write_delta
    from mapred.writing.target import write_parquet as write_parquet
    from mapred.writing.whole import Written as Written
    from mapred.writing.whole import check as check
    from mapred.writing.whole import check_losses as check_losses
    from mapred.writing.whole import gather_files as gather_files
    from mapred.writing.whole import publish as publish
    from mapred.writing.whole import publisher as publisher
    from mapred.writing.whole import write_result as write_result

_WHERE = {
    "target": ("Target", "write_delta", "write_parquet"),
    "whole": "Written check check_losses gather_files publish publisher write_result".split(),
    "parquet_files": ("drop", "staged_files", "write_values"),
    "publishing": ("discard",),
}

__getattr__ = lazy.names_of(__name__, _WHERE)
