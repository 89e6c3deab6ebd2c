"""Imports every domain's models, one line each, so that `Base.metadata` knows every table."""

import app.campaigns.models
import app.emails.models
import app.payments.models
import app.todos.models
import app.users.models  # noqa: F401
