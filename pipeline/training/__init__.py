"""The training loop and what it needs: checkpoints, schedules, sampling."""
