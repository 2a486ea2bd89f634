"""Background jobs on a page."""

from streamlit.testing.v1 import AppTest

from frontend.state import page_jobs


def test_job_that_has_just_finished_is_shown_at_once() -> None:
    def page() -> None:
        import threading

        import streamlit as st

        from frontend.state import page_jobs
        from frontend.state.jobs import Job

        if "seen" in st.session_state:
            st.markdown("the result")
            return
        st.session_state["seen"] = True
        job = Job(lambda _: None, lambda: 0.0)
        job.run(threading.Semaphore(1))
        page_jobs.watch(job, lambda _: "at work")

    app = AppTest.from_function(page, default_timeout=20).run()
    assert [one.value for one in app.markdown] == ["the result"]


def page_with_job() -> None:
    import streamlit as st

    from frontend.state import page_jobs

    if st.button("start"):
        page_jobs.start("reading", lambda _: "done")
    if st.button("discard"):
        page_jobs.discard("reading")


def click(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_visitor_cannot_discard_a_shared_job() -> None:
    owner = click(AppTest.from_function(page_with_job, default_timeout=20).run(), "start")
    first = owner.query_params["reading"]
    visitor = AppTest.from_function(page_with_job, default_timeout=20)
    visitor.query_params["reading"] = first
    click(click(visitor.run(), "start"), "discard")
    visitor.query_params["reading"] = first
    click(visitor.run(), "discard")
    assert page_jobs.jobs().find(first) is not None
    click(owner, "start")
    assert page_jobs.jobs().find(first) is None


def test_expired_job_shows_a_message() -> None:
    def page() -> None:
        import streamlit as st

        from frontend.state import page_jobs

        st.markdown(str(page_jobs.current("reading")))

    app = AppTest.from_function(page, default_timeout=20)
    app.query_params["reading"] = "expired"
    app.run()
    assert [one.value for one in app.markdown] == ["None"]
    assert "has expired" in app.info[0].value
