"""What a user calls and holds: jobs, runs, schedules."""
