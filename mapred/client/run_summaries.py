"""What sums a run up: the picture of a sweep, a page to keep, and advice for the next run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mapred import display
from mapred.client.run_results import RunResults
from mapred.errors import RunError
from mapred.model.rules import Location
from mapred.process.lazy import Lazy

if TYPE_CHECKING:
    from pathlib import Path

    from mapred.client import advising, reporting
    from mapred.runfolder import swept
else:  # Most runs are not summed up.
    advising = Lazy("mapred.client.advising")
    reporting = Lazy("mapred.client.reporting")
    swept = Lazy("mapred.runfolder.swept")


class RunSummaries(RunResults):
    """The summaries of a run, whatever its state."""

    def plot(self, result: str | None = None) -> display.SweepPlot:
        """Return a picture of a sweep, which a notebook shows: a result over what varies.

        One parameter makes a line, with the spread of repeats; two make a heat map, or dots where they
        were sampled. Works while the run is at work: points that failed and those not done are marked.

        Args:
            result: The name of what to draw: a key or a field of what the function returned, or
                `"result"` (default: the first one whose values are numbers that vary).

        Returns:
            The picture, with its `svg` and the `results` that can be drawn.

        Raises:
            RunError: The run is not a sweep, or no result of that name is a number.

        Examples:
            >>> run = mapred.run(lambda rate: rate**2, mapred.sweep(rate=[1, 2, 3]))
            >>> run.plot().results
            ('result',)
        """
        with self._loading():
            found = swept.load_swept(self._folder, self.job)
        if found is None:
            raise RunError(
                f"run {self.id} has no points to draw: only a sweep of up to "
                f"{swept.MOST_POINTS:,} points has a plot"
            )
        plot = display.SweepPlot(
            display.SweepPoints(found.parameters, found.results, found.states),
            result,
            found.refused,
        )
        if result is not None and result not in plot.results:
            names = ", ".join(map(repr, plot.results)) or "none"
            raise RunError(f"no result {result!r} of run {self.id} is a number; there are: {names}")
        return plot

    def report(self, path: Location = "report.html", result: str | None = None) -> Path:
        """Write a page about the run to a file, to keep or to send, and return its path.

        One HTML file without scripts, which loads nothing: what ran, the plan, a timeline with failures
        and retries, slow tasks, memory, counters, ends of logs, an audit by sizes, and how to continue.
        Works in every state, also while the run is at work and where records are damaged: the page says
        what could not be read. It holds source, log lines and values of single items, all cut, and no
        values of secrets; nothing of the folder is loaded or run.

        Args:
            path: Where to write it. An earlier report there is replaced, and any other file refused.
            result: What the picture of a sweep shows, as in `plot`.

        Returns:
            The path, as a `pathlib.Path`.

        Raises:
            RunError: The file cannot be written.

        Examples:
            >>> run = mapred.run(abs, [-1, -2])
            >>> run.report("signs.html").name
            'signs.html'
        """
        target = os.path.expanduser(os.fspath(path))
        return reporting.write_page(target, lambda: self._report_page(result))

    def _report_page(self, result: str | None) -> str:
        return reporting.make_page(self._folder, self.job, self.status, result)

    def advise(self) -> display.Advice:
        """Return what to ask for next time: memory, time, attempts and the size of shards.

        Compares what the run asked for with what its tasks used, and says why it advises what. Memory
        that is advised is a quarter, and at least 128Mi, above the largest peak. Works while the run is
        at work, by the tasks that have ended.

        Returns:
            The advice: `options` are the options to change, as in `mapred.run(fn, data,
            **advice.options)`; printed, it ends with the same as lines to paste.

        Raises:
            StorageError: The run's folder cannot be read.

        Examples:
            >>> advice = mapred.run(abs, [-1, -2]).advise()
            >>> type(advice.options)
            <class 'dict'>
        """
        return advising.advise_run(self._folder, self.job, self.status())
