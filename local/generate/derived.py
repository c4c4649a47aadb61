"""Write what follows from the routes: `python -m local.generate.derived`.

The OpenAPI document, the sample events that it describes, and the tables of the API's page.
"""

from local.generate import api_page, openapi, sample_events

if __name__ == "__main__":
    for module in (openapi, sample_events, api_page):
        module.write()
