"""What can go wrong with a campaign."""

from app.errors import Conflict, NotFound


class CampaignNotFound(NotFound):
    """No campaign has that id."""

    code = "campaign-not-found"

    def __init__(self, campaign_id: int) -> None:
        super().__init__(f"there is no campaign {campaign_id}")


class CampaignNotDraft(Conflict):
    """The recipients are fixed once the campaign is being sent."""

    code = "campaign-not-draft"

    def __init__(self, campaign_id: int, status: str) -> None:
        super().__init__(f"campaign {campaign_id} is {status}: recipients can only be added to a draft")


class CampaignNotStarted(Conflict):
    """The campaign is a draft and must be sent first."""

    code = "campaign-not-started"

    def __init__(self, campaign_id: int) -> None:
        super().__init__(f"campaign {campaign_id} is a draft: start it with POST /campaigns/{campaign_id}/send")


class CampaignSent(Conflict):
    """The campaign has been sent."""

    code = "campaign-sent"

    def __init__(self, campaign_id: int) -> None:
        super().__init__(f"campaign {campaign_id} has been sent")


class NoRecipients(Conflict):
    """The campaign has no recipients."""

    code = "no-recipients"

    def __init__(self, campaign_id: int) -> None:
        super().__init__(f"campaign {campaign_id} has no recipients: add some first")
