"""The worker process; after a pause it takes jobs only because it is woken at the end."""

from app.worker import main
from saqueduct.worker import waiting

waiting.PAUSED_PEEKS = 10_000

if __name__ == "__main__":
    main()
