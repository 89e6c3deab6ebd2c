"""Environment -> frozen settings. Imports no domain and no framework.

settings = load_settings()
settings.worker.concurrency
"""

from app.settings.reading import load_settings
from app.settings.sections import REPOSITORY, AppSettings, Section, Settings, SettingsError, SmtpSettings

__all__ = ["REPOSITORY", "AppSettings", "Section", "Settings", "SettingsError", "SmtpSettings", "load_settings"]
