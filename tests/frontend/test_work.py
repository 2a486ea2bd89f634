"""Long work on a page."""

from streamlit.testing.v1 import AppTest


def test_work_that_ended_since_the_page_looked_is_shown_at_once() -> None:
    def page() -> None:
        import threading

        import streamlit as st

        from frontend import work
        from frontend.jobs import Job

        if "seen" in st.session_state:
            st.markdown("the result")
            return
        st.session_state["seen"] = True
        job = Job(lambda _: None, lambda: 0.0)
        job.run(threading.Semaphore(1))
        work.watch(job, lambda _: "at work")

    app = AppTest.from_function(page, default_timeout=20).run()
    assert [one.value for one in app.markdown] == ["the result"]


def test_a_result_that_is_no_longer_kept_is_said_so() -> None:
    def page() -> None:
        import streamlit as st

        from frontend import work

        st.markdown(str(work.current("reading")))

    app = AppTest.from_function(page, default_timeout=20)
    app.query_params["reading"] = "gone"
    app.run()
    assert [one.value for one in app.markdown] == ["None"]
    assert "no longer kept" in app.info[0].value
