"""Run a shell script as an array job: four tasks, each with an index of its own.

The script travels with the job, so the machines that run it need no copy of this folder.

    mapred run recipes/array_job.py
"""

from pathlib import Path

import mapred

script = Path(__file__).with_name("array_job.sh")
command = mapred.command(["sh", script.name], files=[script])
job = mapred.job(command, mapred.array(4))

if __name__ == "__main__":
    print("".join(job.run().result()), end="")
