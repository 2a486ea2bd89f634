"""Navigation and page chrome: `python -m streamlit run frontend/app.py`."""

import logging
from pathlib import Path

import streamlit as st

from frontend import notices, problems, serving, sidebar

HERE = Path(__file__).parent
log = logging.getLogger("prism.page")

st.set_page_config(page_title="Prism", page_icon=str(HERE / "assets" / "icon.svg"))
st.logo(str(HERE / "assets" / "logo.svg"), size="large")
page = st.navigation(
    [
        st.Page(
            "views/classify.py", title="Classify", icon=":material/image_search:", default=True
        ),
        st.Page("views/draw.py", title="Draw", icon=":material/draw:"),
        st.Page("views/compare.py", title="Compare", icon=":material/compare:"),
        st.Page("views/evaluate.py", title="Evaluate", icon=":material/fact_check:"),
        st.Page("views/video.py", title="Video", icon=":material/movie:"),
        st.Page("views/history.py", title="History", icon=":material/history:"),
        st.Page("views/models.py", title="Models", icon=":material/deployed_code:"),
    ]
)
st.html(HERE / "assets" / "page.css")
serving.refresh()
sidebar.show()
try:
    page.run()
except Exception:
    log.exception("the page %s failed", page.title)
    notices.show(problems.unforeseen())
