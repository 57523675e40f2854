"""What publishers send in: read with limits, verified, and put into the queue."""
