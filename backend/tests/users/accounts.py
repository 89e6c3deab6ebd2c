"""Users and their tokens, over HTTP."""

import httpx

PASSWORD = "correct horse battery staple"


async def register(client: httpx.AsyncClient, email: str = "ada@example.com", password: str = PASSWORD) -> int:
    """Make an account; return its id."""
    answer = await client.post("/users/register", json={"email": email, "password": password})
    assert answer.status_code == 201, answer.text
    user_id: int = answer.json()["id"]
    return user_id


async def log_in(client: httpx.AsyncClient, email: str = "ada@example.com", password: str = PASSWORD) -> dict[str, str]:
    """Open a session; return the pair of tokens."""
    answer = await client.post("/users/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    pair: dict[str, str] = answer.json()
    return pair


async def refresh(client: httpx.AsyncClient, pair: dict[str, str]) -> httpx.Response:
    """Exchange the pair's refresh token."""
    return await client.post("/users/refresh", json={"refresh_token": pair["refresh_token"]})


async def me(client: httpx.AsyncClient, access_token: str) -> httpx.Response:
    """Ask who the token's user is."""
    return await client.get("/users/me", headers=bearer(access_token))


def bearer(access_token: str) -> dict[str, str]:
    """The header that carries an access token."""
    return {"Authorization": f"Bearer {access_token}"}
