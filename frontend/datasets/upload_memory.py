"""Files that people sent, once they are kept elsewhere."""

from collections.abc import Iterable

from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile


def release(uploads: Iterable[UploadedFile]) -> None:
    """Free the memory of what is kept elsewhere: Streamlit would hold it as long as the session.

    An uploader that still lists the files has a DeletedFile with its `file_id` for each of them.
    """
    ctx = get_script_run_ctx()
    if ctx and isinstance(files := ctx.uploaded_file_mgr, MemoryUploadedFileManager):
        for upload in uploads:
            files.remove_file(session_id=ctx.session_id, file_id=upload.file_id)
