"""The worker: leases jobs, runs them, settles them, and watches over its process."""
