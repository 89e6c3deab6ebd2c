"""Every task by name, with typed blocking calls. Written by `make catalog`: do not edit.

    registry = container.get(TasksRegistry)
    registry.ping.delay().get(timeout=10)

Imports no domain at run time; those below are for type checkers.
"""

from enum import StrEnum
from typing import TYPE_CHECKING

from saqueduct.blocking import Entries, EntryProperty, entry_of

if TYPE_CHECKING:
    import app.campaigns.tasks
    import app.emails.tasks
    import app.payments.tasks
    import app.queue.tasks
    import app.todos.tasks
    import app.users.tasks


class TaskName(StrEnum):
    """The names of all tasks."""

    BATCH_PROCESS = "batch_process"
    CAPTURE_PAYMENT = "capture_payment"
    CHECK_STATUS = "check_status"
    CLEANUP_EMAILS = "cleanup_emails"
    CLEANUP_OLD_RECORDS = "cleanup_old_records"
    CLEANUP_SESSIONS = "cleanup_sessions"
    ENQUEUE_FOLLOW_UP = "enqueue_follow_up"
    MY_TASK = "my_task"
    PING = "ping"
    RESUME_CAMPAIGNS = "resume_campaigns"
    SEND_CAMPAIGN = "send_campaign"
    SEND_CAMPAIGN_CHUNK = "send_campaign_chunk"
    SEND_EMAIL = "send_email"
    SEND_WELCOME_EMAIL = "send_welcome_email"
    TODO_CLEANUP = "todo.cleanup"
    UPDATE_USER_STATUS = "update_user_status"
    WEEKLY_REPORT = "weekly_report"


class TasksRegistry(Entries):
    """All tasks, each with blocking calls; provided by the container. Tasks are registered in a `TaskRegistry`."""

    if TYPE_CHECKING:
        batch_process = entry_of(app.queue.tasks.batch_process)
        capture_payment = entry_of(app.payments.tasks.capture_payment)
        check_status = entry_of(app.payments.tasks.check_status)
        cleanup_emails = entry_of(app.emails.tasks.cleanup_emails)
        cleanup_old_records = entry_of(app.queue.tasks.cleanup_old_records)
        cleanup_sessions = entry_of(app.users.tasks.cleanup_sessions)
        enqueue_follow_up = entry_of(app.queue.tasks.enqueue_follow_up)
        my_task = entry_of(app.queue.tasks.my_task)
        ping = entry_of(app.queue.tasks.ping)
        resume_campaigns = entry_of(app.campaigns.tasks.resume_campaigns)
        send_campaign = entry_of(app.campaigns.tasks.send_campaign)
        send_campaign_chunk = entry_of(app.campaigns.tasks.send_campaign_chunk)
        send_email = entry_of(app.emails.tasks.send_email)
        send_welcome_email = entry_of(app.users.tasks.send_welcome_email)
        todo_cleanup = entry_of(app.todos.tasks.cleanup_completed_todos)
        update_user_status = entry_of(app.users.tasks.update_user_status)
        weekly_report = entry_of(app.campaigns.tasks.weekly_report)
    else:
        batch_process = EntryProperty(TaskName.BATCH_PROCESS)
        capture_payment = EntryProperty(TaskName.CAPTURE_PAYMENT)
        check_status = EntryProperty(TaskName.CHECK_STATUS)
        cleanup_emails = EntryProperty(TaskName.CLEANUP_EMAILS)
        cleanup_old_records = EntryProperty(TaskName.CLEANUP_OLD_RECORDS)
        cleanup_sessions = EntryProperty(TaskName.CLEANUP_SESSIONS)
        enqueue_follow_up = EntryProperty(TaskName.ENQUEUE_FOLLOW_UP)
        my_task = EntryProperty(TaskName.MY_TASK)
        ping = EntryProperty(TaskName.PING)
        resume_campaigns = EntryProperty(TaskName.RESUME_CAMPAIGNS)
        send_campaign = EntryProperty(TaskName.SEND_CAMPAIGN)
        send_campaign_chunk = EntryProperty(TaskName.SEND_CAMPAIGN_CHUNK)
        send_email = EntryProperty(TaskName.SEND_EMAIL)
        send_welcome_email = EntryProperty(TaskName.SEND_WELCOME_EMAIL)
        todo_cleanup = EntryProperty(TaskName.TODO_CLEANUP)
        update_user_status = EntryProperty(TaskName.UPDATE_USER_STATUS)
        weekly_report = EntryProperty(TaskName.WEEKLY_REPORT)
