"""Keep credentials out of messages, logs and representations."""

import re

# Up to the last @: a password may hold an @ or a slash that nobody escaped.
_USER_INFO = re.compile(r"(://[^\s:/@'\"]*):[^\s'\"]*@")
_QUERY = re.compile(r"\?[\w.%-]+=[^\s'\"()]*")


def mask_credentials(text: str, secret: str | None = None) -> str:
    """The text without the passwords and query strings of the addresses in it, and without `secret`.

    A query string goes as a whole: presigned addresses and database options carry secrets there.
    """
    if secret:
        text = text.replace(secret, "***")
    return _QUERY.sub("", _USER_INFO.sub(r"\1:***@", text))


def presentable_cause(exc: BaseException, secret: str | None = None) -> BaseException | None:
    """The exception as a cause to keep, or None if the traceback that it brings would print a password."""
    link: BaseException | None = exc
    while link is not None:
        if mask_credentials(str(link), secret) != str(link):
            return None
        link = link.__cause__ or link.__context__
    return exc
