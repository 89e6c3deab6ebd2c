"""`python -m saqueduct.cli --app MODULE:NAME NOUN VERB ...`."""

from saqueduct.cli.main import run

if __name__ == "__main__":
    run()
