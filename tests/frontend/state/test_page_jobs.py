"""Long work on a page."""

from streamlit.testing.v1 import AppTest

from frontend.state import page_jobs


def test_work_that_ended_since_the_page_looked_is_shown_at_once() -> None:
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


def working() -> None:
    import streamlit as st

    from frontend.state import page_jobs

    if st.button("begin"):
        page_jobs.start("reading", lambda _: "done")
    if st.button("drop"):
        page_jobs.forget("reading")


def pressed(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_who_came_by_a_link_takes_nothing_from_who_gave_it() -> None:
    owner = pressed(AppTest.from_function(working, default_timeout=20).run(), "begin")
    first = owner.query_params["reading"]
    visitor = AppTest.from_function(working, default_timeout=20)
    visitor.query_params["reading"] = first
    pressed(pressed(visitor.run(), "begin"), "drop")
    visitor.query_params["reading"] = first
    pressed(visitor.run(), "drop")
    assert page_jobs.jobs().find(first) is not None
    pressed(owner, "begin")
    assert page_jobs.jobs().find(first) is None


def test_a_result_that_is_no_longer_kept_is_said_so() -> None:
    def page() -> None:
        import streamlit as st

        from frontend.state import page_jobs

        st.markdown(str(page_jobs.current("reading")))

    app = AppTest.from_function(page, default_timeout=20)
    app.query_params["reading"] = "gone"
    app.run()
    assert [one.value for one in app.markdown] == ["None"]
    assert "no longer kept" in app.info[0].value
