"""REDIS_URL: how it is read, and the errors for a wrong one."""

from pathlib import Path

import pytest

from app.settings import SettingsError, load_settings
from saqueduct.broker.url import InvalidRedisURL, RedisURL


@pytest.mark.parametrize(
    ("url", "topology", "hosts", "tls"),
    [
        ("redis://cache", "server", (("cache", 6379),), False),
        ("redis://", "server", (("localhost", 6379),), False),
        ("valkey://cache:7000/2", "server", (("cache", 7000),), False),
        ("valkeys://cache", "server", (("cache", 6379),), True),
        ("rediss://[::1]:7000", "server", (("::1", 7000),), True),
        ("redis+sentinel://a,b:7000,c/main", "sentinel", (("a", 26379), ("b", 7000), ("c", 26379)), False),
        ("rediss+cluster://a,b:7000", "cluster", (("a", 6379), ("b", 7000)), True),
        ("unix:///run/redis.sock", "server", (), False),
    ],
)
def test_the_scheme_tells_topology_and_tls(
    url: str, topology: str, hosts: tuple[tuple[str, int], ...], tls: bool
) -> None:
    parsed = RedisURL.parse(url)
    assert (parsed.topology, parsed.hosts, parsed.tls) == (topology, hosts, tls)


def test_login_and_options_are_read_as_redis_py_takes_them(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.touch()
    url = (
        f"rediss+sentinel://ada:p%40ss%2F%23@a,b/main?db=3&socket_timeout=1.5&ssl_ca_certs={authority}"
        "&ssl_check_hostname=false&sentinel_username=watch&sentinel_password=p%20w"
    )
    parsed = RedisURL.parse(url)
    assert parsed.service == "main"
    assert parsed.sentinel_options == {"username": "watch", "password": "p w"}
    assert parsed.options == {
        "username": "ada",
        "password": "p@ss/#",
        "db": 3,
        "socket_timeout": 1.5,
        "ssl_ca_certs": str(authority),
        "ssl_check_hostname": False,
    }


def test_a_unix_socket_has_a_path_and_options() -> None:
    parsed = RedisURL.parse("unix://ada:pw@/run/a%20b.sock?db=1")
    assert (parsed.path, parsed.options) == ("/run/a b.sock", {"username": "ada", "password": "pw", "db": 1})


@pytest.mark.parametrize(
    ("url", "reported"),
    [
        ("http://:s3cret@x", "it must start with redis://"),
        ("redis+ring://:s3cret@x", "it must start with redis://"),
        ("s3cret@x", "it must start with redis://"),
        ("redis://:s3cret@x:port", "a host is host:port"),
        ("redis://:s3cret/1@x", "a host is host:port"),
        ("redis://:s3cret@x:65536", "a host is host:port"),
        ("redis://[:s3cret@x", "it is not a URL"),
        ("redis://:s3cret#1@x", "write a # in the password as %23"),
        ("redis://:1?s3cret=b@x", "unknown option"),
        ("redis://:s3cret@x/zero", "the number of the database"),
        ("redis://:s3cret@x?db=s3cret", "db must be a number"),
        ("redis://:s3cret@x,y", "several hosts need redis+sentinel:// or redis+cluster://"),
        ("redis://:s3cret@x?ssl_keyfile=s3cret", "begin with rediss"),
        ("rediss://:s3cret@x?ssl_ca_certs=/s3cret.crt", "ssl_ca_certs must be a file that is there"),
        ("rediss://:s3cret@x?ssl_ca_cert=/s3cret.crt", "did you mean 'ssl_ca_certs'?"),
        ("rediss://:s3cret@x?ssl_check_hostname=s3cret", "ssl_check_hostname must be true or false"),
        ("redis+sentinel://:s3cret@x", "the name of the sentinels' service is missing"),
        ("redis+cluster://:s3cret@x/1", "a cluster has only the database 0"),
        ("redis://:s3cret@x?sentinel_password=s3cret", "are only for redis+sentinel://"),
    ],
)
def test_a_wrong_url_is_reported_at_start_without_the_password(url: str, reported: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"REDIS_URL": url})
    [problem] = caught.value.problems
    assert problem.startswith("REDIS_URL: ")
    assert reported in problem
    assert "s3cret" not in problem


def test_a_url_shows_no_password() -> None:
    parsed = RedisURL.parse("redis+sentinel://:s3cret@a/main?sentinel_password=s3cret")
    assert "s3cret" not in repr(parsed)


def test_the_error_of_parsing_keeps_no_part_of_the_url() -> None:
    with pytest.raises(InvalidRedisURL) as caught:
        RedisURL.parse("redis://:s3cret/1@x")
    assert caught.value.__suppress_context__
