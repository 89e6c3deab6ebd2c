"""`python -m app.cli NOUN VERB ...`."""

from app.cli.main import run

if __name__ == "__main__":
    run()
