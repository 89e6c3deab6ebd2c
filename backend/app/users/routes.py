"""Users over HTTP."""

from typing import Annotated

from dishka import FromDishka
from litestar import Controller, Response, get, patch, post
from litestar.params import JSONBody, PathParameter
from sqlalchemy.ext.asyncio import AsyncSession

from app.security import ADMIN, ADMIN_SECURITY
from app.users.authentication import Authentication
from app.users.errors import RefreshTokenReused
from app.users.guards import UserRequest, require_user
from app.users.limits import LOGIN_LIMIT, REGISTRATION_LIMIT
from app.users.schemas import Login, Refresh, Registration, StatusChange, TokenPair, UserView
from app.users.service import UserService
from app.web.scopes import inject
from saqueduct import Queues

UserId = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]

NO_STORE = {"Cache-Control": "no-store"}
"""Tokens must not be cached (RFC 6749, section 5.1)."""


class UserController(Controller):
    """Accounts and their sessions."""

    path = "/users"
    tags = ("Users",)

    @post("/register", guards=[REGISTRATION_LIMIT])
    @inject
    async def register(
        self,
        data: JSONBody[Registration],
        authentication: FromDishka[Authentication],
        session: FromDishka[AsyncSession],
        queues: FromDishka[Queues],
    ) -> UserView:
        """Make an account; a welcome mail is on its way."""
        user = await authentication.register(data.email, data.password)
        # With the session: no account exists without its mail, and no mail without its account.
        await queues.enqueue("send_welcome_email", {"user_id": user.id}, key=f"welcome:{user.id}", session=session)
        return UserView.of(user)

    @post("/login", status_code=200, guards=[LOGIN_LIMIT])
    @inject
    async def log_in(self, data: JSONBody[Login], authentication: FromDishka[Authentication]) -> Response[TokenPair]:
        """Open a session: an access token for requests, and a refresh token for the next access token."""
        return Response(await authentication.log_in(data.email, data.password), headers=NO_STORE)

    @post("/refresh", status_code=200)
    @inject
    async def refresh(
        self, data: JSONBody[Refresh], authentication: FromDishka[Authentication], session: FromDishka[AsyncSession]
    ) -> Response[TokenPair]:
        """Exchange a refresh token, once, for a new pair; a second time ends the session."""
        try:
            pair = await authentication.refresh(data.refresh_token)
        except RefreshTokenReused:
            # The response is an error, so the request's transaction is rolled back: the revocation must stay.
            await session.commit()
            raise
        return Response(pair, headers=NO_STORE)

    @post("/logout", status_code=204)
    @inject
    async def log_out(self, data: JSONBody[Refresh], authentication: FromDishka[Authentication]) -> None:
        """End the session of a refresh token; its access tokens end immediately."""
        await authentication.log_out(data.refresh_token)

    @get("/me", operation_id="show_me", guards=[require_user], security=[{"AccessToken": []}])
    async def me(self, request: UserRequest) -> UserView:
        """The user whose access token the request carries."""
        return UserView.of(request.user)

    @patch("/{user_id:int}/status", operation_id="change_user_status", opt=ADMIN, security=ADMIN_SECURITY)
    @inject
    async def change_status(
        self, user_id: UserId, data: JSONBody[StatusChange], users: FromDishka[UserService]
    ) -> UserView:
        """Change a user's status; inactive and suspended users are logged out immediately."""
        return UserView.of(await users.change_status(user_id, data.status))
