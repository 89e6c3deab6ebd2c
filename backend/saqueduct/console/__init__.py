"""The web console: see, find, explain and repair jobs in the browser.

Pages are rendered on the server with Jinja2, from the templates in `templates/`, and work without JavaScript; one ES
module adds live updates and keys. `router.py` has the routes, `view.py` what every page has, `pages/` one module for
each page.
"""
