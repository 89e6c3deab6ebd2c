"""What is said of unknown names."""

from saqueduct.litestar.unknown import unknown


def test_the_message_names_what_there_is() -> None:
    assert unknown("field 'zzz'", "zzz", ["b", "a"]) == "there is no field 'zzz': there are a, b"
