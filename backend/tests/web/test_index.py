"""`/`."""

import httpx


async def test_a_program_finds_the_parts_of_the_api(client: httpx.AsyncClient) -> None:
    found = (await client.get("/")).json()
    for name, path in found.items():
        if name != "name":
            assert (await client.get(path, follow_redirects=True)).status_code == 200, path


async def test_a_browser_is_led_to_the_documentation(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers={"accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code // 100, answer.headers["location"]) == (3, "/schema")
