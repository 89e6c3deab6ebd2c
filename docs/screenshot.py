"""Take the picture of the console in the documents: `.venv/bin/python docs/screenshot.py http://127.0.0.1:8000`.

Needs a running `make dev` (its admin routes must be open to this machine) and a Chromium.
"""

import shutil
import sys
from pathlib import Path

import httpx
from playwright.sync_api import ViewportSize, sync_playwright

IMAGE = Path(__file__).parent / "images" / "console.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZE: ViewportSize = {"width": 1280, "height": 800}


def main(url: str) -> None:
    """Run some jobs, then photograph the console's list of them."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        for user_id in range(1, 6):
            client.post("/process", params={"user_id": user_id}).raise_for_status()
        client.post("/tasks/batch_process", json={"batch_size": 10}).raise_for_status()
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        sys.exit("no Chromium on this machine: apt-get install chromium")
    IMAGE.parent.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{url}/console/jobs")
        page.get_by_role("link", name="batch_process").first.wait_for()
        page.screenshot(path=IMAGE)
        browser.close()
    print(IMAGE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1].rstrip("/"))
