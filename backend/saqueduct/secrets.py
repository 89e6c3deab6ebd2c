"""Parts for the secrets in the settings of an application: values that no log or traceback shows, keys, credentials."""

from saqueduct.common.credentials import parse_credentials
from saqueduct.common.data_directory import development_key
from saqueduct.common.secret import Secret

__all__ = ["Secret", "development_key", "parse_credentials"]
